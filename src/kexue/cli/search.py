"""`kexue search`: an index of texts on disk, built and queried."""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from kexue.cli.data_output import echo, table
from kexue.cli.errors import readable

app = typer.Typer(help="Find the texts nearest in meaning.", no_args_is_help=True)


@app.command("build")
@readable
def build(
    index: Path = typer.Argument(..., help="Folder of the index; made, or added to."),
    files: list[Path] = typer.Argument(
        ..., help='A text a line, or JSONL with "text"; also as .gz or .xz.'
    ),
    model: str | None = typer.Option(
        None, help="Folder of the sentence encoder; that of the index where it is there already."
    ),
    batch_size: int = typer.Option(32, help="Texts at a time."),
    unique: bool = typer.Option(False, "--unique", help="Leave out texts that are there already."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object at the end."),
) -> None:
    """Add the texts of files to an index; killed at any moment, the same command goes on.

    Of a file that was read before, only new lines at its end are added.
    """
    from kexue.cli.search_build import build_index

    made = build_index(
        index, files, model=model, batch_size=batch_size, unique=unique, as_json=as_json
    )
    if as_json:
        typer.echo(json.dumps(made, ensure_ascii=False))
        return
    double = f", {made['left_out']:,} left out that were there already" if unique else ""
    typer.echo(f"{index}: {made['texts']:,} texts, {made['added']:,} of them new{double}")
    typer.echo(f'Now search it:  kexue search query {index} "..."')


@app.command("query")
@readable
def query(
    index: Path = typer.Argument(..., help="Folder of the index."),
    texts: list[str] = typer.Argument(None, help="Texts; else standard input, one a line."),
    k: int = typer.Option(10, "-k", help="How many texts to find for each."),
    model: str | None = typer.Option(
        None, help="Where the sentence encoder of the index lies now, if it was moved."
    ),
    batch_size: int = typer.Option(32, help="Texts at a time."),
    as_json: bool = typer.Option(False, "--json", help="Print JSONL also on a terminal."),
) -> None:
    """Find the texts nearest to each given text.

    A terminal sees a table, a pipe sees one JSON object a line.
    """
    from kexue.cli.search_build import load_encoder, readable_extra

    if not texts and sys.stdin.isatty():
        raise typer.BadParameter("Give a text, or texts on standard input.")
    from kexue.cli.reading import read_texts
    from kexue.sentences.search import SearchIndex

    found = SearchIndex.open(index)
    encoder = load_encoder(found.facts, model)
    plain = as_json or not sys.stdout.isatty()
    given = (record["text"] for record in read_texts(texts or [], None, sys.stdin))
    while stretch := _some(given, 64 * batch_size):
        vectors = encoder(stretch, batch_size=batch_size)
        with readable_extra():
            results = found.search(vectors, k)
        for text, hits in zip(stretch, results, strict=True):
            _show(text, hits, plain)


def _some(given: Iterator[str], count: int) -> list[str]:
    """Take a stretch of texts, so that standard input of any length will do."""
    return list(islice(given, count))


def _show(text: str, hits: list[Any], plain: bool) -> None:
    if plain:
        echo({"text": text, "hits": [hit.to_dict() for hit in hits]})
        return
    rows = [[f"{hit.score:.4f}", str(hit.id), hit.text] for hit in hits]
    table(text, ["score", "id", "text"], rows)
