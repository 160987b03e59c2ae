"""`kexue explain`: which tokens a score of a model comes from."""

import json
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from kexue.cli.errors import readable
from kexue.cli.show import console

if TYPE_CHECKING:
    from kexue.tasks.explanation import ExplainedText, Explanation

_FOR, _AGAINST = (38, 89, 166), (190, 62, 48)


@readable
def explain(
    model: Path = typer.Argument(..., help="Run folder or model folder; or mini."),
    text: str = typer.Argument(..., help="The text; with [MASK] for a hidden token."),
    label: str | None = typer.Option(
        None, help="Entity type, class or token; what the model says by default."
    ),
    other: str | None = typer.Option(None, help="Text to compare with, for a similarity."),
    span: str | None = typer.Option(
        None, help="Characters of the entity or mask token, as in 2-4; the surest by default."
    ),
    baseline: str = typer.Option("zero", help="What tokens are replaced by: zero, pad or mask."),
    target: str = typer.Option("log-odds", help="Score to explain: log-odds or probability."),
    tolerance: float = typer.Option(1e-3, help="Largest share of the score that may be missed."),
    html: Path | None = typer.Option(None, help="Write a page here."),
    png: Path | None = typer.Option(None, help="Draw a picture here; .svg and .pdf will do too."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON also on a terminal."),
) -> None:
    """Say which tokens a score comes from, and how much each adds.

    A terminal sees coloured text, blue for and red against; a pipe sees one JSON object.
    """
    place = _span(span)
    from kexue.models.messages import quiet
    from kexue.tasks.explainable import load_explainable
    from kexue.tasks.explaining import explain as explain_text

    quiet()
    loaded = load_explainable(str(model), similarity=other is not None)
    with warnings.catch_warnings():
        # What misses the tolerance is told with the result.
        warnings.simplefilter("ignore", RuntimeWarning)
        found = explain_text(
            loaded,
            text,
            label=label,
            other=other,
            span=place,
            baseline=baseline,
            target=target,
            tolerance=tolerance,
        )
    written = [found.write_html(html)] if html is not None else []
    if png is not None:
        written.append(_draw(found, png))
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False))
        return
    show_explanation(found)
    for path in written:
        typer.echo(f"Written: {path}")


def _span(text: str | None) -> tuple[int, int] | None:
    """Read START-END."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)-(\d+)", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise ValueError(f"--span is {text!r}; allowed: START-END in characters, as in 2-4.")
    return int(found[1]), int(found[2])


def _draw(found: "Explanation", path: Path) -> Path:
    try:
        return found.write_png(path)
    except ImportError as error:
        raise ValueError(str(error)) from None


def show_explanation(found: "Explanation") -> None:
    """Print a score, the coloured texts and the tokens that add most.

    Args:
        found: what `kexue.tasks.explaining.explain` gives.
    """
    out = console()
    largest = max((abs(t.value) for text in found.texts for t in text.tokens), default=0.0)
    shades = out.color_system in ("256", "truecolor")
    out.print(Text(f"{found.label}: {found.target} {found.score:+.4f}", style="bold"))
    for number, text in enumerate(found.texts):
        marked = found.span if number == 0 else None
        out.print(coloured_tokens(text, largest, marked, shades=shades))
        replaced = f"{text.baseline_score:+.4f} with its tokens replaced: {found.baseline}"
        out.print(Text(f"  {replaced}; {text.steps} gradients, gap {abs(text.gap):.1e}", "dim"))
        if not text.converged:
            warned = "  The parts do not add up: allow a larger --tolerance, or another --baseline."
            out.print(Text(warned, "yellow"))
        for token in text.top(10):
            line = Text()
            line.append(f"  {token.start:5}-{token.end:<5} ", "dim")
            line.append(f"{token.value:+9.4f}", "blue" if token.value >= 0 else "red")
            out.print(line.append(f"  {token.text}".replace("\n", " ")))


def coloured_tokens(
    text: "ExplainedText",
    largest: float,
    marked: tuple[int, int] | None,
    *,
    shades: bool = True,
) -> Text:
    """Colour the tokens of a text by what they add.

    Args:
        text: the text.
        largest: the value with the full colour.
        marked: characters that the score is for; they are underlined.
        shades: whether the terminal has more than sixteen colours.

    Returns:
        The text, on a background of blue for tokens that speak for the score, red against it;
        without shades, letters of these colours for tokens of a fifth of the largest or more.
    """
    shown = Text(text.text)
    for token in text.tokens:
        share = abs(token.value) / (largest or 1)
        up = token.value >= 0
        if shades and share >= 0.05:
            red, green, blue = (round(255 - share * (255 - c)) for c in (_FOR if up else _AGAINST))
            letters = "white" if share > 0.6 else "black"
            shown.stylize(f"{letters} on rgb({red},{green},{blue})", token.start, token.end)
        elif not shades and share >= 0.2:
            shown.stylize("bold blue" if up else "bold red", token.start, token.end)
    if marked is not None:
        shown.stylize("underline", *marked)
    return shown
