"""A list of pinned repositories in, one checked entry for each out.

The list is TOML: `repositories`, each with name, role, licence and commit (and `without`, the places of other
people's code), and `evaluation`, the names of projects that no training edit may come from.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codewm.corpus.division import ROLES
from codewm.corpus.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIST = Path(__file__).with_name("repositories.toml")
"""The list that the training corpus is made of."""
PERMISSIVE = frozenset(
    {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-CMU", "PSF-2.0", "Python-2.0"}
)
"""SPDX names of the licences that training edits may have."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+\Z")
_COMMIT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_HINT = "see what corpus/repositories.toml looks like"


@dataclass(frozen=True)
class Pin:
    """A repository at one commit, and what its edits are for."""

    name: str
    """owner/name"""
    role: str
    """One of `ROLES`."""
    licence: str
    """An SPDX expression."""
    commit: str
    without: tuple[str, ...] = ()
    """Files and folders of other people's code, from the repository's top."""

    @property
    def file_name(self) -> str:
        """The name as one part of a path."""
        return self.name.replace("/", "+")


def read_pins(path: Path = LIST) -> list[Pin]:
    """Read a list: training repositories first, then those held out, in the order of the file.

    Raises `UserError` for an entry that says too little, too much, or what must not be.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as e:
        raise UserError(f"cannot read '{path}': {e.strerror}", "name another list") from e
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise UserError(f"'{path}' is not TOML: {e}", _HINT) from e
    entries, evaluation = values.pop("repositories", None), values.pop("evaluation", [])
    if values or not isinstance(entries, list) or not isinstance(evaluation, list):
        raise UserError(f"'{path}' is not a list of repositories", _HINT)
    pins = [_pin(path, entry) for entry in entries]
    names = [pin.name.lower() for pin in pins]
    for pin, name in zip(pins, names, strict=True):
        if names.count(name) > 1:
            raise UserError(f"'{path}' names {pin.name} twice", "name each repository once")
        if pin.role == "train" and name.partition("/")[2] in {str(e).lower() for e in evaluation}:
            raise UserError(f"{pin.name} is for evaluation and has the role 'train'", "make it 'held-out'")
    return sorted(pins, key=lambda pin: ROLES.index(pin.role))


def _pin(path: Path, entry: Any) -> Pin:
    if not isinstance(entry, Mapping):
        raise UserError(f"'{path}' has an entry that is no table", _HINT)
    values = dict(entry)
    shown = str(values.get("name", "an entry"))
    try:
        pin = Pin(**(values | {"without": tuple(values.get("without", ()))}))
    except TypeError as e:
        raise UserError(f"'{path}': {shown} has another set of keys: {', '.join(values)}", _HINT) from e
    texts = (pin.name, pin.role, pin.licence, pin.commit, *pin.without)
    wrong = ""
    if not all(isinstance(t, str) for t in texts):
        wrong = "a value that is no text"
    elif not _NAME.match(pin.name):
        wrong = "a name that is not owner/name"
    elif pin.role not in ROLES:
        wrong = f"the role '{pin.role}', which is none of {', '.join(ROLES)}"
    elif not _COMMIT.match(pin.commit):
        wrong = "a commit that is no full object id"
    elif any(p != p.strip("/") or not p for p in pin.without):
        wrong = "a place in 'without' that begins or ends with a slash"
    elif pin.role == "train" and not _is_permissive(pin.licence):
        wrong = f"the licence '{pin.licence}', which nobody said may be trained on"
    if wrong:
        raise UserError(f"'{path}': {shown} has {wrong}", _HINT)
    return pin


def _is_permissive(licence: str) -> bool:
    """Whether all licences of an expression are."""
    return all(part in PERMISSIVE for part in re.split(r" (?:AND|OR) ", licence))
