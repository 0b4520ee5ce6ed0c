"""A repository in, its `chains.h5` brought up to HEAD out.

What the store has already is kept: new commits are appended; after a rewrite of history only what follows the
last common commit is redone; other options, another tool or another tokeniser mean starting over.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import codewm_core
from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.lock import exclusive
from codewm.corpus.records import RevSpec
from codewm.corpus.store import FILE_NAME, Header, Store, clean, read_header, read_store, write

SKIP, FIRST_PARENT = "skip", "first-parent"


@dataclass(frozen=True)
class Options:
    """What a harvest was asked for; the defaults are those of the settings."""

    window: int
    action: str
    merges: str
    """`first-parent`: a merge is one edit against its first parent; `skip`: counted, not read."""
    jobs: int
    """Threads, 0 for one per core."""
    max_commits: int = 0
    """Newest commits only, 0 for all."""
    with_authors: bool = False
    rebuild: bool = False


@dataclass(frozen=True)
class Harvest:
    """What a run did."""

    path: Path
    how: str
    """`unchanged`, `new`, `appended`, `rewritten` or `rebuilt`."""
    why: str
    """What made it start over, in words; '' if it did not."""
    new_commits: int
    header: Header
    store: Store | None
    """None if nothing was read, because nothing was new."""


def store_path(repo: Repository) -> Path:
    """Where the chains of a repository are, unless it was told otherwise."""
    return repo.data_dir / FILE_NAME


def author_salt(repo: Repository, create: bool = False) -> bytes:
    """The secret that hashes authors: random, made by the first harvest, kept beside the store.

    Without one, and not asked to create it, the repository's identity stands in.
    """
    place = repo.data_dir / "salt"
    with suppress(OSError):
        return bytes.fromhex(place.read_text("ascii"))
    if create:
        with suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch(0o600)
            place.write_text(secrets.token_hex(32), "ascii")
            return bytes.fromhex(place.read_text("ascii"))
    return repo.identity.encode("ascii")


def harvest(
    repo: Repository,
    options: Options,
    out: Path | None = None,
    progress: Callable[[int], Callable[[int], object] | None] | None = None,
) -> Harvest:
    """Bring the store up to HEAD. `progress` is given the commits to do and returns what to call."""
    path = store_path(repo) if out is None else out
    tip = repo.head()
    unchanged = _unchanged(repo, path, tip, options)
    if unchanged is not None:
        return unchanged
    with exclusive(path):
        clean(path)
        # Another harvest may have finished between the look and the lock.
        return _unchanged(repo, path, tip, options) or _harvest(repo, path, tip, options, progress)


def _unchanged(repo: Repository, path: Path, tip: str, options: Options) -> Harvest | None:
    if options.rebuild or not path.exists():
        return None
    header = read_header(path)
    if header.tip != tip or _different(header, options):
        return None
    # A shallow clone that was deepened has the same tip and a longer past.
    if header.shallow and header.root not in repo.boundaries:
        return None
    return Harvest(path, "unchanged", "", 0, header, None)


def _harvest(
    repo: Repository,
    path: Path,
    tip: str,
    options: Options,
    progress: Callable[[int], Callable[[int], object] | None] | None,
) -> Harvest:
    # The parser is needed from here on only; seeing that nothing is new is not slowed down by it.
    from codewm.corpus.builder import truncate
    from codewm.corpus.edits import extract
    from codewm.corpus.ledger import Ledger, sums

    line = repo.first_parents(tip)
    if options.max_commits:
        line = line[-options.max_commits :]
    if repo.boundaries.issuperset(line):
        raise UserError(
            "the clone is shallow: the parent of its only commit is missing",
            "'git fetch --unshallow' brings the history (in CI: fetch-depth: 0)",
        )
    old, why = _old(path, line, options)
    kept = _common(old, line)
    how = "new" if not path.exists() else "rebuilt"
    base, rows = None, None
    if old is not None and kept:
        how = "appended" if kept == len(old.table.commits) else "rewritten"
        base, rows = truncate(old.table, old.ledger, kept)
    todo = len(line) - kept
    ledger = Ledger(rows)
    since = line[kept - 1] if kept else None
    count = options.max_commits or None
    table = extract(
        repo,
        repo.commits(RevSpec(tip, since), max_count=count),
        ledger,
        window=options.window,
        action=options.action,
        jobs=options.jobs,
        progress=progress(todo) if progress is not None else None,
        base=base,
        skip_merges=options.merges == SKIP,
        salt=author_salt(repo, create=True),
        with_authors=options.with_authors,
    )
    if not all(s.balanced for s in sums(table, ledger).values()):
        raise RuntimeError("file changes are neither among the edits nor in the ledger")
    header = Header(
        repository=repo.identity,
        root=repo.root,
        shallow=repo.root in repo.boundaries,
        tip=tip,
        tokenizer_id=table.tokenizer_id,
        action_id=table.action_id,
        window=table.window,
        merges=options.merges,
        max_commits=options.max_commits,
        with_authors=options.with_authors,
        tool=version("codewm"),
        commits=len(table.commits),
        edits=len(table),
    )
    store = Store(table, ledger.rows(), header)
    write(path, table, store.ledger, header)
    return Harvest(path, how, why, todo, header, store)


def _old(path: Path, line: list[str], options: Options) -> tuple[Store | None, str]:
    """The store to go on from, or why there is none."""
    if options.rebuild or not path.exists():
        return None, ""
    why = _different(read_header(path), options)
    if why:
        return None, why
    if options.max_commits:
        return None, "the newest commits are others now"
    old = read_store(path)
    if old.table.commits.oid[:1] != line[:1]:
        return None, "the stored history begins with another commit"
    return old, ""


def _common(old: Store | None, line: list[str]) -> int:
    """How many commits the stored line and the present one share from the start."""
    stored = old.table.commits.oid if old is not None else []
    shorter = min(len(stored), len(line))
    return next((i for i in range(shorter) if stored[i] != line[i]), shorter)


def _different(header: Header, options: Options) -> str:
    """In what the store differs from what is asked for; '' if in nothing."""
    for name, held, wanted in (
        ("tokeniser", header.tokenizer_id, codewm_core.TOKENIZER_ID),
        ("version of codewm", header.tool, version("codewm")),
        ("window", header.window, options.window),
        ("action", header.action_id, options.action),
        ("--merges", header.merges, options.merges),
        ("--max-commits", header.max_commits, options.max_commits),
        ("--with-authors", header.with_authors, options.with_authors),
    ):
        if held != wanted:
            return f"the store was made with another {name}: {held} instead of {wanted}"
    return ""
