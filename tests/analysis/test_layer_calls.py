import pytest
import torch
from torch import nn

from kexue.analysis.layer_calls import LayerCalls
from kexue.analysis.layer_gradients import LinearGradients, RowGradients, TokenGradients


def watch(model, x):
    with LayerCalls(model, dict(model.named_parameters())) as calls:
        parts = calls.gradients(model(x))
    return calls, parts


def test_the_factors_of_one_layer_make_its_gradient():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = torch.randn(5, 3)
    calls, parts = watch(model, x)
    assert calls.covered == set(dict(model.named_parameters()))
    assert [type(part) for part in parts] == [LinearGradients] * 2
    for example in range(5):
        for output in range(2):
            expected = torch.autograd.grad(model(x)[example, output], list(model.parameters()))
            first = parts[0].slopes[example, output].T @ parts[0].inputs[example]
            torch.testing.assert_close(first, torch.column_stack(expected[:2]))


def test_a_bias_alone_has_rows():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    with LayerCalls(model, {"0.bias": model[0].bias}) as calls:
        parts = calls.gradients(model(torch.randn(5, 3)))
    assert [type(part) for part in parts] == [RowGradients]
    assert parts[0].rows.shape == (5, 2, 4)


def test_the_hooks_are_taken_off_even_after_an_error():
    model = nn.Sequential(nn.Linear(3, 4))
    with pytest.raises(RuntimeError), LayerCalls(model, {}):
        model(torch.ones(1, 7))
    assert not model[0]._forward_hooks


def test_a_layer_without_parameters_to_train_is_passed_over():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    wanted = {name: value for name, value in model.named_parameters() if value.requires_grad}
    with LayerCalls(model, wanted) as calls:
        parts = calls.gradients(model(torch.ones(2, 3)))
    assert calls.covered == {"1.weight", "1.bias"}
    assert len(parts) == 1


class Odd(nn.Module):
    """A layer that is used in all the ways that cannot be covered."""

    def __init__(self, way):
        super().__init__()
        self.way, self.layer = way, nn.Linear(4, 4)

    def forward(self, x):
        if self.way == "not called":
            return x @ self.layer.weight
        if self.way == "used otherwise":
            return self.layer(x) + self.layer.weight.sum()
        if self.way == "examples not first":
            return self.layer(x.reshape(1, -1, 4)).view(-1, 4)
        return self.layer(input=x)


@pytest.mark.parametrize(
    "way", ["not called", "used otherwise", "examples not first", "called by keyword"]
)
def test_other_uses_are_not_covered(way):
    calls, _ = watch(Odd(way), torch.randn(3, 4))
    assert "layer.weight" not in calls.covered


def test_a_table_that_two_layers_share_is_not_covered():
    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(4, 7))
    model[2].weight = model[0].weight
    calls, parts = watch(model, torch.tensor([[1], [2]]))
    assert calls.covered == {"2.bias"}
    assert len(parts) == 1


def test_a_layer_called_twice_has_the_places_of_both_calls():
    layer = nn.Linear(4, 4)
    _, parts = watch(nn.Sequential(layer, nn.Tanh(), layer), torch.randn(3, 4))
    assert parts[0].inputs.shape == (3, 2, 5), "and a 1 for the bias"


def test_padding_is_not_learnt_from():
    model = nn.Sequential(nn.Embedding(7, 4, padding_idx=0), nn.Flatten())
    _, parts = watch(model, torch.tensor([[1, 0], [2, 3]]))
    assert isinstance(parts[0], TokenGradients)
    assert parts[0].ids.tolist() == [[1, -1], [2, 3]]


class Overwriting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        y = x * 2
        z = self.layer(y)
        y += 1
        return z


def test_an_input_that_is_written_over_is_named():
    model = Overwriting()
    wanted = {"layer.bias": model.layer.bias}
    model.layer.weight.requires_grad_(False)
    with (
        pytest.raises(ValueError, match="writes over the input"),
        LayerCalls(model, wanted) as calls,
    ):
        calls.gradients(model(torch.ones(2, 4)))


def test_activations_in_place_do_no_harm():
    torch.manual_seed(0)
    x = torch.randn(5, 3)
    plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    inplace = nn.Sequential(plain[0], nn.ReLU(inplace=True), plain[2])
    for one, two in zip(watch(plain, x)[1], watch(inplace, x)[1], strict=True):
        for a, b in zip(one, two, strict=True):
            assert torch.equal(a, b)
