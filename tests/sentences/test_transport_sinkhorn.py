import numpy as np
import pytest
import torch

from kexue.sentences.transport import emd
from kexue.sentences.transport_sinkhorn import sinkhorn


def batch(n=6, m=4, *, size=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    shapes = (size, n, m), (size, n), (size, m)
    cost, p, q = (torch.rand(*s, generator=random, dtype=torch.float64) + 0.05 for s in shapes)
    return cost, p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)


def entropy(p):
    return -(p * p.log()).sum(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_it_is_the_regularised_minimum(temperature):
    ot = pytest.importorskip("ot", reason="POT is not installed")
    cost, p, q = batch()
    found = sinkhorn(cost, p, q, temperature=temperature, tolerance=1e-10, iterations=10**5)
    for value, c, a, b in zip(found, cost, p, q, strict=True):
        options = {"method": "sinkhorn_log", "stopThr": 1e-12, "numItermax": 10**5}
        plan = ot.sinkhorn(a.numpy(), b.numpy(), c.numpy(), temperature, **options)
        surprise = plan * np.log(plan / np.outer(a, b))
        expected = (plan * c.numpy()).sum() + temperature * surprise.sum()
        assert value.item() == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("temperature", [0.5, 0.05, 0.005])
def test_it_lies_between_the_exact_value_and_that_plus_the_entropy(temperature):
    cost, p, q = batch(8, 8)
    found = sinkhorn(cost, p, q, temperature=temperature, tolerance=1e-8, iterations=10**5)
    exact = torch.stack([emd(*given) for given in zip(cost, p, q, strict=True)])
    most = temperature * torch.minimum(entropy(p), entropy(q))
    assert (found >= exact - 1e-7).all()
    assert (found <= exact + most + 1e-7).all()


def test_it_tends_to_the_exact_value():
    cost, p, q = batch()
    exact = torch.stack([emd(*given) for given in zip(cost, p, q, strict=True)])
    gaps = [
        (sinkhorn(cost, p, q, temperature=t, iterations=10**5) - exact).max().item()
        for t in (0.3, 0.1, 0.03, 0.01)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.01


def test_gradients():
    leaves = [leaf.requires_grad_() for leaf in batch(4, 3, size=2)]
    options = {"temperature": 0.2, "tolerance": 1e-13, "iterations": 10**4}
    assert torch.autograd.gradcheck(lambda *given: sinkhorn(*given, **options), leaves)


def test_the_gradient_by_the_costs_is_a_plan():
    cost, p, q = batch()
    cost.requires_grad_()
    (plan,) = torch.autograd.grad(sinkhorn(cost, p, q, tolerance=1e-9).sum(), cost)
    torch.testing.assert_close(plan.sum(-1), p, atol=1e-8, rtol=0)
    torch.testing.assert_close(plan.sum(-2), q, atol=1e-8, rtol=0)


@pytest.mark.parametrize("tolerance", [1e-1, 1e-2, 1e-3])
def test_the_iteration_goes_on_until_the_plan_is_as_exact_as_asked(tolerance):
    cost, p, q = batch(12, 12)
    cost.requires_grad_()
    value = sinkhorn(cost, p, q, temperature=0.003, tolerance=tolerance, iterations=10**5)
    (plan,) = torch.autograd.grad(value.sum(), cost)
    off = (plan.sum(-2) - q).abs().sum(-1).max()
    assert tolerance / 20 < off < tolerance


def test_padding_takes_no_part_and_may_hold_anything():
    cost, p, q = batch()
    expected = sinkhorn(cost[:, :4, :3], p[:, :4], q[:, :3])
    cost[:, 4:], cost[:, :, 3:] = torch.nan, torch.inf
    p[:, 4:], q[:, 3:] = 0, 0
    leaves = [leaf.requires_grad_() for leaf in (cost, p, q)]
    found = sinkhorn(*leaves)
    torch.testing.assert_close(found, expected)
    slopes = torch.autograd.grad(found.sum(), leaves)
    assert all(slope.isfinite().all() for slope in slopes)
    assert not slopes[0][:, 4:].any()


def test_a_batch_is_each_of_its_problems():
    cost, p, q = batch(size=4)
    whole = sinkhorn(cost, p, q, tolerance=1e-10)
    alone = torch.stack([sinkhorn(*g, tolerance=1e-10) for g in zip(cost, p, q, strict=True)])
    torch.testing.assert_close(whole, alone)
    square = [given.unflatten(0, (2, 2)) for given in (cost, p, q)]
    torch.testing.assert_close(sinkhorn(*square, tolerance=1e-10), whole.view(2, 2))


def test_a_small_temperature_stays_finite_in_float32():
    cost, p, q = (given.float() for given in batch())
    # Costs of 400 temperatures: their exponentials are 0 in float32
    found = sinkhorn(1000 * cost, p, q, temperature=2.5, iterations=10**4, tolerance=1e-3)
    assert found.isfinite().all()
    exact = torch.stack([emd(*given) for given in zip(1000 * cost, p, q, strict=True)])
    torch.testing.assert_close(found, exact, atol=2.5 * np.log(6), rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_results_are_at_least_single_precision(dtype):
    cost, p, q = (given.to(dtype) for given in batch())
    found = sinkhorn(cost, p, q)
    assert found.dtype == torch.promote_types(dtype, torch.float32)
    exact = sinkhorn(cost.double(), p.double(), q.double())
    torch.testing.assert_close(found.double(), exact, atol=1e-4, rtol=1e-4)


def test_an_unfinished_iteration_is_told():
    cost, p, q = batch()
    with pytest.warns(UserWarning, match="still off by .* after 3 iterations: raise iterations="):
        sinkhorn(cost, p, q, temperature=1e-3, iterations=3)


def test_inputs_are_not_written_to():
    given = batch()
    copies = [tensor.clone() for tensor in given]
    sinkhorn(*given)
    assert all(map(torch.equal, given, copies))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0; allowed: a positive number"),
        ({"iterations": 0}, "iterations is 0; allowed: 1 or more"),
        ({"p": torch.ones(3, 5)}, r"cost is \(3, 6, 4\); allowed: p \(3, 5\) by q \(3, 4\)"),
        ({"q": torch.ones(2, 4)}, "cost is "),
        ({"p": torch.zeros(3, 6)}, "p is .* not all 0.* Leave empty texts out"),
        ({"q": -torch.ones(3, 4)}, "q is "),
    ],
)
def test_mistakes_are_explained(change, message):
    given = dict(zip(("cost", "p", "q"), batch(), strict=True)) | change
    with pytest.raises(ValueError, match=message):
        sinkhorn(given.pop("cost"), given.pop("p"), given.pop("q"), **given)
