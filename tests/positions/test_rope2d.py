import pytest
import torch

from kexue.positions import rope2d_angles, rope_angles, rotate


def generator(theta: float, axis: int) -> torch.Tensor:
    """B of the article: R(x, y) = exp(x B1 + y B2) on a block of four features."""
    matrix = torch.zeros(4, 4, dtype=torch.float64)
    matrix[2 * axis, 2 * axis + 1], matrix[2 * axis + 1, 2 * axis] = -theta, theta
    return matrix


def places(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, 2, dtype=torch.float64) * 20


def test_equals_the_exponential_of_the_generators():
    xy = places(7)
    x = torch.randn(7, 4, dtype=torch.float64)
    turned = rotate(x, rope2d_angles(xy, 4))
    for (across, down), before, after in zip(xy, x, turned, strict=True):
        dense = torch.linalg.matrix_exp(across * generator(1.0, 0) + down * generator(1.0, 1))
        torch.testing.assert_close(after, dense @ before, rtol=0, atol=1e-12)


def test_each_half_is_rope_of_its_own_coordinate():
    xy = places(3, 5)
    x = torch.randn(3, 5, 16, dtype=torch.float64)
    turned = rotate(x, rope2d_angles(xy, 16, base=100.0))
    for axis, half in enumerate((slice(0, 8), slice(8, 16))):
        alone = rotate(x[..., half], rope_angles(xy[..., axis], 8, base=100.0))
        torch.testing.assert_close(turned[..., half], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", ["interleaved", "half"])
def test_only_the_difference_of_two_places_counts(layout):
    q, k = torch.randn(2, 32, dtype=torch.float64)
    here, there, shift = places(3)

    def score(a, b):
        turned = (
            rotate(x[None], rope2d_angles(p[None], 32), layout=layout)[0]
            for x, p in ((q, a), (k, b))
        )
        return torch.dot(*turned)

    torch.testing.assert_close(score(here, there), score(here + shift, there + shift))
    zero = torch.zeros(2, dtype=torch.float64)
    torch.testing.assert_close(score(here, there), score(zero, there - here))
    # the sum of the coordinates is not enough, as it would be for R(x + y)
    moved = there + torch.tensor([1.0, -1.0])
    assert not torch.isclose(score(here, there), score(here, moved))


def test_both_coordinates_can_be_read_back():
    xy = torch.rand(20, 2, dtype=torch.float64) * 3
    unit = torch.tensor([1.0, 0, 0, 0, 1.0, 0, 0, 0], dtype=torch.float64).expand(20, 8)
    turned = rotate(unit, rope2d_angles(xy, 8))
    read = torch.stack((turned[:, :2], turned[:, 4:6]), 1)
    torch.testing.assert_close(torch.atan2(read[..., 1], read[..., 0]), xy)


def test_a_token_without_a_place_is_not_turned():
    x = torch.randn(1, 12)
    assert torch.equal(rotate(x, rope2d_angles(torch.zeros(1, 2), 12)), x)


def test_three_coordinates_share_the_features():
    xyz = torch.randn(4, 3, dtype=torch.float64)
    angles = rope2d_angles(xyz, 12)
    expected = torch.cat([rope_angles(xyz[:, axis], 4) for axis in range(3)], -1)
    torch.testing.assert_close(angles, expected)
    assert torch.equal(rope2d_angles(xyz[:, :1], 12), rope_angles(xyz[:, 0], 12))


def test_gradient_reaches_the_coordinates():
    xy = places(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: rope2d_angles(p, 8).cos(), xy)


@pytest.mark.parametrize("dim", [0, -4, 6, 10])
def test_a_width_that_cannot_be_shared_is_refused(dim):
    with pytest.raises(ValueError, match=f"dim is {dim}; allowed: a positive multiple of 4"):
        rope2d_angles(torch.zeros(3, 2), dim)
