import re
import warnings

import numpy as np
import pytest

from kexue.sentences.transport_drawing import draw_alignment

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

PLAN = np.array([[0.5, 0.0], [0.125, 0.375]])
COST = np.array([[0.25, 2.0], [1.0, 0.75]])


def draw(path, *, words=(("tea", "milk"), ("chai", "cow")), plan=PLAN, cost=COST, **options):
    return draw_alignment(plan, cost, words, path, **options)


@pytest.fixture
def chinese_font():
    from matplotlib.font_manager import fontManager

    # Not by find_fonts: a list that lacks the font must fail, not skip
    if not any("CJK" in font.name for font in fontManager.ttflist):
        pytest.skip("no Noto or Source Han font for Chinese is installed")


def bands(path):
    """The areas of an SVG picture: colour and corners of each."""
    text = path.read_text("utf-8")
    found = re.findall(r'id="FillBetweenPolyCollection_\d+">.*?</g>', text, flags=re.DOTALL)
    for band in found:
        outline = re.search(r' d="(.*?)"', band, flags=re.DOTALL)[1]
        corners = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", outline), dtype=float)
        shift = re.search(r'<use [^>]*x="(-?[\d.]+)" y="(-?[\d.]+)"', band).groups()
        yield re.search(r"fill: (#\w+)", band)[1], corners + np.array(shift, dtype=float)


def test_a_band_is_as_wide_as_what_it_carries(tmp_path):
    draw(tmp_path / "a.svg")
    widths = []
    for _, corners in bands(tmp_path / "a.svg"):
        for end in (corners[:, 0].min(), corners[:, 0].max()):
            at = corners[np.isclose(corners[:, 0], end), 1]
            widths.append(np.ptp(at))
    # The widest first, so that the thin ones are on top
    widths = np.array(widths).reshape(3, 2)
    np.testing.assert_allclose(widths[:, 0], widths[:, 1], rtol=1e-4)
    np.testing.assert_allclose(widths[:, 0] / widths[0, 0], [1, 0.75, 0.25], rtol=1e-4)


def test_the_colour_of_a_band_is_its_cost(tmp_path):
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    draw(tmp_path / "a.svg")
    expected = [to_hex(colormaps["viridis_r"](cost)) for cost in (0.25, 0.75, 1.0)]
    assert [colour for colour, _ in bands(tmp_path / "a.svg")] == expected


def test_bands_of_a_word_lie_side_by_side(tmp_path):
    draw(tmp_path / "a.svg")
    (_, first), (_, second), (_, third) = bands(tmp_path / "a.svg")
    left = first[:, 0].min()
    # milk sends to chai above and to cow below, without a gap; tea is above with one
    tea, cow, chai = (band[np.isclose(band[:, 0], left), 1] for band in (first, second, third))
    assert chai.max() == pytest.approx(cow.min(), abs=0.01)
    assert tea.max() < chai.min() - 1


def test_the_words_are_written(tmp_path):
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}):
        draw(tmp_path / "a.svg", title="A title", words=(("tea", "$5_$"), ("<b>", "cow")))
    text = (tmp_path / "a.svg").read_text("utf-8")
    for word in ("A title", "tea", "$5_$", "&lt;b&gt;", "cow", "cost of carrying a unit"):
        assert f">{word}</text>" in text


@pytest.mark.usefixtures("chinese_font")
def test_chinese_words_have_their_glyphs(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(tmp_path / "a.png", words=(("今天", "很好"), ("今日", "不错")), title="搬运距离")
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 6), (30, 4)])
def test_sentences_of_any_length_fit(tmp_path, n, m):
    plan = np.full((n, m), 1 / (n * m))
    words = [[f"w{i}" for i in range(count)] for count in (n, m)]
    path = draw(tmp_path / "a.svg", plan=plan, cost=np.zeros((n, m)), words=words)
    corners = np.concatenate([corners for _, corners in bands(path)])
    height = float(re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', path.read_text("utf-8"))[1])
    assert 0 <= corners[:, 1].min() < corners[:, 1].max() <= height
    assert len(list(bands(path))) == n * m
