import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.sentences.transport import wmd, wrd
from kexue.sentences.transport_bounds import centroid_bound, relaxed_bound

EXACT = {"wmd": wmd, "wrd": wrd}
BOTH = pytest.mark.parametrize("distance", ["wmd", "wrd"])


def draw(seed, *, most=10, d=4):
    random = np.random.default_rng(seed)
    n, m = random.integers(1, most, 2)
    weights = {"x_weights": random.random(n) + 0.01, "y_weights": random.random(m) + 0.01}
    return random.normal(size=(n, d)), random.normal(size=(m, d)), weights


@BOTH
@pytest.mark.parametrize("bound", [centroid_bound, relaxed_bound])
def test_no_bound_exceeds_the_distance(distance, bound):
    ratios = []
    for seed in range(200):
        x, y, weights = draw(seed)
        exact, below = EXACT[distance](x, y, **weights), bound(x, y, distance=distance, **weights)
        assert below <= exact + 1e-12
        ratios.append(below / exact)
    assert np.mean(ratios) > (0.2 if bound is centroid_bound else 0.75)


coordinate = st.floats(-5, 5).map(lambda value: round(value, 2))
sentences = st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=6).map(np.array)


@settings(max_examples=60, deadline=None)
@given(sentences, sentences)
def test_bounds_hold_for_words_in_common_and_in_a_line(x, y):
    y = np.concatenate((y, x[:2]))
    for distance, exact in EXACT.items():
        if distance == "wrd" and not (np.any(x) and np.any(y)):
            continue
        value = exact(x, y)
        assert centroid_bound(x, y, distance=distance) <= value + 1e-10
        assert relaxed_bound(x, y, distance=distance) <= value + 1e-10


def loop_relaxed(x, y, p, q, cost):
    table = np.array([[cost(w, other) for other in y] for w in x])
    return max(
        sum(p[i] * min(table[i]) for i in range(len(x))),
        sum(q[j] * min(table[:, j]) for j in range(len(y))),
    )


def test_the_relaxed_bound_is_its_definition():
    x, y, weights = draw(3)
    p, q = (w / w.sum() for w in weights.values())
    expected = loop_relaxed(x, y, p, q, lambda a, b: np.linalg.norm(a - b))
    assert relaxed_bound(x, y, **weights) == pytest.approx(expected, abs=1e-12)
    length = [np.linalg.norm(v, axis=1) for v in (x, y)]
    p, q = (w / w.sum() for w in (p * length[0], q * length[1]))
    expected = loop_relaxed(
        x, y, p, q, lambda a, b: 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    )
    found = relaxed_bound(x, y, distance="wrd", **weights)
    assert found == pytest.approx(expected, abs=1e-12)


def test_the_centroid_bound_is_its_definition():
    x, y, weights = draw(3)
    p, q = (w / w.sum() for w in weights.values())
    expected = np.linalg.norm(p @ x - q @ y)
    assert centroid_bound(x, y, **weights) == pytest.approx(expected, abs=1e-12)
    # The article's form: sums of plain vectors over the sums of their norms
    plain = np.linalg.norm(x, axis=1).sum(), np.linalg.norm(y, axis=1).sum()
    expected = np.square(x.sum(0) / plain[0] - y.sum(0) / plain[1]).sum() / 2
    assert centroid_bound(x, y, distance="wrd") == pytest.approx(expected, abs=1e-12)


@BOTH
def test_one_word_on_a_side_leaves_no_choice(distance):
    x, y, _ = draw(5)
    value = EXACT[distance](x, y[:1])
    assert relaxed_bound(x, y[:1], distance=distance) == pytest.approx(value, abs=1e-12)


@BOTH
def test_a_shift_makes_the_centroid_bound_exact(distance):
    x, _, _ = draw(5)
    if distance == "wmd":
        assert centroid_bound(x, x + 2) == pytest.approx(wmd(x, x + 2), abs=1e-12)
    assert centroid_bound(x, 3 * x, distance=distance) <= EXACT[distance](x, 3 * x) + 1e-15


@BOTH
def test_masked_words_take_no_part(distance):
    x, y, _ = draw(7)
    mask = np.arange(len(y) + 2) < len(y)
    longer = np.concatenate((y, x[:1], np.full((1, 4), np.nan)))
    for bound in (centroid_bound, relaxed_bound):
        found = bound(x, longer, distance=distance, y_mask=mask)
        assert found == pytest.approx(bound(x, y, distance=distance), abs=1e-12)
        found = bound(longer, x, distance=distance, x_mask=mask)
        assert found == pytest.approx(bound(y, x, distance=distance), abs=1e-12)


@BOTH
def test_tensors_give_tensors_with_gradients(distance):
    x, y = (torch.tensor(v).requires_grad_() for v in draw(11)[:2])
    for bound in (centroid_bound, relaxed_bound):
        assert torch.autograd.gradcheck(lambda x, y, b=bound: b(x, y, distance=distance), [x, y])
        assert bound(x.half(), y.half()).dtype == torch.float32


@pytest.mark.parametrize("bound", [centroid_bound, relaxed_bound])
def test_mistakes_are_explained(bound):
    with pytest.raises(ValueError, match="distance is 'emd'; allowed: 'wmd'"):
        bound(np.ones((1, 2)), np.ones((1, 2)), distance="emd")
    with pytest.raises(ValueError, match="y is 'empty"):
        bound(np.ones((1, 2)), np.ones((0, 2)))
