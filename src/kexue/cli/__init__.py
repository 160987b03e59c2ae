"""The command line: five verbs, each followed by a task or a model folder.

Nothing heavy is imported here or at the top of a command's module, so that `--help` is instant.
"""

import sys
from collections.abc import Sequence

import typer

from kexue.cli import (
    data,
    demo,
    doctor,
    embed,
    evaluate,
    explain,
    leaderboard,
    predict,
    pretrain,
    search,
    sts,
    train,
    whiten,
)

__all__ = ["app", "main"]

app = typer.Typer(
    name="kexue",
    help="The articles of 科学空间 (kexue.fm) as one library: train, evaluate, predict.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(train.app, name="train")
app.command("pretrain")(pretrain.pretrain)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("explain")(explain.explain)
app.command("embed")(embed.embed)
app.command("whiten")(whiten.whiten)
app.command("sts")(sts.sts)
app.command("leaderboard")(leaderboard.leaderboard)
app.add_typer(search.app, name="search")
app.add_typer(data.app, name="data")
app.add_typer(demo.app, name="demo")
app.command("doctor")(doctor.doctor)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from kexue import __version__

        typer.echo(f"kexue {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one readable message, never a traceback.

    Args:
        arguments: the words after `kexue`; those of the process by default.

    Raises:
        SystemExit: always, with 0 for success, 1 for a mistake in the data, 2 for one in the call.

    Example:
        >>> main(["--version"])
        Traceback (most recent call last):
        SystemExit: 0
    """
    try:
        app(args=list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        typer.secho("stopped", fg="red", err=True)
        raise SystemExit(130) from None
