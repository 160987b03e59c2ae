"""Commands that are killed in the middle."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import kexue


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
