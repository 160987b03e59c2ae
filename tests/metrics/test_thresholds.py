"""Thresholds against a search over all cut points, and what they promise."""

import itertools
import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.metrics import calibrate_thresholds

scores = st.integers(-6, 8).map(lambda k: k / 2)
candidate_lists = st.lists(st.tuples(scores, st.booleans()), max_size=6)


@st.composite
def problems(draw, labels=3):
    """Draw candidates with ties, labels without any, and gold spans no candidate found."""
    candidates = {label: draw(candidate_lists) for label in "abc"[:labels]}
    gold = {}
    for label, scored in candidates.items():
        gold[label] = sum(right for _, right in scored) + draw(st.integers(0, 2))
    return candidates, gold


def counts(candidates, thresholds):
    """Count right and kept spans of each label."""
    return {
        label: (
            sum(right for score, right in scored if score > thresholds[label]),
            sum(score > thresholds[label] for score, _ in scored),
        )
        for label, scored in candidates.items()
    }


def micro_f1(candidates, gold, thresholds):
    found = counts(candidates, thresholds).values()
    right, kept = (sum(column) for column in zip(*found, strict=True))
    return 2 * right / max(kept + sum(gold.values()), 1)


def label_f1(candidates, gold, thresholds):
    return {
        label: 2 * right / max(kept + gold[label], 1)
        for label, (right, kept) in counts(candidates, thresholds).items()
    }


def cuts(scored):
    """List a threshold for each different set of spans that a threshold can keep."""
    ordered = sorted({score for score, _ in scored})
    if not ordered:
        return [0.0]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(ordered)]
    return [min(0, ordered[0] - 0.5), *middles, max(0, ordered[-1] + 0.5)]


@given(problems())
def test_micro_is_the_best_of_all_combinations(problem):
    candidates, gold = problem
    free = [cuts(scored) if gold[label] else [0.0] for label, scored in candidates.items()]
    best = max(
        micro_f1(candidates, gold, dict(zip(candidates, choice, strict=True)))
        for choice in itertools.product(*free)
    )
    found = calibrate_thresholds(candidates, gold)
    assert micro_f1(candidates, gold, found) == pytest.approx(best, abs=1e-12)


@given(problems())
def test_macro_is_the_best_cut_of_each_label_nearest_to_zero(problem):
    candidates, gold = problem
    found = calibrate_thresholds(candidates, gold, objective="macro")
    for label, scored in candidates.items():
        if not gold[label] or not scored:
            assert found[label] == 0.0
            continue
        f1 = {cut: label_f1({label: scored}, gold, {label: cut})[label] for cut in cuts(scored)}
        best = [cut for cut, value in f1.items() if value == max(f1.values())]
        assert found[label] == max(best, key=lambda cut: (-abs(cut), cut))


@given(problems(labels=1))
def test_with_one_label_the_objectives_agree(problem):
    assert calibrate_thresholds(*problem) == calibrate_thresholds(*problem, objective="macro")


@given(problems())
def test_zero_is_never_better(problem):
    candidates, gold = problem
    zero = dict.fromkeys(candidates, 0.0)
    micro = calibrate_thresholds(candidates, gold)
    assert micro_f1(candidates, gold, micro) >= micro_f1(candidates, gold, zero) - 1e-12
    macro = calibrate_thresholds(candidates, gold, objective="macro")
    before, after = (label_f1(candidates, gold, limits) for limits in (zero, macro))
    assert all(after[label] >= before[label] - 1e-12 for label in candidates)


@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(problem, random):
    candidates, gold = problem
    mixed = {label: random.sample(scored, len(scored)) for label, scored in candidates.items()}
    assert calibrate_thresholds(mixed, gold) == calibrate_thresholds(candidates, gold)


def test_best_for_each_label_is_not_best_for_all_together():
    candidates = {
        "rare": [(1.0, True), (-1.0, False), (-1.0, False), (-1.0, True)],
        "common": [(3.0, True)] * 50,
    }
    gold = {"rare": 2, "common": 50}
    micro = calibrate_thresholds(candidates, gold)
    macro = calibrate_thresholds(candidates, gold, objective="macro")
    assert (micro["rare"], macro["rare"]) == (0.0, 0.0)
    gold["rare"] = 4
    candidates["rare"][1:] = [(-1.0, False)] * 3 + [(-1.0, True)] * 2
    assert calibrate_thresholds(candidates, gold, objective="macro")["rare"] == -1.5
    assert calibrate_thresholds(candidates, gold)["rare"] == 0.0


def test_a_label_counts_also_where_nothing_of_it_was_found():
    found = calibrate_thresholds({"a": [(1.0, True)], "c": []}, {"a": 1, "b": 5, "c": 2})
    assert found == {"a": 0.0, "b": 0.0, "c": 0.0}


def test_what_a_label_without_gold_lets_through_counts_too():
    candidates = {"a": [(3.0, True), (2.0, False), (1.5, False), (1.0, False), (0.5, True)]}
    assert calibrate_thresholds(candidates, {"a": 2}) == {"a": 2.5}
    candidates["b"] = [(1.0, False)] * 4
    assert calibrate_thresholds(candidates, {"a": 2}) == {"a": 0.0, "b": 0.0}


def test_equal_scores_are_never_cut_apart():
    found = calibrate_thresholds({"a": [(1.0, True), (1.0, False), (0.5, False)]}, {"a": 1})
    assert found == {"a": 0.75}


def test_no_candidates_at_all():
    assert calibrate_thresholds({}, {}) == {}


def test_a_floor_bounds_what_keeping_everything_means():
    candidates, gold = {"a": [(-1.0, True), (-2.0, True)]}, {"a": 2}
    assert calibrate_thresholds(candidates, gold) == {"a": -2.5}
    assert calibrate_thresholds(candidates, gold, floor=-2.2) == {"a": -2.1}


@pytest.mark.parametrize("low", [1.0, float(np.nextafter(1, 2))])
def test_neighbouring_floats_are_told_apart(low):
    high = float(np.nextafter(low, 2))
    found = calibrate_thresholds({"a": [(high, True), (low, False)]}, {"a": 1})
    assert low <= found["a"] < high


def test_a_large_problem_is_solved_at_once():
    rng = random.Random(0)
    candidates = {
        f"label {k}": [
            (s := rng.gauss(0, 2), rng.random() < 1 / (1 + 2.7**-s)) for _ in range(20_000)
        ]
        for k in range(10)
    }
    gold = {label: sum(right for _, right in scored) for label, scored in candidates.items()}
    start = time.perf_counter()
    found = calibrate_thresholds(candidates, gold)
    assert time.perf_counter() - start < 10
    zero = dict.fromkeys(candidates, 0.0)
    assert micro_f1(candidates, gold, found) > micro_f1(candidates, gold, zero)


def test_an_unknown_objective_is_an_error():
    with pytest.raises(ValueError, match="objective is 'weighted'; allowed: 'micro' or 'macro'"):
        calibrate_thresholds({}, {}, objective="weighted")


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_an_error(score):
    with pytest.raises(ValueError, match="a score of 'a' is 'not finite'"):
        calibrate_thresholds({"a": [(score, True)]}, {"a": 1})


def test_more_right_ones_than_gold_are_an_error():
    with pytest.raises(ValueError, match=r"candidates\['a'\] is '2 right ones'.*at most 1 gold"):
        calibrate_thresholds({"a": [(1.0, True), (2.0, True)]}, {"a": 1})
