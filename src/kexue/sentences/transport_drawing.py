"""Draw a transport plan: two columns of words and bands between them.

A band is as wide as what it carries, and its colour is what carrying a unit costs.

Post: https://kexue.fm/archives/7388
Axes: N words on the left, M words on the right
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kexue._figures import new_figure, save_figure, use_fonts

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
    columns = _slots(plan)
    lines = max(slots.max() for slots in columns)
    # In inches: the words, and below them the scale of colours.
    table, whole = _LINE * lines, _LINE * lines + _BELOW
    figure = new_figure(_WIDTH, whole)
    families = use_fonts((title, *words[0], *words[1]), fonts)
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
    return save_figure(figure, path, tight=True)


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
