import re

import pytest

pytest.importorskip("matplotlib")

from kexue.analysis.leaderboard import leaderboard
from kexue.analysis.leaderboard_drawing import draw_rank_changes

TABLE = {
    "even": {"x": 60, "y": 60},
    "uneven": {"x": 90, "y": 35},
    "weak": {"x": 20, "y": 20},
}
STILL = "#8c8c8c"


def boards(table=TABLE, means=("arithmetic", "harmonic")):
    return [leaderboard(table, mean=mean) for mean in means]


def comments(path):
    """The texts of a picture, which matplotlib repeats as comments of an SVG."""
    return re.findall(r"<!-- (.*?) -->", path.read_text("utf-8"))


def test_each_place_has_its_mean_and_both_ends_their_name_and_rank(tmp_path):
    path = draw_rank_changes(boards(), tmp_path / "new" / "a.svg", title="a.csv")
    texts = comments(path)
    for text in ("a.csv", "arithmetic", "harmonic", "62.50", "60.00", "50.40"):
        assert text in texts
    for text in ("uneven  1", "2  uneven", "even  2", "1  even", "weak  3", "3  weak"):
        assert text in texts
    assert [found.name for found in path.parent.iterdir()] == ["a.svg"]


def test_only_models_that_move_are_coloured(tmp_path):
    def colours(drawn):
        text = draw_rank_changes(drawn, tmp_path / "a.svg").read_text("utf-8")
        return re.findall(r"stroke: (#\w+)", text)

    moved = colours(boards())
    assert STILL in moved
    assert len(set(moved) - {STILL, "#000000"}) == 2
    still = colours(boards({"A": {"x": 2}, "B": {"x": 1}}))
    assert set(still) - {"#000000"} == {STILL}


def test_models_that_are_not_drawn_are_counted(tmp_path):
    texts = comments(draw_rank_changes(boards(), tmp_path / "a.svg", top=1))
    assert "and 2 more models, below these by the arithmetic mean" in texts
    assert "uneven  1" in texts
    assert "2  uneven" in texts  # its rank among all models
    assert not any("weak" in text for text in texts)


def test_names_are_no_formulas_and_more_models_than_colours_are_fine(tmp_path):
    table = {f"$m_{n}$": {"x": n + 1, "y": 30 - n * n / 10} for n in range(13)}
    texts = comments(draw_rank_changes(boards(table, ("ranks", "harmonic")), tmp_path / "a.svg"))
    assert sum("$m_12$" in text for text in texts) == 2


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = draw_rank_changes(boards(), tmp_path / "a.png")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not supported"):
        draw_rank_changes(boards(), tmp_path / "a.nonsense")
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("drawn", "options", "message"),
    [
        (boards()[:1], {}, "at least two"),
        ([*boards(), leaderboard({"A": {"x": 1}}, mean="ranks")], {}, "the same models"),
        (boards(), {"top": 0}, "1 or more"),
        (boards(), {"fonts": ["no such family"]}, "fc-list"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, drawn, options, message):
    with pytest.raises(ValueError, match=message):
        draw_rank_changes(drawn, tmp_path / "a.png", **options)
    assert not list(tmp_path.iterdir())
