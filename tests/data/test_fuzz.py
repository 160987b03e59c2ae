"""Damaged files: never a traceback, never a hang, never a good record lost."""

import importlib.util
import random
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kexue.data import DataError, check, read, repair, stats, write

_SPEC = importlib.util.spec_from_file_location("fuzzing", Path(__file__).with_name("fuzzing.py"))
fuzzing = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fuzzing)

COUNT = 390


def lost(damaged, folder):
    """Read a damaged file, skipping what is bad, and name the untouched records that are gone."""
    options = {"format": damaged.format, "joiner": damaged.joiner}
    good = fuzzing.dumped(read(damaged.save(folder, damaged=False), **options).records)
    expected = [good[at] for at in damaged.untouched()]
    try:
        found = fuzzing.dumped(read(damaged.save(folder), skip_bad=True, **options).records)
    except DataError:
        found = []  # a file that cannot be read at all
    return [] if fuzzing.is_subsequence(expected, found) else expected


@pytest.mark.parametrize("seed", range(3))
def test_no_untouched_record_is_lost(seed, tmp_path):
    for damaged in fuzzing.damaged_files(COUNT // 3, seed=seed):
        folder = tmp_path / damaged.name.replace(" ", "-")
        assert lost(damaged, folder) == [], damaged.name


def test_strict_reading_names_the_line_or_gives_everything(tmp_path):
    named = 0
    for damaged in fuzzing.damaged_files(130, seed=7):
        path = damaged.save(tmp_path / damaged.name.replace(" ", "-"))
        started = time.perf_counter()
        error = corpus = None
        try:
            corpus = read(path)
        except DataError as raised:
            error = raised
        if error is None:
            assert corpus.records
            assert corpus.skipped == []
        else:
            assert str(path) in str(error)
            assert error.fix.endswith("."), error
            named += 1
        assert time.perf_counter() - started < 5
    assert named > 40


def test_what_was_read_can_be_checked_counted_mended_and_written(tmp_path):
    for damaged in fuzzing.damaged_files(130, seed=8):
        path = damaged.save(tmp_path / damaged.name.replace(" ", "-"))
        try:
            corpus = read(path, format=damaged.format, skip_bad=True, lenient=True)
        except DataError:
            continue
        check([corpus, corpus], window=5)
        stats(corpus)
        mended = repair(corpus)
        assert not [f for f in mended.left if f.kind in ("out-of-range", "white-space")]
        write(mended.corpus, tmp_path / "out.jsonl")
        if mended.corpus.records:
            assert read(tmp_path / "out.jsonl", format="jsonl").records == mended.corpus.records


def test_the_command_line_has_no_traceback(tmp_path):
    from kexue.cli.data import app

    runner = CliRunner()
    for damaged in fuzzing.damaged_files(65, seed=9):
        folder = tmp_path / damaged.name.replace(" ", "-")
        path = str(damaged.save(folder))
        for words in (["check", path], ["convert", path, str(folder / "out"), "--skip-bad"]):
            result = runner.invoke(app, words)
            assert result.exception is None or isinstance(result.exception, SystemExit), words
            assert result.exit_code in (0, 1), (words, result.output)


def test_the_same_seed_gives_the_same_files():
    one, other = (list(fuzzing.damaged_files(26, seed=3)) for _ in range(2))
    assert one == other
    assert one != list(fuzzing.damaged_files(26, seed=4))


def test_a_loss_would_be_seen():
    damaged = next(
        d for d in fuzzing.damaged_files(200, seed=1) if d.format == "jsonl" and "_insert" in d.name
    )
    original = fuzzing.units(next(iter(damaged.original.values())), "jsonl")
    assert 0 < len(damaged.untouched()) < len(original)
    assert not fuzzing.is_subsequence(["a", "b"], ["b", "a"])
    assert fuzzing.is_subsequence(["a", "b"], ["a", "x", "b"])


def test_records_for_fuzzing_are_rich():
    records = fuzzing.make_records(random.Random(5), "jsonl")
    assert any(record.entities for record in records)
    assert any(record.relations for record in records)
