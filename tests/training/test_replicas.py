import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.nn.parallel import DistributedDataParallel

from kexue.training.replicas import backward_and_average, silent_replicas


def hooks():
    return len(torch_module._global_forward_pre_hooks)


class Replica(DistributedDataParallel):
    """One process's part of a model whose other processes are not there."""

    def __init__(self, module, *, find_unused_parameters=False):
        nn.Module.__init__(self)
        self.module, self.require_backward_grad_sync, self.seen = module, True, []
        self.find_unused_parameters = find_unused_parameters

    def forward(self, x):
        self.seen.append(self.require_backward_grad_sync)
        return self.module(x)


@pytest.fixture
def two_processes(monkeypatch):
    monkeypatch.setattr("kexue.training.replicas.process_count", lambda: 2)


@pytest.mark.usefixtures("two_processes")
def test_a_hidden_replica_is_found_and_silent_to_the_end_of_the_block():
    replica = Replica(nn.Linear(4, 4))
    first = nn.Linear(4, 4)
    before = hooks()
    with silent_replicas() as found:
        assert hooks() == before + 1
        first(torch.rand(2, 4))
        assert found == []
        nn.Sequential(nn.Identity(), replica)(torch.rand(2, 4))
        assert hooks() == before
        replica(torch.rand(2, 4))
        assert found == [replica]
    replica(torch.rand(2, 4))
    assert replica.seen == [False, False, True]
    assert hooks() == before


@pytest.mark.usefixtures("two_processes")
def test_a_replica_inside_a_compiled_model_is_found():
    class Compiled(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self._orig_mod = inner

        def forward(self, x):
            assert hooks() == before
            return self._orig_mod(x)

    replica, before = Replica(nn.Linear(4, 4)), hooks()
    with silent_replicas() as found:
        Compiled(replica)(torch.rand(2, 4))
    assert found == [replica]


@pytest.mark.usefixtures("two_processes")
def test_models_without_replicas_pass_and_the_hook_goes_away():
    before = hooks()
    with silent_replicas() as found:
        nn.Sequential(nn.Linear(4, 4))(torch.rand(2, 4))
    assert found == []
    assert hooks() == before

    def fails():
        with silent_replicas():
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert hooks() == before


def test_one_process_needs_no_hook():
    before = hooks()
    with silent_replicas() as found:
        assert hooks() == before
    assert found == []


@pytest.mark.parametrize("looks_itself", [True, False])
def test_the_last_pass_reaches_what_only_earlier_ones_did(looks_itself):
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "earlier": nn.Linear(3, 2)})
    model["never"] = nn.Linear(3, 2)
    replica = Replica(model, find_unused_parameters=looks_itself)
    model["earlier"](torch.ones(1, 3)).sum().backward()
    earlier = {name: p.grad.clone() for name, p in model["earlier"].named_parameters()}
    reached = []
    for name, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda _, name=name: reached.append(name))
    x = torch.rand(4, 3)
    gradient = torch.rand(4, 2)
    backward_and_average(model["used"](x), gradient, [replica])
    expected = ["used.weight", "used.bias"]
    expected += [] if looks_itself else ["earlier.weight", "earlier.bias"]
    assert sorted(reached) == sorted(expected)
    torch.testing.assert_close(model["used"].weight.grad, gradient.T @ x)
    for name, parameter in model["earlier"].named_parameters():
        assert torch.equal(parameter.grad, earlier[name])
    assert model["never"].weight.grad is None
