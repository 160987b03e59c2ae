"""Draw how ranks change from one mean to another: a column for each mean, a line for each model.

Post: https://kexue.fm/archives/8783
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kexue._check import invalid
from kexue._figures import new_figure, save_figure, use_fonts
from kexue.analysis.leaderboard import Leaderboard

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE = 0.34  # inches between two ranks
_COLUMN = 1.7  # inches between two means
_BESIDE = 0.2  # columns between the last one and the names
_STILL = "#8c8c8c"
_SEVERAL = 2


def draw_rank_changes(
    boards: Sequence[Leaderboard],
    path: str | Path,
    *,
    top: int = 40,
    title: str = "",
    fonts: Sequence[str] = (),
) -> Path:
    """Write a picture of the ranks of the same models by several means.

    Lines of models whose rank changes are coloured, the others are grey. Each place shows the mean.

    Args:
        boards: at least two leaderboards of the same models.
        path: where to write; the ending decides the format, such as .png or .svg.
        top: how many models of the first leaderboard are drawn; a line below says how many are not.
        title: the line above.
        fonts: names of font families, for names that the font of matplotlib cannot write.

    Returns:
        The path, which holds the whole picture or what it held before.

    Raises:
        ImportError: if matplotlib is missing.
        ValueError: if there are fewer than two leaderboards, they hold different models, or the
            ending of the path is no format of a picture.

    Example:
        >>> import tempfile
        >>> from kexue.analysis.leaderboard import leaderboard
        >>> table = {"even": {"x": 60, "y": 60}, "uneven": {"x": 90, "y": 35}}
        >>> boards = [leaderboard(table, mean=mean) for mean in ("arithmetic", "harmonic")]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw_rank_changes(boards, f"{folder}/a.svg").name
        'a.svg'
    """
    if len(boards) < _SEVERAL:
        raise invalid("boards", f"{len(boards)} of them", "at least two, to see what changes")
    if any(board.ranks().keys() != boards[0].ranks().keys() for board in boards):
        raise invalid("boards", "of different models", "leaderboards of the same models")
    if top < 1:
        raise invalid("top", top, "a whole number, 1 or more")
    models = [row.model for row in boards[0].rows[:top]]
    families = use_fonts([title, *models], fonts)
    width, height = _COLUMN * (len(boards) - 1), _LINE * len(models)
    figure = new_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, len(boards) - 1), ylim=(len(models) - 0.5, -0.5))
    axes.axis("off")
    _draw_lines(axes, boards, models, families)
    middle = (len(boards) - 1) / 2
    axes.text(middle, -1.7, title, ha="center", parse_math=False, fontfamily=families)
    for at, board in enumerate(boards):
        axes.text(at, -0.8, board.mean, ha="center", weight="bold")
    left_out = len(boards[0].rows) - len(models)
    if left_out:
        note = f"and {left_out} more models, below these by the {boards[0].mean} mean"
        axes.text(middle, len(models), note, ha="center", color=_STILL, size="small")
    return save_figure(figure, path, tight=True)


def _places(board: Leaderboard, models: Sequence[str]) -> dict[str, int]:
    """Give each model a height; equal ones stand in the order of the first leaderboard."""
    ranks = board.ranks()
    ordered = sorted(models, key=lambda model: (ranks[model], models.index(model)))
    return {model: place for place, model in enumerate(ordered)}


def _draw_lines(
    axes: "Axes", boards: Sequence[Leaderboard], models: Sequence[str], families: list[str]
) -> None:
    """Draw a line for each model, with its means on it and its name at both ends."""
    from matplotlib import colormaps

    ranks, places = [board.ranks() for board in boards], [_places(b, models) for b in boards]
    values = [{row.model: board.format(row.value) for row in board.rows} for board in boards]
    changed = [model for model in models if len({each[model] for each in ranks}) > 1]
    colours = dict(zip(changed, colormaps["tab10"].colors * len(changed), strict=False))
    for model in models:
        heights = [place[model] for place in places]
        colour, width = colours.get(model, _STILL), 2.2 if model in colours else 1
        axes.plot(range(len(boards)), heights, color=colour, linewidth=width, clip_on=False)
        box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": colour}
        for at, height in enumerate(heights):
            value = values[at][model]
            axes.text(at, height, value, ha="center", va="center", size="small", bbox=box)
        ends = [f"{model}  {ranks[0][model]}", f"{ranks[-1][model]}  {model}"]
        sides = [(-_BESIDE, "right"), (len(boards) - 1 + _BESIDE, "left")]
        for text, (x, align), height in zip(ends, sides, heights[:: len(boards) - 1], strict=True):
            style = {"va": "center", "parse_math": False, "fontfamily": families}
            axes.text(x, height, text, ha=align, **style)
