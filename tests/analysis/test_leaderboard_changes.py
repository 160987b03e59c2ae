import math
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from kexue.analysis.leaderboard import leaderboard
from kexue.analysis.leaderboard_changes import Move, rank_changes

SCORES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12)


def boards(scores):
    """Two leaderboards, one by the first of each pair of scores and one by the second."""
    return [
        leaderboard({f"m{n}": {"x": pair[at]} for n, pair in enumerate(scores)}, mean="arithmetic")
        for at in (0, 1)
    ]


@settings(deadline=None)
@given(SCORES)
def test_tau_is_that_of_scipy_and_swaps_are_the_pairs_in_opposite_order(scores):
    changes = rank_changes(*boards(scores))
    first, second = zip(*scores, strict=True)
    expected = kendalltau(first, second).statistic
    assert changes.tau == pytest.approx(expected, nan_ok=True)
    swapped = {
        (f"m{a}", f"m{b}") if first[a] > first[b] else (f"m{b}", f"m{a}")
        for a, b in combinations(range(len(scores)), 2)
        if (first[a] - first[b]) * (second[a] - second[b]) < 0
    }
    assert set(changes.swaps) == swapped
    assert len(changes.swaps) == len(swapped)


@settings(deadline=None)
@given(SCORES)
def test_moves_are_the_models_with_another_rank_and_turn_around(scores):
    before, after = boards(scores)
    changes = rank_changes(before, after)
    for model, rank in before.ranks().items():
        move = Move(model, rank, after.ranks()[model])
        assert (move in changes.moves) == (move.before != move.after)
    back = rank_changes(after, before)
    assert {(m, b, a) for m, a, b in changes.moves} == set(back.moves)
    assert {(b, a) for a, b in changes.swaps} == set(back.swaps)


def test_the_reverse_and_the_same_order():
    up, down = boards([(1, 3), (2, 2), (3, 1)])
    assert rank_changes(up, up).tau == 1
    assert rank_changes(up, up).swaps == ()
    changes = rank_changes(up, down)
    assert changes.tau == -1
    assert changes.moves == (Move("m2", 1, 3), Move("m0", 3, 1))
    assert changes.swaps == (("m2", "m1"), ("m2", "m0"), ("m1", "m0"))


def test_where_all_are_equal_there_is_no_tau():
    changes = rank_changes(*boards([(1, 3), (1, 2)]))
    assert math.isnan(changes.tau)
    assert changes.to_dict() == {
        "before": "arithmetic",
        "after": "arithmetic",
        "tau": None,
        "moves": [{"model": "m1", "before": 1, "after": 2}],
        "swaps": [],
    }


def test_other_models_are_refused():
    one = leaderboard({"A": {"x": 1}, "B": {"x": 2}}, mean="arithmetic")
    other = leaderboard({"A": {"x": 1}, "C": {"x": 2}}, mean="arithmetic")
    with pytest.raises(ValueError, match="more models: B, C"):
        rank_changes(one, other)
