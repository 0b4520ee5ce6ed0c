"""`codewm harvest`: a repository's history in, its chains and a ledger of what was skipped out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codewm.cli import config, console
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from codewm.corpus.harvest import Harvest

SCHEMA = "codewm.harvest/1"


def run(
    repo: Annotated[Path, typer.Argument(metavar="[REPO]", help="A folder inside the repository.")] = Path(),
    merges: Annotated[
        str | None,
        typer.Option(
            "--merges",
            metavar="first-parent|skip",
            help="A merge is one edit against its first parent, or is only counted. Default: first-parent.",
        ),
    ] = None,
    max_commits: Annotated[
        int, typer.Option("--max-commits", min=0, help="Newest commits only; 0 is all of them.")
    ] = 0,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=0, help="Threads; 0 is one per core.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write here instead of into the repository's Git folder.")
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Start over, whatever is there.")] = False,
    with_authors: Annotated[
        bool, typer.Option("--with-authors", help="Store names and addresses instead of salted hashes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr.")] = False,
) -> None:
    """Turn the Git history into chains of edits.

    Walks the first-parent line from the oldest commit, and stores every changed function, method, class and
    run of statements before and after. A later run adds only what is new. Prints what was skipped, by cause.
    """
    from codewm.corpus.git import Repository
    from codewm.corpus.harvest import FIRST_PARENT, SKIP, Options, harvest

    started = time.perf_counter()
    with Repository.open(repo) as repository, ExitStack() as stack:
        flags = {"harvest.merges": merges, "harvest.jobs": jobs}
        chosen = config.for_repository(repository, flags).harvest
        if chosen.merges not in {FIRST_PARENT, SKIP}:
            raise UserError(f"--merges cannot be '{chosen.merges}'", f"write {FIRST_PARENT} or {SKIP}")

        def bar(total: int) -> Callable[[int], object] | None:
            return None if quiet else stack.enter_context(console.progress("harvesting", total)).advance

        result = harvest(
            repository,
            Options(
                window=chosen.window,
                action=chosen.action,
                merges=chosen.merges,
                jobs=chosen.jobs,
                max_commits=max_commits,
                with_authors=with_authors,
                rebuild=rebuild,
            ),
            out,
            bar,
        )
        shallow = repository.is_shallow
    seconds = time.perf_counter() - started
    if as_json:
        console.data(json.dumps(_to_dict(result, seconds), indent=2))
    elif result.store is not None:
        _print_ledger(result)
    if not quiet:
        _narrate(result, seconds, shallow)


def _print_ledger(result: Harvest) -> None:
    from codewm.cli.report import ledger as report
    from codewm.corpus.ledger import Ledger, sums

    assert result.store is not None
    console.render(report.to_table(sums(result.store.table, Ledger(result.store.ledger))))


def _narrate(result: Harvest, seconds: float, shallow: bool) -> None:
    header = result.header
    held = f"{header.commits:,} commits, {header.edits:,} edits"
    if result.how == "unchanged":
        console.say(f"nothing new: {held} in {result.path}")
        return
    if result.why:
        console.say(f"started over: {result.why}")
    if result.how == "rewritten":
        console.say("the history was rewritten: what follows the last common commit was redone")
    console.say(f"{result.new_commits:,} commits read in {seconds:.1f} s; {held} in {result.path}")
    if header.edits == 0:
        console.warn("no Python function, method, class or statement changed in this history")
    if shallow:
        console.warn("the clone is shallow: 'git fetch --unshallow' brings the rest of the history")


def _to_dict(result: Harvest, seconds: float) -> dict[str, Any]:
    from codewm.cli.report import ledger as report
    from codewm.corpus.ledger import Ledger, sums
    from codewm.corpus.store import read_store

    store = result.store if result.store is not None else read_store(result.path)
    return {
        "schema": SCHEMA,
        "store": str(result.path),
        "how": result.how,
        "new_commits": result.new_commits,
        "seconds": round(seconds, 3),
        "header": asdict(result.header),
        "states": len(store.table.state_hash),
        "chains": int(store.table.chain.max()) + 1 if len(store.table) else 0,
        "file_changes": report.to_dict(sums(store.table, Ledger(store.ledger))),
    }
