"""`codewm impact`: a change in; what else it is likely to need, and why, out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from codewm.cli import console
from codewm.cli.options import known_format
from codewm.corpus.errors import UserError

FORMATS = ("text", "json")


def run(
    revision: Annotated[
        str | None,
        typer.Argument(
            metavar="[REV]", help="One commit. Default: what is staged, else what is changed, else HEAD."
        ),
    ] = None,
    staged: Annotated[bool, typer.Option("--staged", help="What is staged for commit.")] = False,
    worktree: Annotated[bool, typer.Option("--worktree", help="Tracked files as they are on disk.")] = False,
    repo: Annotated[Path, typer.Option("--repo", help="A folder inside the repository.")] = Path(),
    tests: Annotated[
        bool,
        typer.Option("--tests", help="Name the tests most likely affected, and how many find how much."),
    ] = False,
    observe: Annotated[
        bool,
        typer.Option("--observe", help="Replay past commits: what would have been said, and what missed."),
    ] = False,
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="Files (with --tests: test files) named at most.")
    ] = None,
    fail_on_missing: Annotated[
        bool,
        typer.Option("--fail-on-missing", help="Exit 1 if something usually changes together, but does not."),
    ] = False,
    form: Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help="Output format.")] = "text",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr.")] = False,
) -> int:
    """Say what else a change is likely to need: files, units and tests, with the evidence for each.

    Learns from what changed together before, from names, imports and paths, all as they were before the change.
    Says so where it cannot tell. Exits 0 unless a gate (--fail-on-missing) was asked for and holds: then 1.
    """
    if sum((revision is not None, staged, worktree, observe)) > 1:
        raise UserError("a commit, --staged, --worktree and --observe exclude each other", "name one of them")
    known_format(form, FORMATS)
    if revision is not None and ".." in revision:
        raise UserError(f"'{revision}' is a range", "name one commit; its changes are looked at together")
    from codewm.cli.report import impact as write
    from codewm.corpus.git import Repository
    from codewm.model.impact.impact import Target, impact, observed
    from codewm.model.impact.settings import ImpactSettings

    def warn(text: str) -> None:
        if not quiet:
            console.warn(text)

    settings = ImpactSettings()
    if top is not None:
        settings = replace(settings, tests=top) if tests or observe else replace(settings, shown=top)
    with Repository.open(repo) as repository:
        if observe:
            found = observed(repository, settings, warn)
            console.data(write.observed_to_json(found) if form == "json" else write.observed_to_text(found))
            return 0
        kind = "staged" if staged else "worktree" if worktree else "commit" if revision else "latest"
        report = impact(repository, Target(kind, revision or "HEAD"), settings, warn, with_tests=tests)
    console.data(write.to_json(report) if form == "json" else write.to_text(report))
    for note in write.to_notes(report):
        console.say(note, quiet)
    return int(fail_on_missing and any(s.missing for s in report.files))
