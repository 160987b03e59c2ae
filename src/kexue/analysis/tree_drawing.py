"""A dependency tree as arcs above the words, each from a head to the word below it.

Post: https://kexue.fm/archives/7476
Axes: N words
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kexue._check import invalid
from kexue._figures import new_figure, save_figure, use_fonts

# Inches:
_LETTER = 0.13  # a letter; a Chinese character takes two
_LEVEL = 0.3  # between arcs one above the other
_FOOT = 0.08  # between arcs that stand on one side of a word


def draw_tree(
    heads: Sequence[int], units: Sequence[str], path: str | Path, *, title: str = ""
) -> Path:
    """Write a dependency tree: an arc from each head to the word below it.

    Args:
        heads: the head of each word, -1 for the root, as `parse_tree` gives them.
        units: the words.
        path: where to write; the ending decides the format, such as .png, .svg or .pdf.
        title: the line above.

    Returns:
        The path, which holds the whole picture or what it held before.

    Raises:
        ImportError: if matplotlib is missing.
        ValueError: if there is not one head for each word.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw_tree([1, -1], ["花", "开"], f"{folder}/a.svg").name
        'a.svg'
    """
    count = len(units)
    if len(heads) != count or not all(-1 <= head < count for head in heads) or not count:
        raise invalid("heads", list(heads), f"{count} heads, each a word or -1")
    room = np.array([_LETTER * (_wide(unit) + 2) for unit in units])
    centre = room.cumsum() - room / 2
    level = _levels(heads)
    width, height = max(2.0, room.sum()), _LEVEL * max(level)
    figure = new_figure(width, height + 1.0, layout="constrained")
    families = use_fonts((title, *units))
    axes = figure.subplots()
    axes.set(xlim=(0, width), ylim=(-0.35, height + 0.4))
    axes.axis("off")
    axes.set_title(title, fontfamily=families, parse_math=False)
    feet = _feet(heads, centre, room)
    label = {"ha": "center", "va": "center", "fontfamily": families, "parse_math": False}
    for word, (unit, head) in enumerate(zip(units, heads, strict=True)):
        axes.text(centre[word], -0.2, unit, **label)
        if head < 0:
            _arrow(axes, [(centre[word], height + 0.35), (centre[word], 0)])
        else:
            start, end, top = feet[head, word], feet[word, head], _LEVEL * level[word]
            _arrow(axes, [(start, 0), (start, top), (end, top), (end, 0)])
    return save_figure(figure, path)


def _feet(heads: Sequence[int], centre: NDArray, room: NDArray) -> dict[tuple[int, int], float]:
    """Say where on a word its arc to another one stands: the longest next to the centre."""
    ends = [
        edge
        for word, head in enumerate(heads)
        if head >= 0
        for edge in ((word, head), (head, word))
    ]
    feet = {}
    for word in range(len(heads)):
        for side in (-1, 1):
            others = [other for one, other in ends if one == word and (other - word) * side > 0]
            step = min(_FOOT, room[word] / 2 / (len(others) + 1))
            for rank, other in enumerate(sorted(others, key=lambda o: -abs(o - word)), 1):
                feet[word, other] = centre[word] + side * step * rank
    return feet


def _arrow(axes, points: list[tuple[float, float]]) -> None:
    """Draw a line through points, rounded at corners, with a tip at its end."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Line

    corners = [points[0]]
    codes = [Line.MOVETO]
    for before, corner, after in zip(points, points[1:-1], points[2:], strict=False):
        near = [_towards(corner, other) for other in (before, after)]
        corners += [near[0], corner, near[1]]
        codes += [Line.LINETO, Line.CURVE3, Line.CURVE3]
    corners.append(points[-1])
    codes.append(Line.LINETO)
    style = {"arrowstyle": "-|>", "mutation_scale": 8, "linewidth": 1, "color": "#24527a"}
    axes.add_patch(FancyArrowPatch(path=Line(corners, codes), **style))


def _towards(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Go a tenth of an inch from a corner to another point, but not beyond half the way."""
    step = np.subtract(other, corner)
    length = np.hypot(*step)
    return tuple(np.add(corner, step * min(0.5, 0.1 / length)))


def _levels(heads: Sequence[int]) -> list[int]:
    """Say how high each word's arc is: above all arcs between its ends; 0 for the root."""
    arcs = sorted(
        (abs(head - word), min(head, word), word) for word, head in enumerate(heads) if head >= 0
    )
    level = [0] * len(heads)
    for place, (length, start, word) in enumerate(arcs):
        inside = [
            level[other]
            for _, first, other in arcs[:place]
            if first < start + length and start < first + abs(heads[other] - other)
        ]
        level[word] = 1 + max(inside, default=0)
    return level


def _wide(text: str) -> int:
    return sum(2 if ord(letter) > 0x2E7F else 1 for letter in text)
