import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog
from scipy.stats import wasserstein_distance

from kexue.sentences.transport import emd, wmd, wrd


def sentence(n, d=5, *, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def by_linprog(p, q, cost):
    """The article's way: all variables in a row, the last equality dropped."""
    n, m = cost.shape
    equalities = []
    for i in range(n):
        row = np.zeros((n, m))
        row[i] = 1
        equalities.append(row.ravel())
    for j in range(m):
        column = np.zeros((n, m))
        column[:, j] = 1
        equalities.append(column.ravel())
    found = linprog(cost.ravel(), A_eq=np.array(equalities)[:-1], b_eq=np.r_[p, q][:-1])
    return found.fun


def loop_costs(x, y, distance):
    return np.array([[distance(w, other) for other in y] for w in x])


def euclidean(w, other):
    return np.sqrt(np.square(w - other).sum())


def one_minus_cosine(w, other):
    return 1 - w @ other / np.sqrt(w @ w) / np.sqrt(other @ other)


SIZES = [(1, 1), (1, 5), (6, 1), (3, 4), (12, 9)]


@pytest.mark.parametrize("size", SIZES)
def test_word_movers_distance_is_the_program_of_the_article(size):
    x, y = sentence(size[0]), sentence(size[1], seed=1)
    p, q = (np.full(n, 1 / n) for n in size)
    expected = by_linprog(p, q, loop_costs(x, y, euclidean))
    assert wmd(x, y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_word_rotators_distance_is_the_program_of_the_article(size):
    x, y = sentence(size[0]), sentence(size[1], seed=1)
    p, q = (np.linalg.norm(v, axis=1) for v in (x, y))
    expected = by_linprog(p / p.sum(), q / q.sum(), loop_costs(x, y, one_minus_cosine))
    assert wrd(x, y) == pytest.approx(expected, abs=1e-12)
    assert 0 <= wrd(x, y) <= 2


def test_emd_takes_any_costs_and_weights_of_any_sum():
    random = np.random.default_rng(0)
    cost, p, q = random.normal(size=(5, 7)), random.random(5), random.random(7)
    expected = by_linprog(p / p.sum(), q / q.sum(), cost)
    assert emd(cost, p, q) == pytest.approx(expected, abs=1e-12)
    assert emd(cost, 10 * p, q) == pytest.approx(expected, abs=1e-12)
    assert emd(torch.tensor(cost), p, q).item() == pytest.approx(expected, abs=1e-12)


def test_equal_weights_are_an_assignment():
    x, y = sentence(15), sentence(15, seed=1)
    cost = loop_costs(x, y, euclidean)
    assert wmd(x, y) == pytest.approx(cost[linear_sum_assignment(cost)].mean(), abs=1e-12)


def test_on_a_line_it_is_the_wasserstein_distance():
    x, y = sentence(8, 1), sentence(11, 1, seed=1)
    p, q = np.arange(8) + 1, np.arange(11) + 2
    found = wmd(x, y, x_weights=p, y_weights=q)
    expected = wasserstein_distance(x.ravel(), y.ravel(), p, q)
    assert found == pytest.approx(expected, abs=1e-12)


def test_the_articles_code_takes_a_mean_where_the_norm_needs_a_sum():
    x, y = sentence(5, 16), sentence(7, 16, seed=1)
    mean = loop_costs(x, y, lambda w, other: np.sqrt(np.square(w - other).mean()))
    slip = by_linprog(np.full(5, 1 / 5), np.full(7, 1 / 7), mean)
    assert wmd(x, y) == pytest.approx(slip * np.sqrt(16), abs=1e-12)
    # Its values are no longer bounded by the distance of the centroids
    assert slip < np.linalg.norm(x.mean(0) - y.mean(0)) <= wmd(x, y)


coordinates = st.floats(-10, 10).map(lambda value: round(value, 3))
point = st.tuples(coordinates, coordinates, coordinates)
sentences = st.lists(point, min_size=1, max_size=6).map(np.array)


@settings(max_examples=60, deadline=None)
@given(sentences, sentences, sentences)
def test_word_movers_distance_is_a_metric(x, y, z):
    assert wmd(x, x) == pytest.approx(0, abs=1e-12)
    assert wmd(x, y) == pytest.approx(wmd(y, x), abs=1e-10)
    assert wmd(x, z) <= wmd(x, y) + wmd(y, z) + 1e-10


def test_word_rotators_distance_is_no_metric():
    x, y, z = (np.array([[np.cos(a), np.sin(a)]]) for a in (0, 0.5, 1))
    assert wrd(x, z) > wrd(x, y) + wrd(y, z)


nonzero = st.lists(point.filter(lambda p: max(map(abs, p)) > 0.1), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(nonzero.map(np.array), nonzero.map(np.array), st.floats(0.01, 100))
def test_word_rotators_distance_ignores_scale(x, y, scale):
    value = wrd(x, y)
    assert wrd(x, x) == pytest.approx(0, abs=1e-12)
    assert wrd(y, x) == pytest.approx(value, abs=1e-10)
    assert wrd(scale * x, y) == pytest.approx(value, abs=1e-10)


def test_word_rotators_distance_ignores_how_a_vector_is_cut():
    x, y = sentence(4), sentence(6, seed=1)
    cut = np.concatenate((x[:1] * 0.3, x[:1] * 0.7, x[1:]))
    assert wrd(cut, y) == pytest.approx(wrd(x, y), abs=1e-12)
    assert abs(wmd(cut, y) - wmd(x, y)) > 1e-3


@pytest.mark.parametrize("distance", [wmd, wrd])
def test_a_repeated_word_is_a_word_with_a_count(distance):
    x, y = sentence(3), sentence(5, seed=1)
    repeated = x[[0, 1, 1, 2, 1]]
    found = distance(x, y, x_weights=np.array([1, 3, 1]))
    assert found == pytest.approx(distance(repeated, y), abs=1e-12)
    assert distance(repeated, x, y_weights=[1, 3, 1]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("distance", [wmd, wrd])
def test_the_order_of_words_does_not_matter(distance):
    x, y = sentence(6), sentence(5, seed=1)
    assert distance(x[::-1], y) == pytest.approx(distance(x, y), abs=1e-12)


@pytest.mark.parametrize("distance", [wmd, wrd])
def test_masks_hide_special_tokens_and_padding(distance):
    x, y = sentence(6), sentence(5, seed=1)
    mask = np.array([False, True, True, True, False, False])
    x[~mask] = np.nan
    found = distance(x, y, x_mask=mask)
    assert found == pytest.approx(distance(x[mask], y), abs=1e-12)
    assert distance(y, x, y_mask=torch.tensor(mask)) == pytest.approx(found, abs=1e-12)


def test_a_zero_vector_is_no_word_for_word_rotators_distance():
    x, y = sentence(4), sentence(5, seed=1)
    with_zero = np.concatenate((x, np.zeros((1, 5))))
    assert wrd(with_zero, y) == pytest.approx(wrd(x, y), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_give_tensors(dtype):
    x, y = (torch.tensor(sentence(n, seed=n)).to(dtype) for n in (4, 6))
    for distance in (wmd, wrd):
        found = distance(x, y)
        assert found.shape == ()
        assert found.dtype == torch.promote_types(dtype, torch.float32)
        assert found.item() == pytest.approx(distance(x.double().numpy(), y.double().numpy()))
        assert isinstance(distance(x.float().numpy(), y.float().numpy()), float)


@pytest.mark.parametrize("distance", [wmd, wrd])
def test_gradients_by_words_and_weights(distance):
    x, y = (torch.tensor(sentence(n, seed=n)).requires_grad_() for n in (4, 6))
    # No part of p weighs the same as a part of q: there the derivative would jump
    random = np.random.default_rng(0)
    p, q = (torch.tensor(random.random(n) + 0.1).requires_grad_() for n in (4, 6))
    assert torch.autograd.gradcheck(
        lambda x, y, p, q: distance(x, y, x_weights=p, y_weights=q), [x, y, p, q]
    )


def test_gradients_of_emd_by_costs_and_weights():
    random = torch.Generator().manual_seed(0)
    leaves = [torch.rand(*s, generator=random, dtype=torch.float64) for s in ((4, 6), (4,), (6,))]
    assert torch.autograd.gradcheck(emd, [leaf.requires_grad_() for leaf in leaves])


def test_gradients_beside_equal_words_and_masked_ones_are_finite():
    x = torch.tensor(sentence(4)).requires_grad_()
    y = torch.cat((x.detach()[:2], torch.zeros(1, 5)))
    mask = torch.tensor([True, True, False])
    for distance in (wmd, wrd):
        (slope,) = torch.autograd.grad(distance(x, y, y_mask=mask), x)
        assert slope.isfinite().all()


def test_following_the_gradient_brings_sentences_together():
    x = torch.tensor(sentence(4)).requires_grad_()
    y = torch.tensor(sentence(6, seed=1))
    start = wmd(x, y).item()
    for _ in range(50):
        (slope,) = torch.autograd.grad(wmd(x, y), x)
        x = (x - 0.1 * slope).detach().requires_grad_()
    assert wmd(x, y) < start - 0.3


def test_inputs_are_not_written_to():
    x, y = torch.tensor(sentence(4)), torch.tensor(sentence(6, seed=1))
    x[0] = 0
    copies = x.clone(), y.clone()
    wmd(x, y, x_mask=torch.tensor([True, True, False, True]))
    wrd(x, y)
    assert torch.equal(x, copies[0])
    assert torch.equal(y, copies[1])


def test_gensim_agrees_where_it_computes_the_distance():
    keyed = pytest.importorskip("gensim.models", reason="gensim is not installed").KeyedVectors
    table = sentence(20, 8)
    names = [f"w{i}" for i in range(20)]
    model = keyed(8)
    model.add_vectors(names, table.astype(np.float32))
    raw = table.astype(np.float32).astype(np.float64)
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    x, y = [0, 1, 2, 2, 3, 4], [2, 5, 6, 7, 7, 8, 9]
    words = [[names[i] for i in side] for side in (x, y)]
    assert model.wmdistance(*words, norm=False) == pytest.approx(wmd(raw[x], raw[y]), abs=1e-6)
    # It makes vectors unit vectors unless told otherwise
    assert model.wmdistance(*words) == pytest.approx(wmd(unit[x], unit[y]), abs=1e-6)
    assert abs(model.wmdistance(*words) - wmd(raw[x], raw[y])) > 0.1
    # Words that it does not know are dropped, and an empty sentence is infinitely far
    assert model.wmdistance([*words[0], "unknown"], words[1]) == model.wmdistance(*words)
    assert model.wmdistance([], words[1]) == np.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: wmd(x[:0], x), "x is 'empty: 0 words"),
        (lambda x: wmd(x, x[:0]), "y is 'empty: 0 words"),
        (lambda x: wrd(x, 0 * x), "y is 'empty: 3 words with the total weight 0'"),
        (lambda x: wmd(x, x[:, :2]), "y is .*allowed: 5 features"),
        (lambda x: wmd(x, x, y_weights=[1]), "y_weights is"),
        (lambda x: wrd(x, x, x_mask=[True]), "x_mask is"),
        (lambda x: emd(x, np.ones(2), np.ones(5)), r"cost is \(3, 5\); allowed: \(2, 5\)"),
        (lambda x: emd(x * np.nan, np.ones(3), np.ones(5)), "cost is 'NaN"),
        (lambda x: emd(x, -np.ones(3), np.ones(5)), "weights of p is"),
    ],
)
def test_mistakes_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call(sentence(3))
