"""A picture of which tokens a score comes from.

Post: https://kexue.fm/archives/7533
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kexue.training.attribution_figure import AttributedText, AttributionFigure, Stretch, stretches

_FOR, _AGAINST = (0.14, 0.34, 0.65), (0.75, 0.24, 0.19)
_WIDTH, _MARGIN, _SIZE, _LINE = 8.0, 0.3, 12.0, 0.36  # inches, but for the size of the letters
_BOX = "\N{WHITE SQUARE}"

# Likely to hold the most characters; the others are tried after them.
_WIDE = ("CJK", "Source Han", "WenQuanYi", "PingFang", "Hiragino", "YaHei", "SimHei", "Unifont")


def draw_attributions(figure: AttributionFigure, path: str | Path) -> Path:
    """Draw a figure.

    Fonts of this machine are chosen by the characters; what none of them has is drawn as a box, and
    the picture says so.

    Args:
        figure: what to draw.
        path: where to write; the ending decides the format, such as .png or .svg.

    Returns:
        The path, which holds the whole picture or what it held before.

    Raises:
        ImportError: if matplotlib is missing.
        ValueError: if the ending is none of a picture.

    Example:
        >>> import tempfile
        >>> text = AttributedText("good", ((0, 4, 0.5, 0.1),), None, 0.0, 0.0, 5)
        >>> figure = AttributionFigure("positive", "log-odds", 0.5, "zero", (text,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw_attributions(figure, Path(folder, "a.png")).name
        'a.png'
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('A picture needs matplotlib: pip install "kexue[plot]"') from None
    words = figure.label + "".join(text.text for text in figure.texts)
    families, missing = _families(words)
    canvas = FigureCanvasAgg(Figure(figsize=(_WIDTH, 1)))
    page = _Page(canvas, families, missing)
    page.write(f"{figure.label}: {figure.target} {figure.score:+.3f}", weight="bold")
    for text in figure.texts:
        page.write(_line(text), colour="0.4", size=9)
        for piece in stretches(text, figure.largest):
            page.flow(piece)
        page.end_line(gap=0.6)
    if missing:
        page.write(f"{_BOX}: {len(missing)} characters that no font of this machine has", size=9)
    _save(page.finished(), Path(path))
    return Path(path)


def _line(text: AttributedText) -> str:
    warned = "" if text.converged else ": too much, the parts do not add up"
    return (
        f"{text.score:+.3f} without the tokens; {text.steps} gradients, gap {text.gap:.1e}{warned}"
    )


class _Page:
    """Pieces of text from left to right and from top to bottom."""

    def __init__(self, canvas: Any, families: list[str], missing: set[str]) -> None:
        self.canvas, self.families = canvas, families
        self.replaced = str.maketrans(dict.fromkeys(missing, _BOX))
        self.across, self.down = _MARGIN, _MARGIN + _LINE / 2
        self.placed: list[tuple[Any, float, float, float]] = []
        self.boxes: list[tuple[float, float, float, tuple[float, ...], bool]] = []

    def write(
        self, text: str, *, colour: str = "0", size: float = _SIZE, weight: str = "normal"
    ) -> None:
        """Write a line of its own."""
        for part in _words(text):
            self._put(part, color=colour, fontsize=size, fontweight=weight)
        self.end_line()

    def flow(self, piece: Stretch) -> None:
        """Add a piece to the line, or to the next one where there is no more room."""
        # A token stays whole; what lies between tokens may be of any length.
        whole = piece.value is not None and "\n" not in piece.text
        ink = _FOR if piece.shade >= 0 else _AGAINST
        colour = tuple(1 - 0.7 * abs(piece.shade) * (1 - part) for part in ink)
        for part in [piece.text] if whole else _words(piece.text):
            if part == "\n":
                self.end_line()
            else:
                self._put(part)
                self.boxes.append((*self.placed[-1][1:], colour, piece.marked))

    def end_line(self, *, gap: float = 0.0) -> None:
        """Go to the beginning of the next line."""
        self.across = _MARGIN
        self.down += _LINE * (1 + gap)

    def _put(self, text: str, **style: Any) -> None:
        # The place in the picture is known only when its height is.
        options = {"fontsize": _SIZE, "fontfamily": self.families, "parse_math": False, **style}
        made = self.canvas.figure.text(0, 0, text.translate(self.replaced), **options)
        width = made.get_window_extent(self.canvas.get_renderer()).width / self.canvas.figure.dpi
        if text.isspace():
            width = len(text) * 0.28 * _SIZE / 72
        if self.across + width > _WIDTH - _MARGIN and self.across > _MARGIN:
            self.end_line()
        self.placed.append((made, self.across, self.down, width))
        self.across += width

    def finished(self) -> Any:
        """Give the picture its height, and everything its place."""
        from matplotlib.patches import Rectangle

        figure = self.canvas.figure
        height = self.down + _MARGIN - _LINE
        figure.set_size_inches(_WIDTH, height)
        for made, across, down, _ in self.placed:
            made.set_position((across / _WIDTH, 1 - down / height))
        for across, down, width, colour, marked in self.boxes:
            corner = (across / _WIDTH, 1 - (down + 0.3 * _LINE) / height)
            size = (width / _WIDTH, 0.9 * _LINE / height)
            line = {"edgecolor": "0.2" if marked else colour, "linewidth": 0.8}
            figure.add_artist(Rectangle(corner, *size, facecolor=colour, zorder=0, **line))
        return figure


def _words(text: str) -> Iterator[str]:
    """Cut a text where a line may end: around white space, and between wide characters."""
    word = ""
    for character in text:
        if character.isspace() or ord(character) >= 0x2E80:
            if word:
                yield word
            yield "\n" if character == "\n" else character
            word = ""
        else:
            word += character
    if word:
        yield word


def _families(text: str) -> tuple[list[str], set[str]]:
    """Find fonts that together have all characters, and the characters that none has."""
    from matplotlib import font_manager

    missing = {character for character in text if not character.isspace()}
    entries = sorted(
        font_manager.fontManager.ttflist,
        key=lambda e: (
            e.name != "DejaVu Sans",
            not any(wide in e.name for wide in _WIDE),
            # Of one font for several countries, the forms of the articles' own.
            not e.name.endswith("SC"),
            e.name,
        ),
    )
    families: list[str] = []
    for entry in entries:
        if not missing:
            break
        plain = entry.style == "normal" and entry.weight in (400, "normal", "regular")
        if plain and entry.name not in families:
            held = font_manager.get_font(entry.fname).get_charmap()
            if found := {character for character in missing if ord(character) in held}:
                families.append(entry.name)
                missing -= found
    return families or ["DejaVu Sans"], missing


def _save(figure: Any, path: Path) -> None:
    fresh = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(fresh, dpi=150)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
