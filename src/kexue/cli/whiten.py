"""`kexue whiten`: make vectors comparable, and smaller, by one linear map."""

import json
from pathlib import Path
from typing import Any

import typer

from kexue._check import invalid
from kexue.cli.counting import counting
from kexue.cli.embed import count_texts, resolved
from kexue.cli.errors import readable
from kexue.cli.sts import form, one_set, transforms, write_table


@readable
def whiten(
    files: list[Path] = typer.Argument(
        ..., help=".npy files of vectors or folders of `kexue embed`; with --model files of texts."
    ),
    out: Path = typer.Option(..., help="Folder for the statistics and, with --model, the model."),
    model: str | None = typer.Option(
        None, help="mini, a folder or Hub name of an encoder, or the folder of a sentence encoder."
    ),
    pooling: str | None = typer.Option(
        None, help="P1 to P4; else P4, or that of a sentence encoder."
    ),
    k: list[int] = typer.Option(
        [], "-k", help="Features that are kept; the first is used, all are tried with --pairs."
    ),
    beta_gamma: list[str] = typer.Option(
        ["1,1"], help="BETA,GAMMA; the first is used, all are tried with --pairs."
    ),
    pairs: list[Path] = typer.Option(
        [], help="Pairs with labels, to try each -k with each form, with a table and a picture."
    ),
    batch_size: int = typer.Option(64, help="Texts at a time."),
    engine: str = typer.Option("local", help="local, or ray: files side by side on Ray Data."),
    workers: int = typer.Option(2, help="Workers of Ray."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object at the end."),
) -> None:
    """Fit a whitening on vectors or texts, in one pass over them.

    1,1 is the whitening of the article; 0,0 turns the vectors without changing any cosine, so that
    few features can be kept. Both can be tried on pairs with labels.
    """
    from kexue.models.messages import quiet
    from kexue.sentences.whitening import Whitening

    quiet()
    forms = [form(text) for text in beta_gamma]
    if pairs and model is None:
        raise invalid("pairs", str(pairs[0]), "pairs together with --model, which encodes them")
    if out.is_dir() and any(out.iterdir()):
        raise invalid("out", str(out), "an empty or missing folder")
    moments = collect(files, model, pooling, batch_size, engine, workers, as_json)
    whitening = Whitening(k[0] if k else None, beta=forms[0][0], gamma=forms[0][1]).merge(moments)
    facts = describe(whitening)
    whitening.save_pretrained(out)
    if model is not None:
        facts["model"] = str(out / "model")
        sets = [one_set(path, False) for path in pairs]
        facts["sweep"] = with_model(whitening, model, pooling, out, sets, (forms, k), batch_size)
    _show(facts, out, as_json)


def collect(
    files: list[Path],
    model: str | None,
    pooling: str | None,
    batch_size: int,
    engine: str,
    workers: int,
    as_json: bool,
) -> Any:
    """Collect the moments of files, with progress.

    Args:
        files: of vectors, or of texts where there is a model.
        model: the model.
        pooling: its pooling.
        batch_size: texts at a time.
        engine: "local" or "ray".
        workers: of Ray.
        as_json: keep standard output free.

    Returns:
        `Moments`.
    """
    from kexue.tasks.embedding_options import EmbeddingOptions
    from kexue.tasks.file_moments import file_moments, read_vectors, vector_files

    if model is None:
        found = vector_files(files)
        total, options = sum(len(read_vectors(file)) for file in found), None
    else:
        found, total = list(map(str, files)), count_texts(files)
        options = EmbeddingOptions(resolved(model), pooling=pooling, batch_size=batch_size)
    things = "vectors" if model is None else "texts"
    with counting("collecting", things, total, as_json=as_json) as count:
        return file_moments(found, options=options, engine=engine, workers=workers, tell=count)


def describe(whitening: Any) -> dict[str, Any]:
    """Say what a whitening was fitted on and what it keeps.

    Args:
        whitening: fitted.

    Returns:
        JSON values by name.
    """
    import numpy as np

    variances = whitening.axes_.variances
    kept = whitening.weight_.shape[1]
    shares = variances / variances.sum()
    positive = shares[shares > 0]
    return {
        "vectors": whitening.moments_.count,
        "dimension": len(whitening.moments_.mean),
        "features": kept,
        "beta": whitening.beta,
        "gamma": whitening.gamma,
        "variance kept": round(float(shares[:kept].sum()), 4),
        "effective rank": round(float(np.exp(-(positive * np.log(positive)).sum())), 2),
    }


def with_model(
    whitening: Any,
    model: str,
    pooling: str | None,
    out: Path,
    sets: list[Any],
    tried: tuple[list[tuple[float, float]], list[int]],
    batch_size: int,
) -> list[dict[str, Any]]:
    """Put the whitening behind its model; try others on pairs with labels.

    Args:
        whitening: fitted on vectors of the model.
        model: the model.
        pooling: its pooling.
        out: folder for the model, sweep.csv and sweep.png.
        sets: of pairs.
        tried: forms, and numbers of features.
        batch_size: texts at a time.

    Returns:
        The figures of the sweep, as JSON objects.
    """
    from kexue import SentenceEncoder
    from kexue.tasks.sts import StsTable, compare_transforms
    from kexue.tasks.sts_drawing import draw_sweep

    encoder = SentenceEncoder.from_pretrained(model, pooling=pooling)
    scores, notes = [], []
    for pairs in sets:
        found = compare_transforms(
            encoder(pairs.texts, batch_size=batch_size),
            pairs,
            whitening.moments_,
            transforms(*tried, encoder.dimension),
            encoder=Path(model).name,
            pooling=encoder.model.config.pooling,
        )
        scores += found.scores
        notes += found.notes
    if sets:
        table = StsTable(scores, notes)
        write_table(table, out / "sweep.csv")
        try:
            draw_sweep(table, out / "sweep.png")
        except ImportError as error:
            typer.echo(f"no picture: {error}", err=True)
        for note in notes:
            typer.echo(f"note: {note}", err=True)
    encoder.model.set_projection(whitening.as_linear())
    encoder.save_pretrained(out / "model")
    return [score.to_dict() for score in scores]


def _show(facts: dict[str, Any], out: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"out": str(out), **facts}, ensure_ascii=False))
        return
    sweep = facts.pop("sweep", [])
    for name, value in facts.items():
        typer.echo(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
    if sweep:
        from kexue.cli.data_output import table

        rows = [
            [row["pairs"], row["transform"], f"{100 * row['spearman']:.2f}", str(row["features"])]
            for row in sweep
        ]
        columns = ["pairs", "vectors", "Spearman x 100", "features"]
        table("each on the pairs", columns, rows)
        typer.echo(f"Table: {out / 'sweep.csv'}   Picture: {out / 'sweep.png'}")
    typer.echo(f"Statistics, which others can be merged into: {out / 'whitening.safetensors'}")
