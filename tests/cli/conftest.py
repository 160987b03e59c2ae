"""Commands that are killed in the middle, and what commands on sentences are tried on."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import kexue
from kexue.models import scratch_encoder, scratch_tokenizer


def start(words):
    return subprocess.Popen(
        [sys.executable, "-m", "kexue", *map(str, words)],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(kexue.__file__).parents[1]),
            "OMP_NUM_THREADS": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture
def kill_once():
    """Give `kill_once(words, seen)`: run a command and kill it once `seen()` is true."""

    def kill(words, seen):
        deadline = time.monotonic() + 300
        with start(words) as process:
            while not seen():
                assert process.poll() is None, process.stdout.read().decode()
                assert time.monotonic() < deadline
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)

    return kill


@pytest.fixture
def broken_and_unbroken(kill_once, tmp_path):
    """Give a function: run a training killed after a whole checkpoint and resumed, and a whole one.

    It returns the two run folders.
    """

    def run(words):
        broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
        states = "checkpoints/checkpoint-*/trainer_state.json"
        # Where a second one is being written, the first is whole.
        kill_once([*words, "--out", broken], lambda: len(list(broken.glob(states))) > 1)
        assert not (broken / "model").exists()
        for folder, extra in ((broken, ["--resume"]), (unbroken, [])):
            with start([*words, "--out", folder, *extra]) as process:
                printed = process.communicate()[0].decode()
            assert process.returncode == 0, printed
            assert ("from step" in printed) == bool(extra)
        return broken, unbroken

    return run


@pytest.fixture(scope="session")
def sentence_files(tmp_path_factory):
    """A folder with a small encoder, scored pairs, pairs that mean the same, and texts."""
    folder = tmp_path_factory.mktemp("sentences")
    rng = random.Random(0)
    letters = "abcdefghijkl"
    texts = [" ".join(rng.choices(letters, k=rng.randint(3, 9))) for _ in range(240)]
    rows = [(a, b, len({*a} & {*b})) for a, b in zip(texts[::2], texts[1::2], strict=True)]
    lines = [f"{a}\t{b}\t{score}" for a, b, score in rows]
    (folder / "pairs.tsv").write_text("\n".join(lines[:90]), "utf-8")
    (folder / "dev.tsv").write_text("\n".join(lines[90:]), "utf-8")
    (folder / "same.tsv").write_text("\n".join(f"{a}\t{a[::-1]}" for a in texts[:60]), "utf-8")
    (folder / "texts.txt").write_text("\n".join(texts[:120]), "utf-8")
    (folder / "more.txt").write_text("\n".join(texts[120:]), "utf-8")
    torch.manual_seed(0)
    tokenizer = scratch_tokenizer(texts, unit="character")
    scratch_encoder(len(tokenizer), layers=1, width=64).save_pretrained(folder / "encoder")
    tokenizer.save_pretrained(folder / "encoder")
    return folder
