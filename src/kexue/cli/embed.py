"""`kexue embed`: from files of texts to files of vectors."""

import json
from pathlib import Path

import typer

from kexue.cli.counting import counting
from kexue.cli.errors import readable


@readable
def embed(
    model: str = typer.Argument(
        ..., help="mini, a folder or Hub name of an encoder, or the folder of a sentence encoder."
    ),
    files: list[Path] = typer.Argument(
        ..., help='A text a line, or JSONL with "text"; also as .gz or .xz.'
    ),
    out: Path = typer.Option(..., help="Folder for a .npy file of vectors for each file."),
    pooling: str | None = typer.Option(
        None, help="P1 to P4; else P4, or that of a sentence encoder."
    ),
    normalize: bool = typer.Option(False, "--normalize", help="Scale vectors to length 1."),
    float16: bool = typer.Option(False, "--float16", help="Half the room."),
    batch_size: int = typer.Option(64, help="Texts at a time."),
    engine: str = typer.Option("local", help="local, or ray: files side by side on Ray Data."),
    workers: int = typer.Option(2, help="Workers of Ray."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object at the end."),
) -> None:
    """Give each text its vector; killed at any moment, the same command goes on."""
    from kexue.models.messages import quiet
    from kexue.tasks.embedding_options import EmbeddingOptions
    from kexue.tasks.file_embedding import embed_files

    quiet()
    total = count_texts(files)
    options = EmbeddingOptions(
        resolved(model),
        pooling=pooling,
        batch_size=batch_size,
        normalize=normalize,
        dtype="float16" if float16 else "float32",
    )
    with counting("embedding", "texts", total, as_json=as_json) as count:
        parts = embed_files(files, out, options=options, engine=engine, workers=workers, tell=count)
    if as_json:
        typer.echo(json.dumps({"out": str(out), "parts": parts}, ensure_ascii=False))
        return
    for part in parts:
        typer.echo(f"{out / part['vectors']}: {part['texts']:,} vectors of {part['file']}")


def count_texts(files: list[Path]) -> int:
    """Read all files once: a broken line is found in seconds, not in hours.

    Args:
        files: a text a line, or JSON lines.

    Returns:
        How many texts there are.

    Raises:
        ValueError: if a file is broken or has no texts.
    """
    from kexue.data.text_lines import text_lines

    total = 0
    for file in files:
        found = sum(1 for _ in text_lines(file))
        if not found:
            raise ValueError(f"{file}: there are no texts in it.")
        total += found
    return total


def resolved(model: str) -> str:
    """Give the full path of a model folder, which other processes find too.

    Args:
        model: a folder, or a name.

    Returns:
        The path, or the name.

    Example:
        >>> resolved("mini")
        'mini'
    """
    return str(Path(model).resolve()) if model != "mini" and Path(model).is_dir() else model
