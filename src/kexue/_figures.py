"""What every picture needs: matplotlib or how to get it, fonts that hold Chinese, a whole file."""

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kexue._check import invalid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Families that hold Chinese, of Linux, macOS and Windows; matplotlib's own font holds none.
_CHINESE = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans GB"),
    *("Heiti TC", "Arial Unicode MS", "Microsoft YaHei", "SimHei", "Noto Serif CJK JP"),
)
_OWN = "DejaVu Sans"


def new_figure(width: float, height: float, *, layout: str | None = None) -> "Figure":
    """Make a figure that no window shows and pyplot does not keep.

    Args:
        width: in inches.
        height: in inches.
        layout: of matplotlib, such as "constrained".

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is missing.

    Example:
        >>> new_figure(4, 3).get_size_inches()
        array([4., 3.])
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('A picture needs matplotlib: pip install "kexue[plot]"') from None
    return Figure(figsize=(width, height), layout=layout)


def save_figure(figure: "Figure", path: str | Path, *, tight: bool = False) -> Path:
    """Write a picture beside its place and put it there at once.

    Args:
        figure: what to write.
        path: where; the ending decides the format, such as .png, .svg or .pdf. Its folder is made.
        tight: cut to what is drawn, with a small margin.

    Returns:
        The path, which holds the whole picture or what it held before.

    Raises:
        ValueError: if matplotlib knows no such ending.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_figure(new_figure(1, 1), f"{folder}/a.svg").name
        'a.svg'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    cut = {"bbox_inches": "tight", "pad_inches": 0.15} if tight else {}
    with warnings.catch_warnings():
        # `use_fonts` has said it in one line.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        try:
            figure.savefig(beside, dpi=150, **cut)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    return path


def use_fonts(words: Iterable[str], first: Sequence[str] = ()) -> list[str]:
    """Choose the font families to draw words with, and warn once of what none of them holds.

    Args:
        words: all that is written.
        first: families to prefer.

    Returns:
        Names of families that matplotlib finds; a character comes from the first that has it.

    Raises:
        ValueError: if a preferred family is not there.

    Example:
        >>> "DejaVu Sans" in use_fonts(["tea"])
        True
    """
    families = find_fonts(first)
    if lacking := missing_characters(set().union(*words), families):
        warnings.warn(
            f"No font here has {lacking}: boxes are drawn instead. Install one that does, such as "
            "Noto Sans CJK (fonts-noto-cjk), or name its family in fonts=[...].",
            stacklevel=3,
        )
    return families


def find_fonts(first: Sequence[str] = ()) -> list[str]:
    """List the font families to draw words with, those of this machine that hold Chinese included.

    Args:
        first: families to prefer.

    Returns:
        Names of families that matplotlib finds.

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
