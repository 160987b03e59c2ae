"""`kexue sts`: measure sentence vectors on pairs that people have judged."""

import json
from pathlib import Path
from typing import Any

import typer

from kexue._check import invalid
from kexue.cli.errors import readable


@readable
def sts(
    models: list[str] = typer.Argument(
        ..., help="mini, folders or Hub names of encoders, or folders of sentence encoders."
    ),
    pairs: list[Path] = typer.Option(
        [], help="File of pairs with labels, or folder of STS12 to STS16; may be repeated."
    ),
    data: Path | None = typer.Option(None, help="Folder in which the sets of --set lie."),
    names: list[str] = typer.Option(
        [],
        "--set",
        help="ATEC, BQ, LCQMC, PAWSX, STS-B, STS12 to STS16, STSBenchmark, SICK; may be repeated.",
    ),
    split: str = typer.Option(
        "test", help="Part of those sets: train, valid, test, or all of them together."
    ),
    pooling: list[str] = typer.Option(
        [], help="P1 to P4; may be repeated. Else P4, or that of a sentence encoder."
    ),
    k: list[int] = typer.Option(
        [], "-k", help="Features that whitening keeps; may be repeated. Else a third of them."
    ),
    beta_gamma: list[str] = typer.Option(
        ["1,1", "0,0"], help="Forms of whitening, as BETA,GAMMA; may be repeated."
    ),
    fit: Path | None = typer.Option(
        None, help="Texts to fit whitenings on, one a line; else those of each set."
    ),
    batch_size: int = typer.Option(64, help="Texts at a time."),
    skip_bad: bool = typer.Option(False, "--skip-bad", help="Leave broken lines out."),
    out: Path | None = typer.Option(None, help="Write the table to this .md or .csv file too."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Compare encoders, poolings and whitenings by Spearman's correlation.

    For each pair of texts the cosine of their vectors; for a set of pairs the rank correlation of
    these cosines with the labels, times 100, ties sharing the average of their ranks. Whitening is
    fitted on all texts of the set, both sides, without labels.
    """
    from kexue.models.messages import quiet
    from kexue.tasks.sts import compare_encoders

    quiet()
    if out is not None and out.suffix not in (".md", ".csv"):
        raise invalid("out", str(out), "a name that ends in .md or .csv")
    forms = [form(text) for text in beta_gamma]
    sets = [one_set(path, skip_bad) for path in pairs]
    sets += named_sets(data, names, split, skip_bad)
    if not sets:
        fix = "Give --pairs FILE, or --data FOLDER --set NAME."
        raise invalid("pairs", "nothing", "at least one file or set", fix)
    encoders = load_encoders(models, pooling)
    texts = None if fit is None else read_lines(fit)
    table = compare_encoders(
        encoders,
        sets,
        transforms=transforms(forms, k, min(encoder.dimension for _, encoder in encoders)),
        fit=texts,
        batch_size=batch_size,
    )
    if out is not None:
        write_table(table, out)
    _show(table, as_json)


def form(text: str) -> tuple[float, float]:
    """Read BETA,GAMMA.

    Args:
        text: such as "1,1".

    Returns:
        Both numbers.

    Raises:
        ValueError: if it is something else.

    Example:
        >>> form("0,0.5")
        (0.0, 0.5)
    """
    try:
        beta, gamma = map(float, text.split(","))
    except ValueError:
        raise invalid("beta_gamma", text, "two numbers, as in 1,1 or 0,0") from None
    return beta, gamma


def transforms(forms: list[tuple[float, float]], k: list[int], dimension: int) -> list[Any]:
    """List what is done to vectors: each form with all features, and with fewer.

    Args:
        forms: beta and gamma of each form.
        k: how many features are kept; a third of them where nothing was said.
        dimension: of the vectors.

    Returns:
        Transforms. (0, 0) with all features changes no cosine, and is left out.

    Example:
        >>> [str(t) for t in transforms([(1.0, 1.0), (0.0, 0.0)], [], 768)]
        ['whitened', 'whitened, 256', '(0, 0), 256']
    """
    from kexue.tasks.sts import Transform

    return [
        Transform(features, beta, gamma)
        for beta, gamma in forms
        for features in (None, *(k or [dimension // 3]))
        if features is not None or (beta, gamma) != (0, 0)
    ]


def one_set(path: Path, skip_bad: bool) -> Any:
    """Read a set of pairs; say on standard error what was left out.

    Args:
        path: a file, or a folder of STS12 to STS16.
        skip_bad: leave broken lines out instead of stopping at the first.

    Returns:
        The set, named after the file.
    """
    return _pair_set(path.name.split(".")[0], [path], skip_bad)


def named_sets(data: Path | None, names: list[str], split: str, skip_bad: bool) -> list[Any]:
    """Find and read the sets that are known by name.

    Args:
        data: the folder they lie in.
        names: of the sets.
        split: "train", "valid", "test" or "all".
        skip_bad: leave broken lines out.

    Returns:
        The sets.

    Raises:
        ValueError: if there is no folder, or a set or its split is not there.
    """
    from kexue.data.pair_sets import find_pair_set

    if names and data is None:
        raise invalid("data", None, "the folder in which the sets lie, as in --data FOLDER")
    if split not in ("train", "valid", "test", "all"):
        raise invalid("split", split, "'train', 'valid', 'test' or 'all'")
    sets = []
    for name in names:
        found = find_pair_set(data, name)
        if split != "all" and split not in found:
            raise invalid("split", split, f"{', '.join(found)} or all, for {name} in {data}")
        files = list(found.values()) if split == "all" else [found[split]]
        sets.append(_pair_set(name, files, skip_bad))
    return sets


def _pair_set(name: str, files: list[Path], skip_bad: bool) -> Any:
    from kexue.data.pairs import read_pairs
    from kexue.tasks.embedding_data import text_groups
    from kexue.tasks.sts import PairSet

    groups: list[Any] = []
    subsets: list[str] = []
    for path in files:
        corpus = read_pairs(path, skip_bad=skip_bad)
        if corpus.skipped:
            typer.echo(f"{path}: {len(corpus.skipped)} broken lines left out, the first:", err=True)
            typer.echo(f"  {corpus.skipped[0]}", err=True)
        if not corpus.records:
            raise ValueError(f"{path}: there are no pairs in it.")
        groups += text_groups(corpus.records)
        subsets += [str((r.model_extra or {}).get("subset", name)) for r in corpus.records]
    return PairSet(name, groups, subsets)


def load_encoders(models: list[str], poolings: list[str]) -> list[tuple[str, Any]]:
    """Load each model with each pooling.

    Args:
        models: folders or names.
        poolings: "P1" to "P4"; what suits the model where there are none.

    Returns:
        Names and sentence encoders. Folders of the same name keep their path.
    """
    from kexue import SentenceEncoder

    short = [Path(model).name for model in models]
    names = [name if short.count(name) == 1 else m for name, m in zip(short, models, strict=True)]
    return [
        (name, SentenceEncoder.from_pretrained(model, pooling=pooling))
        for name, model in zip(names, models, strict=True)
        for pooling in poolings or [None]
    ]


def read_lines(path: Path) -> list[str]:
    """Read the texts of a file.

    Args:
        path: a text a line, or JSON lines.

    Returns:
        The texts.

    Raises:
        ValueError: if there is none.
    """
    from kexue.data.text_lines import text_lines

    texts = [line.text for line in text_lines(path)]
    if not texts:
        raise ValueError(f"{path}: there are no texts in it.")
    return texts


def write_table(table: Any, path: Path) -> None:
    """Write the table.

    Args:
        table: `StsTable`.
        path: ends in .md or .csv.
    """
    import csv
    import io

    from kexue.training.atomic import write_atomically

    if path.suffix == ".md":
        write_atomically(path, table.to_markdown() + "\n")
        return
    names, cells = table.rows()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([names, *cells])
    write_atomically(path, text.getvalue())


def _show(table: Any, as_json: bool) -> None:
    if as_json:
        scores = [score.to_dict() for score in table.scores]
        typer.echo(json.dumps({"scores": scores, "notes": list(table.notes)}, ensure_ascii=False))
        return
    from kexue.cli.data_output import table as show

    names, cells = table.rows()
    show("Spearman correlation of cosine and label, x 100", names, cells)
    for note in table.notes:
        typer.echo(f"note: {note}", err=True)
