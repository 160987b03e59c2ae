"""The floors of the package: imports point down, heavy packages have one door."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "kexue"

FLOORS = {
    "_check": 0,
    "_figures": 0.5,
    "_register": 0,
    "positions": 1,
    "losses": 1,
    "sentences": 1,
    "analysis": 1,
    "generative": 1,
    "numerics": 1,
    "metrics": 1,
    "attention": 2,
    "heads": 2,
    "models": 3,
    "data": 3,
    "training": 3,
    "tasks": 4,
    "cli": 5,
    "serving": 5,
    "__main__": 6,
    "__init__": 7,
}
METHODS_IMPORT = {"torch", "numpy", "scipy", "kexue", *sys.stdlib_module_names}
# Optional, so loaded by the function that needs them; safetensors is how numbers are kept.
METHODS_IMPORT_LATE = {"faiss", "matplotlib", "ot", "safetensors"}
TRANSFORMERS_IN = {"models", "training", "tasks"}
CLI_IMPORTS = {"typer", "click", "rich", "kexue", *sys.stdlib_module_names}
CLI_IMPORTS_OF_KEXUE = {"__init__", "_check", "_register", "cli"}


class Import(NamedTuple):
    line: int
    module: str
    at_import: bool  # runs when the importing module is loaded, not inside a function


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports_of(node, *, at_import=True):
    """List the imports below a node; a `from` import of several modules counts once for each."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(child.lineno, name.name, at_import) for name in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = "." * child.level + (child.module or "")
            for name in child.names:
                yield Import(child.lineno, f"{base}.{name.name}", at_import)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            later = inside or is_type_checking(child)
            yield from imports_of(child, at_import=at_import and not later)


def part_of(module):
    """Name the part of the package, a key of FLOORS, that a dotted kexue name belongs to."""
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 else "__init__"
    if name in ("EntityRecognizer", "SentenceEncoder", "TextClassifier"):
        return "tasks"
    return "__init__" if name == "__version__" else name


def problems(path, source):
    """Say what is wrong with the imports of one file; `path` is relative to the package."""
    path = Path(path)
    part = path.parts[0].removesuffix(".py")
    if part not in FLOORS:
        return [f"{path}: {part} has no floor"]
    found = []
    for line, module, at_import in imports_of(ast.parse(source)):
        for wrong in wrong_with(part, module, at_import):
            found.append(f"{path}:{line}: {wrong}")
    return found


def wrong_with(part, module, at_import):
    top = module.split(".")[0]
    target = part_of(module) if top == "kexue" else None
    if module.startswith("."):
        yield f"{module} is relative"
    elif target is not None and target not in FLOORS:
        yield f"{module} is on no floor"
    elif target not in (None, part, "__init__") and FLOORS[target] >= FLOORS[part]:
        yield f"{module} is not below {part}"
    if FLOORS[part] <= 2 and top not in METHODS_IMPORT | (
        set() if at_import else METHODS_IMPORT_LATE
    ):
        yield f"{top} on floor {FLOORS[part]}"
    if top == "transformers" and part not in TRANSFORMERS_IN:
        yield "transformers outside models, training and tasks"
    if part in ("cli", "__main__", "__init__") and at_import:
        heavy = target not in CLI_IMPORTS_OF_KEXUE if top == "kexue" else top not in CLI_IMPORTS
        if heavy:
            yield f"{module} is loaded by the command line before it is needed"


def module_name(path):
    parts = ("kexue", *Path(path).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def cycle(sources):
    """Find a cycle of modules that import each other, as a list of names, or []."""
    modules = {module_name(path): source for path, source in sources.items()}
    edges = {}
    for name, source in modules.items():
        targets = {i.module for i in imports_of(ast.parse(source))}
        # `from kexue.heads import GlobalPointer` is an import of kexue.heads
        known = {t if t in modules else t.rpartition(".")[0] for t in targets}
        edges[name] = sorted((known & set(modules)) - {"kexue", name})
    state = dict.fromkeys(edges, "new")

    def visit(name, trail):
        state[name] = "open"
        for target in edges[name]:
            if state[target] == "open":
                return [*trail[trail.index(target) :], target]
            if state[target] == "new" and (found := visit(target, [*trail, target])):
                return found
        state[name] = "done"
        return []

    for name in edges:
        if state[name] == "new" and (found := visit(name, [name])):
            return found
    return []


def package_sources():
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 10, f"no package found in {SOURCE}"
    return {str(file.relative_to(SOURCE)): file.read_text(encoding="utf-8") for file in files}


def test_imports_point_down():
    found = [p for path, source in package_sources().items() for p in problems(path, source)]
    assert not found, "\n" + "\n".join(found)


def test_no_module_imports_itself_over_a_detour():
    assert cycle(package_sources()) == []


GOOD = [
    ("losses/a.py", "import math\nimport torch\nfrom kexue._check import invalid"),
    ("heads/a.py", "from kexue.positions import rotate\nfrom kexue.heads.b import c"),
    ("models/a.py", "from transformers import AutoModel\nfrom kexue.heads import GlobalPointer"),
    ("training/a.py", "from transformers import Trainer"),
    ("tasks/a.py", "from kexue.data.records import Record\nfrom kexue.models import x"),
    (
        "cli/a.py",
        "import typer\ndef run():\n    from kexue.tasks.ner import train\n    import torch",
    ),
    ("cli/a.py", "from kexue import __version__\nfrom kexue.cli.console import console"),
    ("cli/a.py", "if TYPE_CHECKING:\n    from kexue.data.records import Record"),
    ("__main__.py", "from kexue.cli import main"),
    ("__init__.py", "import importlib"),
]
BAD = [
    ("_check.py", "import torch\nfrom kexue.losses import x", "kexue.losses.x is not below _check"),
    ("losses/a.py", "from kexue.positions import rotate", "is not below losses"),
    ("losses/a.py", "def f():\n    from kexue.heads.crf import LinearChainCRF", "not below losses"),
    ("losses/a.py", "from kexue import heads", "kexue.heads is not below losses"),
    ("losses/a.py", "from kexue import EntityRecognizer", "is not below losses"),
    ("losses/a.py", "import pydantic", "pydantic on floor 1"),
    ("heads/a.py", "from transformers import AutoModel", "transformers outside models"),
    ("heads/a.py", "from transformers import AutoModel", "transformers on floor 2"),
    ("data/a.py", "import transformers.utils", "transformers outside models"),
    ("data/a.py", "if TYPE_CHECKING:\n    import transformers", "transformers outside models"),
    ("data/a.py", "import kexue.training.trainer", "is not below data"),
    ("training/a.py", "from kexue.models import x", "is not below training"),
    ("models/a.py", "from kexue.tasks.ner import x", "is not below models"),
    ("heads/a.py", "from .crf import LinearChainCRF", ".crf.LinearChainCRF is relative"),
    ("heads/a.py", "from kexue.unknown import x", "is on no floor"),
    ("unknown/a.py", "import math", "unknown has no floor"),
    ("serving/a.py", "from kexue.cli import main", "is not below serving"),
    ("cli/a.py", "import torch", "loaded by the command line"),
    (
        "cli/a.py",
        "try:\n    import numpy as np\nexcept ImportError:\n    np = None",
        "numpy is loaded",
    ),
    ("cli/a.py", "class A:\n    from pydantic import BaseModel", "loaded by the command line"),
    ("cli/a.py", "from kexue.tasks.ner import train", "loaded by the command line"),
    ("cli/a.py", "def run():\n    import transformers", "transformers outside models"),
    ("__init__.py", "from kexue.tasks.ner import EntityRecognizer", "loaded by the command line"),
]


@pytest.mark.parametrize(("path", "source"), GOOD)
def test_a_good_import_passes(path, source):
    assert problems(path, source) == []


@pytest.mark.parametrize(("path", "source", "message"), BAD)
def test_a_bad_import_is_found_with_its_line(path, source, message):
    found = problems(path, source)
    assert any(message in problem for problem in found)
    assert all(problem.startswith(path) for problem in found)


def test_a_cycle_is_found():
    sources = {
        "heads/__init__.py": "from kexue.heads.a import f",
        "heads/a.py": "def f():\n    from kexue.heads import b",
        "heads/b.py": "import kexue.heads.c",
        "heads/c.py": "from kexue.heads.a import f",
    }
    assert cycle(sources) == ["kexue.heads.a", "kexue.heads.b", "kexue.heads.c", "kexue.heads.a"]
    sources["heads/c.py"] = "import torch"
    assert cycle(sources) == []


def test_a_module_that_imports_its_own_package_is_a_cycle():
    sources = {
        "heads/__init__.py": "from kexue.heads.a import f",
        "heads/a.py": "from kexue.heads import f",
    }
    assert cycle(sources) == ["kexue.heads", "kexue.heads.a", "kexue.heads"]


HEAVY = ("torch", "transformers", "accelerate", "tokenizers", "numpy", "scipy", "pydantic")


def loaded_by(statement, *, names=HEAVY):
    """Run a statement in a fresh interpreter and list which of `names` it has loaded."""
    program = (
        "import contextlib, json, os, sys\n"
        "with open(os.devnull, 'w') as hidden, contextlib.redirect_stdout(hidden):\n"
        "    try:\n"
        f"        {statement}\n"
        "    except SystemExit as stop:\n"
        "        assert not stop.code, stop.code\n"
        f"print(json.dumps([name for name in {names!r} if name in sys.modules]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import kexue") == []


def test_a_public_name_is_loaded_when_it_is_touched():
    assert "torch" in loaded_by("import kexue; kexue.EntityRecognizer")


@pytest.mark.parametrize("arguments", [[], ["train"], ["data"], ["data", "check"]])
def test_help_loads_nothing_heavy(arguments):
    # typer itself reads options with pydantic once a command is chosen
    names = [name for name in HEAVY if name != "pydantic" or not arguments]
    call = "runpy.run_module('kexue', run_name='__main__')"
    run = f"import runpy; sys.argv = ['kexue', *{arguments!r}, '--help']; {call}"
    assert loaded_by(run, names=names) == []


def test_the_probe_sees_what_is_loaded_and_what_fails():
    assert loaded_by("import numpy", names=("numpy", "absent")) == ["numpy"]
    with pytest.raises(AssertionError, match="2"):
        loaded_by("sys.exit(2)")
