"""Commit records in, an edit table out: reads the blobs, lets the core parse them, interns what comes back.

A thread reads Git and fills batches of (before, after) blobs; this thread hands them to the core, which uses
all cores without the interpreter lock, and files the edits away. Memory is bounded by two batches, whatever
the size of the history; the result does not depend on where batches end or on the number of threads.
"""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from codewm.corpus.builder import TableBuilder
from codewm.corpus.git import BLOB_LIMIT, Repository
from codewm.corpus.ledger import Cause, Ledger
from codewm.corpus.records import REGULAR_MODES, CommitRecord, FileChange
from codewm.corpus.table import EditTable
from codewm_core import ACTIONS, TOKENIZER_ID, diff_units

BATCH_BYTES = 24 << 20
"""Blobs handed to the core at once."""
RECENT_BYTES = 24 << 20
"""Blobs kept for the next batch: the version after one change is the version before the next."""
# File changes whose blobs are asked for together.
_GROUP = 256
_LFS = b"version https://git-lfs.github.com/spec/"
Blob = bytes | Cause


@dataclass
class _Pair:
    """A file change that is worth reading: what to read for either side (None: the side does not exist)."""

    commit: int
    path: int
    before: str | None
    after: str | bytes | None


@dataclass
class _Batch:
    """What goes to the core at once, and how many commits the progress bar may then advance."""

    places: list[tuple[int, int]] = field(default_factory=list)
    pairs: list[tuple[bytes | None, bytes | None]] = field(default_factory=list)
    size: int = 0
    commits: int = 0


class _StoppedError(Exception):
    """The consumer has gone; raised in the reading thread only."""


def extract(
    repo: Repository,
    commits: Iterable[CommitRecord],
    ledger: Ledger | None = None,
    *,
    window: int,
    action: str,
    jobs: int = 0,
    progress: Callable[[int], object] | None = None,
    base: EditTable | None = None,
    skip_merges: bool = False,
    salt: bytes = b"",
    with_authors: bool = False,
) -> EditTable:
    """Turn commits (oldest first) into unit edits; after those of `base`, if there is one.

    What gives no edit is counted in `ledger`, with merges too if `skip_merges`. `progress` is called with
    numbers of commits done. `jobs` is the number of threads of the core, 0 for one per core. Authors are
    hashed with `salt` unless `with_authors`.
    """
    builder = TableBuilder(
        tokenizer_id=TOKENIZER_ID,
        action_id=action,
        action_width=len(ACTIONS[action]),
        window=window,
        base=base,
        salt=salt,
        with_authors=with_authors,
    )
    ledger = Ledger() if ledger is None else ledger
    reader = _Reader(repo, builder, ledger, skip_merges)
    for batch in _in_thread(reader.batches(commits)):
        if batch.pairs:
            edits = diff_units(batch.pairs, window=window, action=action, threads=jobs)
            for silent in builder.add_edits(batch.places, edits):
                commit, path = batch.places[silent]
                empty = not any(batch.pairs[silent])
                ledger.add(commit, Cause.EMPTY_FILE if empty else Cause.NO_UNIT_CHANGED, path)
        if progress is not None:
            progress(batch.commits)
    return builder.table()


class _Reader:
    """The Git side: decides which file changes are read, and reads them."""

    def __init__(self, repo: Repository, builder: TableBuilder, ledger: Ledger, skip_merges: bool) -> None:
        self._repo = repo
        self._builder = builder
        self._ledger = ledger
        self._skip_merges = skip_merges
        self._recent: OrderedDict[str, Blob] = OrderedDict()
        self._recent_size = 0

    def batches(self, commits: Iterable[CommitRecord]) -> Iterator[_Batch]:
        """Cut history into batches; a commit may lie in several."""
        batch = _Batch()
        group: list[_Pair] = []
        for record in commits:
            row = self._builder.add_commit(record)
            batch.commits += 1
            for change in record.changes:
                pair = self._pair(row, record, change) if change.is_python else None
                if pair is not None:
                    group.append(pair)
                if len(group) >= _GROUP:
                    self._read(group, batch)
                    group = []
                    if batch.size >= BATCH_BYTES:
                        yield batch
                        batch = _Batch()
        self._read(group, batch)
        yield batch

    def _pair(self, commit: int, record: CommitRecord, change: FileChange) -> _Pair | None:
        """Decide by the raw diff alone; count in the ledger what is not worth reading."""
        path = self._builder.add_change(commit, change)
        before = change.old_oid if _python(change.old_path) else None
        after = change.new_oid if change.content is None else change.content
        after = after if _python(change.new_path) else None
        sides = ((change.old_mode, change.old_path), (change.new_mode, change.new_path))
        modes = [mode for mode, side in sides if _python(side)]
        cause = None
        if record.boundary:
            cause = Cause.SHALLOW_BOUNDARY
        elif self._skip_merges and record.is_merge:
            cause = Cause.MERGE_SKIPPED
        elif not REGULAR_MODES.issuperset(modes):
            cause = Cause.NOT_A_FILE
        elif before == after:
            cause = Cause.RENAMED_ONLY if change.status == "R" else Cause.MODE_ONLY
        if cause is None:
            return _Pair(commit, path, before, after)
        self._ledger.add(commit, cause, path)
        return None

    def _read(self, group: list[_Pair], batch: _Batch) -> None:
        """Fetch what a group of changes needs and is not at hand, and add what can be parsed to the batch."""
        wanted = {oid: None for p in group for oid in (p.before, p.after) if isinstance(oid, str)}
        at_hand: dict[str, Blob] = {}
        for oid in wanted:
            if oid in self._recent:
                self._recent.move_to_end(oid)
                at_hand[oid] = self._recent[oid]
        missing = [oid for oid in wanted if oid not in at_hand]
        for oid, content, size in self._repo.read_objects(missing):
            blob = _usable(content, size)
            at_hand[oid] = blob
            batch.size += len(blob) if isinstance(blob, bytes) else 0
            self._remember(oid, blob)
        for pair in group:
            before = at_hand[pair.before] if pair.before is not None else None
            after = at_hand[pair.after] if isinstance(pair.after, str) else pair.after
            if isinstance(after, bytes) and not isinstance(pair.after, str):
                after = _usable(after, len(after))
            if isinstance(before, Cause):
                self._ledger.add(pair.commit, before, pair.path)
            elif isinstance(after, Cause):
                self._ledger.add(pair.commit, after, pair.path)
            else:
                batch.places.append((pair.commit, pair.path))
                batch.pairs.append((before, after))

    def _remember(self, oid: str, blob: Blob) -> None:
        self._recent[oid] = blob
        self._recent_size += _weight(blob)
        while self._recent_size > RECENT_BYTES:
            _, old = self._recent.popitem(last=False)
            self._recent_size -= _weight(old)


def _python(path: bytes | None) -> bool:
    return path is not None and path.endswith(b".py")


def _usable(content: bytes | None, size: int) -> Blob:
    if size > BLOB_LIMIT:
        return Cause.TOO_LARGE
    if content is None:
        return Cause.MISSING
    return Cause.LFS_POINTER if content.startswith(_LFS) else content


def _weight(blob: Blob) -> int:
    # What the dictionary itself costs is counted, or endless empty files would not be.
    return 200 + (len(blob) if isinstance(blob, bytes) else 0)


def _in_thread(batches: Iterator[_Batch]) -> Iterator[_Batch]:
    """Run an iterator in a thread, one item ahead; its errors are raised here, and leaving ends it."""
    ahead: queue.Queue[_Batch | BaseException | None] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def put(item: _Batch | BaseException | None) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                ahead.put(item, timeout=0.1)
                return
        raise _StoppedError

    def work() -> None:
        with suppress(_StoppedError):
            try:
                for batch in batches:
                    put(batch)
            except _StoppedError:
                raise
            except BaseException as e:
                put(e)
            else:
                put(None)

    thread = threading.Thread(target=work, name="codewm-git", daemon=True)
    thread.start()
    try:
        while (item := ahead.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
