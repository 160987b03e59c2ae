"""One HTML file that shows which tokens a score comes from.

Post: https://kexue.fm/archives/7533
"""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from kexue.training.atomic import write_atomically
from kexue.training.attribution_figure import AttributedText, AttributionFigure, stretches

_ROWS = 20  # tokens in the table below a text


def write_attribution_page(figure: AttributionFigure, path: str | Path) -> Path:
    """Write a figure as one HTML file that needs nothing else, neither files nor a network.

    Whatever the texts and labels contain is shown and never run.

    Args:
        figure: what to show.
        path: the file.

    Returns:
        The file.

    Example:
        >>> import tempfile
        >>> text = AttributedText("好", ((0, 1, 0.5, 0.1),), None, 0.0, 0.0, 5)
        >>> figure = AttributionFigure("positive", "log-odds", 0.5, "zero", (text,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_attribution_page(figure, Path(folder, "a.html")).name
        'a.html'
    """
    loader = PackageLoader("kexue", "assets")
    page = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    largest = figure.largest
    html = page.get_template("attributions.html.j2").render(
        figure=figure,
        texts=[(text, stretches(text, largest), _rows(text, largest[0])) for text in figure.texts],
        style=loader.get_source(page, "report.css")[0],
    )
    write_atomically(path, html)
    return Path(path)


def _rows(text: AttributedText, largest: float) -> list[tuple[str, int, int, float, float]]:
    """List the tokens that add or take off most: text, place, value, share of the largest."""
    most = sorted(text.tokens, key=lambda token: -abs(token[2]))[:_ROWS]
    return [
        (text.text[start:end], start, end, value, abs(value) / (largest or 1))
        for start, end, value, _ in most
    ]
