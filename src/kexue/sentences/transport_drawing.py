"""Draw a transport plan: two columns of words and bands between them.

A band is as wide as what it carries, and its colour is what carrying a unit costs.

Post: https://kexue.fm/archives/7388
Axes: N words on the left, M words on the right
"""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kexue._check import invalid

# Families that hold Chinese, of Linux, macOS and Windows; matplotlib's own font holds none.
_CHINESE = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans GB"),
    *("Heiti TC", "Arial Unicode MS", "Microsoft YaHei", "SimHei", "Noto Serif CJK JP"),
)
_OWN = "DejaVu Sans"
_LINE = 0.28  # inches between two words
_WIDTH = 4.2  # inches between the columns
_BELOW = 0.8  # inches below them
_GAP = 0.2  # lines between the bands of two words


def draw_alignment(
    plan: NDArray,
    cost: NDArray,
    words: tuple[Sequence[str], Sequence[str]],
    path: str | Path,
    *,
    title: str = "",
    fonts: Sequence[str] = (),
) -> Path:
    """Write a picture of a plan.

    Args:
        plan: [N, M] how much goes from where to where; all of it is 1.
        cost: [N, M] what carrying a unit costs.
        words: the N words of the left column and the M words of the right one.
        path: where to write; the ending decides the format, such as .png, .svg or .pdf.
        title: the line above.
        fonts: names of font families to take first.

    Returns:
        The path, which holds the whole picture or what it held before.

    Raises:
        ImportError: if matplotlib is missing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = draw_alignment(np.eye(1), np.eye(1), (["茶"], ["tea"]), f"{folder}/a.svg")
        ...     path.name
        'a.svg'
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Drawing needs matplotlib: pip install "kexue[plot]"') from error
    families = find_fonts(fonts)
    _warn_of_missing(set(title + "".join((*words[0], *words[1]))), families)
    columns = _slots(plan)
    lines = max(slots.max() for slots in columns)
    # In inches: the words, and below them the scale of colours.
    table, whole = _LINE * lines, _LINE * lines + _BELOW
    figure = Figure(figsize=(_WIDTH, whole))
    axes = figure.add_axes((0, _BELOW / whole, 1, table / whole), xlim=(0, 1), ylim=(lines, 0))
    axes.axis("off")
    axes.set_title(title, fontfamily=families)
    shades = _draw_bands(axes, plan, cost, columns)
    scale = figure.add_axes((0.25, 0.45 / whole, 0.5, 0.1 / whole))
    figure.colorbar(shades, cax=scale, orientation="horizontal", label="cost of carrying a unit")
    for side, align, place in ((0, "right", -0.02), (1, "left", 1.02)):
        for word, (top, bottom) in zip(words[side], columns[side], strict=True):
            label = {"ha": align, "va": "center", "fontfamily": families}
            axes.text(place, (top + bottom) / 2, word, parse_math=False, **label)
    return _save(figure, Path(path))


def find_fonts(first: Sequence[str] = ()) -> list[str]:
    """List the font families to draw words with, those of this machine that hold Chinese included.

    Args:
        first: families to prefer.

    Returns:
        Names of families that matplotlib finds; a character comes from the first that has it.

    Raises:
        ValueError: if a preferred family is not there.

    Example:
        >>> "DejaVu Sans" in find_fonts()
        True
    """
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    for name in first:
        if name not in there:
            raise invalid(
                "fonts", name, "families on this machine", "`fc-list : family` lists them."
            )
    return [name for name in (*first, _OWN, *_CHINESE) if name in there]


def missing_characters(text: Iterable[str], families: Sequence[str]) -> str:
    """Find the characters that none of some font families has.

    Args:
        text: characters.
        families: names of families.

    Returns:
        The characters without a glyph, each once, sorted.

    Example:
        >>> missing_characters("tea 茶", ["DejaVu Sans"])
        '茶'
    """
    from matplotlib.font_manager import findfont, get_font

    maps = [get_font(findfont(family)).get_charmap() for family in families]
    lacking = {c for c in text if not c.isspace() and not any(ord(c) in held for held in maps)}
    return "".join(sorted(lacking))


def _warn_of_missing(text: Iterable[str], families: Sequence[str]) -> None:
    if lacking := missing_characters(text, families):
        warnings.warn(
            f"No font here has {lacking}: boxes are drawn instead. Install one that does, such as "
            "Noto Sans CJK (fonts-noto-cjk), or name its family in fonts=[...].",
            stacklevel=4,
        )


def _slots(plan: NDArray) -> tuple[NDArray, NDArray]:
    """Give each word [top, bottom], in lines: room for its text, and for all that it sends."""
    columns = []
    for masses in (plan.sum(1), plan.sum(0)):
        room = np.maximum(1.0, _unit(plan) * masses + _GAP)
        bottom = np.cumsum(room)
        columns.append(np.stack((bottom - room, bottom), 1))
    lines = max(slots.max() for slots in columns)
    return tuple(slots + (lines - slots.max()) / 2 for slots in columns)


def _unit(plan: NDArray) -> float:
    """Choose how many lines the bands take together: most of the shorter column."""
    return (1 - _GAP) * min(plan.shape)


def _draw_bands(axes, plan: NDArray, cost: NDArray, columns: tuple[NDArray, NDArray]):
    """Draw a band for each flow; at each word they lie side by side in the other side's order."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    unit, used = _unit(plan), plan > 0
    shades = ScalarMappable(Normalize(0, cost[used].max() or 1), "viridis_r")
    along = np.linspace(0, 1, 60)
    ease = along**2 * (3 - 2 * along)
    starts = []
    for slots, masses in zip(columns, (plan, plan.T), strict=True):
        before = np.cumsum(masses, 1) - masses - masses.sum(1, keepdims=True) / 2
        starts.append(slots.mean(1, keepdims=True) + unit * before)
    left, right = starts[0], starts[1].T
    # The thin ones last, or they would be hidden.
    for i, j in sorted(np.argwhere(used), key=lambda cell: -plan[tuple(cell)]):
        upper = left[i, j] + ease * (right[i, j] - left[i, j])
        band = {"color": shades.to_rgba(cost[i, j]), "alpha": 0.8, "linewidth": 0.3}
        axes.fill_between(along, upper, upper + unit * plan[i, j], **band)
    return shades


def _save(figure, path: Path) -> Path:
    """Write beside the path and put it in place at once."""
    unfinished = path.with_name(f".unfinished-{path.name}")
    with warnings.catch_warnings():
        # Said before, in one line.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        try:
            figure.savefig(unfinished, dpi=150, bbox_inches="tight", pad_inches=0.15)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    unfinished.replace(path)
    return path
