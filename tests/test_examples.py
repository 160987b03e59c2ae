"""Every example runs offline, in a short time, prints its claim and leaves a figure."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))
LIMIT = 120  # seconds; examples are written to take 20, but machines differ
NO_NETWORK = {"HF_HUB_OFFLINE": "1", "HTTP_PROXY": "127.0.0.1:9", "HTTPS_PROXY": "127.0.0.1:9"}


def form_problems(source):
    """Say what is wrong with the form of an example."""
    found = []
    if source.count("\n") > 100:
        found.append(f"{source.count(chr(10))} lines, at most 100")
    if len(re.findall(r"^# %%", source, flags=re.MULTILINE)) < 2:
        found.append("fewer than two `# %%` cells")
    if "kexue.fm/archives/" not in source:
        found.append("no article")
    if "KEXUE_FIGURES" not in source:
        found.append("the figure does not go where KEXUE_FIGURES says")
    return found


def run_problems(path, folder, *, limit=LIMIT):
    """Run an example in a process of its own, and say what it did not do."""
    environment = {
        **{key: value for key, value in os.environ.items() if key != "DISPLAY"},
        **NO_NETWORK,
        "KEXUE_FIGURES": str(folder),
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",  # several tests share the cores
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONWARNINGS": "error::UserWarning",
    }
    try:
        done = subprocess.run(
            [sys.executable, str(path)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [f"not done after {limit} seconds"]
    if done.returncode:
        return [f"ended with {done.returncode}: {done.stderr.strip().splitlines()[-1]}"]
    found = [] if done.stdout.strip() else ["prints nothing"]
    figures = [f for f in folder.iterdir() if f.suffix in (".png", ".svg", ".pdf")]
    return found + ([] if any(f.stat().st_size for f in figures) else ["leaves no figure"])


def test_there_are_examples():
    assert EXAMPLES, "examples/ holds no NN_method.py"


def test_no_two_examples_have_the_same_number():
    numbers = [path.name[:2] for path in EXAMPLES]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_the_form(path):
    assert form_problems(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, tmp_path):
    assert run_problems(path, tmp_path) == []


GOOD = """\
# %% https://kexue.fm/archives/8373
import os, pathlib
# %%
print("the claim")
pathlib.Path(os.environ["KEXUE_FIGURES"], "a.svg").write_text("<svg/>")
"""


def run_source(source, folder, **options):
    path = folder / "example.py"
    path.write_text(source, encoding="utf-8")
    return run_problems(path, folder, **options)


def test_a_good_example_passes(tmp_path):
    assert form_problems(GOOD) == []
    assert run_source(GOOD, tmp_path) == []


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda s: s + "\n" * 96, "101 lines, at most 100"),
        (lambda s: s.replace("# %%\n", ""), "fewer than two `# %%` cells"),
        (lambda s: s.replace("kexue.fm", "example.org"), "no article"),
        (lambda s: s.replace("KEXUE_FIGURES", "HOME"), "KEXUE_FIGURES says"),
    ],
)
def test_a_bad_form_is_found(edit, problem):
    assert problem in form_problems(edit(GOOD))[0]


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda s: s + "1 / 0\n", "ended with 1: ZeroDivisionError: division by zero"),
        (lambda s: s.replace("print", "str"), "prints nothing"),
        (lambda s: s.replace("a.svg", "a.txt"), "leaves no figure"),
        (lambda s: s.replace("<svg/>", ""), "leaves no figure"),
    ],
)
def test_a_broken_example_is_found(edit, problem, tmp_path):
    assert run_source(edit(GOOD), tmp_path) == [problem]


def test_an_example_that_hangs_is_found(tmp_path):
    assert run_source("while True: pass", tmp_path, limit=0.5) == ["not done after 0.5 seconds"]
