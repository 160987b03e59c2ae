"""The impact matrix as a heat map.

Post: https://kexue.fm/archives/7476
Axes: N units (words or characters)
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from kexue._check import invalid
from kexue._figures import new_figure, save_figure, use_fonts
from kexue.analysis.impact_arrays import square_array

_CELL = 0.32  # inches of a unit in the heat map


def draw_impact(
    impact: ArrayLike, units: Sequence[str], path: str | Path, *, title: str = ""
) -> Path:
    """Write a heat map: a row shows what matters for a unit, a column for what a unit matters.

    Args:
        impact: [N, N] from `impact_matrix`; the diagonal, which is 0, is left white.
        units: the N units.
        path: where to write; the ending decides the format, such as .png, .svg or .pdf.
        title: the line above.

    Returns:
        The path, which holds the whole picture or what it held before.

    Raises:
        ImportError: if matplotlib is missing.
        ValueError: if the matrix does not fit the units.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw_impact([[0, 2], [1, 0]], ["花", "开"], f"{folder}/a.svg").name
        'a.svg'
    """
    matrix = square_array(impact)
    count = len(units)
    if matrix.shape != (count, count) or not count:
        raise invalid("impact", matrix.shape, f"{(count, count)}, for {count} units")
    np.fill_diagonal(matrix, np.nan)
    side = _CELL * max(count, 6)
    figure = new_figure(side + 1.6, side + 0.9, layout="constrained")
    families = use_fonts((title, *units))
    axes = figure.subplots()
    shown = axes.imshow(matrix, cmap="viridis")
    label = {"parse_math": False, "fontfamily": families}
    upright = all(len(unit) <= 2 for unit in units)
    axes.set_xticks(range(count), units, rotation=0 if upright else 90, **label)
    axes.set_yticks(range(count), units, **label)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_xlabel("how much this matters ...")
    axes.set_ylabel("... for this")
    axes.set_title(title, fontfamily=families, parse_math=False)
    figure.colorbar(shown, shrink=0.8)
    return save_figure(figure, path)
