"""Every code block of the documentation runs, and every command line in it exists."""

import ast
import contextlib
import doctest
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from kexue.data import FORMATS, DataError, read

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / "CONTRIBUTING.md"]

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.M | re.S
)
DIRECTIVE = re.compile(r"<!-- test: (skip|uses|format) ([^>]+?) -->\s*\Z")
# Where a reader has the folder that a fixture makes.
MODELS = {"trained_folder": "runs/first", "demo_folder": "runs/demo-ner/run"}
COMMANDS = {"bash", "sh", "shell", "console"}


class Block(NamedTuple):
    line: int
    language: str
    code: str
    skip: str = ""
    uses: tuple[str, ...] = ()
    format: str = ""
    output: str | None = None


def blocks(page):
    """List the fenced blocks of a page; a `text` block right after a `python` one is its output."""
    found = []
    end = 0
    for match in FENCE.finditer(page):
        between = page[end : match.start()]
        end = match.end()
        indent = match["indent"]
        code = "".join(
            line.removeprefix(indent) for line in match["code"].splitlines(keepends=True)
        )
        if (
            match["language"] == "text"
            and found
            and found[-1].language == "python"
            and not between.strip()
        ):
            found[-1] = found[-1]._replace(output=code)
            continue
        directive = DIRECTIVE.search(between)
        kind, rest = directive.groups() if directive else ("", "")
        found.append(
            Block(
                page.count("\n", 0, match.start()) + 2,
                match["language"],
                code,
                rest if kind == "skip" else "",
                tuple(rest.split()) if kind == "uses" else (),
                rest if kind == "format" else "",
            )
        )
    return found


def run_python(code, namespace, *, name, line):
    """Run a block as if it stood where it stands in its page; return what it prints."""
    tree = ast.increment_lineno(ast.parse(code), line - 1)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, name, "exec"), namespace)
    return printed.getvalue()


def check_output(wanted, got, where):
    """Compare printed text with what the page shows; `...` stands for anything."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if not doctest.OutputChecker().check_output(wanted, got, flags):
        raise AssertionError(f"{where}: the page shows\n{wanted}\nbut the block prints\n{got}")


def run_page(page, fixture, *, name="page"):
    """Run the Python blocks of a page one after the other in one namespace; count them."""
    namespace = {"__name__": "__page__"}
    ran = 0
    for block in blocks(page):
        if block.language != "python" or block.skip:
            continue
        for used in block.uses:
            fixture(used)
        printed = run_python(block.code, namespace, name=name, line=block.line)
        if block.output is not None:
            check_output(block.output, printed, f"{name}:{block.line}")
        ran += 1
    return ran


@pytest.fixture
def fixture(request, tmp_path, monkeypatch):
    """Work in a folder as a reader has it, with `runs/first` and data files where they are used."""
    monkeypatch.chdir(tmp_path)

    def place(name):
        folder = Path(request.getfixturevalue(name))
        if name in MODELS:
            target = Path(MODELS[name])
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                target.symlink_to(folder, target_is_directory=True)
        else:
            for file in folder.iterdir():
                Path(file.name).write_bytes(file.read_bytes())

    return place


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_code_of_a_page_runs_and_prints_what_it_shows(path, fixture):
    run_page(path.read_text(encoding="utf-8"), fixture, name=path.name)


def test_the_figures_of_the_benchmark_page_come_from_the_results():
    script = ROOT / "benchmarks" / "tables.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, check=False)
    assert done.returncode == 0, "run python benchmarks/tables.py"


def test_both_readmes_show_the_same_code():
    code = [
        [
            b.code
            for b in blocks((ROOT / name).read_text(encoding="utf-8"))
            if b.language == "python"
        ]
        for name in ("README.md", "README.zh.md")
    ]
    assert len(code[0]) >= 2
    # a Chinese page may use other texts, but not another number of examples
    assert len(code[0]) == len(code[1])


def format_problems(page, folder):
    """Read each block that claims to be a file in some format, and see whether it is one."""
    for block in blocks(page):
        if not block.format:
            continue
        file = folder / "example"
        file.write_text(block.code, encoding="utf-8")
        try:
            corpus = read(file)
        except DataError as error:
            yield f"line {block.line}: {error}"
            continue
        # one sentence cannot tell BIO from BIOES where both would be right
        if corpus.format != block.format:
            yield f"line {block.line}: {corpus.format}, not {block.format}"
        if not any(record.entities for record in corpus):
            yield f"line {block.line}: no entities"


def test_the_examples_of_formats_are_in_these_formats(tmp_path):
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    assert list(format_problems(page, tmp_path)) == []


def test_every_format_is_shown():
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    assert {b.format for b in blocks(page)} - {""} == set(FORMATS) - {"brat"}
    assert all(f"`{name}`" in page for name in FORMATS if name != "jsonl")


# A command line: what the shell would start, in words.


def command_lines(code):
    """Split a shell block into commands, each a list of words, comments and prompts left out."""
    code = re.sub(r"\\\n\s*", " ", code)
    found = []
    for line in code.splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;<>")
        lexer.commenters = "#"
        words = []
        for word in lexer:
            if word and not word.strip("|&;"):
                found.append(words)
                words = []
            else:
                words.append(word)
        found.append(words)
    return [without_redirection(words) for words in found if words]


def without_redirection(words):
    kept = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word and not word.strip("<>"):
            skip = True
        else:
            kept.append(word)
    return kept


def command_problems(words, group):
    """Say what is wrong with the words after `kexue`: unknown command, option, value, argument."""
    command, words, trail = group, list(words), ["kexue"]
    while hasattr(command, "commands") and words and words[0] in command.commands:
        trail.append(words.pop(0))
        command = command.commands[trail[-1]]
    name = " ".join(trail)
    if hasattr(command, "commands") and words and not words[0].startswith("-"):
        return [f"`{name} {words[0]}` does not exist"]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            command.make_context(name, words)
    except typer.Exit:  # --help, --version
        return []
    except Exception as error:
        return [f"`{name}`: {error}"]
    return []


def page_problems(page, group, targets):
    """Check the `kexue` and `make` lines of the shell blocks of a page."""
    for block in blocks(page):
        if block.language not in COMMANDS or block.skip:
            continue
        for words in command_lines(block.code):
            if words[0] == "kexue":
                yield from command_problems(words[1:], group)
            elif words[0] == "make":
                yield from (f"no target `make {w}`" for w in words[1:] if w not in targets)


def make_targets():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))


@pytest.fixture(scope="module")
def kexue_command():
    from kexue.cli import app

    return typer.main.get_command(app)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_commands_of_a_page_exist(path, kexue_command):
    found = list(page_problems(path.read_text(encoding="utf-8"), kexue_command, make_targets()))
    assert not found, "\n" + "\n".join(found)


def test_the_readmes_show_how_to_begin():
    for name in ("README.md", "README.zh.md"):
        shell = [
            b.code
            for b in blocks((ROOT / name).read_text(encoding="utf-8"))
            if b.language in COMMANDS
        ]
        lines = [words for code in shell for words in command_lines(code)]
        for start in (
            ["make", "demo"],
            ["make", "test"],
            ["kexue", "train", "ner"],
            ["kexue", "predict"],
        ):
            assert any(words[: len(start)] == start for words in lines), (name, start)


# Links and the table of articles.


def link_problems(page, folder):
    """List the relative links of a page that lead nowhere."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page)
    local = [t for t in targets if not re.match(r"[a-z]+:", t)]
    return [f"{t} does not exist" for t in local if not (folder / t).exists()]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    assert link_problems(path.read_text(encoding="utf-8"), path.parent) == []


def article_problems(table, sources):
    """Compare the table of articles with the modules: `sources` maps their path to their text."""
    for module in re.findall(r"`([a-z_]+/[a-z_0-9]+\.py)`", table):
        if module not in sources:
            yield f"{module} does not exist"
    for module, source in sources.items():
        for number in re.findall(r"kexue\.fm/archives/(\d+)", source):
            if f"archives/{number}" not in table:
                yield f"article {number} of {module} is not in the table"


def test_the_table_of_articles_is_the_code():
    source = ROOT / "src" / "kexue"
    texts = {
        str(file.relative_to(source)): file.read_text(encoding="utf-8")
        for file in sorted(source.rglob("*.py"))
    }
    table = (ROOT / "docs" / "articles.md").read_text(encoding="utf-8")
    assert list(article_problems(table, texts)) == []


# Each check can fail.

PAGE = """\
# A page

```python
x = 2
print(x)
```

```text
2
```

<!-- test: skip needs a network -->
```python
1 / 0
```

- in a list
  ```python
  print(x + 1)
  ```
"""


def no_fixture(name):
    raise LookupError(name)


def test_a_page_runs_in_one_namespace_and_skips_what_says_so():
    assert run_page(PAGE, no_fixture) == 2


def test_wrong_output_is_found_with_its_line():
    with pytest.raises(AssertionError, match="page:4: the page shows\n3\n"):
        run_page(PAGE.replace("\n2\n", "\n3\n"), no_fixture)


def test_a_block_that_fails_fails_the_page():
    with pytest.raises(ZeroDivisionError) as caught:
        run_page(PAGE.replace("<!-- test: skip needs a network -->\n", ""), no_fixture)
    last = caught.traceback[-1]
    assert last.lineno + 1 == 13


def test_output_may_leave_out_what_varies():
    run_page("```python\nprint('F1 0.913')\n```\n```text\nF1 0.9...\n```", no_fixture)


def test_text_that_is_no_output_is_left_alone():
    page = "```python\nprint(1)\n```\nand so on\n```text\n2\n```"
    assert run_page(page, no_fixture) == 1


def test_a_block_can_ask_for_fixtures():
    asked = []
    page = "<!-- test: uses trained_folder sample_files -->\n```python\nprint(1)\n```"
    run_page(page, asked.append)
    assert asked == ["trained_folder", "sample_files"]


def test_used_files_lie_where_the_page_says(fixture):
    fixture("sample_files")
    assert Path("dev.jsonl").read_text(encoding="utf-8").count("\n") == 100


@pytest.fixture
def small_command():
    app = typer.Typer()
    data = typer.Typer()
    app.add_typer(data, name="data")

    @data.command()
    def check(paths: list[str], *, fix: bool = False):
        pass

    @app.command()
    def train(task: str, *, out: str = typer.Option(...), epochs: int = 3):
        pass

    return typer.main.get_command(app)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("kexue data check a.jsonl b.jsonl --fix", None),
        ("kexue train ner --out runs/a --epochs=5", None),
        ("kexue train ner \\\n  --out runs/a  # a comment", None),
        ("echo 你好 | kexue train ner --out a > log.txt && kexue data check a", None),
        ("kexue --help", None),
        ("kexue train --help", None),
        ("make demo", None),
        ("pip install kexue", None),
        ("kexue trian ner --out a", "`kexue trian` does not exist"),
        ("kexue data convert a.json", "`kexue data convert` does not exist"),
        ("kexue train ner --out a --epoch 5", "`kexue train`: No such option: --epoch"),
        ("kexue train ner --out a --epochs many", "`kexue train`: .* valid integer"),
        ("kexue train ner", "`kexue train`: Missing .*out"),
        ("kexue train ner --out", "`kexue train`: Option '--out' requires an argument"),
        ("kexue train ner re --out a", "`kexue train`: .* unexpected extra argument"),
        ("kexue data check", "`kexue data check`: Missing .*paths"),
        ("kexue data --fix", "`kexue data`: No such option: --fix"),
        ("make everything", "no target `make everything`"),
    ],
)
def test_a_command_that_does_not_exist_is_found(line, problem, small_command):
    found = list(page_problems(f"```bash\n{line}\n```", small_command, {"demo", "test"}))
    if problem is None:
        assert found == []
    else:
        assert len(found) == 1
        assert re.match(problem, found[0])


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ('{"text": "北京", "entities": [[0, 2, "place"]]}', "spans, not doccano"),
        ('{"text": "北京", "entities": []}', "no entities"),
        ("neither", "line 3: "),
    ],
)
def test_an_example_in_another_format_is_found(code, problem, tmp_path):
    page = f"<!-- test: format doccano -->\n```json\n{code}\n```"
    assert any(problem in found for found in format_problems(page, tmp_path))


def test_a_dead_link_is_found(tmp_path):
    (tmp_path / "a.md").touch()
    page = "[a](a.md#here) [b](b.md) [c](https://kexue.fm/archives/8373) [d](#d)"
    assert link_problems(page, tmp_path) == ["b.md does not exist"]


def test_a_table_that_is_not_the_code_is_found():
    sources = {"losses/a.py": "Post: https://kexue.fm/archives/7359"}
    good = "| [7359](https://kexue.fm/archives/7359) | `losses/a.py` |"
    assert list(article_problems(good, sources)) == []
    assert list(article_problems(good + "`losses/b.py`", sources)) == ["losses/b.py does not exist"]
    assert list(article_problems("", sources)) == [
        "article 7359 of losses/a.py is not in the table"
    ]
