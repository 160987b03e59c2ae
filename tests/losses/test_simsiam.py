import math

import pytest
import torch

from kexue.losses.simsiam import simsiam_loss


def definition(p, z):
    cosines = []
    for a, b in zip(p.double().tolist(), z.double().tolist(), strict=True):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        cosines.append(dot / (math.hypot(*a) * math.hypot(*b)))
    return -sum(cosines) / len(cosines)


def views(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 6, 5, generator=generator, dtype=torch.float64).to(dtype).unbind()


def test_it_is_the_definition():
    p, z = views()
    assert simsiam_loss(p, z).item() == pytest.approx(definition(p, z), abs=1e-14)
    p, z = p.reshape(2, 3, 5), z.reshape(2, 3, 5)
    assert simsiam_loss(p, z).item() == pytest.approx(definition(*views()), abs=1e-14)


def test_no_gradient_flows_to_the_target():
    p, z = (x.requires_grad_() for x in views())
    simsiam_loss(p, z).backward()
    assert z.grad is None
    assert torch.autograd.gradcheck(lambda p: simsiam_loss(p, z), p)
    assert torch.autograd.gradcheck(lambda p, z: simsiam_loss(p, z, stop_gradient=False), (p, z))


def test_the_gradient_by_the_prediction_is_that_of_the_formula():
    p, z = views()
    leaf = p.clone().requires_grad_()
    simsiam_loss(leaf, z).backward()
    other = p.clone().requires_grad_()
    (-(other * z).sum(1) / (other.norm(dim=1) * z.norm(dim=1))).mean().backward()
    torch.testing.assert_close(leaf.grad, other.grad, rtol=1e-12, atol=1e-14)


def test_the_distance_of_unit_vectors_is_the_same_loss():
    """BYOL's |p - z|^2 is 2 + 2 L."""
    p, z = views()
    unit = [x / x.norm(dim=1, keepdim=True) for x in (p, z)]
    distance = (unit[0] - unit[1]).square().sum(1).mean()
    torch.testing.assert_close(distance, 2 + 2 * simsiam_loss(p, z))


def test_a_point_is_an_optimum():
    """Collapse is the least loss there is: something else has to keep an encoder from it."""
    p, z = views()
    point = torch.ones(6, 5, dtype=torch.float64)
    assert simsiam_loss(point, 3 * point).item() == pytest.approx(-1)
    assert simsiam_loss(p, z) > -1
    assert simsiam_loss(p, -p).item() == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    p, z = views(dtype)
    leaf = p.requires_grad_()
    loss = simsiam_loss(leaf, z)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(definition(leaf.detach(), z), abs=1e-5)
    loss.backward()
    assert leaf.grad.dtype == dtype


def test_vectors_of_zeros_stay_finite():
    leaf = torch.zeros(2, 4).requires_grad_()
    loss = simsiam_loss(leaf, torch.ones(2, 4))
    loss.backward()
    assert loss == 0
    assert leaf.grad.isfinite().all()


def test_an_error_says_what_to_type():
    with pytest.raises(ValueError, match=r"z is \(3, 4\); allowed: the shape of p \(2, 4\)"):
        simsiam_loss(torch.ones(2, 4), torch.ones(3, 4))
