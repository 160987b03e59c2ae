import numpy as np
import pytest
import torch

from kexue.sentences.transport_measures import (
    as_float64,
    make_measure,
    normalise,
    pair_costs,
    result_like,
)


def vectors(n=4, d=3, *, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_word_movers_words_weigh_the_same():
    x = vectors()
    measure = make_measure(x, name="x", distance="wmd")
    np.testing.assert_array_equal(measure.points.numpy(), x)
    assert measure.weights.tolist() == [0.25] * 4


def test_word_rotators_weights_are_norms_and_points_directions():
    x = vectors()
    measure = make_measure(x, name="x", distance="wrd", weights=np.array([1, 1, 2, 1]))
    norms = np.linalg.norm(x, axis=1)
    np.testing.assert_allclose(measure.points.numpy() * norms[:, None], x)
    expected = norms * [1, 1, 2, 1]
    np.testing.assert_allclose(measure.weights.numpy(), expected / expected.sum())


def test_what_is_masked_has_no_weight_and_may_hold_anything():
    x = vectors()
    x[3] = np.nan
    for distance in ("wmd", "wrd"):
        measure = make_measure(x, name="x", distance=distance, mask=[True, True, True, False])
        kept = make_measure(x[:3], name="x", distance=distance)
        assert measure.weights[3] == 0
        torch.testing.assert_close(measure.weights[:3], kept.weights)
        assert measure.points.isfinite().all()


def test_a_vector_of_norm_zero_takes_no_part_in_word_rotators_distance():
    x = vectors()
    x[2] = 0
    assert make_measure(x, name="x", distance="wrd").weights[2] == 0
    assert make_measure(x, name="x", distance="wmd").weights[2] == 0.25


@pytest.mark.parametrize("distance", ["wmd", "wrd"])
def test_costs_are_the_definition(distance):
    x, y = vectors(), vectors(5, seed=1)
    a, b = (make_measure(v, name="x", distance=distance) for v in (x, y))
    cost = pair_costs(a, b, distance=distance)
    for i, w in enumerate(x):
        for j, other in enumerate(y):
            if distance == "wmd":
                expected = np.sqrt(((w - other) ** 2).sum())
            else:
                expected = 1 - w @ other / np.linalg.norm(w) / np.linalg.norm(other)
            assert cost[i, j].item() == pytest.approx(expected, abs=1e-14)


def test_small_costs_keep_their_digits():
    x = vectors(1, 50) + 1000
    near = x + 1e-7
    a, b = (make_measure(v, name="x", distance="wmd") for v in (x, near))
    expected = np.linalg.norm(near - x)
    assert pair_costs(a, b, distance="wmd").item() == pytest.approx(expected, rel=1e-12)
    direction = np.array([[1.0, 0.0]]), np.array([[3.0, 3e-8]])
    a, b = (make_measure(v, name="x", distance="wrd") for v in direction)
    # 1 - cos would be 0 here
    assert pair_costs(a, b, distance="wrd").item() == pytest.approx(1e-16 / 2, rel=1e-6)


def test_gradients_reach_the_vectors_also_beside_a_zero_vector():
    x = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    measure = make_measure(x, name="x", distance="wrd")
    cost = pair_costs(measure, measure, distance="wrd")
    (measure.weights.square().sum() + cost.sum()).backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distance": "wm"}, "distance is 'wm'; allowed: 'wmd'"),
        ({"vectors": np.zeros(3)}, r"x is \(3,\); allowed: the shape \(words, features\)"),
        ({"vectors": np.array([[np.inf]])}, "x is 'NaN or infinite somewhere'"),
        ({"vectors": np.zeros((0, 3))}, "x is 'empty: 0 words .* Leave sentences without"),
        ({"weights": [1, 2]}, r"x_weights is \(2,\); allowed: .*\(4,\)"),
        ({"weights": [1, 2, 3, -1]}, "weights of x is .*none below 0"),
        ({"weights": [1, 2, 3, np.nan]}, "weights of x is "),
        ({"weights": [0, 0, 0, 0]}, "x is 'empty: 4 words with the total weight 0'"),
        ({"mask": [True]}, r"x_mask is \(1,\)"),
        ({"mask": [False] * 4}, "x is 'empty"),
        ({"vectors": np.zeros((4, 3)), "distance": "wrd"}, "for 'wrd', with a vector not 0"),
    ],
)
def test_mistakes_are_explained(change, message):
    given = {"vectors": vectors(), "distance": "wmd", **change}
    with pytest.raises(ValueError, match=message):
        make_measure(given.pop("vectors"), name="x", **given)


def test_widths_must_fit():
    a, b = (make_measure(vectors(2, d), name="x", distance="wmd") for d in (3, 4))
    with pytest.raises(ValueError, match=r"y is .*3 features, as x has"):
        pair_costs(a, b, distance="wmd")


def test_results_come_in_the_kind_of_the_vectors():
    value = torch.tensor(0.5, dtype=torch.float64)
    assert result_like(value, np.zeros((1, 1), np.float32)) == 0.5
    assert result_like(value, torch.zeros(1).double()).dtype == torch.float64
    assert result_like(value, torch.zeros(1).half()).dtype == torch.float32


def test_arrays_are_copied_and_tensors_keep_their_gradient():
    array = np.zeros(2)
    array.flags.writeable = False
    as_float64(array).add_(1)
    assert not array.any()
    leaf = torch.zeros(2, requires_grad=True)
    assert as_float64(leaf).requires_grad


def test_weights_sum_to_one():
    assert normalise(torch.tensor([1.0, 1.0, 2.0]), name="p").tolist() == [0.25, 0.25, 0.5]
