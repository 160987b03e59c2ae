import builtins
import re

import numpy as np
import pytest

from kexue.training import attribution_picture
from kexue.training.attribution_figure import AttributedText, AttributionFigure
from kexue.training.attribution_picture import draw_attributions

pytest.importorskip("matplotlib")
from matplotlib import font_manager, image


def figure(text, tokens=(), *, marked=None, label="x", converged=True):
    made = AttributedText(text, tokens, marked, 0.0, 1e-5, 5, converged)
    return AttributionFigure(label, "log-odds", 1.0, "zero", (made,))


def colours(path):
    """Colours of the picture that are neither grey nor rare."""
    pixels = (image.imread(path)[..., :3] * 255).round().astype(int).reshape(-1, 3)
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    bright = (found.max(1) - found.min(1) > 40) & (counts > 50)
    return found[bright]


def test_tokens_for_are_blue_and_tokens_against_red(tmp_path):
    tokens = ((0, 4, 1.0, 1.0), (5, 8, -1.0, 1.0))
    both = colours(draw_attributions(figure("good bad", tokens), tmp_path / "a.png"))
    assert any(blue > red for red, _, blue in both)
    assert any(red > blue for red, _, blue in both)
    none = colours(draw_attributions(figure("good bad"), tmp_path / "b.png"))
    assert len(none) == 0


def test_a_long_text_takes_more_lines_and_stays_inside(tmp_path):
    short = image.imread(draw_attributions(figure("one line"), tmp_path / "a.png"))
    long = image.imread(draw_attributions(figure("many words " * 40), tmp_path / "b.png"))
    assert long.shape[0] > 2 * short.shape[0]
    assert long.shape[1] == short.shape[1]
    assert (long[:, -30:, :3] == 1).all()


def words_of(path):
    return "".join(re.findall(r"<!-- (.*?) -->", path.read_text("utf-8")))


def test_every_word_is_drawn(tmp_path):
    text = "It costs $5 and $6\nno formula"
    path = draw_attributions(figure(text, ((9, 11, 1.0, 1.0),)), tmp_path / "a.svg")
    drawn = words_of(path)
    for word in text.split():
        assert word.strip("$") in drawn


def test_a_gap_that_is_too_large_is_told(tmp_path):
    path = draw_attributions(figure("a", converged=False), tmp_path / "a.svg")
    assert "parts" in words_of(path)


def test_what_no_font_has_is_a_box_and_said(tmp_path, monkeypatch):
    entries = [e for e in font_manager.fontManager.ttflist if e.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    assert attribution_picture._families("好人 ok") == (["DejaVu Sans"], {"好", "人"})
    path = draw_attributions(figure("好人 ok"), tmp_path / "a.svg")
    assert "characters" in words_of(path)


def test_fonts_are_chosen_by_what_is_missing(monkeypatch):
    entries = [
        e for e in font_manager.fontManager.ttflist if "DejaVu" in e.name or "STIX" in e.name
    ]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    families, missing = attribution_picture._families("plain")
    assert families == ["DejaVu Sans"]
    assert not missing
    assert attribution_picture._families("") == (["DejaVu Sans"], set())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ab cd", ["ab", " ", "cd"]),
        ("a\nb", ["a", "\n", "b"]),
        ("好x人", ["好", "x", "人"]),
        ("", []),
    ],
)
def test_lines_may_end_between_words_and_wide_characters(text, words):
    assert list(attribution_picture._words(text)) == words


def test_a_failure_leaves_the_old_picture(tmp_path):
    path = tmp_path / "a.nonsense"
    path.write_text("old")
    with pytest.raises(ValueError, match="nonsense"):
        draw_attributions(figure("a"), path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.nonsense"]


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"kexue\[plot\]"):
        draw_attributions(figure("a"), tmp_path / "a.png")
