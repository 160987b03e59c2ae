import math

import numpy as np
import pytest

from kexue.analysis.leaderboard_scores import prepare_scores, score_matrix

GAPS = {"A": {"x": 1, "y": 2, "z": 3}, "B": {"x": 4, "z": None}, "C": {"x": 7, "y": 8, "z": 9}}


def test_metrics_of_a_task_are_averaged_before_anything_else():
    scores = score_matrix({"A": {"CB": (96.9, 98.0), "WiC": 77.7}, "B": {"CB": [50], "WiC": 1}})
    assert scores.models == ("A", "B")
    assert scores.tasks == ("CB", "WiC")
    np.testing.assert_allclose(scores.values, [[97.45, 77.7], [50, 1]])


def test_none_nan_and_no_entry_are_no_score():
    values = score_matrix({"A": {"x": None, "y": math.nan, "z": 0}, "B": {"x": 1}}).values
    np.testing.assert_array_equal(np.isnan(values), [[1, 1, 0], [0, 1, 1]])


def test_numbers_of_numpy_are_numbers():
    row = {"x": np.float32(0.5), "y": np.int64(3), "z": np.float64("nan")}
    assert prepare_scores({"A": row}, tasks=["x", "y"]) == {"A": {"x": 0.5, "y": 3.0}}


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        ("tasks", {"A": ["x"], "B": ["x"], "C": ["x"]}),
        ("models", {"A": ["x", "y", "z"], "C": ["x", "y", "z"]}),
        ("own", {"A": ["x", "y", "z"], "B": ["x"], "C": ["x", "y", "z"]}),
    ],
)
def test_gaps_are_closed_as_was_said(missing, left):
    prepared = prepare_scores(GAPS, missing=missing)
    assert {model: list(row) for model, row in prepared.items()} == left
    for model, row in prepared.items():
        assert row == {task: GAPS[model][task] for task in row}


def test_gaps_are_refused_and_named():
    with pytest.raises(ValueError, match=r"missing: B has no y; B has no z\. Choose .*'models'"):
        prepare_scores(GAPS)
    wide = {"A": dict.fromkeys("abcdefgh"), "B": dict.fromkeys("abcdefgh", 1)}
    with pytest.raises(ValueError, match="A has no e; and 3 more"):
        prepare_scores(wide)


def test_a_gap_outside_the_chosen_tasks_does_not_matter():
    assert prepare_scores(GAPS, tasks=["x"])["B"] == {"x": 4.0}
    assert list(prepare_scores({"A": {"x": 1, "y": 2}}, tasks=["y", "x", "y"])["A"]) == ["y", "x"]


@pytest.mark.parametrize("missing", ["tasks", "models", "own"])
def test_what_leaves_nothing_is_refused(missing):
    table = {"A": {"x": 1}, "B": {"y": 2}} if missing != "own" else {"A": {"x": 1}, "B": {}}
    with pytest.raises(ValueError, match=f"missing is '{missing}', which leaves no score"):
        prepare_scores(table, missing=missing)


def test_where_less_is_better_a_full_error_becomes_the_score_of_zero():
    table = {"A": {"wer": [100, 100], "f1": 90}, "B": {"wer": 8, "f1": 80}}
    prepared = prepare_scores(table, lower={"wer": 100})
    assert prepared == {"A": {"wer": 0, "f1": 90}, "B": {"wer": 92, "f1": 80}}
    assert table["A"]["wer"] == [100, 100]


def test_a_floor_lifts_what_is_below_it_and_fills_no_gap():
    table = {"A": {"x": -3, "y": 50}, "B": {"x": 0.25, "y": None}}
    prepared = prepare_scores(table, floor=1, missing="own")
    assert prepared == {"A": {"x": 1, "y": 50}, "B": {"x": 1}}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "at least one model"),
        ([], "at least one model"),
        ({"A": {}}, "at least one task"),
        ({"A": 3}, r"table\['A'\] is 3"),
        ({"A": {"x": "92.4"}}, "the score of 'A' in 'x' is '92.4'"),
        ({"A": {"x": True}}, "is True"),
        ({"A": {"x": math.inf}}, "is inf"),
        ({"A": {"x": -1e200}}, "at most 1e100"),
        ({"A": {"x": 10**400}}, "at most 1e100"),
        ({"A": {"x": 1j}}, "is 1j"),
        ({"A": {"x": []}}, "Write None"),
        ({"A": {"x": [1, None]}}, "is None"),
        ({"A": {"x": [1, "2"]}}, "is '2'"),
    ],
)
def test_nonsense_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        prepare_scores(table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"missing": "ignore"}, "'refuse', 'tasks', 'models', 'own'"),
        ({"tasks": ["q"]}, "tasks is 'q'; allowed: 'x', 'y'"),
        ({"tasks": []}, "at least one task"),
        ({"lower": {"q": 100}}, "lower is 'q'"),
        ({"lower": {"x": "100"}}, "finite number"),
        ({"floor": math.nan}, "floor is nan"),
    ],
)
def test_an_option_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        prepare_scores({"A": {"x": 1, "y": 2}}, **options)
