import math

import pytest
import torch

from kexue.positions import rerope_distance, rerope_scores, rope_angles, rotate

MAPS = {
    "ReRoPE": (5, 0.0),
    "ReRoPE, window 1": (1, 0.0),
    "Leaky": (5, 1 / 4),
    "Leaky, window of no whole tokens": (4.5, 1 / 3),
    "Inverse Leaky": (5, 16.0),
    "RoPE by its step": (5, 1.0),
    "RoPE by its window": (40, 0.0),
    "interpolation": (0, 1 / 8),
}
each_map = pytest.mark.parametrize(("window", "step"), MAPS.values(), ids=MAPS)


def distance(r: float, window: float, step: float) -> float:
    """The definition, for one distance."""
    if r < 0:
        return -distance(-r, window, step)
    return r if r < window else window + (r - window) * step


def rotation(position: float, dim: int, base: float, layout: str) -> torch.Tensor:
    matrix = torch.zeros(dim, dim, dtype=torch.float64)
    for t in range(dim // 2):
        angle = position * base ** (-2 * t / dim)
        a, b = (2 * t, 2 * t + 1) if layout == "interleaved" else (t, t + dim // 2)
        matrix[a, a] = matrix[b, b] = math.cos(angle)
        matrix[a, b], matrix[b, a] = -math.sin(angle), math.sin(angle)
    return matrix


def dense_scores(q, k, *, window, step, causal=True, base=10000.0, layout="interleaved"):
    """Every pair with the rotation matrix of its own distance."""
    length, dim = q.shape[-2:]
    rows = []
    for i in range(length):
        row = []
        for j in range(length):
            turn = rotation(distance(i - j, window, step), dim, base, layout)
            score = torch.einsum("...d,de,...e", q[..., i, :], turn.T, k[..., j, :]) / dim**0.5
            row.append(torch.full_like(score, -math.inf) if causal and j > i else score)
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)


def vectors(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.randn(2, *shape, dtype=torch.float64))


@each_map
def test_distance_equals_its_definition(window, step):
    r = torch.cat((torch.arange(-20.0, 20), torch.rand(50) * 40 - 20)).double()
    expected = torch.tensor([distance(x, window, step) for x in r.tolist()], dtype=torch.float64)
    torch.testing.assert_close(rerope_distance(r, window=window, step=step), expected)


@each_map
def test_scores_equal_dense_rotations_by_the_mapped_distance(window, step):
    q, k = vectors(2, 12, 8)
    for causal in (True, False):
        scores = rerope_scores(q, k, window=window, step=step, causal=causal)
        expected = dense_scores(q, k, window=window, step=step, causal=causal)
        torch.testing.assert_close(scores, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", ["interleaved", "half"])
def test_base_layout_and_scale(layout):
    q, k = vectors(9, 6)
    options = {"window": 3, "step": 0.5, "base": 50.0, "layout": layout}
    scores = rerope_scores(q, k, scale=2.0, **options)
    expected = dense_scores(q, k, **options) * (2 * 6**0.5)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-12)


def test_whole_numbers_and_half_precision_give_usable_distances():
    assert rerope_distance(torch.arange(3), window=2, step=0.5).dtype == torch.float32
    half = rerope_distance(torch.tensor([9.0]).half(), window=2, step=0.5)
    assert half.dtype == torch.float32
    assert half.item() == 5.5


@each_map
def test_the_map_is_odd_rising_and_unbroken_at_the_window(window, step):
    r = torch.linspace(-30, 30, 241, dtype=torch.float64)
    mapped = rerope_distance(r, window=window, step=step)
    assert torch.equal(mapped, -mapped.flip(0))
    assert (mapped.diff() >= 0).all()
    assert mapped.diff().max() <= 0.25 * max(1, step) + 1e-12
    edge = torch.tensor([float(window)], dtype=torch.float64)
    assert rerope_distance(edge, window=window, step=step) == edge


def test_the_map_has_the_slopes_of_its_branches():
    r = torch.tensor([-9.0, 0.0, 3.0, 9.0], requires_grad=True)
    rerope_distance(r, window=4, step=0.25).sum().backward()
    assert r.grad.tolist() == [0.25, 1.0, 1.0, 0.25]


@pytest.mark.parametrize(("window", "step"), [(12, 0.0), (100, 0.3), (4, 1.0)])
@pytest.mark.parametrize("causal", [True, False])
def test_a_wide_window_or_a_step_of_one_is_plain_rope(window, step, causal):
    q, k = vectors(3, 12, 8)
    angles = rope_angles(torch.arange(12, dtype=torch.float64), 8)
    plain = rotate(q, angles) @ rotate(k, angles).mT / 8**0.5
    if causal:
        plain = plain.masked_fill(torch.ones(12, 12).triu(1).bool(), -math.inf)
    scores = rerope_scores(q, k, window=window, step=step, causal=causal)
    torch.testing.assert_close(scores, plain, rtol=0, atol=1e-12)


def test_a_window_of_none_interpolates_all_positions():
    q, k = vectors(16, 8)
    angles = rope_angles(torch.arange(16, dtype=torch.float64) / 4, 8)
    scores = rerope_scores(q, k, window=0, step=1 / 4, causal=False)
    expected = rotate(q, angles) @ rotate(k, angles).mT / 8**0.5
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-12)


def test_beyond_the_window_rerope_sees_no_distance_and_leaky_sees_order():
    q, k = torch.randn(2, 8, dtype=torch.float64)
    q, k = q.expand(64, 8), k.expand(64, 8)
    last = rerope_scores(q, k, window=8)[-1]
    torch.testing.assert_close(last[:55], last[55].expand(55), rtol=0, atol=1e-12)
    assert not torch.isclose(last[55], last[56])
    leaky = rerope_scores(q, k, window=8, step=1 / 8)[-1]
    assert leaky[:55].unique().numel() == 55


def test_inverse_leaky_training_covers_every_distance_of_a_longer_text():
    # train at 512, read 4096: step 16, window 128
    trained = rerope_distance(torch.arange(512), window=128, step=16.0)
    assert trained.max() == 6256
    read = torch.arange(4096)
    assert torch.equal(rerope_distance(read, window=128, step=1.0), read.float())
    assert read.max() < trained.max()


def test_left_and_right_are_told_apart():
    q, k = torch.randn(2, 8, dtype=torch.float64)
    scores = rerope_scores(q.expand(20, 8), k.expand(20, 8), window=4, causal=False)
    assert not torch.isclose(scores[0, -1], scores[-1, 0])
    torch.testing.assert_close(scores[0, -1], scores[3, 12])


@pytest.mark.parametrize("causal", [True, False])
def test_gradients_equal_those_of_the_definition(causal):
    q, k = vectors(2, 7, 4)
    weight = torch.randn(2, 7, 7, dtype=torch.float64)
    grads = []
    for scores in (rerope_scores, dense_scores):
        leaves = [x.clone().requires_grad_() for x in (q, k)]
        found = scores(*leaves, window=2, step=0.3, causal=causal)
        (found.softmax(-1) * weight).sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("causal", [True, False])
def test_gradcheck(causal):
    q, k = (x.requires_grad_() for x in vectors(5, 4))

    def mixed(q, k):
        return rerope_scores(q, k, window=2, step=0.3, causal=causal).softmax(-1)

    assert torch.autograd.gradcheck(mixed, (q, k))


def test_single_precision_stays_exact_far_from_the_start():
    q, k = vectors(3000, 8)
    exact = rerope_scores(q, k, window=16, step=0.1)[-1]
    scores = rerope_scores(q.float(), k.float(), window=16, step=0.1)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores[-1].double(), exact, rtol=0, atol=5e-6)


@pytest.mark.parametrize("step", [-0.1, math.inf, math.nan])
def test_a_bad_step_is_refused_with_help(step):
    with pytest.raises(ValueError, match=r"step is .*allowed: 0 or more\. 0 is ReRoPE, 1 / k is"):
        rerope_distance(torch.zeros(1), window=4, step=step)


@pytest.mark.parametrize("window", [-1, math.inf, math.nan])
def test_a_bad_window_is_refused_with_help(window):
    with pytest.raises(ValueError, match="a quarter to a half of the training length"):
        rerope_scores(torch.zeros(3, 4), torch.zeros(3, 4), window=window)


def test_a_map_without_positions_is_refused():
    with pytest.raises(ValueError, match="All tokens would be at distance 0"):
        rerope_scores(torch.zeros(3, 4), torch.zeros(3, 4), window=0)


def test_queries_and_keys_of_different_texts_are_refused():
    with pytest.raises(ValueError, match="Queries and keys are those of the same tokens"):
        rerope_scores(torch.zeros(3, 4), torch.zeros(5, 4), window=2)
