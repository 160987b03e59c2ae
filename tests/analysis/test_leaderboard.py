"""The leaderboard, and the finding of article 8783 on the tables that come with the library."""

import pytest

from kexue.analysis.leaderboard import leaderboard
from kexue.analysis.leaderboard_changes import rank_changes
from kexue.analysis.leaderboard_means import MEANS
from kexue.analysis.leaderboard_scores import prepare_scores
from kexue.data.score_tables import read_scores, shipped_tables

OFFICIAL_SUPERGLUE = {
    "ST-MoE-32B": 91.2, "Turing NLR v5": 90.9, "ERNIE 3.0": 90.6, "T5 + UDG": 90.4,
    "DeBERTa / TuringNLRv4": 90.3, "Human baselines": 89.8, "T5": 89.3,
    "Frozen T5 1.1 + SPoT": 89.2, "GPT-3 few-shot": 71.8, "WARP few-shot": 48.7, "CBOW": 44.5,
}  # fmt: skip
OFFICIAL_GLUE = {
    "Human performance": 87.1, "MT-DNN": 82.7, "MT-DNN no-fine-tune": 81.7, "BERT-large": 80.5,
}  # fmt: skip
HUMAN = "Human baselines"


def shipped(name, **options):
    return read_scores(shipped_tables()[name], **options).scores


def values(table, mean, **options):
    return {row.model: row.value for row in leaderboard(table, mean=mean, **options).rows}


def test_models_stand_in_their_order_and_equal_ones_share_a_rank():
    table = {"A": {"x": 60, "y": 80}, "B": {"x": 90, "y": 90}, "C": {"x": 80, "y": 60}}
    board = leaderboard({**table, "D": {"x": 1, "y": 2}}, mean="geometric")
    assert [(row.model, row.rank, row.tasks) for row in board.rows] == [
        *(("B", 1, 2), ("A", 2, 2), ("C", 2, 2), ("D", 4, 2)),
    ]
    assert board.ranks() == {"B": 1, "A": 2, "C": 2, "D": 4}
    assert board.tasks == ("x", "y")


def test_a_low_mean_rank_is_the_best():
    table = {"A": {"x": 3, "y": 3, "z": 1}, "B": {"x": 2, "y": 2, "z": 100}}
    assert leaderboard(table, mean="ranks").ranks() == {"A": 1, "B": 2}
    assert leaderboard(table, mean="arithmetic").ranks() == {"B": 1, "A": 2}


def test_negative_scores_have_an_arithmetic_mean_and_ranks():
    table = {"A": {"mcc": -12.5, "f1": 40}, "B": {"mcc": -2.5, "f1": 20}}
    assert values(table, "arithmetic") == {"A": 13.75, "B": 8.75}
    assert values(table, "ranks") == {"A": 1.5, "B": 1.5}


def test_one_model_and_one_task_are_a_table():
    for mean in MEANS:
        (row,) = leaderboard({"A": {"x": 50}}, mean=mean).rows
        assert row == ("A", 1.0 if mean == "ranks" else 50.0, 1, 1)


def test_it_prints_and_gives_plain_types():
    board = leaderboard({"T5": {"x": 0.912}, "BERT": {"x": 0.8}}, mean="harmonic")
    assert str(board) == "1  T5    0.9120\n2  BERT  0.8000"
    rows = [
        {"model": "T5", "value": pytest.approx(0.912), "rank": 1, "tasks": 1},
        {"model": "BERT", "value": pytest.approx(0.8), "rank": 2, "tasks": 1},
    ]
    assert board.to_dict() == {"mean": "harmonic", "tasks": ["x"], "rows": rows}
    assert leaderboard({"T5": {"x": 91.2}}, mean="ranks").format(1.0) == "1.00"
    assert leaderboard({"T5": {"x": 91.2}}, mean="harmonic").format(0.5) == "0.50"


def test_the_table_is_left_as_it_was():
    table = {"A": {"CB": [1, 2]}, "B": {"CB": [3, 4]}}
    leaderboard(table, mean="arithmetic")
    assert table == {"A": {"CB": [1, 2]}, "B": {"CB": [3, 4]}}


def test_a_table_with_gaps_is_refused_by_default():
    table = {"A": {"x": 90, "y": 10}, "B": {"x": 80}}
    with pytest.raises(ValueError, match="the score of 'B' in 'y' is None"):
        leaderboard(table, mean="arithmetic")
    board = leaderboard(table, mean="arithmetic", own_tasks=True)
    assert [(row.model, row.value, row.tasks) for row in board.rows] == [("B", 80, 1), ("A", 50, 2)]


def test_means_of_superglue_are_the_official_ones():
    found = values(shipped("superglue-2022"), "arithmetic")
    assert list(found) == list(OFFICIAL_SUPERGLUE)
    for model, value in found.items():
        # a cell is right to 0.05, and so is the official mean
        assert abs(value - OFFICIAL_SUPERGLUE[model]) <= 0.1, model
    spec = {"ST-MoE-32B": 91.16, HUMAN: 89.79, "T5": 89.25}
    assert {model: round(found[model], 2) for model in spec} == spec


def test_means_of_glue_are_the_official_ones():
    """Nine tasks, of which MNLI has two metrics; some older models lack QNLI."""
    table = shipped("glue-2019", without=["AX"])
    for model, official in OFFICIAL_GLUE.items():
        row = dict(table[model])
        row["MNLI"] = (row.pop("MNLI-m"), row.pop("MNLI-mm"))
        assert abs(values({model: row}, "arithmetic")[model] - official) <= 0.1


def test_over_one_set_of_tasks_the_three_orders_nearly_agree():
    table = shipped("superglue-2022")
    boards = {mean: leaderboard(table, mean=mean) for mean in MEANS}
    same = rank_changes(boards["arithmetic"], boards["geometric"])
    assert same.tau == 1
    assert same.moves == same.swaps == ()
    changes = rank_changes(boards["arithmetic"], boards["harmonic"])
    assert changes.tau > 0.9
    assert set(changes.swaps) == {(HUMAN, "T5"), (HUMAN, "Frozen T5 1.1 + SPoT")}
    # the other way round than the paper has it: the harmonic mean puts people lower, not first
    assert [boards[mean].ranks()[HUMAN] for mean in MEANS] == [6, 6, 8, 3]


def test_the_harmonic_mean_is_that_of_the_lowest_score():
    found = values(shipped("superglue-2022"), "harmonic")
    # 0.25 in one of eight tasks
    assert round(found["WARP few-shot"], 2) == 1.92
    assert found["WARP few-shot"] < 0.25 * 8


def test_humans_lead_by_more_where_a_hard_task_counts_for_models_only():
    """The rule of the paper on GLUE: arithmetic means over 10 tasks, the others over 11."""
    ten = prepare_scores(shipped("glue-2019", without=["AX"]), missing="own")
    eleven = prepare_scores(shipped("glue-2019"), missing="own")
    kinds = ("arithmetic", "geometric", "harmonic")

    def both(scores, model):
        return [round(values(scores, mean, own_tasks=True)[model], 2) for mean in kinds]

    assert both(ten, "MT-DNN") == [83.03, 82.30, 81.50]
    assert both(eleven, "MT-DNN") == [79.15, 77.13, 74.57]
    assert both(ten, "Human performance") == both(eleven, "Human performance")
    people = both(ten, "Human performance")
    leads = [
        [high - low for high, low in zip(people, both(table, "MT-DNN"), strict=True)]
        for table in (ten, eleven)
    ]
    # over the same tasks the kind of mean changes nearly nothing, the eleventh task nearly all
    assert max(leads[0]) - min(leads[0]) < 0.15
    assert leads[1][1] - leads[0][0] > 5
    assert leads[1][2] - leads[0][0] > 7


def test_two_more_tasks_put_humans_first_by_any_mean_and_common_tasks_do_not():
    """On SuperGLUE the paper's means were over 8 and over 10 tasks.

    The scores of models in the two diagnostic tasks are not in our source: here they are 65 and 90,
    below those of people, which is all that the argument needs.
    """
    people = {"AX-b": 76.6, "AX-g": (99.3, 99.7)}
    table = shipped("superglue-2022")
    eight = {mean: leaderboard(table, mean=mean).ranks()[HUMAN] for mean in MEANS}
    ten = {
        model: {**row, **(people if model == HUMAN else {"AX-b": 65, "AX-g": 90})}
        for model, row in table.items()
    }
    human = {mean: round(values({HUMAN: ten[HUMAN]}, mean)[HUMAN], 2) for mean in MEANS}
    assert human == {"arithmetic": 89.44, "geometric": 88.73, "harmonic": 87.96, "ranks": 1}
    assert eight["arithmetic"] == 6
    assert leaderboard(ten, mean="arithmetic").ranks()[HUMAN] == 1
    assert leaderboard(ten, mean="geometric").ranks()[HUMAN] == 1
    common = prepare_scores({**ten, "T5": table["T5"]}, missing="tasks")
    assert {mean: leaderboard(common, mean=mean).ranks()[HUMAN] for mean in MEANS} == eight
