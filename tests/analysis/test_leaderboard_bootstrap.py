from itertools import product

import numpy as np
import pytest

from kexue.analysis.leaderboard import leaderboard
from kexue.analysis.leaderboard_bootstrap import bootstrap_ranks
from kexue.analysis.leaderboard_means import MEANS

TABLE = {
    "A": {"x": 90, "y": 50, "z": 80},
    "B": {"x": 80, "y": 60, "z": 70},
    "C": {"x": 85, "y": 52, "z": 72},
}


def every_draw(table, mean):
    """All draws of T tasks out of T, each a leaderboard of its own: T**T of them."""
    tasks = list(next(iter(table.values())))
    ranks_in_tasks = {
        task: {
            model: 1 + sum(other[task] > row[task] for other in table.values())
            for model, row in table.items()
        }
        for task in tasks
    }
    for draw in product(tasks, repeat=len(tasks)):
        drawn = {m: {n: row[t] for n, t in enumerate(draw)} for m, row in table.items()}
        if mean == "ranks":
            # a mean of ranks is the better the lower it is
            drawn = {m: {n: -ranks_in_tasks[t][m] for n, t in enumerate(draw)} for m in table}
            yield leaderboard(drawn, mean="arithmetic")
        else:
            yield leaderboard(drawn, mean=mean)


@pytest.mark.parametrize("mean", MEANS)
def test_shares_are_those_of_all_draws(mean):
    boards = [board.ranks() for board in every_draw(TABLE, mean)]
    assert len(boards) == 27
    samples = 20_000
    rows = bootstrap_ranks(TABLE, mean=mean, samples=samples).rows
    assert [row.model for row in rows] == list(leaderboard(TABLE, mean=mean).ranks())
    for row, below in zip(rows, [*rows[1:], None], strict=True):
        first = np.mean([ranks[row.model] == 1 for ranks in boards])
        # five standard errors
        assert abs(row.first - first) < 5 * 0.5 / samples**0.5
        if below is None:
            assert row.above_next is None
        else:
            above = np.mean([ranks[row.model] < ranks[below.model] for ranks in boards])
            assert abs(row.above_next - above) < 5 * 0.5 / samples**0.5


@pytest.mark.parametrize("mean", MEANS)
def test_intervals_hold_the_extremes_where_the_level_is_high(mean):
    rows = bootstrap_ranks(TABLE, mean=mean, samples=2000, level=0.9999).rows
    for row in rows:
        ranks = [board.ranks()[row.model] for board in every_draw(TABLE, mean)]
        assert (row.best, row.worst) == (min(ranks), max(ranks))
        if mean == "ranks":
            continue
        drawn = [
            next(each.value for each in board.rows if each.model == row.model)
            for board in every_draw(TABLE, mean)
        ]
        assert row.low == pytest.approx(min(drawn))
        assert row.high == pytest.approx(max(drawn))
        assert row.low <= row.value <= row.high


def test_a_model_that_is_better_in_every_task_is_always_the_first():
    table = {"best": {"x": 3, "y": 9, "z": 5}, "rest": {"x": 2, "y": 8, "z": 4}}
    for mean in MEANS:
        best, rest = bootstrap_ranks(table, mean=mean, samples=200).rows
        assert (best.model, best.best, best.worst, best.first) == ("best", 1, 1, 1.0)
        assert best.above_next == 1
        assert (rest.best, rest.worst, rest.first) == (2, 2, 0.0)


def test_equal_models_share_every_place():
    table = {"A": {"x": 3, "y": 9}, "B": {"x": 3, "y": 9}}
    for row in bootstrap_ranks(table, mean="geometric", samples=100).rows:
        assert (row.rank, row.best, row.worst, row.first) == (1, 1, 1, 1.0)
        assert not row.above_next


def test_it_can_be_repeated_and_leaves_the_global_generator_alone():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one, two = (bootstrap_ranks(TABLE, mean="harmonic", samples=50) for _ in range(2))
    assert one == two
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    other = bootstrap_ranks(TABLE, mean="harmonic", samples=50, generator=np.random.default_rng(1))
    assert other != one


def test_plain_types():
    found = bootstrap_ranks(TABLE, mean="arithmetic", samples=10).to_dict()
    assert (found["mean"], found["samples"], found["level"]) == ("arithmetic", 10, 0.95)
    assert [type(x) for x in found["rows"][0].values()] == [
        *(str, float, float, float, int, int, int, float, float),
    ]


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ({"A": {"x": 1}, "B": {"x": 2}}, {}, "at least two tasks"),
        ({"A": {"x": 1, "y": 2}, "B": {"x": 2}}, {}, "the score of 'B' in 'y' is None"),
        (TABLE, {"samples": 0}, "1 or more"),
        (TABLE, {"samples": 1.5}, "1 or more"),
        (TABLE, {"level": 1}, "between 0 and 1"),
        (TABLE, {"mean": "median"}, "'harmonic'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(table, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_ranks(table, **{"mean": "arithmetic", **options})
