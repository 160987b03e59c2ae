"""One HTML file that tells how a run went: curves, labels, confusion, the worst mistakes."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from kexue.metrics import SpanScores
from kexue.metrics.classification import ClassificationScores
from kexue.training.atomic import write_atomically
from kexue.training.charts import HEIGHT, WIDTH, Chart, make_chart, series
from kexue.training.highlight import Piece, excerpts, pieces
from kexue.training.mistakes import Mistake, SpanError

# A wider matrix cannot be read; the report says how many labels it leaves out.
_MOST_LABELS = 30


@dataclass(frozen=True)
class RunReport:
    """What is known about a finished run.

    Args:
        title: the headline.
        created: when, as it is to be shown.
        facts: encoder, head, number of records, seconds and the like, by name.
        metrics: the lines of `metrics.jsonl`, for the curves.
        scores: the final scores.
        thresholds: the threshold of each label, where they were calibrated.
        mistakes: the worst ones, from `worst_mistakes`.

    Example:
        >>> RunReport("NER on CLUENER", facts={"head": "efficient"}).mistakes
        ()
    """

    title: str
    created: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[dict[str, Any]] = ()
    scores: SpanScores | ClassificationScores | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    mistakes: Sequence[Mistake] = ()


def write_report(report: RunReport, path: str | Path) -> Path:
    """Write a report as one HTML file that needs nothing else, neither files nor a network.

    Whatever the texts and labels contain is shown and never run.

    Args:
        report: what to tell.
        path: the file.

    Returns:
        The file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_report(RunReport("A run"), Path(folder, "report.html")).name
        'report.html'
    """
    write_atomically(path, _render(report))
    return Path(path)


def _render(report: RunReport) -> str:
    """Fill the template; everything from outside is escaped by it."""
    loader = PackageLoader("kexue", "assets")
    page = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (loader.get_source(page, f"report.{kind}")[0] for kind in ("css", "js"))
    colours = _colours(report)
    return page.get_template("report.html.j2").render(
        report=report,
        figures=_figures(report.scores),
        charts=_charts(report.metrics),
        matrix=_matrix(report.scores),
        mistakes=[_card(mistake, colours) for mistake in report.mistakes],
        colours=colours,
        # Neighbouring hues differ in lightness too.
        hues=[
            (round(210 + 360 * k / len(colours)) % 360, (0, 10, -8)[k % 3])
            for k in colours.values()
        ],
        width=WIDTH,
        height=HEIGHT,
        style=style,
        script=script,
        # The browser runs this one script and nothing else.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _colours(report: RunReport) -> dict[str, int]:
    """Number the labels."""
    labels = set(report.scores.labels if report.scores else ())
    for mistake in report.mistakes:
        labels.update(span[2] for span in (*mistake.gold, *mistake.predicted))
    return {label: number for number, label in enumerate(sorted(labels))}


def _figures(
    scores: SpanScores | ClassificationScores | None,
) -> list[tuple[str, float, str]]:
    """List the headline figures: name, value, what it means."""
    if scores is None:
        return []
    if isinstance(scores, ClassificationScores):
        return [
            ("accuracy", scores.accuracy, f"{scores.micro.gold} texts"),
            ("macro F1", scores.macro_f1, f"mean of {len(scores.labels)} labels"),
        ]
    found = [
        ("F1", scores.f1, "micro, strict"),
        ("precision", scores.precision, f"{scores.micro.predicted} predicted"),
        ("recall", scores.recall, f"{scores.micro.gold} gold"),
        ("macro F1", scores.macro_f1, f"mean of {len(scores.labels)} labels"),
        ("partial F1", scores.partial.f1, "an overlap counts one half"),
    ]
    for name, subset in (("nested", scores.nested), ("long", scores.long)):
        if subset.gold:
            found.append((f"{name} recall", subset.recall, f"{subset.gold} gold"))
    return found


def _charts(metrics: Sequence[dict[str, Any]]) -> list[Chart]:
    """Draw what was logged of loss, scores and learning rate."""
    groups: list[tuple[str, dict[str, str], tuple[float, float] | None]] = [
        ("Loss", {"training": "loss", "development": "eval_loss"}, None),
        (
            "Scores on the development set",
            {"F1": "eval_f1", "precision": "eval_precision", "recall": "eval_recall"},
            (0.0, 1.0),
        ),
        ("Accuracy on the development set", {"accuracy": "eval_accuracy"}, (0.0, 1.0)),
        ("Correlation on the development set", {"Spearman": "eval_spearman"}, None),
        ("Effective rank of the vectors", {"effective rank": "eval_effective_rank"}, None),
        ("Learning rate", {"learning rate": "learning_rate"}, None),
    ]
    found = []
    for title, names, bounds in groups:
        curves = {shown: series(metrics, name) for shown, name in names.items()}
        if any(curves.values()):
            found.append(make_chart(title, curves, bounds=bounds))
    return found


@dataclass(frozen=True)
class _Matrix:
    """The confusion of the most frequent labels; None is "no such span"."""

    rows: list[tuple[str | None, list[tuple[str | None, int, float]]]]
    columns: list[str | None]
    hidden: int


def _matrix(scores: SpanScores | ClassificationScores | None) -> _Matrix | None:
    """Arrange the confusion, each cell with its share of the row."""
    if scores is None or not scores.labels:
        return None
    size = {label: s.gold + s.predicted for label, s in scores.labels.items()}
    most = sorted(sorted(size), key=lambda label: -size[label])[:_MOST_LABELS]
    # A text always has a label; a span may be missed or made up.
    columns = [*most, *([None] if isinstance(scores, SpanScores) else [])]
    rows = []
    for gold in columns:
        counts = [scores.confusion.get((gold, predicted), 0) for predicted in columns]
        total = sum(counts) or 1
        cells = [(p, count, count / total) for p, count in zip(columns, counts, strict=True)]
        rows.append((gold, cells))
    return _Matrix(rows, columns, len(size) - len(most))


@dataclass(frozen=True)
class _Stretch:
    """A piece of text as the template draws it: lines are layers of the background."""

    text: str
    hint: str
    style: str


@dataclass(frozen=True)
class _Card:
    """A mistake, cut into what the template draws; errors come with the texts of their spans."""

    parts: list[list[_Stretch]]
    above: int
    below: int
    begins: bool
    ends: bool
    errors: list[tuple[SpanError, str, str]]


def _card(mistake: Mistake, colours: Mapping[str, int]) -> _Card:
    """Cut a text to the parts around its errors, and draw them."""
    places = excerpts(mistake)
    parts = [pieces(mistake, start, end) for start, end in places]
    drawn = [piece for part in parts for piece in part]
    above, below = (
        max((line.layer + 1 for piece in drawn for line in getattr(piece, side)), default=0)
        for side in ("above", "below")
    )
    return _Card(
        parts=[[_stretch(piece, above, below, colours) for piece in part] for part in parts],
        above=above,
        below=below,
        begins=places[0][0] == 0,
        ends=places[-1][1] == len(mistake.text),
        errors=[
            (error, _quote(mistake.text, error.gold), _quote(mistake.text, error.predicted))
            for error in mistake.errors
        ],
    )


def _stretch(piece: Piece, above: int, below: int, colours: Mapping[str, int]) -> _Stretch:
    """Draw the lines of a piece: gold above, predicted below, the innermost next to the text."""
    strokes = [
        *((line, f"0 {(above - 1 - line.layer) * 6}px") for line in piece.above),
        *((line, f"0 calc(100% - {(below - 1 - line.layer) * 6}px)") for line in piece.below),
    ]
    if not strokes:
        return _Stretch(piece.text, "", "")
    inks = [f"var(--c{colours[line.label]})" for line, _ in strokes]
    # Broken lines are spans that gold and prediction do not share.
    images = [
        f"repeating-linear-gradient(90deg,{ink} 0 5px,transparent 5px 8px)"
        if line.wrong
        else f"linear-gradient({ink},{ink})"
        for ink, (line, _) in zip(inks, strokes, strict=True)
    ]
    sizes = ["calc(100% - 2px) 3px" if line.last else "100% 3px" for line, _ in strokes]
    sides = {"gold": piece.above, "predicted": piece.below}
    return _Stretch(
        text=piece.text,
        hint="; ".join(
            f"{side}: {', '.join(line.label for line in lines)}"
            for side, lines in sides.items()
            if lines
        ),
        style=f"background-image:{','.join(images)};background-size:{','.join(sizes)};"
        f"background-position:{','.join(place for _, place in strokes)}",
    )


def _quote(text: str, span: tuple[Any, ...] | None) -> str:
    """Give the text of a span, without the middle of a long one."""
    quoted = "" if span is None else text[span[0] : span[1]]
    return quoted if len(quoted) <= 80 else f"{quoted[:50]} ... {quoted[-25:]}"
