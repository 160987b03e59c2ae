"""A picture of how the correlation depends on the features that a whitening keeps.

Post: https://kexue.fm/archives/9079
"""

import re
from pathlib import Path

from kexue._figures import new_figure, save_figure
from kexue.tasks.sts import StsTable


def draw_sweep(table: StsTable, path: str | Path) -> Path:
    """Draw a line over k for each form of whitening, and what raw vectors give.

    Args:
        table: from `compare_transforms`, with several k.
        path: where to write; the ending decides the format, such as .png or .svg.

    Returns:
        The path, which holds the whole picture or what it held before.

    Raises:
        ImportError: if matplotlib is missing.

    Example:
        >>> import tempfile
        >>> from kexue.tasks.sts import StsScore
        >>> scores = [StsScore("mini", "P4", name, "pairs", 0.5, k)
        ...     for name, k in (("raw", 8), ("whitened", 8), ("whitened, 4", 4))]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw_sweep(StsTable(scores), f"{folder}/a.svg").name
        'a.svg'
    """
    figure = new_figure(6.4, 4, layout="constrained")
    axes = figure.subplots()
    lines: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for score in table.scores:
        form = re.sub(r", \d+$", "", score.transform)
        lines.setdefault((score.pairs, form), []).append((score.features, 100 * score.spearman))
    sets = {pairs for pairs, _ in lines}
    for (pairs, form), points in lines.items():
        name = form if len(sets) == 1 else f"{pairs}: {form}"
        if form == "raw":
            axes.axhline(points[0][1], color="grey", linestyle="--", label=name)
        else:
            axes.plot(*zip(*sorted(points), strict=True), marker="o", markersize=4, label=name)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("features kept (k)")
    axes.set_ylabel("Spearman correlation x 100")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return save_figure(figure, path)
