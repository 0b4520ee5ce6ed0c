"""`codewm harvest`: histories of repositories in, their chains and a ledger of what was skipped out."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codewm.cli import config, console
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from codewm.corpus.harvest import Harvest
    from codewm.corpus.header import Header

SCHEMA = "codewm.harvest/1"
"""Fields are only added. With --json, `repositories` has a row for each repository that was named (`error` and
`hint` where it failed), and `corpus` what they were merged into. Of a single repository, the fields of its row
stand at the top, too.
"""
FAILED = 2
_THREADS = "OPENBLAS_NUM_THREADS"


def run(
    repos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[REPO]...", help="Folders inside repositories; with --out also stores (.h5) to merge."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="DATE|REV",
            help="Begin with the oldest commit of this date (as Git reads it) or later, or after this revision.",
        ),
    ] = None,
    max_commits: Annotated[
        int, typer.Option("--max-commits", min=0, help="Newest commits only; 0 is all of them.")
    ] = 0,
    paths: Annotated[
        list[str] | None,
        typer.Option(
            "--path",
            metavar="PREFIX",
            help="Only this file, or files below this folder, from the repository's top; may be repeated.",
        ),
    ] = None,
    merges: Annotated[
        str | None,
        typer.Option(
            "--merges",
            metavar="first-parent|skip",
            help="A merge is one edit against its first parent, or is only counted. Default: first-parent.",
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=0, help="Threads; 0 is one per core.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write here instead of into the repository's Git folder; of several repositories, the corpus.",
        ),
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Start over, whatever is there.")] = False,
    with_authors: Annotated[
        bool, typer.Option("--with-authors", help="Store names and addresses instead of salted hashes.")
    ] = False,
    allow_fetch: Annotated[
        bool, typer.Option("--allow-fetch", help="Let Git fetch what a partial clone left out.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr.")] = False,
) -> int:
    """Turn the Git history into chains of edits.

    Walks the first-parent line from the oldest commit, and stores every changed function, method, class and
    run of statements before and after. A later run adds only what is new; one that was stopped goes on. Prints
    what was skipped, by cause. Several repositories each get their own chains; --out merges them into a corpus.
    """
    places = repos or [Path()]
    stores = [p for p in places if p.is_file()]
    if out is None and stores:
        raise UserError(
            f"'{stores[0]}' is a file, not a repository", "stores are merged: add --out corpus.h5"
        )
    if len(places) == 1 and stores:
        raise UserError("there is nothing to merge", "name several repositories or stores")
    asked = _Asked(
        {"harvest.merges": merges, "harvest.jobs": jobs},
        {
            "max_commits": max_commits,
            "with_authors": with_authors,
            "rebuild": rebuild,
            "since": since,
            "paths": tuple(paths or ()),
        },
        allow_fetch,
        as_json,
        quiet,
    )
    with _no_threads_for_blas():
        return _all(asked, places, out)


@contextmanager
def _no_threads_for_blas() -> Iterator[None]:
    """Have numpy not start a thread per core for products of matrices, of which there are none here.

    They are started while it is imported, and wait by spinning: that took a fourteenth of the time of the
    processors on the history of click. Only the environment can say so, and only now: it must not be changed while
    another thread looks something up in it.
    """
    if "numpy" in sys.modules or _THREADS in os.environ:
        yield
        return
    os.environ[_THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[_THREADS]


def _all(asked: _Asked, places: Sequence[Path], out: Path | None) -> int:
    if len(places) == 1:
        # Nothing follows, and switched on again the collector would look at every row once more.
        gc.disable()
        # One repository: its error is the command's, with its own exit status.
        done = asked.harvest(places[0], out)
        if asked.as_json:
            _print(done | {"repositories": [done]})
        return 0
    return _several(asked, places, out)


def _import_harvest() -> None:
    # What is wrong is said where it is imported for use.
    with suppress(ImportError):
        import_module("codewm.corpus.edits")
        import_module("codewm.corpus.harvest")


def _several(asked: _Asked, places: Sequence[Path], out: Path | None) -> int:
    """Harvest one after the other, whatever happens to one of them; then merge them if there is an `out`."""
    if out is not None:
        _refuse_twice(places)
    rows: list[dict[str, Any]] = []
    for place in places:
        if place.is_file():
            rows.append({"repository": str(place), "store": str(place), "how": "given"})
            continue
        asked.say(f"{place}:")
        try:
            rows.append(asked.harvest(place, None))
        except UserError as e:
            console.error(f"{place}: {e.message}", e.hint)
            rows.append({"repository": str(place), "error": e.message, "hint": e.hint})
    failed = sum("error" in row for row in rows)
    found: dict[str, Any] = {"schema": SCHEMA, "repositories": rows}
    if out is not None:
        found["corpus"] = None
        if not failed:
            found["corpus"] = _merge(asked, [Path(row["store"]) for row in rows], out)
    if asked.as_json:
        _print(found)
    if failed:
        missing = f"; '{out}' was not written" if out is not None else ""
        console.error(f"{failed} of {len(places)} repositories could not be harvested{missing}")
    return FAILED if failed else 0


def _refuse_twice(places: Sequence[Path]) -> None:
    """A corpus holds a repository once; better said now than after the work."""
    from codewm.corpus.git import Repository

    seen: dict[str, Path] = {}
    for place in places:
        if place.is_file():
            continue
        # What is wrong with a repository itself is said when it is its turn.
        with suppress(UserError), Repository.open(place) as repository:
            identity = repository.identity
            if identity in seen:
                break
            seen[identity] = place
    else:
        return
    raise UserError(
        f"'{seen[identity]}' and '{place}' are the same repository",
        "name it once; clones of one repository have the same first commit",
    )


def _merge(asked: _Asked, files: Sequence[Path], out: Path) -> dict[str, Any]:
    from codewm.corpus.merge import merge_files

    header, written = merge_files(files, out)
    held = f"{header.repositories} repositories, {header.commits:,} commits, {header.edits:,} edits"
    asked.say(f"{'merged' if written else 'nothing new'}: {held} in {out}")
    return {
        "store": str(out),
        "how": "merged" if written else "unchanged",
        "header": _plain(header),
        "states": header.states,
        "chains": header.chains,
        "file_changes": header.file_changes,
    }


@dataclass(frozen=True)
class _Asked:
    """What the words of the command ask for, whichever repository it is."""

    flags: dict[str, object]
    options: dict[str, Any]
    allow_fetch: bool
    as_json: bool
    quiet: bool

    def say(self, text: str) -> None:
        """Talk, unless asked to be quiet."""
        console.say(text, self.quiet)

    def harvest(self, place: Path, out: Path | None) -> dict[str, Any]:
        """Bring the chains of one repository up to date, and say so; the summary."""
        # By a thread that lasts: the allocator of the core belongs to the one that loads it, and other threads of
        # the core crash after the end of that.
        import codewm_core  # noqa: F401

        # Imported while Git looks at the repository.
        beside = Thread(target=_import_harvest, daemon=True)
        beside.start()
        from codewm.corpus.git import Repository

        started = time.perf_counter()
        with Repository.open(place, allow_fetch=self.allow_fetch) as repository, ExitStack() as stack:
            chosen = config.for_repository(repository, self.flags).harvest
            from codewm.corpus.harvest import FIRST_PARENT, SKIP, Options, harvest, store_path

            if chosen.merges not in {FIRST_PARENT, SKIP}:
                raise UserError(f"--merges cannot be '{chosen.merges}'", f"write {FIRST_PARENT} or {SKIP}")
            if self.options["since"] == "":
                raise UserError("--since is empty", "name a date or a revision")
            options = Options(
                window=chosen.window,
                action=chosen.action,
                merges=chosen.merges,
                jobs=chosen.jobs,
                **self.options | {"since": self.options["since"] or ""},
            )

            def bar(total: int) -> Callable[[int], object]:
                return stack.enter_context(console.progress("harvesting", total, unit="commits")).advance

            try:
                result = harvest(
                    repository, options, out, bar if console.is_watched() and not self.quiet else None
                )
            except KeyboardInterrupt:
                stack.close()
                self._say_what_is_kept(store_path(repository) if out is None else out)
                raise
            shallow = repository.is_shallow
        seconds = time.perf_counter() - started
        if result.store is not None and not self.as_json:
            from codewm.cli.report.ledger import to_text

            console.data(to_text(result.header.file_changes))
        self._narrate(result, seconds, shallow)
        return _to_dict(place, result, seconds)

    def _narrate(self, result: Harvest, seconds: float, shallow: bool) -> None:
        header = result.header
        held = f"{header.commits:,} commits, {header.edits:,} edits"
        if result.how == "unchanged":
            self.say(f"nothing new: {held} in {result.path}")
            return
        if result.why:
            self.say(f"started over: {result.why}")
        if result.how == "rewritten":
            self.say("the history was rewritten: what follows the last common commit was redone")
        self.say(f"{result.new_commits:,} commits read in {seconds:.1f} s; {held} in {result.path}")
        if self.quiet:
            return
        if header.since:
            self.say(f"commits up to {header.since[:10]} were left out (--since)")
        if header.edits == 0:
            where = f" below {', '.join(header.paths)}" if header.paths else ""
            console.warn(f"no Python function, method, class or statement changed in this history{where}")
        if shallow:
            console.warn("the clone is shallow: 'git fetch --unshallow' brings the rest of the history")

    def _say_what_is_kept(self, path: Path) -> None:
        """After Ctrl-C: how much need not be done again."""
        from codewm.corpus.header import read_header

        with suppress(UserError, OSError):
            kept = read_header(path).commits
            self.say(f"{kept:,} commits are stored; the next harvest goes on from there")


def _print(found: dict[str, Any]) -> None:
    import json

    console.data(json.dumps(found, indent=2))


def _to_dict(place: Path, result: Harvest, seconds: float) -> dict[str, Any]:
    """One repository of `codewm.harvest/1`; the header has all the numbers, so no store is read for it."""
    header = result.header
    return {
        "schema": SCHEMA,
        "repository": str(place),
        "store": str(result.path),
        "how": result.how,
        "why": result.why,
        "new_commits": result.new_commits,
        "seconds": round(seconds, 3),
        "header": _plain(header),
        "states": header.states,
        "chains": header.chains,
        "file_changes": header.file_changes,
    }


def _plain(header: Header) -> dict[str, Any]:
    values = asdict(header)
    del values["file_changes"]
    return values
