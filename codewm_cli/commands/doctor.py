"""`codewm doctor`: a folder in; what codewm needs there, what was found, and how to mend it, out.

Every check stands alone: one that fails, or that finds something broken, never stops the next. Nothing is
changed, nothing of the repository is executed, nothing is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from codewm.cli import console
from codewm.cli.checks import hooks, installation, repository, stored
from codewm.cli.checks.check import NOTE, OK, PROBLEM, Check, guarded, many
from codewm.corpus.errors import UserError

SCHEMA = "codewm.doctor/1"


def run(
    repo: Annotated[Path, typer.Argument(metavar="[REPO]", help="A folder inside the repository.")] = Path(),
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 when there is a problem.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> int:
    """Check the installation, the repository, the store, the model and the hook, and say how to mend each.

    A 'problem' keeps codewm from working here; a 'note' is worth knowing. Nothing is changed.
    """
    checks = list(_installation())
    no_repository: UserError | None = None
    try:
        checks += _in_repository(repo)
    except UserError as e:
        no_repository = e
        checks.append(Check("repository", PROBLEM, e.message, e.hint))
    if as_json:
        console.data(json.dumps({"schema": SCHEMA, "checks": [asdict(c) for c in checks]}, indent=2))
    else:
        _print(checks)
    if no_repository is not None:
        raise no_repository
    problems = sum(c.status == PROBLEM for c in checks)
    if not as_json:
        notes = sum(c.status == NOTE for c in checks)
        console.say(f"{len(checks)} checks: {many(problems, 'problem')}, {many(notes, 'note')}")
    return 1 if strict and problems else 0


def _installation() -> Iterator[Check]:
    for name, check in installation.CHECKS:
        yield from guarded(name, check)


def _in_repository(path: Path) -> Iterator[Check]:
    """Every check of one repository. Raises `UserError` if there is none at all."""
    from codewm.corpus.git import Repository

    try:
        opened = Repository.open(path)
    except UserError as e:
        if not repository.resembles_repository(path):
            raise
        # There is one, and Git refuses it: who owns it, or a damage, or Git itself.
        yield Check("repository", PROBLEM, e.message, e.hint)
        return
    with opened:
        for name, check in (*repository.CHECKS, *stored.CHECKS, *hooks.CHECKS):
            yield from guarded(name, check, opened)


def _print(checks: list[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("what to do", overflow="fold")
    colours = {OK: "green", NOTE: "yellow", PROBLEM: "bold red"}
    for check in checks:
        texts = (Text(console.inert(text)) for text in (check.found, check.fix))
        table.add_row(check.name, Text(check.status, style=colours[check.status]), *texts)
    console.render(table)
