"""Run benchmarks: first the tests of what a benchmark claims, then the benchmark, twice.

    python benchmarks/run.py [name ...]

A benchmark is a file beside this one with a docstring that says its claim, a constant
`TESTS = ["tests/..."]` and a `main(argv)` that understands `--json FILE`. Nothing is timed while a
test fails. Each runs as users run it ("default"), and again with an allocator that keeps its
memory ("warm"): glibc hands large blocks back to the system, and fresh pages cost as much as the
computation, which a method that allocates much must not be blamed for. A benchmark of losses and
scores says `TIMED = False` and runs once. The figures, the machine and the versions go to
`benchmarks/results/<name>.json`.
"""

import argparse
import ast
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WARM = {
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TOP_PAD_": "268435456",
}
PACKAGES = (
    *("torch", "transformers", "accelerate", "numpy", "kexue"),
    *("pytorch-crf", "bert4torch", "performer-pytorch", "scikit-learn", "faiss-cpu", "POT"),
    *("gensim", "sentence-transformers"),
)


class Benchmark(NamedTuple):
    """What a benchmark says of itself."""

    claim: str
    tests: list[str]
    timed: bool


def read_benchmark(path: Path) -> Benchmark | None:
    """Read what a benchmark says of itself without importing it; None for other files."""
    module = ast.parse(path.read_text("utf-8"), str(path))
    names = ("TESTS", "TIMED")
    said = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in names
    }
    if "TESTS" not in said:
        return None
    return Benchmark(ast.get_docstring(module) or "", said["TESTS"], said.get("TIMED", True))


def find_benchmarks() -> dict[str, Benchmark]:
    """List the benchmarks beside this file by name."""
    found = {path.stem: read_benchmark(path) for path in sorted(HERE.glob("*.py"))}
    return {name: read for name, read in found.items() if read is not None}


def machine() -> dict[str, object]:
    """Describe the machine without its name."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text("utf-8", errors="replace").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return {"cores": os.cpu_count(), "cpu": model, "system": platform.system()}


def versions() -> dict[str, str]:
    """Name the version of Python and of the packages that are compared."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def environment(**extra: str) -> dict[str, str]:
    """Make one thread and this source tree the environment of a child process."""
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    plain = {name: value for name, value in os.environ.items() if name not in WARM}
    return {**plain, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **extra}


def tests_pass(tests: list[str]) -> bool:
    """Run the tests; no test at all counts as a failure."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-x", *tests]
    return subprocess.run(command, cwd=ROOT, env=environment(), check=False).returncode == 0


def measure(name: str, extra: dict[str, str], arguments: list[str]) -> dict:
    """Run one benchmark in a process of its own and read its figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(path), *arguments]
        subprocess.run(command, cwd=ROOT, env=environment(**extra), check=True)
        return json.loads(path.read_text("utf-8"))


def write_result(name: str, claim: str, columns: dict[str, dict]) -> Path:
    """Write the figures with what is needed to read them; replace the old file at once."""
    result = {
        "benchmark": name,
        "claim": claim,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "threads": 1,
        "seed": columns["default"].get("seed"),
        **columns,
    }
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".json.unfinished")
    unfinished.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
    unfinished.replace(path)
    return path


def main(argv: list[str] | None = None) -> int:
    """Run the benchmarks named, or all; give 1 where one was refused or broke."""
    benchmarks = find_benchmarks()
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="After -- come arguments of the benchmark."
    )
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(benchmarks))
    argv = sys.argv[1:] if argv is None else argv
    cut = argv.index("--") if "--" in argv else len(argv)
    names, arguments = parser.parse_args(argv[:cut]).names, argv[cut + 1 :]
    unknown = sorted(set(names) - set(benchmarks))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(benchmarks)}")
    failed = False
    for name in names or benchmarks:
        claim, tests, timed = benchmarks[name]
        print(f"== {name}: tests first ({' '.join(tests)})", flush=True)
        if not tests or not tests_pass(tests):
            print(f"== {name}: not timed, because its tests do not pass", flush=True)
            failed = True
            continue
        allocators = {"default": {}, **({"warm": WARM} if timed else {})}
        columns = {}
        try:
            for column, extra in allocators.items():
                print(f"== {name}: {column} allocator", flush=True)
                columns[column] = measure(name, extra, arguments)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            print(f"== {name}: broke: {error}", flush=True)
            failed = True
            continue
        print(
            f"== {name}: wrote {write_result(name, claim, columns).relative_to(ROOT)}", flush=True
        )
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
