import copy
import pickle

import pytest
import torch
from torch import nn

from kexue.numerics.mitchell_linear import MitchellLinear, from_mitchell, to_mitchell
from kexue.numerics.mitchell_matmul import mitchell_matmul


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def inputs():
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


def test_a_layer_is_a_matrix_product_and_a_bias():
    layer, x = MitchellLinear(6, 4, offset=0.05), inputs()
    assert torch.equal(layer(x), mitchell_matmul(x, layer.weight.T, offset=0.05) + layer.bias)
    plain = MitchellLinear(6, 4, bias=False)
    assert plain.bias is None
    assert plain(x.view(5, 1, 6)).shape == (5, 1, 4)
    assert plain(x[0]).shape == (4,)


def test_it_is_close_to_the_layer_that_it_stands_for():
    layer, x = nn.Linear(64, 64), torch.randn(100, 64, generator=torch.Generator().manual_seed(0))
    exact, found = layer(x), to_mitchell(layer, offset=0.0566)(x)
    assert 0 < (found - exact).norm() / exact.norm() < 0.05


@pytest.mark.parametrize("mode", ["exact", "mitchell", "straight"])
def test_gradients_are_those_of_its_matrix_product(mode):
    layer, x = MitchellLinear(6, 4, backward=mode), inputs().requires_grad_()
    layer(x).square().sum().backward()
    found = x.grad, layer.weight.grad, layer.bias.grad
    other, weight = x.detach().requires_grad_(), layer.weight.detach().requires_grad_()
    bias = layer.bias.detach().requires_grad_()
    y = mitchell_matmul(other, weight.T, backward=mode) + bias
    expected = torch.autograd.grad(y.square().sum(), (other, weight, bias))
    for one, two in zip(found, expected, strict=True):
        assert torch.equal(one, two)


def test_types():
    layer = MitchellLinear(6, 4, dtype=torch.bfloat16)
    assert layer(inputs().bfloat16()).dtype == torch.bfloat16
    assert layer(inputs()).dtype == torch.float32
    assert MitchellLinear(6, 4, device="meta").weight.is_meta


def test_conversion_there_and_back_keeps_the_parameters():
    model, x = network(), inputs()
    parameters, exact = list(model.parameters()), model(x)
    names = list(model.state_dict())
    assert to_mitchell(model, offset=0.01, backward="exact") is model
    assert [type(m) for m in model] == [MitchellLinear, nn.ReLU, MitchellLinear]
    assert (model[0].offset, model[0].backward_mode) == (0.01, "exact")
    assert all(p is q for p, q in zip(model.parameters(), parameters, strict=True))
    assert list(model.state_dict()) == names
    assert not torch.equal(model(x), exact)
    assert from_mitchell(model) is model
    assert [type(m) for m in model] == [nn.Linear, nn.ReLU, nn.Linear]
    assert all(p is q for p, q in zip(model.parameters(), parameters, strict=True))
    assert torch.equal(model(x), exact)
    assert not hasattr(model[0], "offset")


def test_what_was_before_is_left_alone():
    model = network()
    layer = model[0]
    to_mitchell(model)
    assert type(layer) is nn.Linear
    assert not hasattr(layer, "offset")
    model[0].register_forward_hook(lambda *_: None)
    assert not layer._forward_hooks


def test_hooks_and_modes_move_along():
    model, calls = network().eval(), []
    model[0].register_forward_hook(lambda *_: calls.append("here"))
    model[2].weight.requires_grad_(False)
    to_mitchell(model)(inputs())
    assert calls == ["here"]
    assert not model[0].training
    assert not model[2].weight.requires_grad
    from_mitchell(model)(inputs())
    assert calls == ["here", "here"]


def test_an_optimiser_goes_on():
    model, x = network(), inputs()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    target = torch.tensor([0, 1, 2, 0, 1])
    to_mitchell(model)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        losses.append(nn.functional.cross_entropy(model(x), target))
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < losses[0] / 2


def test_shared_layers_and_tied_weights_stay_shared():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(7, 4)
            self.inner = nn.Linear(4, 4)
            self.again = self.inner
            self.head = nn.Linear(4, 7, bias=False)
            self.head.weight = self.embedding.weight
            self.parts = nn.ModuleDict({"one": nn.ModuleList([self.inner])})

    model = to_mitchell(Tied())
    assert model.inner is model.again is model.parts["one"][0]
    assert type(model.inner) is MitchellLinear
    assert model.head.weight is model.embedding.weight
    from_mitchell(model)
    assert model.inner is model.again is model.parts["one"][0]
    assert type(model.inner) is nn.Linear


def test_some_layers_are_kept():
    model = nn.ModuleDict({"encoder": network(), "head": nn.Linear(3, 2)})
    to_mitchell(model, keep=("head", "encoder.2"))
    kinds = {n: type(m) for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    assert kinds == {"encoder.0": MitchellLinear, "encoder.2": nn.Linear, "head": nn.Linear}
    model = nn.ModuleDict({"encoder": network(), "head": nn.Linear(3, 2)})
    to_mitchell(model, keep=("encoder",))
    assert type(model["encoder"][0]) is nn.Linear
    assert type(model["head"]) is MitchellLinear


def test_a_model_of_one_layer():
    layer = nn.Linear(6, 4)
    made = to_mitchell(layer)
    assert type(made) is MitchellLinear
    assert made.weight is layer.weight
    assert type(from_mitchell(made)) is nn.Linear


def test_subclasses_are_left_alone():
    model = nn.MultiheadAttention(8, 2)
    with pytest.raises(ValueError, match="model is 'MultiheadAttention'; allowed: a model with"):
        to_mitchell(model)
    model = from_mitchell(network())
    assert type(model[0]) is nn.Linear


def test_layers_can_be_copied_and_saved():
    model, x = to_mitchell(network()), inputs()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x), model(x))
    fresh = to_mitchell(network(seed=5))
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x), model(x))


def test_what_is_refused():
    with pytest.raises(ValueError, match="backward is 'ste'"):
        MitchellLinear(2, 2, backward="ste")
    with pytest.raises(ValueError, match="offset is 3"):
        to_mitchell(network(), offset=3)
    with pytest.raises(ValueError, match="keep is 'tail'; allowed: names from model"):
        to_mitchell(network(), keep=("tail",))
    with pytest.raises(ValueError, match=r"allowed: a model with layers of type nn\.Linear"):
        to_mitchell(nn.Sequential(nn.ReLU()))
    model = network()
    with pytest.raises(ValueError, match=r"allowed: a model with layers of type nn\.Linear"):
        to_mitchell(model, keep=("",))
    assert type(model[0]) is nn.Linear
