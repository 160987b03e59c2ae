import json
import math

import pytest
import torch
from scipy.special import hyp0f1

from kexue.metrics.collapse import CollapseReport, alignment, collapse_report, uniformity


def cloud(count, width, *, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, dtype=torch.float64).to(dtype)


def unit_rows(z):
    return [[x / math.hypot(*row) for x in row] for row in z.double().tolist()]


def cosines(z):
    rows = unit_rows(z)
    return [
        sum(a * b for a, b in zip(rows[i], rows[j], strict=True))
        for i in range(len(rows))
        for j in range(len(rows))
        if i != j
    ]


def definition(z):
    """Standard deviation and mean cosine in loops, effective rank by singular values."""
    rows = unit_rows(z)
    spread = []
    for column in zip(*rows, strict=True):
        mean = sum(column) / len(column)
        spread.append(math.sqrt(sum((x - mean) ** 2 for x in column) / len(column)))
    std = sum(spread) / len(spread) * math.sqrt(len(spread))
    unit = torch.tensor(rows, dtype=torch.float64)
    singular = torch.linalg.svdvals(unit - unit.mean(0)).square()
    shares = [s for s in (singular / singular.sum()).tolist() if s > 0]
    rank = math.exp(-sum(s * math.log(s) for s in shares))
    found = cosines(z)
    return std, rank, sum(found) / len(found)


@pytest.mark.parametrize(("count", "width"), [(2, 3), (40, 7), (7, 40), (30, 1)])
def test_it_is_the_definition(count, width):
    z = cloud(count, width, dtype=torch.float64) + 0.5
    report = collapse_report(z)
    expected = definition(z)
    found = report.std, report.effective_rank, report.mean_cosine
    assert found == pytest.approx(expected, abs=1e-10)
    assert report.texts == count


def test_an_even_spread():
    report = collapse_report(cloud(20000, 16))
    assert report.std == pytest.approx(1, abs=0.01)
    assert report.effective_rank == pytest.approx(16, abs=0.05)
    assert report.mean_cosine == pytest.approx(0, abs=0.001)


@pytest.mark.parametrize("directions", [1, 2, 5])
def test_few_directions_are_seen_in_the_rank(directions):
    """Vectors in a subspace: the standard deviation does not tell, the rank does."""
    z = cloud(5000, directions) @ torch.linalg.qr(cloud(16, directions, seed=1))[0].T
    report = collapse_report(z)
    assert report.effective_rank == pytest.approx(directions, rel=0.02)
    assert report.std > 0.3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_point_is_seen_in_all_figures(dtype):
    z = torch.full((50, 8), 0.3).to(dtype) * torch.arange(1, 51)[:, None].to(dtype)
    report = collapse_report(z)
    limit = 1e-6 if dtype in (torch.float64, torch.float32) else 0.01
    assert report.std < limit
    assert report.mean_cosine > 1 - limit
    exact = collapse_report(cloud(1, 8, dtype=dtype).expand(50, 8))
    assert exact.effective_rank == 0.0
    near = collapse_report(cloud(1, 8) + 1e-3 * cloud(500, 8, seed=1))
    assert near.std < 0.01
    assert near.effective_rank > 5


def test_lengths_and_turns_change_nothing():
    z = cloud(60, 9, dtype=torch.float64) + 1
    report = collapse_report(z).to_dict()
    lengths = torch.rand(60, 1, dtype=torch.float64) + 0.1
    assert collapse_report(z * lengths).to_dict() == pytest.approx(report, abs=1e-10)
    turn = torch.linalg.qr(cloud(9, 9, dtype=torch.float64))[0]
    turned = collapse_report(z @ turn)
    assert turned.effective_rank == pytest.approx(report["effective_rank"], abs=1e-9)
    assert turned.mean_cosine == pytest.approx(report["mean_cosine"], abs=1e-10)


def test_one_text():
    report = collapse_report(cloud(1, 4))
    assert (report.std, report.effective_rank) == (0.0, 0.0)
    assert math.isnan(report.mean_cosine)


def test_the_report_is_plain_data():
    report = collapse_report(cloud(5, 3).requires_grad_())
    assert isinstance(report, CollapseReport)
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    assert str(report).startswith("5 texts: std 0.")
    with pytest.raises(AttributeError):
        report.std = 1.0


def test_alignment_and_uniformity_are_their_definitions():
    x, y = cloud(20, 5, dtype=torch.float64), cloud(20, 5, seed=1, dtype=torch.float64)
    pairs = zip(unit_rows(x), unit_rows(y), strict=True)
    apart = [sum((a - b) ** 2 for a, b in zip(*pair, strict=True)) for pair in pairs]
    assert alignment(x, 3 * y) == pytest.approx(sum(apart) / 20, abs=1e-12)
    assert alignment(x, x) == pytest.approx(0, abs=1e-12)
    assert alignment(x, -x) == pytest.approx(4, abs=1e-12)
    near = [math.exp(-2 * (2 - 2 * c)) for c in cosines(x)]
    assert uniformity(x) == pytest.approx(math.log(sum(near) / len(near)), abs=1e-12)
    near = [math.exp(-0.5 * (2 - 2 * c)) for c in cosines(x)]
    assert uniformity(7 * x, t=0.5) == pytest.approx(math.log(sum(near) / len(near)), abs=1e-12)


@pytest.mark.parametrize(("width", "figure"), [(3, -2.0798), (64, -3.8752)])
def test_uniformity_of_an_even_spread_is_known_exactly(width, figure):
    exact = -4 + math.log(hyp0f1(width / 2, 4))
    assert exact == pytest.approx(figure, abs=1e-4)
    assert uniformity(cloud(5000, width)) == pytest.approx(exact, abs=0.01)


def test_blocks_of_pairs_change_nothing(monkeypatch):
    x = cloud(50, 4, dtype=torch.float64)
    whole = uniformity(x)
    monkeypatch.setattr("kexue.metrics.collapse._BLOCK", 50 * 7)
    assert uniformity(x) == pytest.approx(whole, abs=1e-12)


def test_uniformity_is_zero_in_a_point_and_falls_with_the_spread():
    centre = cloud(1, 8)
    figures = [uniformity(centre + s * cloud(200, 8, seed=1)) for s in (0.0, 0.1, 0.5, 5.0)]
    assert figures[0] == pytest.approx(0, abs=1e-5)
    assert figures == sorted(figures, reverse=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: collapse_report(torch.zeros(3)), r"z is \(3,\); allowed: \[N, D\]"),
        (lambda: collapse_report(torch.zeros(0, 3)), "at least one vector"),
        (lambda: collapse_report(torch.full((2, 2), torch.nan)), "z is 'not finite'"),
        (lambda: uniformity(torch.ones(1, 2)), "x is '1 vector'; allowed: two or more"),
        (lambda: alignment(torch.ones(1, 2), torch.ones(2, 2)), r"y is \(2, 2\)"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
