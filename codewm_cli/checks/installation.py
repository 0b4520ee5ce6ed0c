"""What is installed in; rows on Python, the packages, the core, torch and Git out."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

from codewm.cli.checks.check import NOTE, OK, PROBLEM, Check

GIT_NEEDED = (2, 31)
# `git fetch --refetch`, which completes a partial clone; releases before also lack the check of who owns a repository.
GIT_REFETCH = (2, 36)
PYTHON_NEEDED = (3, 10)
_REINSTALL = "install codewm again: pip install ./rust . in a clone of it"


def _python() -> Iterator[Check]:
    found = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info < PYTHON_NEEDED:
        yield Check("python", PROBLEM, found, f"codewm needs Python {_dotted(PYTHON_NEEDED)} or newer")
    else:
        yield Check("python", OK, found)


def _packages() -> Iterator[Check]:
    """What codewm asks for in its metadata, whether it is there, and whether the compiled ones load."""
    held, bad = [], []
    for name, least in _required():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            bad.append(f"{name} is missing")
            continue
        held.append(f"{name} {version}")
        if _numbers(version) < _numbers(least):
            bad.append(f"{name} {version} is older than {least}")
    for name in ("numpy", "h5py"):
        try:
            import_module(name)
        except Exception as e:  # a binary that does not fit raises anything
            bad.append(f"{name} cannot be loaded: {e}")
    found = "; ".join((*bad, ", ".join(held)))
    yield Check("packages", PROBLEM, found, _REINSTALL) if bad else Check("packages", OK, found)


def _required() -> Iterator[tuple[str, str]]:
    """The packages that every command needs, with the least version; without extras and other Pythons."""
    for text in metadata.requires("codewm") or ():
        match = re.match(r"([A-Za-z0-9_.-]+)>=([0-9.]+)[^;]*$", text)
        if match:
            yield match[1], match[2]


def _core() -> Iterator[Check]:
    ours, core = metadata.version("codewm"), metadata.version("codewm-core")
    wanted = next(
        (r.partition("==")[2] for r in metadata.requires("codewm") or () if r.startswith("codewm-core==")),
        core,
    )
    import codewm_core

    found = f"codewm {ours}, codewm-core {core}, tokeniser {codewm_core.TOKENIZER_ID}"
    if core != wanted:
        yield Check("core", PROBLEM, f"{found}; codewm {ours} belongs to codewm-core {wanted}", _REINSTALL)
    else:
        yield Check("core", OK, found)


def _torch() -> Iterator[Check]:
    # Loading it takes seconds; that it is there is enough.
    if find_spec("torch") is None:
        found = "not installed: everything works but 'train' and 'export'"
        yield Check("torch", NOTE, found, "to train: pip install 'codewm[train]'")
    else:
        yield Check("torch", OK, f"{metadata.version('torch')}; only 'train' and 'export' load it")


def _git() -> Iterator[Check]:
    place = shutil.which("git")
    if place is None:
        yield Check(
            "git", PROBLEM, "not installed, or not on the PATH", f"install Git {_dotted(GIT_NEEDED)} or newer"
        )
        return
    import git

    # Away from any repository: the version depends on none.
    version = tuple(git.Git(Path(place).parent).version_info)
    found = f"{_dotted(version)} at {place}"
    if version < GIT_NEEDED:
        lacks = "lacks absolute paths from 'git rev-parse', so no repository can be opened"
        yield Check("git", PROBLEM, f"{found}: {lacks}", f"install Git {_dotted(GIT_NEEDED)} or newer")
    elif version < GIT_REFETCH:
        lacks = (
            "lacks 'git fetch --refetch' for partial clones, and may lack the check of who owns a repository"
        )
        yield Check("git", NOTE, f"{found}: {lacks}", f"Git {_dotted(GIT_REFETCH)} or newer has both")
    else:
        yield Check("git", OK, found)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


CHECKS: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
    ("python", _python), ("packages", _packages), ("core", _core), ("torch", _torch), ("git", _git),
)  # fmt: skip
