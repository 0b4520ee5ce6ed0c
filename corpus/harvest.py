"""A repository in, its `chains.h5` brought up to HEAD out.

What the store has already is kept: new commits are appended; after a rewrite of history only what follows the
last common commit is redone; other options, another tool or another tokeniser mean starting over, and so does a
damaged store. A long harvest stores what it has now and then; whatever ends it, the next one goes on from there.
"""

from __future__ import annotations

import gc
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import codewm_core
from codewm.corpus.causes import Cause
from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.header import (
    FILE_NAME,
    Header,
    NewerError,
    UnusableError,
    read_header,
    resembles_store,
    verify,
)
from codewm.corpus.lock import clean, exclusive, sweep
from codewm.corpus.records import RevSpec
from codewm.corpus.scope import cleaned_paths, following, last_left_out, within

if TYPE_CHECKING:
    from codewm.corpus.ledger import Ledger
    from codewm.corpus.packed import Chunks
    from codewm.corpus.store import Store
    from codewm.corpus.table import EditTable

SKIP, FIRST_PARENT = "skip", "first-parent"
SAVE_SECONDS = 20.0
"""A harvest that takes longer stores what it has about so often."""
_SALT_DIGITS = 64
# Seconds.
_TURN = 0.00005
Progress = Callable[[int], Callable[[int], object] | None]


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
    since: str = ""
    """A date or a revision; '' is the whole history."""
    paths: tuple[str, ...] = ()
    """Folders and files from the repository's top, () is everything."""


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
    salt = _read_salt(place)
    if salt is None and create:
        with suppress(OSError):
            _make_salt(place)
        salt = _read_salt(place)
    return repo.identity.encode("ascii") if salt is None else salt


def like_stored(repo: Repository, options: Options) -> Options:
    """The options with the limits of the store that is there, for who needs the chains as they were asked for."""
    try:
        header = read_header(store_path(repo))
    except (UserError, FileNotFoundError):
        return options
    if header.since and not repo.has(header.since):
        return options
    return replace(
        options,
        max_commits=header.max_commits,
        since=header.since,
        paths=header.paths,
        with_authors=header.with_authors,
    )


def harvest(
    repo: Repository, options: Options, out: Path | None = None, progress: Progress | None = None
) -> Harvest:
    """Bring the store up to HEAD. `progress` is given the commits to do and returns what to call."""
    run = _Run(repo, options, out)
    unchanged = run.unchanged()
    if unchanged is not None:
        sweep(run.path)
        return unchanged
    with exclusive(run.path), _undisturbed():
        clean(run.path)
        clean(repo.data_dir / "salt")
        # Another harvest may have finished between the look and the lock.
        return run.unchanged() or run.harvest(progress)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Pause the collector, and let threads take turns faster."""
    was, turn = gc.isenabled(), sys.getswitchinterval()
    # Hundreds of thousands of rows and no cycles: looking for some took a tenth of the time.
    gc.disable()
    # Who reads what Git says must not wait for a whole turn of who imports numpy each time, and the core has
    # nothing to do while who feeds it waits for a turn.
    sys.setswitchinterval(_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(turn)
        if was:
            gc.enable()


@contextmanager
def _importing() -> Iterator[None]:
    """Import beside the block what is needed after it only, and is slow to import."""
    rest = Thread(target=_import_rest, daemon=True)
    rest.start()
    try:
        yield
    finally:
        # Nothing is imported by two threads at once, and none is left when the process ends.
        rest.join()


def _import_rest() -> None:
    for name in ("numpy", "codewm.corpus.store", "h5py"):
        import_module(name)
    _tool()


@cache
def _tool() -> str:
    """The version of codewm, as the names of what is installed tell it: to read it there takes ten times as long."""
    for place in sys.path:
        with suppress(OSError):
            found = [p.name for p in Path(place).glob("codewm[-.]*")]
            if len(found) == 1 and found[0].endswith(".dist-info"):
                return found[0].removeprefix("codewm-").removesuffix(".dist-info")
            if found:
                break
    from importlib.metadata import version

    return version("codewm")


class _Run:
    """One harvest: what was asked for, resolved, and what it finds at its place."""

    def __init__(self, repo: Repository, options: Options, out: Path | None) -> None:
        self.repo = repo
        self.path = store_path(repo) if out is None else out
        self._own_place = out is None
        self._tip = repo.head()
        since = last_left_out(repo, self._tip, options.since) if options.since else ""
        self._options = replace(options, since=since, paths=cleaned_paths(options.paths))
        self._why = ""
        self._held: Header | None = None
        self._seen: tuple[int, ...] | None = None

    def unchanged(self) -> Harvest | None:
        """What to answer if the store is whole, as asked for, and up to date; None if it is not."""
        seen = _state_of(self.path)
        if seen is None or seen != self._seen:
            self._held, self._why = self._look()
            self._seen = seen
        header = self._held
        if header is None or header.tip != self._tip or self._why:
            return None
        # A shallow clone that was deepened has the same tip and a longer past.
        if header.shallow and header.root not in self.repo.boundaries:
            return None
        return Harvest(self.path, "unchanged", "", 0, header, None)

    def _look(self) -> tuple[Header | None, str]:
        """The header of the whole store that is there, and what forbids to go on from it."""
        try:
            if self._options.rebuild:
                return None, ""
            header = read_header(self.path)
            if header.tip == self._tip:
                # Nothing else will be looked at; what is read whole is verified then.
                header = verify(self.path)
        except FileNotFoundError:
            return None, ""
        except NewerError:
            raise
        except UnusableError as e:
            if not self._own_place and not resembles_store(self.path):
                raise UserError(
                    e.message,
                    "name another file with --out; 'codewm harvest --rebuild' would replace this one",
                ) from None
            return None, e.message
        why = _different(header, self._options, _salt_id(self.repo, self._options, create=False))
        if not why and self.repo.may_fetch and _missing(header):
            why = "what was missing from the repository may be fetched now"
        return header, why

    def harvest(self, progress: Progress | None) -> Harvest:
        """Do what is to be done; the lock is held."""
        # The parser is needed from here on only; seeing that nothing is new is not slowed down by it.
        from codewm.corpus.edits import extract

        repo, options = self.repo, self._options
        how = "rebuilt" if self.path.exists() else "new"
        old, why = self._old()
        base, rows, chunks, kept, line = None, None, None, 0, None
        if old is not None:
            line = self._line(old)
            if old.table.commits.oid[:1] == line[0][:1]:
                kept = _common(old, line[0])
                base, rows, chunks = old.table, old.ledger, old.chunks
                how = "appended"
                if kept < len(base.commits):
                    from codewm.corpus.builder import truncate

                    how = "rewritten"
                    base, rows = truncate(base, rows, kept)
            else:
                why = (
                    "the newest commits are others now"
                    if options.max_commits
                    else "the history begins elsewhere"
                )
        del old
        since = line[0][kept - 1] if line is not None and kept else options.since or None
        salt = author_salt(repo, create=True)
        writer = _Writer(self, chunks)
        count: Callable[[int], object] | None = None
        find: Callable[[], list[str]] | None = None
        if line is None and (progress or options.max_commits or options.since or repo.boundaries):
            # Else nobody asks for more than the first one, which comes first.
            find = repo.begin_first_parents(self._tip)

        def advance(commits: int) -> None:
            nonlocal count
            if not writer.root and (line is not None or find is not None):
                # Looked up beside the first versions.
                oids, writer.root = self._limited(find()) if find is not None else line or ([], "")
                if repo.boundaries.issuperset(oids):
                    raise UserError(
                        "the clone is shallow: the parent of its only commit is missing",
                        "'git fetch --unshallow' brings the history (in CI: fetch-depth: 0)",
                    )
                count = progress(len(oids) - kept) if progress is not None else None
            if count is not None:
                count(commits)

        records = repo.commits(
            RevSpec(self._tip, since), max_count=options.max_commits or None, suffix=b".py"
        )
        table, ledger = extract(
            repo,
            within(records, options.paths) if options.paths else records,
            window=options.window,
            action=options.action,
            jobs=options.jobs,
            progress=advance,
            base=base,
            skipped=rows,
            skip_merges=options.merges == SKIP,
            salt=salt,
            with_authors=options.with_authors,
            save=lambda so_far, skipped: writer.save(so_far, skipped, keep=True),
            save_every=SAVE_SECONDS,
            meanwhile=_importing(),
        )
        store = writer.save(table, ledger)
        return Harvest(self.path, how, why, store.header.commits - kept, store.header, store)

    def _old(self) -> tuple[Store | None, str]:
        """The store to go on from, or why there is none."""
        if self._held is None or self._why:
            return None, self._why
        from codewm.corpus.store import read_store

        try:
            return read_store(self.path, keep_chunks=True), ""
        except UnusableError as e:
            return None, e.message

    def _line(self, old: Store) -> tuple[list[str], str]:
        """The commits to be in the store, oldest first, and the first commit of the whole line.

        Tells the repository its root, which would be another walk.
        """
        repo, options = self.repo, self._options
        if not old.header.shallow and not options.max_commits:
            new = following(repo, self._tip, old.header.tip)
            if new:
                repo.root = old.header.root
                return old.table.commits.oid + new, old.header.root
        return self._limited(repo.first_parents(self._tip))

    def _limited(self, line: list[str]) -> tuple[list[str], str]:
        """What is asked for of the whole first-parent line; likewise."""
        options = self._options
        root = self.repo.root = line[0]
        if options.since:
            line = line[line.index(options.since) + 1 :]
        return line[-options.max_commits :] if options.max_commits else line, root

    def header(self, root: str, table: EditTable, ledger: Ledger) -> Header:
        """What the store of this table says about itself."""
        from codewm.corpus.ledger import sums
        from codewm.corpus.store import sums_as_dict

        repo, options = self.repo, self._options
        counted = sums(table, ledger)
        if not all(s.balanced for s in counted.values()):
            raise RuntimeError("file changes are neither among the edits nor in the ledger")
        return Header(
            repository=repo.identity,
            root=root,
            shallow=root in repo.boundaries,
            tip=table.commits.oid[-1],
            tokenizer_id=table.tokenizer_id,
            action_id=table.action_id,
            window=table.window,
            merges=options.merges,
            max_commits=options.max_commits,
            with_authors=options.with_authors,
            tool=_tool(),
            commits=len(table.commits),
            edits=len(table),
            since=options.since,
            paths=options.paths,
            salt_id=_salt_id(repo, options, create=True),
            states=len(table.state_hash),
            chains=int(table.chain.max()) + 1 if len(table) else 0,
            files=len(table.paths),
            units=len(table.units),
            file_changes=sums_as_dict(counted),
        )


class _Writer:
    """Writes the table as it is, again and again; what was compressed before is not compressed again."""

    def __init__(self, run: _Run, chunks: Chunks | None) -> None:
        self.root = ""
        """The first commit of the whole line; '' while it is not known to be another than that of the table."""
        self._run, self._chunks = run, chunks

    def save(self, table: EditTable, ledger: Ledger, keep: bool = False) -> Store:
        """Store what a harvest that ended here would store; `keep` if it is not the end."""
        from codewm.corpus.store import Store, write
        from codewm.corpus.table import Origin

        run = self._run
        if not self.root:
            self.root = run.repo.root = table.commits.oid[0]
        header = run.header(self.root, table, ledger)
        place = run.repo.work_tree or run.repo.common_dir
        name = place.name if place.name != ".git" else place.parent.name
        origin = Origin(header.repository, header.root, header.tip, name.removesuffix(".git"), header.commits)
        table = replace(table, repositories=(origin,))
        rows = ledger.rows()
        self._chunks = write(run.path, table, rows, header, self._chunks, keep)
        return Store(table, rows, header)


def _state_of(path: Path) -> tuple[int, ...] | None:
    """What changes when a file is written or replaced; None where there is none."""
    with suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns
    return None


def _common(old: Store | None, line: Sequence[str]) -> int:
    """How many commits the stored line and the present one share from the start."""
    stored = old.table.commits.oid if old is not None else []
    shorter = min(len(stored), len(line))
    return next((i for i in range(shorter) if stored[i] != line[i]), shorter)


def _missing(header: Header) -> int:
    """How many file changes gave no edit because their content was left out of a partial clone."""
    skipped = (kind["skipped"] for kind in header.file_changes.values())
    return sum(int(causes.get(Cause.MISSING.key, 0)) for causes in skipped)


def _different(header: Header, options: Options, salt_id: str) -> str:
    """In what the store differs from what is asked for; '' if in nothing."""
    for name, held, wanted in (
        ("number of repositories", header.repositories, 1),
        ("tokeniser", header.tokenizer_id, codewm_core.TOKENIZER_ID),
        ("version of codewm", header.tool, _tool()),
        ("window", header.window, options.window),
        ("action", header.action_id, options.action),
        ("--merges", header.merges, options.merges),
        ("--max-commits", header.max_commits, options.max_commits),
        ("--since", header.since or "the first commit", options.since or "the first commit"),
        ("--path", ", ".join(header.paths) or "everything", ", ".join(options.paths) or "everything"),
        ("--with-authors", header.with_authors, options.with_authors),
        ("salt for author hashes", header.salt_id, salt_id),
    ):
        if held != wanted:
            return f"the store was made with another {name}: {held} instead of {wanted}"
    return ""


def _salt_id(repo: Repository, options: Options, create: bool) -> str:
    """A name for the salt that tells nothing about it; '' where authors are not hashed."""
    if options.with_authors:
        return ""
    return hashlib.sha256(b"codewm salt " + author_salt(repo, create)).hexdigest()[:16]


def _read_salt(place: Path) -> bytes | None:
    with suppress(OSError, ValueError):
        text = place.read_text("ascii").strip()
        if len(text) == _SALT_DIGITS:
            return bytes.fromhex(text)
    return None


def _make_salt(place: Path) -> None:
    """Put a new salt there, whole or not at all; one that another process put there first is kept."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(os.urandom(_SALT_DIGITS // 2).hex().encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            # Not a salt (it would have been read): what a crash left of one.
            temporary.replace(place)
        else:
            with suppress(FileExistsError):
                os.link(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)
