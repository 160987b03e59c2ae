"""`kexue data`: convert, check and describe labelled files."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kexue.cli.data_output import echo, show_findings, show_repair, show_stats, showable
from kexue.cli.errors import readable_errors

if TYPE_CHECKING:
    from kexue.data import Corpus, Finding, Repair
    from kexue.data.alignment import FastTokenizer

app = typer.Typer(help="Convert, check and describe labelled files.", no_args_is_help=True)

_FORMAT_HELP = "Format of the input; told from its content if not given."
_JOINER_HELP = "What stands between the tokens of CoNLL files: space or none."
_SKIP_HELP = "Leave bad records out and say how many, instead of stopping."
_JSON_HELP = "Print one JSON object and nothing else."
_LISTED = 30  # bad records named on stderr; --json and `check` name all

_Format = Annotated[str | None, typer.Option("--format", "--from", help=_FORMAT_HELP)]
_Joiner = Annotated[str | None, typer.Option("--joiner", help=_JOINER_HELP)]
_SkipBad = Annotated[bool, typer.Option("--skip-bad", help=_SKIP_HELP)]
_Json = Annotated[bool, typer.Option("--json", help=_JSON_HELP)]
_Paths = Annotated[list[Path], typer.Argument(help="Files, splits of one data set for example.")]


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="The file, or brat folder, to read.")],
    target: Annotated[Path, typer.Argument(help="The file to write; for brat a new folder.")],
    *,
    format: _Format = None,
    to: Annotated[str, typer.Option("--to", help="Format of the output.")] = "jsonl",
    drop: Annotated[str, typer.Option("--drop", help="Keys to leave out, with commas.")] = "",
    joiner: _Joiner = None,
    skip_bad: _SkipBad = False,
    as_json: _Json = False,
) -> None:
    """Convert a labelled file into another format, or name the record that does not fit."""
    with readable_errors(as_json):
        from kexue.data import read, write
        from kexue.data.conll import file_joiner
        from kexue.data.conll_writing import SCHEMES

        between = _joiner(joiner)
        _known_format(to, "--to")
        corpus = read(source, format=_known_format(format), skip_bad=skip_bad, joiner=between)
        if between is None and corpus.format in SCHEMES and to in SCHEMES:
            between = file_joiner(source)
        names = [name.strip() for name in drop.split(",") if name.strip()]
        count = write(corpus, target, format=to, joiner=between, drop=names)
        _tell_left_out(corpus)
        result = {
            **_summary(corpus),
            "written": count,
            "target": str(target),
            "to": to,
            "notes": [str(note) for note in corpus.notes],
        }
        words = f"{count} records: {source} ({corpus.format}) -> {target} ({to})"
        echo(result if as_json else words)
        if corpus.notes and not as_json:
            hint = f"{len(corpus.notes)} oddities; `kexue data check {source}` lists them"
            typer.echo(showable(hint), err=True)


@app.command()
def check(
    paths: _Paths,
    *,
    format: _Format = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Write a mended file and a report beside it.")
    ] = False,
    tokenizer: Annotated[
        str | None,
        typer.Option("--tokenizer", help="Folder of a tokenizer: find what it cannot express."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option("--window", min=1, help="Tokens read at once; characters without one."),
    ] = None,
    joiner: _Joiner = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Unreadable records are warnings, not errors.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Find what is wrong with labelled files; 1 is returned where something is."""
    with readable_errors(as_json):
        from kexue.data import check as find
        from kexue.data import read, repair_file

        options: dict[str, Any] = {"format": _known_format(format), "joiner": _joiner(joiner)}
        corpora = [read(path, skip_bad=True, lenient=True, **options) for path in paths]
        findings = find(corpora, tokenizer=_load(tokenizer) if tokenizer else None, window=window)
        if skip_bad:
            findings = [_as_warning(finding) for finding in findings]
            for corpus in corpora:
                _tell_left_out(corpus)
        repairs = [repair_file(path, **options) for path in paths] if fix else []
        counts = Counter(finding.severity for finding in findings)
        if as_json:
            echo(
                {
                    "files": [_summary(corpus) for corpus in corpora],
                    "errors": counts["error"],
                    "warnings": counts["warning"],
                    "findings": [finding.to_dict() for finding in findings],
                    "repairs": [_repair_dict(*each) for each in repairs],
                }
            )
        else:
            show_findings(corpora, findings)
            for each in repairs:
                show_repair(*each)
    if counts["error"]:
        raise typer.Exit(1)


@app.command()
def stats(
    paths: _Paths,
    *,
    format: _Format = None,
    joiner: _Joiner = None,
    skip_bad: _SkipBad = False,
    as_json: _Json = False,
) -> None:
    """Describe labelled files: lengths, labels, nesting."""
    with readable_errors(as_json):
        from kexue.data import read
        from kexue.data import stats as count

        options: dict[str, Any] = {"format": _known_format(format), "joiner": _joiner(joiner)}
        found = []
        for path in paths:
            corpus = read(path, skip_bad=skip_bad, **options)
            _tell_left_out(corpus)
            found.append(count(corpus))
        if as_json:
            echo({"files": [each.to_dict() for each in found]})
        else:
            for each in found:
                show_stats(each)


def _known_format(format: str | None, option: str = "--format") -> str | None:
    from kexue.data import FORMATS

    if format is not None and format not in FORMATS:
        message = f"{format!r} is not one of: {', '.join(FORMATS)}."
        raise typer.BadParameter(message, param_hint=option)
    return format


def _joiner(given: str | None) -> str | None:
    names = {None: None, "none": "", "": "", "space": " ", " ": " "}
    if given not in names:
        raise typer.BadParameter(f"{given!r} is neither space nor none.", param_hint="--joiner")
    return names[given]


def _load(folder: str) -> "FastTokenizer":
    """Load a fast tokenizer from a folder."""
    from kexue.models.tokenizers import load_tokenizer

    try:
        return load_tokenizer(folder, local=True)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--tokenizer") from None


def _as_warning(finding: "Finding") -> "Finding":
    from dataclasses import replace

    return replace(finding, severity="warning") if finding.kind == "unreadable" else finding


def _summary(corpus: "Corpus") -> dict[str, Any]:
    return {
        "path": str(corpus.path),
        "format": corpus.format,
        "records": len(corpus),
        "left_out": len(corpus.skipped),
        "bad": [str(error) for error in corpus.skipped],
    }


def _tell_left_out(corpus: "Corpus") -> None:
    if corpus.skipped:
        count = len(corpus.skipped)
        bad = "bad record" if count == 1 else "bad records"
        message = f"{corpus.path}: {count} {bad} left out, {len(corpus)} kept"
        typer.secho(showable(message), fg="yellow", err=True)
        for error in corpus.skipped[:_LISTED]:
            typer.echo(showable(f"  {error}"), err=True)
        if count > _LISTED:
            typer.echo(f"  and {count - _LISTED} more", err=True)


def _repair_dict(repair: "Repair", fixed: Path, report: Path) -> dict[str, Any]:
    return {**repair.to_dict(), "fixed": str(fixed), "report": str(report)}
