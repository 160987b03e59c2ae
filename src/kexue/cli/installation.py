"""What is installed, compared with what is asked for and with what was tested."""

import importlib
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was looked at.
        value: what was found.
        state: "ok", "note" (works, but you may want to know) or "problem".
        fix: what to type; empty where nothing is to be done.

    Example:
        >>> Check("torch", "2.13.0").state
        'ok'
    """

    name: str
    value: str
    state: str = "ok"
    fix: str = ""


def version_checks(versions: dict[str, str | None]) -> list[Check]:
    """Show the versions of Python and of the packages that everything stands on.

    Args:
        versions: name to version of each package, None for one that is missing.

    Returns:
        One check each.

    Example:
        >>> version_checks({"torch": None})[-1]
        Check(name='torch', value='missing', state='problem', fix='pip install torch')
    """
    python = platform.python_version()
    checks = [Check("python", f"{python} on {platform.system()} {platform.machine()}")]
    for name, version in versions.items():
        if version is None:
            checks.append(Check(name, "missing", "problem", f"pip install {name}"))
        else:
            checks.append(Check(name, version))
    return checks


def requirement_checks(
    requirements: Iterable[str], versions: Callable[[str], str | None], install: str
) -> list[Check]:
    """Compare what is installed with what the package asks for, extras included.

    Args:
        requirements: as in the metadata of a distribution, `name>=1; extra == "plot"`.
        versions: gives the installed version of a package, or None.
        install: the pip line for an extra, with `{extra}` where its name goes.

    Returns:
        A problem for each core package that is missing or out of range, and a line for each extra.

    Example:
        >>> requirement_checks(["torch>=99"], lambda name: "2.13.0", "pip install kexue[{extra}]")
        [Check(name='torch', value='2.13.0, but >=99 is needed', state='problem',
               fix='pip install "torch>=99"')]
    """
    from packaging.requirements import Requirement

    core: list[Check] = []
    lacking: dict[str, list[str]] = {}
    for requirement in map(Requirement, requirements):
        version = versions(requirement.name)
        fits = version is not None and requirement.specifier.contains(version, prereleases=True)
        extra = _extra_of(str(requirement.marker or ""))
        if extra:
            lacking.setdefault(extra, []).extend([] if fits else [requirement.name])
        elif not fits:
            found = version or "missing"
            value = f"{found}, but {requirement.specifier} is needed"
            fix = f'pip install "{requirement.name}{requirement.specifier}"'
            core.append(Check(requirement.name, value, "problem", fix))
    return core + [_extra_check(extra, names, install) for extra, names in lacking.items()]


def _extra_of(marker: str) -> str:
    """Read the extra in `extra == "plot"`, or ""."""
    _, found, rest = marker.partition('extra == "')
    return rest.partition('"')[0] if found else ""


def _extra_check(extra: str, missing: list[str], install: str) -> Check:
    name = f"extra {extra}"
    if not missing:
        return Check(name, "installed")
    return Check(name, f"without {', '.join(missing)}", "note", install.format(extra=extra))


def constraint_checks(
    lines: Iterable[str], versions: Callable[[str], str | None], fix: str
) -> list[Check]:
    """Compare what is installed with the versions that were tested together.

    Args:
        lines: of constraints.txt, `name==version` and comments.
        versions: gives the installed version of a package, or None.
        fix: the line that installs the tested versions.

    Returns:
        One note that lists the differences, or one line that says there are none.

    Example:
        >>> constraint_checks(["torch==2.13.0"], lambda name: "2.12.1+cpu", "")[0].value
        'torch 2.12.1 (tested: 2.13.0)'
    """
    different = []
    for line in lines:
        name, pinned, tested = line.strip().partition("==")
        version = versions(name) if pinned else None
        if version and version.partition("+")[0] != tested:
            different.append(f"{name} {version.partition('+')[0]} (tested: {tested})")
    if not different:
        return [Check("constraints", "all versions as tested")]
    return [Check("constraints", ", ".join(different), "note", fix)]


def import_checks(modules: Iterable[str]) -> list[Check]:
    """Import parts of the package, so that a clash of versions shows here.

    Args:
        modules: their names.

    Returns:
        One check each; a problem with the message for one that does not import.

    Example:
        >>> import_checks(["kexue.heads"])
        [Check(name='import kexue.heads', value='works', state='ok', fix='')]
    """
    checks = []
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            value = f"{type(error).__name__}: {error}"
            fix = "pip install --upgrade --force-reinstall kexue"
            checks.append(Check(f"import {name}", value, "problem", fix))
        else:
            checks.append(Check(f"import {name}", "works"))
    return checks
