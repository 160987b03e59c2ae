import sys
import warnings

import numpy as np
import pytest
import torch

from kexue.analysis.impact_drawing import draw_impact

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

IMPACT = np.array([[9.0, 2.0, 1.0], [4.0, 9.0, 0.0], [3.0, 1.0, 9.0]])


def pixels(path):
    from matplotlib.image import imread

    return imread(path)[::4, ::4, :3]


def cells(path, count):
    """The colours in the middle of the cells of a heat map, found by its white diagonal."""
    picture = pixels(path)
    from matplotlib import colormaps

    table = colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]
    near = np.abs(picture[..., None, :] - table).sum(-1).min(-1) < 0.02
    columns = np.flatnonzero(near.mean(0) > 0.2)
    gap = np.flatnonzero(np.diff(columns) > 1)
    columns = columns[: gap[-1] + 1] if len(gap) else columns  # without the scale of colours
    rows = np.flatnonzero(near[:, columns].mean(1) > 0.2)
    middle = (np.arange(count) + 0.5) / count
    at = [edge[0] + (np.ptp(edge) * middle).astype(int) for edge in (rows, columns)]
    return picture[np.ix_(*at)]


def test_a_cell_has_the_colour_of_its_impact(tmp_path):
    from matplotlib import colormaps

    found = cells(draw_impact(IMPACT, ["x", "y", "z"], tmp_path / "a.png"), 3)
    for row in range(3):
        for column in range(3):
            shown = found[row, column]
            if row == column:
                np.testing.assert_allclose(shown, 1, atol=0.02)
            else:
                expected = colormaps["viridis"](IMPACT[row, column] / 4)[:3]
                np.testing.assert_allclose(shown, expected, atol=0.02)


def test_the_units_and_the_title_are_written(tmp_path):
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}):
        path = draw_impact(IMPACT, ["tea", "$5_$", "<b>"], tmp_path / "a.svg", title="A title")
    text = path.read_text("utf-8")
    for word in ("tea", "$5_$", "&lt;b&gt;"):
        assert text.count(f">{word}</text>") == 2
    assert ">A title</text>" in text


def test_chinese_has_its_glyphs(tmp_path):
    from matplotlib.font_manager import fontManager

    if not any("CJK" in font.name for font in fontManager.ttflist):
        pytest.skip("no Noto or Source Han font for Chinese is installed")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_impact(IMPACT, list("科学，"), tmp_path / "a.png", title="科学空间")


def test_letters_without_a_glyph_are_named(tmp_path):
    with pytest.warns(UserWarning, match="No font here has \U00012000"):
        draw_impact(IMPACT, ["\U00012000", "b", "c"], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize("count", [1, 2, 30])
def test_texts_of_any_length(tmp_path, count):
    impact = torch.rand(count, count, dtype=torch.bfloat16)
    before = impact.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_impact(impact, [f"w{i}" for i in range(count)], tmp_path / "a.png")
    assert torch.equal(impact, before)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("impact", "units"), [(IMPACT, ["a"]), (IMPACT[:2], ["a", "b", "c"])])
def test_units_that_do_not_fit_are_an_error(tmp_path, impact, units):
    with pytest.raises(ValueError, match="impact is"):
        draw_impact(impact, units, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "kexue\[plot\]"'):
        draw_impact(IMPACT, ["a", "b", "c"], tmp_path / "a.png")


def test_pyplot_is_left_alone(tmp_path):
    import matplotlib.pyplot as plt

    draw_impact(IMPACT, ["a", "b", "c"], tmp_path / "a.png")
    assert plt.get_fignums() == []
