import pytest
import torch

from kexue.numerics import scan_orders
from kexue.numerics.scan_orders import scale_rows, scan_diagonals, scan_matrices

LENGTHS = [1, 2, 3, 7, 8, 63, 64, 65, 700]


def loop(matrices, offsets, start):
    """The definition."""
    states = []
    for matrix, offset in zip(matrices, offsets, strict=True):
        start = (matrix @ start.unsqueeze(-1)).squeeze(-1) + offset
        states.append(start)
    return torch.stack(states)


def draw(times, *batch, width, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    options = {"dtype": dtype, "generator": generator}
    matrices = torch.randn(times, *batch, width, width, **options) * 0.7 / width**0.5
    return (
        matrices,
        torch.randn(times, *batch, width, **options),
        torch.randn(*batch, width, **options),
    )


@pytest.mark.parametrize("times", LENGTHS)
@pytest.mark.parametrize("width", [1, 2, 3, 6, 7, 12])
def test_matrices_equal_the_loop(times, width):
    """Both layouts, and the change from planes to batched products inside one scan."""
    problem = draw(times, 2, width=width)
    assert torch.allclose(scan_matrices(*problem), loop(*problem), rtol=0, atol=1e-13)


@pytest.mark.parametrize("times", LENGTHS)
def test_diagonals_equal_the_loop(times):
    matrices, offsets, start = draw(times, 2, 3, width=4)
    factors = matrices.diagonal(dim1=-2, dim2=-1)
    expected = loop(factors.diag_embed(), offsets, start)
    assert torch.allclose(scan_diagonals(factors, offsets, start), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3)])
def test_any_batch_axes(batch):
    problem = draw(1100, *batch, width=3)
    found = scan_matrices(*problem)
    assert found.shape == (1100, *batch, 3)
    assert torch.allclose(found, loop(*problem), rtol=0, atol=1e-13)


def test_the_layouts_agree(monkeypatch):
    problem = draw(5000, width=4, dtype=torch.float32)
    planes = scan_matrices(*problem)
    monkeypatch.setattr(scan_orders, "_PLANES_UP_TO", 0)
    batched = scan_matrices(*problem)
    assert not torch.equal(planes, batched), "the same code has run twice"
    assert torch.allclose(planes, batched, atol=1e-5)


def test_planes_are_read_where_they_lie():
    """Views of [D, D, T, N], broadcast and flipped matrices give what contiguous ones give."""
    matrices, offsets, start = draw(700, 2, width=3)
    planes = matrices.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    assert planes.stride() != matrices.stride()
    expected = scan_matrices(matrices, offsets, start)
    assert torch.equal(scan_matrices(planes, offsets, start), expected)
    same = matrices[:1].expand(700, 2, 3, 3)
    assert torch.equal(
        scan_matrices(same, offsets, start), scan_matrices(same.clone(), offsets, start)
    )


def test_states_before_a_bad_one_are_not_touched_by_it():
    """Causality, also of infinite numbers: what comes later does not matter."""
    matrices, offsets, start = draw(1200, width=2)
    clean = scan_matrices(matrices, offsets, start)
    matrices[801], offsets[801] = torch.inf, torch.nan
    found = scan_matrices(matrices, offsets, start)
    assert torch.equal(found[:801], clean[:801])
    assert found[801:].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex64])
def test_dtypes_are_kept_and_sums_taken_wide(dtype):
    wide = torch.complex128 if dtype.is_complex else torch.float64
    problem = [x.to(dtype) for x in draw(900, width=2, dtype=torch.float64)]
    expected = loop(*[x.to(wide) for x in problem])
    found = scan_matrices(*problem)
    assert found.dtype == dtype
    rounding = {torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(dtype, 1e-5)
    assert ((found.to(wide) - expected).abs() / (1 + expected.abs())).max() < rounding
    factors = [problem[0][..., 0], problem[1], problem[2]]
    expected = loop(factors[0].to(wide).diag_embed(), *[x.to(wide) for x in factors[1:]])
    found = scan_diagonals(*factors)
    assert found.dtype == dtype
    assert ((found.to(wide) - expected).abs() / (1 + expected.abs())).max() < rounding


def test_no_times_give_no_states():
    matrices, offsets, start = draw(3, width=2)
    assert scan_matrices(matrices[:0], offsets[:0], start).shape == (0, 2)
    assert scan_diagonals(offsets[:0], offsets[:0], start).shape == (0, 2)


def test_inputs_are_left_alone():
    problem = draw(900, width=3)
    copies = [x.clone() for x in problem]
    scan_matrices(*problem)
    scan_diagonals(problem[0][..., 0], *problem[1:])
    for x, copy in zip(problem, copies, strict=True):
        assert torch.equal(x, copy)


@pytest.mark.parametrize("width", [1, 3, 6, 7, 9])
def test_scaled_rows_are_products_with_diagonal_matrices(width):
    generator = torch.Generator().manual_seed(width)
    parts = [
        (
            torch.randn(5, 2, width, generator=generator),
            torch.randn(width, width, generator=generator),
        )
        for _ in range(3)
    ]
    expected = sum(factors.diag_embed() @ matrix for factors, matrix in parts)
    found = scale_rows(parts)
    assert found.shape == (5, 2, width, width)
    assert torch.allclose(found, expected, atol=1e-6)
    in_planes = found.permute(2, 3, 0, 1).is_contiguous()
    assert in_planes == (width <= scan_orders._PLANES_UP_TO)
