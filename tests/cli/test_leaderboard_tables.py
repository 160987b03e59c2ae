import pytest

from kexue.analysis.leaderboard import leaderboard
from kexue.analysis.leaderboard_bootstrap import bootstrap_ranks
from kexue.analysis.leaderboard_changes import rank_changes
from kexue.cli import data_output
from kexue.cli.leaderboard_tables import show_boards, show_changes, show_spreads

TABLE = {"even": {"x": 60, "y": 60}, "[red]uneven": {"x": 90, "y": 35}, "weak": {"x": 2, "y": 1}}


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(data_output, "_is_terminal", lambda: True)


def boards(table=TABLE, means=("arithmetic", "geometric", "harmonic")):
    return [leaderboard(table, mean=mean) for mean in means]


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_drawn_tables_and_no_markup_from_the_names(capsys):
    drawn = boards()
    show_boards(drawn, "a.csv")
    show_spreads(drawn[0], bootstrap_ranks(TABLE, mean="arithmetic", samples=20))
    output = capsys.readouterr().out
    assert "a.csv: 3 models, 2 tasks" in output
    assert "20 draws of the tasks, 95 % intervals" in output
    assert output.count("[red]uneven") == 2
    assert "│" in output


@pytest.mark.usefixtures("terminal")
def test_one_model_and_one_task_are_counted_as_such(capsys):
    show_boards(boards({"A": {"x": 1}}), "a.csv")
    assert "a.csv: 1 model, 1 task " in capsys.readouterr().out


def test_shares_have_four_digits(capsys):
    show_boards(boards({"A": {"x": 0.91237}, "B": {"x": 0.91234}}, ["arithmetic", "ranks"]), "a")
    assert capsys.readouterr().out.splitlines()[1:] == [
        "A\t0.9124\t1\t1.00\t1",
        "B\t0.9123\t2\t2.00\t2",
    ]


def test_each_pair_is_named_once_with_the_means_that_agree(capsys):
    drawn = boards()
    changes = [rank_changes(a, b) for n, a in enumerate(drawn) for b in drawn[n + 1 :]]
    assert sum(len(change.swaps) for change in changes) == 2
    show_changes(drawn, changes)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "model\tabove\tby\tbut below by"
    assert lines[-1] == "[red]uneven\teven\tarithmetic\tgeometric, harmonic"


def test_a_pair_that_changes_places_twice_is_named_once(capsys):
    table = {"even": {"x": 60, "y": 60, "z": 61}, "uneven": {"x": 90, "y": 35, "z": 62}}
    drawn = boards(table, ["arithmetic", "harmonic", "ranks"])
    changes = [rank_changes(a, b) for n, a in enumerate(drawn) for b in drawn[n + 1 :]]
    assert [change.swaps for change in changes] == [
        *((("uneven", "even"),), (), (("even", "uneven"),)),
    ]
    show_changes(drawn, changes)
    assert capsys.readouterr().out.splitlines()[5:] == [
        "uneven\teven\tarithmetic, ranks\tharmonic",
    ]


def test_where_nothing_changes_there_is_no_table_of_pairs(capsys):
    drawn = boards({"A": {"x": 2}, "B": {"x": 1}})
    show_changes(drawn, [rank_changes(drawn[0], drawn[1])])
    assert len(capsys.readouterr().out.splitlines()) == 2
    show_changes(drawn[:1], [])
    assert capsys.readouterr().out == ""


def test_many_pairs_are_counted_where_not_all_are_shown(capsys):
    table = {f"m{n}": {"x": n + 1, "y": 10 - n} for n in range(8)}
    drawn = [leaderboard({m: {"a": r[t]} for m, r in table.items()}, mean="ranks") for t in "xy"]
    # two leaderboards by the same mean of other tasks; their names only are the same
    changes = [rank_changes(*drawn)]
    assert len(changes[0].swaps) == 28
    show_changes(drawn, changes, shown=20)
    assert capsys.readouterr().out.splitlines()[-1].startswith("... and 8 more pairs")
    show_changes(drawn, changes)
    assert "more" not in capsys.readouterr().out
