"""What every source file promises: its name, its length, its article, its test file."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "kexue"

METHOD_PACKAGES = {
    *("positions", "attention", "heads", "losses", "sentences", "analysis", "generative"),
    "numerics",
}
JUNK_DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
LONGEST_FILE, LONGEST_METHOD = 300, 200


def listed(problems):
    return "\n" + "\n".join(sorted(problems))


def is_method(path):
    """Tell whether a path relative to the package is the file of a method."""
    return path.parts[0] in METHOD_PACKAGES and path.stem != "__init__"


def module_problems(path, source):
    """Say what the docstring of a method file lacks."""
    if not is_method(Path(path)):
        return []
    doc = ast.get_docstring(ast.parse(source)) or ""
    found = []
    if not re.search(r"^Post: https://kexue\.fm/archives/\d+", doc, flags=re.MULTILINE):
        found.append(f"{path}: no line `Post: https://kexue.fm/archives/NUMBER`")
    has_tensors = re.search(r"^(import|from) torch", source, flags=re.MULTILINE)
    if has_tensors and not re.search(r"^Axes: \S", doc, flags=re.MULTILINE):
        found.append(f"{path}: no line `Axes:` that explains the letters")
    return found


def size_problems(path, source):
    lines, most = source.count("\n"), LONGEST_METHOD if is_method(Path(path)) else LONGEST_FILE
    return [f"{path}: {lines} lines, at most {most}"] if lines > most else []


def name_problems(path):
    parts = {part.removesuffix(".py").strip("_") for part in Path(path).parts}
    return [f"{path}: {part} names no subject" for part in sorted(parts & JUNK_DRAWERS)]


def defines_public_names(source):
    return any(
        isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        for node in ast.parse(source).body
    )


def test_file_of(path):
    path = Path(path)
    return path.with_name(f"test_{path.stem.strip('_')}.py")


test_file_of.__test__ = False


def mirror_problems(path, source, tests):
    """Name the test file that a source file lacks."""
    needs = defines_public_names(source) and Path(path).stem not in ("__init__", "__main__")
    mirror = str(test_file_of(path))
    return [f"{path}: no tests/{mirror}"] if needs and mirror not in tests else []


def sources():
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 10, f"no package found in {SOURCE}"
    return {str(file.relative_to(SOURCE)): file.read_text(encoding="utf-8") for file in files}


def test_method_files_name_their_article_and_their_axes():
    found = [p for path, source in sources().items() for p in module_problems(path, source)]
    assert not found, listed(found)


def test_files_are_short():
    found = [p for path, source in sources().items() for p in size_problems(path, source)]
    assert not found, listed(found)


def test_files_are_named_after_a_subject():
    found = [p for path in sources() for p in name_problems(path)]
    assert not found, listed(found)


def test_every_file_has_its_test_file():
    tests = {str(file.relative_to(ROOT / "tests")) for file in (ROOT / "tests").rglob("test_*.py")}
    found = [p for path, source in sources().items() for p in mirror_problems(path, source, tests)]
    assert not found, listed(found)


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        ("losses/a.py", '"""Post: https://kexue.fm/archives/7359"""\nimport torch', "Axes"),
        ("losses/a.py", '"""Axes: L tokens"""\nimport torch', "Post"),
        ("losses/a.py", '"""Post: https://kexue.fm/archives/"""', "Post"),
        ("heads/a.py", "import torch", "Post"),
    ],
)
def test_a_method_without_article_or_axes_is_found(path, source, problem):
    assert any(problem in found for found in module_problems(path, source))


def test_method_files_with_both_and_other_files_pass():
    both = '"""A.\n\nPost: https://kexue.fm/archives/1\nAxes: L tokens\n"""\nimport torch'
    assert module_problems("losses/a.py", both) == []
    assert module_problems("losses/__init__.py", "") == []
    assert module_problems("data/a.py", "import torch") == []


def test_a_long_file_is_found():
    assert size_problems("losses/a.py", "\n" * 201) == ["losses/a.py: 201 lines, at most 200"]
    assert size_problems("data/a.py", "\n" * 301) == ["data/a.py: 301 lines, at most 300"]
    assert size_problems("losses/a.py", "\n" * 200) == []
    assert size_problems("data/a.py", "\n" * 300) == []


@pytest.mark.parametrize("path", ["data/utils.py", "helpers/a.py", "data/_common.py", "base.py"])
def test_a_junk_drawer_is_found(path):
    assert len(name_problems(path)) == 1
    assert name_problems("data/records.py") == []


def test_a_missing_test_file_is_found():
    assert mirror_problems("data/a.py", "def f(): ...", set()) == [
        "data/a.py: no tests/data/test_a.py"
    ]
    assert mirror_problems("_a.py", "class A: ...", set()) == ["_a.py: no tests/test_a.py"]
    assert mirror_problems("data/a.py", "def f(): ...", {"data/test_a.py"}) == []
    assert mirror_problems("data/a.py", "def _f(): ...", set()) == []


def named_by_benchmarks(folder):
    """Read the constant TESTS of each file as `benchmarks/run.py` does: without importing it."""
    for path in sorted(folder.glob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "TESTS":
                yield path, ast.literal_eval(node.value)


def test_every_benchmark_names_tests_that_exist():
    found = dict(named_by_benchmarks(ROOT / "benchmarks"))
    missing = [
        f"{path.name}: {test}"
        for path, tests in found.items()
        for test in tests
        if not (ROOT / test).exists()
    ]
    assert len(found) > 5
    assert all(found.values())
    assert not missing, listed(missing)
