import pytest

from kexue.cli.installation import (
    Check,
    constraint_checks,
    import_checks,
    requirement_checks,
    version_checks,
)

INSTALLED = {"torch": "2.13.0+cpu", "transformers": "4.57.6", "matplotlib": "3.11.2"}
INSTALL = 'pip install "kexue[{extra}]"'


def check(requirements):
    return requirement_checks(requirements, INSTALLED.get, INSTALL)


def test_versions_are_shown_and_a_missing_package_says_what_to_type():
    python, torch, absent = version_checks({"torch": "2.13.0", "absent": None})
    assert python.name == "python"
    assert python.value.startswith("3.")
    assert torch == Check("torch", "2.13.0")
    assert absent == Check("absent", "missing", "problem", "pip install absent")


def test_what_fits_is_not_mentioned():
    assert check(["torch>=2.4"]) == []


def test_a_version_out_of_range_is_a_problem_with_the_pip_line():
    (found,) = check(["transformers<6,>=5"])
    assert found.state == "problem"
    assert found.value == "4.57.6, but <6,>=5 is needed"
    assert found.fix == 'pip install "transformers<6,>=5"'


def test_a_missing_core_package_is_a_problem():
    (found,) = check(["accelerate>=1.1"])
    assert (found.name, found.state) == ("accelerate", "problem")
    assert found.value == "missing, but >=1.1 is needed"


def test_extras_are_installed_or_come_with_their_pip_line():
    plot, serve = check(
        [
            'matplotlib>=3.8; extra == "plot"',
            'fastapi>=0.1; extra == "serve"',
            'uvicorn; extra == "serve"',
        ]
    )
    assert plot == Check("extra plot", "installed")
    assert serve.value == "without fastapi, uvicorn"
    assert (serve.state, serve.fix) == ("note", 'pip install "kexue[serve]"')


def test_an_extra_that_is_too_old_is_not_installed():
    (found,) = check(['matplotlib>=99; extra == "plot"'])
    assert found.value == "without matplotlib"


def test_versions_as_tested_are_one_line():
    lines = ["# comment", "torch==2.13.0", "absent==1.0"]
    assert constraint_checks(lines, INSTALLED.get, "fix") == [
        Check("constraints", "all versions as tested")
    ]


def test_other_versions_than_tested_are_a_note_with_the_way_back():
    (found,) = constraint_checks(["transformers==5.23.0", "torch==2.13.0"], INSTALLED.get, "fix")
    assert found == Check("constraints", "transformers 4.57.6 (tested: 5.23.0)", "note", "fix")


def test_a_module_that_imports_works():
    assert import_checks(["json"]) == [Check("import json", "works")]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
        ("raise RuntimeError('torch and torchvision differ')", "RuntimeError: torch and"),
    ],
)
def test_a_module_that_does_not_import_is_a_problem(tmp_path, monkeypatch, source, message):
    (tmp_path / "broken_for_the_doctor.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = import_checks(["broken_for_the_doctor"])
    assert found.state == "problem"
    assert found.value.startswith(message)
    assert found.fix.startswith("pip install")
