"""Progress of a training: a live bar on a terminal, plain lines in a pipe."""

import atexit
import sys
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from transformers import TrainerCallback

from kexue.training.standing import FollowTraining, Standing

# What a row of results shows beside the score that chooses the best model, where it is measured.
_SHOWN = ("precision", "recall", "macro_f1", "nested_recall", "accuracy", "loss", "runtime")


class PlainProgress(FollowTraining):
    """Write one line for every log and every evaluation, with the time left.

    The Trainer's own displays have to go first, see `progress_callback`.

    Args:
        stream: where to; the standard output at the time of writing by default.
        tokens_per_step: where a run is measured by tokens, not by epochs.

    Example:
        >>> progress = PlainProgress()
    """

    def __init__(self, *, stream: TextIO | None = None, tokens_per_step: int | None = None) -> None:
        super().__init__(tokens_per_step=tokens_per_step)
        self._stream = stream

    def _write(self, line: str) -> None:
        stream = sys.stdout if self._stream is None else self._stream
        stream.write(line + "\n")
        stream.flush()

    def _begin(self, standing: Standing) -> None:
        go_on = f", from step {standing.step}" if standing.step else ""
        whole = f"{standing.whole} {standing.measure.removesuffix('s')}s"
        self._write(f"training: {standing.steps} steps, {whole}{go_on}")

    def _logged(self, standing: Standing) -> None:
        place = f"step {standing.step}/{standing.steps}  {standing.measure} {standing.reached(2)}"
        self._write("  ".join([place, *(f"{name} {value}" for name, value in standing.figures())]))

    def _evaluated(self, standing: Standing, figures: dict[str, float], best: bool) -> None:
        names = _columns(standing.name, figures)
        shown = [f"{name} {_figure(name, figures[name])}" for name in names]
        place = f"evaluation at step {standing.step}, {standing.measure} {standing.reached(2)}:"
        self._write("  ".join([place, *shown, *(["best so far"] if best else [])]))

    def _end(self, standing: Standing) -> None:
        self._write(_summary(standing))


class RichProgress(FollowTraining):
    """Show a live bar on a terminal, and a table of results that grows above it.

    The Trainer's own displays have to go first, see `progress_callback`.

    Args:
        console: the terminal; the standard output by default.
        tokens_per_step: where a run is measured by tokens, not by epochs.

    Example:
        >>> progress = RichProgress(console=Console(width=80))
    """

    def __init__(
        self, *, console: Console | None = None, tokens_per_step: int | None = None
    ) -> None:
        super().__init__(tokens_per_step=tokens_per_step)
        self._console = Console() if console is None else console
        self._live: Live | None = None
        self._names: list[str] = []

    def _begin(self, standing: Standing) -> None:
        self._names = []
        self._live = Live(
            console=self._console,
            get_renderable=lambda: self._view(standing),
            refresh_per_second=4,
            transient=True,
        )
        # When training fails nobody calls _end, and the cursor would stay hidden.
        atexit.register(self._live.stop)
        self._live.start()

    def _view(self, standing: Standing) -> Group:
        """Draw the bar with the figures below it."""
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, justify="right")
        bar.add_row(
            f"{standing.measure} {standing.reached(1)}/{standing.whole}",
            ProgressBar(total=standing.steps, completed=standing.step),
            f"{standing.step}/{standing.steps} {standing.elapsed}",
        )
        line = Text("  ", overflow="ellipsis", no_wrap=True)
        for name, value in standing.figures():
            line.append(f"{name} ", style="dim").append(f"{value}  ", style="bold")
        if standing.evaluating:
            line.append("evaluating ...", style="cyan")
        return Group(bar, line)

    def _logged(self, standing: Standing) -> None:
        """Leave it to the next refresh."""

    def _evaluated(self, standing: Standing, figures: dict[str, float], best: bool) -> None:
        if not self._names:
            self._names = _columns(standing.name, figures)
            self._console.print(
                self._row([standing.measure, "step", "train loss", *self._names]), style="bold"
            )
        loss = "-" if standing.loss is None else f"{standing.loss:.4f}"
        values = [_figure(name, figures[name]) if name in figures else "-" for name in self._names]
        row = self._row([standing.reached(1), str(standing.step), loss, *values])
        self._console.print(row.append("  best", style="green") if best else row)

    def _row(self, cells: list[str]) -> Text:
        """Set cells below the names of their columns, as many as the terminal is wide."""
        widths = [max(len(name), 6) for name in ("epoch", "step", "train loss", *self._names)]
        row = ""
        for cell, width in zip(cells, widths, strict=True):
            if len(row) + 2 + width > self._console.width - len("  best"):
                break
            row += "  " + cell.rjust(width)
        return Text(row, no_wrap=True)

    def _end(self, standing: Standing) -> None:
        if self._live is not None:
            self._live.stop()
            atexit.unregister(self._live.stop)
        self._console.print(_summary(standing), highlight=False)


def _columns(name: str, figures: dict[str, float]) -> list[str]:
    """Choose the figures to show: the one that chooses the best model, then what is known."""
    names = [name, *(shown for shown in _SHOWN if shown != name)]
    if not figures.get("nested_gold"):
        names = [shown for shown in names if shown != "nested_recall"]
    return [shown for shown in names if shown in figures]


def _figure(name: str, value: float) -> str:
    """Write a figure; durations need no four decimals."""
    return f"{value:.1f}s" if name == "runtime" else f"{value:.4f}"


def _summary(standing: Standing) -> str:
    """Say how the training went."""
    done = f"trained {standing.step - standing.began} steps in {standing.elapsed}"
    return done if standing.best is None else f"{done}, best {standing.name} {standing.best:.4f}"


def progress_callback(
    *, json: bool = False, stream: TextIO | None = None, tokens_per_step: int | None = None
) -> TrainerCallback:
    """Choose how a training shows its progress.

    The Trainer brings a bar and a printer of its own, which have to go:

        for stock in (ProgressCallback, PrinterCallback):  # from transformers.trainer_callback
            trainer.remove_callback(stock)

    Args:
        json: the standard output is wanted for JSON; progress goes to the standard error then.
        stream: where to; by default the standard output or, with `json`, the standard error.
        tokens_per_step: where a run is measured by tokens, not by epochs.

    Returns:
        A `RichProgress` for a terminal, a `PlainProgress` for everything else.

    Example:
        >>> import io
        >>> type(progress_callback(stream=io.StringIO())).__name__
        'PlainProgress'
    """
    if stream is None:
        stream = sys.stderr if json else sys.stdout
    console = Console(file=stream)
    if console.is_terminal and not console.is_dumb_terminal:
        return RichProgress(console=console, tokens_per_step=tokens_per_step)
    return PlainProgress(stream=stream, tokens_per_step=tokens_per_step)
