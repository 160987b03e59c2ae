import re
import sys
import warnings

import numpy as np
import pytest

from kexue.analysis.tree_drawing import _feet, _levels, draw_tree

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

HEADS, WORDS = [1, -1, 3, 1, 3], ["we", "saw", "a", "hole", "there"]


def draw(path, *, heads=HEADS, words=WORDS, **options):
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}):
        return draw_tree(heads, words, path, **options)


def lines(path):
    """The arcs of an SVG picture: the points of each line, tips left out."""
    text = path.read_text("utf-8")
    for patch in re.findall(r'<g id="patch_\d+">\s*<path d="([^"]*)"', text):
        points = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", patch), dtype=float)
        if "Q" in patch or len(points) == 2:
            yield points


def places(path):
    """Where the words stand in an SVG picture."""
    text = path.read_text("utf-8")
    pattern = (
        r'<text style="[^"]*" (?:x="([\d.]+)" y="[\d.]+"|transform="[^"]*")[^>]*>([^<]+)</text>'
    )
    return {word: float(x) for x, word in re.findall(pattern, text) if x}


def test_arcs_run_from_heads_to_words(tmp_path):
    path = draw(tmp_path / "a.svg")
    where = places(path)
    assert list(where) == WORDS
    centres = np.array([where[word] for word in WORDS])
    assert (np.diff(centres) > 0).all()

    def word_at(x):
        return int(np.abs(centres - x).argmin())

    found = sorted((word_at(points[-1, 0]), word_at(points[0, 0])) for points in lines(path))
    assert found == [(0, 1), (1, 1), (2, 3), (3, 1), (4, 3)]  # the root's comes from above


def test_an_arc_is_above_those_between_its_ends(tmp_path):
    assert _levels([1, -1, 3, 1, 3]) == [1, 0, 1, 2, 1]
    assert _levels([-1, 0, 0, 0]) == [0, 1, 2, 3]
    assert _levels([1, 2, 3, -1]) == [1, 1, 1, 0]
    assert _levels([-1]) == [0]
    # 0-2 and 1-3 cross: one is above the other
    assert sorted(_levels([-1, 3, 0, 0])) == [0, 1, 2, 3]


def test_arcs_stand_beside_each_other():
    heads = [-1, 0, 0, 0]
    centre = np.arange(4.0)
    feet = _feet(heads, centre, np.ones(4))
    mine = [feet[0, other] for other in (3, 2, 1)]
    assert mine == sorted(mine)
    assert len(set(mine)) == 3
    assert all(0 < foot < 0.5 for foot in mine)
    assert all(feet[other, 0] < centre[other] for other in (1, 2, 3))


def test_many_arcs_share_the_room_of_their_word():
    heads = [-1] + [0] * 30
    feet = _feet(heads, np.arange(31.0), np.ones(31))
    mine = [feet[0, other] for other in range(1, 31)]
    assert len(set(mine)) == 30
    assert max(mine) < 0.5


def test_words_and_title_are_written(tmp_path):
    path = draw(tmp_path / "a.svg", words=["tea", "$5_$", "<b>", "茶", "e"], title="A title")
    text = path.read_text("utf-8")
    for word in ("tea", "$5_$", "&lt;b&gt;", "茶", "A title"):
        assert f">{word}</text>" in text


@pytest.mark.parametrize("count", [1, 2, 50])
def test_texts_of_any_length(tmp_path, count):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = draw(
            tmp_path / "a.png",
            heads=[-1, *np.random.default_rng(0).integers(0, np.arange(1, count)).tolist()],
            words=[f"word{i}" for i in range(count)],
        )
    assert path.stat().st_size > 1000
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(("heads", "words"), [([-1], ["a", "b"]), ([5, -1], ["a", "b"]), ([], [])])
def test_heads_that_do_not_fit_are_an_error(tmp_path, heads, words):
    with pytest.raises(ValueError, match="heads is"):
        draw(tmp_path / "a.png", heads=heads, words=words)


def test_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "kexue\[plot\]"'):
        draw_tree(HEADS, WORDS, tmp_path / "a.png")
