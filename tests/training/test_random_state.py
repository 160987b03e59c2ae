import pytest
import torch

from kexue.training.random_state import random_devices, repeated, take_random_state


def test_the_same_numbers_are_drawn_again_and_the_generator_goes_on():
    torch.manual_seed(3)
    expected = [torch.rand(4) for _ in range(3)]
    torch.manual_seed(3)
    state = take_random_state([])
    assert torch.equal(torch.rand(4), expected[0])
    assert torch.equal(torch.rand(4), expected[1])
    for _ in range(2):
        with repeated(state):
            assert torch.equal(torch.rand(4), expected[0])
    assert torch.equal(torch.rand(4), expected[2])


def test_an_error_inside_leaves_the_generator_as_it_was():
    state = take_random_state([])
    torch.rand(4)
    before = torch.get_rng_state()

    def fails():
        with repeated(state):
            torch.rand(4)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert torch.equal(torch.get_rng_state(), before)


class Generators:
    """An accelerator of which torch knows nothing."""

    def __init__(self, one_device):
        self.states, self.one_device = {}, one_device

    def get_rng_state(self, *device):
        assert bool(device) != self.one_device
        return self.states.get(device, torch.zeros(1)).clone()

    def set_rng_state(self, state, *device):
        assert bool(device) != self.one_device
        self.states[device] = state


@pytest.mark.parametrize(("kind", "one_device"), [("cuda", False), ("xpu", False), ("mps", True)])
def test_accelerators_repeat_too(monkeypatch, kind, one_device):
    module = Generators(one_device)
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    device = torch.device(kind, 0)
    key = () if one_device else (device,)
    module.states[key] = torch.tensor([5.0])
    state = take_random_state([device])
    module.states[key] = torch.tensor([8.0])
    with repeated(state):
        assert module.states[key] == 5
        module.states[key] = torch.tensor([6.0])
    assert module.states[key] == 8


def test_devices_of_inputs_are_found_and_the_cpu_is_none_of_them(monkeypatch):
    class Elsewhere:
        def __init__(self, name):
            self.device = torch.device(name)

    assert random_devices(torch.zeros(1)) == []
    inputs = {"a": Elsewhere("cuda:1"), "b": Elsewhere("cpu"), "c": Elsewhere("cuda:1")}
    assert random_devices(inputs) == [torch.device("cuda:1")]
    assert random_devices({"a": Elsewhere("meta")}) == []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    assert random_devices(inputs) == [torch.device("cuda:1"), torch.device("cuda:2")]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_dropout_on_a_gpu_repeats():
    x = torch.ones(1000, device="cuda")
    state = take_random_state(random_devices(x))
    first = torch.nn.functional.dropout(x)
    assert not torch.equal(torch.nn.functional.dropout(x), first)
    with repeated(state):
        assert torch.equal(torch.nn.functional.dropout(x), first)
