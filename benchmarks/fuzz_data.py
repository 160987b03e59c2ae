"""Five thousand damaged files through `read` and the command line: no traceback, no hang, no loss.

    python benchmarks/fuzz_data.py [--files 5000] [--seed 0]

Every file goes through `read(skip_bad=True)`, where each record that the damage left alone must
come back the same, and through every command of `COMMANDS` in this process. A command that trains
can be added there: a function from path, format and a new folder to the words after `kexue`.
"""

import argparse
import importlib.util
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from kexue.cli import app as whole_app
from kexue.cli.data import app as data_app
from kexue.data import DataError, read

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "fuzz_data.json"
LIMIT = 5.0  # seconds for one step on one file

Words = Callable[[Path, str, Path], list[str]]
# name, application, words for (file, format, new folder)
COMMANDS: list[tuple[str, object, Words]] = [
    ("check", data_app, lambda path, format, folder: ["check", str(path), "--format", format]),
    ("check, guessed", data_app, lambda path, format, folder: ["check", str(path), "--json"]),
    (
        "check --fix",
        data_app,
        lambda path, format, folder: ["check", str(path), "--format", format, "--fix"],
    ),
    (
        "convert",
        data_app,
        lambda path, format, folder: ["convert", str(path), str(folder / "strict.jsonl")],
    ),
    (
        "convert --skip-bad",
        data_app,
        lambda path, format, folder: [
            *("convert", str(path), str(folder / "kept.jsonl")),
            *("--skip-bad", "--format", format),
        ],
    ),
    (
        "train ner --dry-run",
        whole_app,
        lambda path, format, folder: [
            *("train", "ner", "--train", str(path), "--out", str(folder / "run"), "--dry-run"),
            *(
                "--encoder",
                "scratch",
                "--layers",
                "1",
                "--width",
                "64",
                "--format",
                format,
                "--skip-bad",
            ),
        ],
    ),
]


def load_fuzzing():
    """The damage is that of the tests."""
    path = ROOT / "tests" / "data" / "fuzzing.py"
    spec = importlib.util.spec_from_file_location("fuzzing", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzzing"] = module
    spec.loader.exec_module(module)
    return module


class Tally:
    """What went wrong, with an example each, and how long things took."""

    def __init__(self):
        self.counts = Counter()
        self.examples = {}
        self.slowest = (0.0, "")

    def fail(self, kind, name, detail):
        self.counts[kind] += 1
        self.examples.setdefault(kind, f"{name}: {detail}"[:2000])

    def timed(self, started, name):
        seconds = time.perf_counter() - started
        self.slowest = max(self.slowest, (round(seconds, 3), name))
        if seconds > LIMIT:
            self.fail("slower than the limit", name, f"{seconds:.1f} s")


def read_one(fuzzing, damaged, folder, tally):
    """Read with `skip_bad` and compare the records that the damage left alone."""
    options = {"format": damaged.format, "joiner": damaged.joiner}
    good = fuzzing.dumped(read(damaged.save(folder, damaged=False), **options).records)
    path = damaged.save(folder)
    expected = [good[at] for at in damaged.untouched()]
    started = time.perf_counter()
    found = []
    try:
        corpus = read(path, skip_bad=True, **options)
        found = fuzzing.dumped(corpus.records)
        tally.counts["records left out"] += len(corpus.skipped)
    except DataError as error:
        tally.counts["files that cannot be read at all"] += 1
        if str(path) not in str(error) or not error.fix:
            tally.fail("error without place or fix", damaged.name, str(error))
    except Exception:
        tally.fail("traceback in read", damaged.name, traceback.format_exc())
    tally.timed(started, f"read {damaged.name}")
    tally.counts["untouched records"] += len(expected)
    if not fuzzing.is_subsequence(expected, found):
        tally.fail("untouched records lost", damaged.name, f"{len(expected)} expected")
    return path, len(found)


def run_commands(runner, damaged, path, folder, found, tally):
    for name, app, words in COMMANDS:
        started = time.perf_counter()
        result = runner.invoke(app, words(path, damaged.format, folder))
        tally.timed(started, f"{name} {damaged.name}")
        tally.counts[f"{name}: exit {result.exit_code}"] += 1
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            trace = "".join(traceback.format_exception(*result.exc_info))
            tally.fail(f"traceback in {name}", damaged.name, trace)
        elif result.exit_code not in (0, 1):
            tally.fail(f"odd exit of {name}", damaged.name, result.output)
        elif result.exit_code == 1 and not result.output.strip():
            tally.fail(f"silent failure of {name}", damaged.name, "")
    kept = folder / "kept.jsonl"
    written = kept.read_bytes().count(b"\n") if kept.exists() else 0
    if written != found:
        tally.fail("convert wrote another number of records", damaged.name, f"{written}, {found}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    fuzzing, tally, runner = load_fuzzing(), Tally(), CliRunner()
    started = time.perf_counter()
    for damaged in fuzzing.damaged_files(options.files, seed=options.seed):
        tally.counts[f"files: {damaged.format}"] += 1
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            path, found = read_one(fuzzing, damaged, folder, tally)
            run_commands(runner, damaged, path, folder, found, tally)
    summary = {
        "files": options.files,
        "seed": options.seed,
        "seconds": round(time.perf_counter() - started, 1),
        "failures": len(tally.examples),
        "counts": dict(sorted(tally.counts.items())),
        "slowest": {"seconds": tally.slowest[0], "step": tally.slowest[1]},
        "examples": tally.examples,
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cores": os.cpu_count(),
        },
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(json.dumps({**summary, "examples": list(tally.examples)}, indent=1, ensure_ascii=False))
    for text in tally.examples.values():
        print(text)
    raise SystemExit(1 if tally.examples else 0)


if __name__ == "__main__":
    main()
