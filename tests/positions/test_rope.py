import math

import pytest
import torch

from kexue.positions import rope_angles, rotate


def dense_rotation(position: float, dim: int, base: float, layout: str) -> torch.Tensor:
    """The rotation as a D x D matrix, written entry by entry."""
    matrix = torch.zeros(dim, dim, dtype=torch.float64)
    for t in range(dim // 2):
        angle = position * base ** (-2 * t / dim)
        a, b = (2 * t, 2 * t + 1) if layout == "interleaved" else (t, t + dim // 2)
        matrix[a, a] = matrix[b, b] = math.cos(angle)
        matrix[a, b], matrix[b, a] = -math.sin(angle), math.sin(angle)
    return matrix


@pytest.mark.parametrize("layout", ["interleaved", "half"])
@pytest.mark.parametrize("dim", [2, 6, 16])
@pytest.mark.parametrize("base", [10000.0, 100.0])
def test_equals_dense_rotation_matrices(layout, dim, base):
    positions = torch.tensor([0.0, 1.0, 2.5, 511.0], dtype=torch.float64)
    x = torch.randn(3, 4, dim, dtype=torch.float64)
    turned = rotate(x, rope_angles(positions, dim, base=base), layout=layout)
    for p, position in enumerate(positions.tolist()):
        expected = x[:, p] @ dense_rotation(position, dim, base, layout).T
        torch.testing.assert_close(turned[:, p], expected, rtol=0, atol=1e-12)


def test_gradient_is_the_inverse_rotation():
    x = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    angles = rope_angles(torch.arange(5, dtype=torch.float64), 8)
    upstream = torch.randn(5, 8, dtype=torch.float64)
    rotate(x, angles).backward(upstream)
    torch.testing.assert_close(x.grad, rotate(upstream, -angles))
    assert torch.autograd.gradcheck(
        lambda t: rotate(t, angles, layout="half"), x.detach().requires_grad_()
    )


@pytest.mark.parametrize("shift", [7, 100])
def test_inner_product_depends_on_distance_only(shift):
    q, k = torch.randn(2, 1, 64, dtype=torch.float64)
    near = torch.arange(20, dtype=torch.float64)

    def scores(offset):
        angles = rope_angles(near + offset, 64)
        return rotate(q.expand(20, 64), angles) @ rotate(k.expand(20, 64), angles).T

    torch.testing.assert_close(scores(0), scores(shift), rtol=0, atol=1e-12)
    assert not torch.allclose(scores(0)[0, 1], scores(0)[0, 5])


def test_layouts_differ_by_a_permutation():
    x = torch.randn(4, 8, dtype=torch.float64)
    angles = rope_angles(torch.arange(4, dtype=torch.float64), 8)
    order = [0, 4, 1, 5, 2, 6, 3, 7]  # interleaved slot -> slot in the half layout
    half = rotate(x, angles, layout="half")
    torch.testing.assert_close(half[:, order], rotate(x[:, order], angles))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_is_kept(dtype):
    x = torch.randn(4, 8).to(dtype)
    assert rotate(x, rope_angles(torch.arange(4), 8)).dtype == dtype


def test_errors_say_what_to_type():
    with pytest.raises(ValueError, match="positive even"):
        rope_angles(torch.arange(3), 5)
    with pytest.raises(ValueError, match="'interleaved' or 'half'"):
        rotate(torch.zeros(3, 4), torch.zeros(3, 2), layout="neox")
    with pytest.raises(ValueError, match=r"Use rope_angles\(positions, 4\)"):
        rotate(torch.zeros(3, 4), torch.zeros(3, 3))
