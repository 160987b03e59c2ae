import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, jacrev, vmap

from kexue.analysis.tangent_kernel import tangent_features, tangent_kernel


def by_definition(model, x, y):
    """Inner products of gradients that are taken one example and one output at a time."""

    def rows(inputs):
        values = [value for value in model.parameters() if value.requires_grad]
        options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        with torch.enable_grad():
            return torch.stack(
                [
                    torch.stack(
                        [
                            torch.cat(
                                [g.flatten() for g in torch.autograd.grad(o, values, **options)]
                            )
                            for o in model(one[None]).flatten()
                        ]
                    )
                    for one in inputs
                ]
            )

    return torch.einsum("ncp,mdp->nmcd", rows(x), rows(y))


class Texts(nn.Module):
    """Everything at once: a table that is also a head, attention, norms, a layer called twice."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 6, padding_idx=0)
        self.norm = nn.LayerNorm(6)
        self.attention = nn.TransformerEncoderLayer(6, 2, 12, dropout=0, batch_first=True)
        self.twice = nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.tensor(0.7))
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids):
        hidden = self.attention(self.norm(self.table(ids)))
        hidden = self.twice(self.scale * self.twice(hidden).tanh())
        return self.head(hidden).mean(1)[:, :3]


def models():
    torch.manual_seed(0)
    yield (
        "scalar",
        nn.Sequential(nn.Linear(4, 9), nn.GELU(), nn.Linear(9, 1), nn.Flatten(0)),
        lambda n: torch.randn(n, 4).double(),
    )
    yield (
        "in place, three outputs",
        nn.Sequential(nn.Linear(4, 9), nn.ReLU(inplace=True), nn.LayerNorm(9), nn.Linear(9, 3)),
        lambda n: torch.randn(n, 4).double(),
    )
    yield (
        "torch.func cannot map this",
        nn.Sequential(nn.Linear(4, 6), nn.PReLU(), nn.Linear(6, 2, bias=False)),
        lambda n: torch.randn(n, 4).double(),
    )
    yield (
        "pictures",
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2)),
        lambda n: torch.randn(n, 1, 5, 5).double(),
    )
    yield "texts", Texts(), lambda n: torch.randint(0, 11, (n, 5))
    yield "texts, evaluated", Texts().eval(), lambda n: torch.randint(0, 11, (n, 5))


@pytest.mark.parametrize(
    ("name", "model", "draw"), list(models()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_the_kernel_is_that_of_the_gradients(name, model, draw):
    model = model.double()
    x, y = draw(4), draw(3)
    found, expected = tangent_kernel(model, x, y), by_definition(model, x, y)
    if found.ndim == 2:
        found = found[..., None, None]
    torch.testing.assert_close(found, expected)


def test_torch_func_gives_the_same():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 2)
    )
    x = torch.randn(6, 8)
    values = {name: value.detach() for name, value in model.named_parameters()}
    rows = vmap(jacrev(lambda p, one: functional_call(model, p, (one,))), (None, 0))(values, x)
    jacobian = torch.cat([row.flatten(2) for row in rows.values()], 2)
    expected = torch.einsum("ncp,mdp->nmcd", jacobian, jacobian)
    torch.testing.assert_close(tangent_kernel(model, x), expected)


def test_no_gradient_of_one_example_is_formed():
    model = nn.Sequential(nn.Linear(30, 50), nn.Tanh(), nn.Linear(50, 1), nn.Flatten(0))
    parts = tangent_features(model, torch.randn(7, 30)).parts
    largest = max(tensor.numel() for part in parts for tensor in part)
    assert largest == 7 * 51 < 7 * 30 * 50


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), examples=st.integers(1, 6), outputs=st.integers(1, 3))
def test_the_kernel_of_a_set_is_symmetric_and_not_negative(seed, examples, outputs):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, outputs)).double()
    kernel = tangent_kernel(model, torch.randn(examples, 3).double())
    assert kernel.shape == (examples, examples, outputs, outputs)
    flat = kernel.transpose(1, 2).flatten(0, 1).flatten(1)
    torch.testing.assert_close(flat, flat.T)
    assert torch.linalg.eigvalsh(flat).min() > -1e-10


def test_it_says_what_a_small_step_does():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0)).double()
    x, y = torch.randn(4, 3).double(), torch.randn(1, 3).double()
    values, rate = dict(model.named_parameters()), 1e-6
    slopes = torch.autograd.grad(model(y).sum(), list(values.values()))
    moved = {n: v + rate * s for (n, v), s in zip(values.items(), slopes, strict=True)}
    change = (functional_call(model, moved, (x,)) - model(x)) / rate
    torch.testing.assert_close(tangent_kernel(model, x, y)[:, 0], change, rtol=1e-4, atol=1e-4)


def test_parameters_may_be_given():
    torch.manual_seed(0)
    one, two = (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)) for _ in range(2))
    x = torch.randn(5, 3)
    found = tangent_kernel(one, x, parameters=dict(two.named_parameters()))
    torch.testing.assert_close(found, tangent_kernel(two, x))
    first = tangent_features(one, x)
    mixed = first.inner(tangent_features(two, x))
    assert not torch.allclose(mixed, found)
    torch.testing.assert_close(mixed, tangent_features(two, x).inner(first).transpose(0, 1).mT)


def test_frozen_parameters_do_not_count():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.PReLU(), nn.Linear(4, 2)).double()
    model[0].requires_grad_(False)
    model[1].requires_grad_(False)
    x = torch.randn(5, 3).double()
    torch.testing.assert_close(tangent_kernel(model, x), by_definition(model, x, x))


def test_the_model_is_left_alone():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    before = [value.clone() for value in model.parameters()]
    with torch.no_grad():
        kernel = tangent_kernel(model, torch.randn(5, 3))
        assert not torch.is_grad_enabled()
    assert not kernel.requires_grad
    for value, old in zip(model.parameters(), before, strict=True):
        assert value.grad is None
        assert value.requires_grad
        assert torch.equal(value, old)
    assert not model[0]._forward_hooks


def test_what_is_no_output_is_refused():
    with pytest.raises(ValueError, match=r"gives \(4, 2, 3\) for 4 examples.*Flatten"):
        tangent_kernel(nn.Linear(3, 3), torch.randn(4, 2, 3))
    with pytest.raises(ValueError, match=r"gives \(2, 4\) for 4 examples"):
        tangent_kernel(
            nn.Sequential(nn.Linear(3, 2), nn.Unflatten(0, (1, 4)), nn.Flatten(0, 1), Turn()),
            torch.randn(4, 3),
        )


class Turn(nn.Module):
    def forward(self, x):
        return x.T


def test_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="without parameters to train"):
        tangent_kernel(nn.Linear(3, 3).requires_grad_(False), torch.randn(4, 3))
