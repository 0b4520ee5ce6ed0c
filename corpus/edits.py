"""Commit records in, an edit table out: reads the blobs and lets the core parse what changed in them.

    records ──thread: asks Git for the versions──► batches of whole commits ──core, all cores──► rows

The thread knows which versions the core still has, reads only the others, and tells it which to forget.
Memory is bounded by a few batches and the versions kept, whatever the size of the history; the result does not
depend on where batches end, on what is kept, or on the number of threads.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from codewm.corpus.builder import TableBuilder
from codewm.corpus.causes import Cause
from codewm.corpus.commits import CommitRows, Fresh
from codewm.corpus.git import BLOB_LIMIT, Repository
from codewm.corpus.ledger import Ledger
from codewm.corpus.records import REGULAR_MODES, CommitRecord, FileChange, is_python
from codewm_core import TOKENIZER_ID

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from codewm.corpus.table import EditTable

BATCH_BYTES = 4 << 20
"""Versions handed to the core at once, up to the end of a commit; the first batches are smaller, so that it starts."""
PART_BYTES = 4 << 20
"""A larger commit is handed over in parts. Units that moved between files are looked for within a part, so this is
measured by the commit's own versions alone, whatever else is in the batch, and a change of it changes results.
"""
KEPT_BYTES = 6 << 20
"""Versions that the core keeps: the version after one change is the version before the next. It takes them
about twenty times their size.
"""
# Commits whose versions are asked for in one go; bounds what waits where few of them touch Python. The first
# ones are fewer, so that the core starts.
_GROUP = 512
_FIRST_GROUP = 32
_LFS = b"version https://git-lfs.github.com/spec/"
# What a version costs to know, even an empty one.
_OVERHEAD = 200


_Step = tuple[FileChange, "Cause | None", "str | None", "str | None"]
"""A file change, why it gives no edit, and the versions to compare, by key (None: no such side)."""


@dataclass
class _Batch:
    """What goes to the core at once: the changes of commits, and the versions that are new."""

    changes: list[tuple[int, int, str | None, str | None]] = field(default_factory=list)
    """Commit, path, version before, version after."""
    empty: list[bool] = field(default_factory=list)
    """Both versions of a change are."""
    skipped: list[tuple[int, Cause, int]] = field(default_factory=list)
    blobs: list[tuple[str, bytes]] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    fresh: Fresh = field(default_factory=lambda: Fresh([], [], []))
    size: int = 0
    is_whole: bool = True
    """It does not end inside a commit."""


class _StoppedError(Exception):
    """The consumer has gone; raised in the reading thread only."""


def extract(
    repo: Repository,
    commits: Iterable[CommitRecord],
    *,
    window: int,
    action: str,
    jobs: int = 0,
    progress: Callable[[int], object] | None = None,
    base: EditTable | None = None,
    skipped: NDArray[np.int32] | None = None,
    skip_merges: bool = False,
    salt: bytes = b"",
    with_authors: bool = False,
    save: Callable[[EditTable, Ledger], object] | None = None,
    save_every: float = 20.0,
    meanwhile: AbstractContextManager[object] | None = None,
) -> tuple[EditTable, Ledger]:
    """Turn commits (oldest first) into unit edits; after those of `base`, if there is one.

    What gives no edit is counted in the ledger, after the rows `skipped` [L, 3] of that of `base`; merges too
    if `skip_merges`. `progress` is called with numbers of commits done. `jobs` is the number of threads of
    the core, 0 for one per core. Authors are hashed with `salt` unless `with_authors`. `save` is given what
    would be returned if the history ended here, every `save_every` seconds, less often if saving takes long.
    `meanwhile` is entered when the first versions are there, and left before there is a table.
    """
    due = time.monotonic() + save_every
    rows = CommitRows(base=base, salt=salt, with_authors=with_authors)
    with _Ahead(_Reader(repo, rows, skip_merges).batches(commits)) as batches, ExitStack() as beside:
        builder = TableBuilder(
            tokenizer_id=TOKENIZER_ID, action_id=action, window=window, base=base, threads=jobs
        )
        ledger = Ledger(skipped)
        for batch in batches:
            if meanwhile is not None:
                beside.enter_context(meanwhile)
                meanwhile = None
            _add(builder, ledger, batch)
            if progress is not None:
                progress(len(batch.fresh.commits))
            if save is not None and batch.is_whole and time.monotonic() >= due:
                beside.close()
                started = time.monotonic()
                save(builder.table(), ledger)
                done = time.monotonic()
                due = done + max(save_every, 20 * (done - started))
    return builder.table(), ledger


def _add(builder: TableBuilder, ledger: Ledger, batch: _Batch) -> None:
    builder.add_commits(batch.fresh)
    ledger.extend(batch.skipped)
    for silent in builder.add_edits(batch.blobs, batch.changes):
        commit, path, _, _ = batch.changes[silent]
        ledger.add(commit, Cause.EMPTY_FILE if batch.empty[silent] else Cause.NO_UNIT_CHANGED, path)
    builder.forget(batch.forget)


class _Reader:
    """The Git side: decides which versions are read, reads them, and numbers commits and paths."""

    def __init__(self, repo: Repository, rows: CommitRows, skip_merges: bool) -> None:
        self._repo = repo
        self._rows = rows
        self._skip_merges = skip_merges
        # Versions by key, least recently used first: what the core has, or why it has it not, with the size.
        # None is asked for and under way.
        self._known: OrderedDict[str, tuple[Cause | None, int] | None] = OrderedDict()
        self._size = 0
        # Versions that a later one took the place of: hardly ever needed again.
        self._replaced: set[str] = set()
        # Contents that the core was not given yet.
        self._fresh: dict[str, bytes] = {}
        # How many changes that are not in a batch yet need a version.
        self._uses: dict[str, int] = {}
        # A commit, and the number of its Python file changes, which follow.
        self._waiting: deque[tuple[CommitRecord, int] | _Step] = deque()
        self._batch = _Batch()
        self._limit = max(BATCH_BYTES >> 3, 1)
        # Bytes that the commit so far has put into batches, and since it was last cut.
        self._part = 0
        self._contents = 0

    def batches(self, commits: Iterable[CommitRecord]) -> Iterator[_Batch]:
        """Cut history into batches of whole commits, and larger commits into several."""
        self._repo.begin_objects()
        rest = iter(commits)
        size = min(_FIRST_GROUP, _GROUP)
        while group := list(islice(rest, size)):
            size = min(2 * size, _GROUP)
            for key, content, length in self._repo.read_objects(self._wanted(group)):
                self._arrived(key, content, length)
                yield from self._ready()
            yield from self._ready()
        yield self._cut(is_whole=True)

    def _wanted(self, group: Iterable[CommitRecord]) -> Iterator[str]:
        """Object ids of the versions to read, in the order of the changes that need them."""
        known, uses, waiting = self._known, self._uses, self._waiting
        for record in group:
            changes = [change for change in record.changes if change.is_python]
            waiting.append((record, len(changes)))
            for change in changes:
                step = self._step(record, change)
                waiting.append(step)
                for key in step[2:]:
                    if key is None:
                        continue
                    uses[key] = uses.get(key, 0) + 1
                    if key not in known:
                        known[key] = None
                        yield key

    def _step(self, record: CommitRecord, change: FileChange) -> _Step:
        """Decide by the raw diff alone what is worth reading."""
        had, has = is_python(change.old_path), is_python(change.new_path)
        if record.boundary:
            return change, Cause.SHALLOW_BOUNDARY, None, None
        if self._skip_merges and len(record.parents) > 1:
            return change, Cause.MERGE_SKIPPED, None, None
        if (had and change.old_mode not in REGULAR_MODES) or (has and change.new_mode not in REGULAR_MODES):
            return change, Cause.NOT_A_FILE, None, None
        before = change.old_oid if had else None
        after = change.new_oid if has else None
        if change.content is not None and has:
            # Not in any object yet, so it has no name of its own.
            after = f"content {self._contents}"
            self._contents += 1
            self._arrived(after, change.content, len(change.content))
        elif before == after:
            return change, Cause.RENAMED_ONLY if change.status == "R" else Cause.MODE_ONLY, None, None
        return change, None, before, after

    def _arrived(self, key: str, content: bytes | None, size: int) -> None:
        cause = _unusable(content, size)
        if cause is None and content is not None:
            self._fresh[key] = content
        self._known[key] = (cause, max(size, 0))
        self._size += _weight(cause, size)

    def _ready(self) -> Iterator[_Batch]:
        """Move what has all its versions into batches."""
        waiting, known = self._waiting, self._known
        while waiting:
            step = waiting[0]
            if len(step) == 2:
                if self._batch.size >= self._limit:
                    yield self._cut(is_whole=True)
                self._part = 0
                self._rows.add_commit(*step)
                waiting.popleft()
                continue
            change, cause, before, after = step
            size = 0
            for key in (before, after):
                if key is not None:
                    found = known[key]
                    if found is None:
                        return
                    if cause is None:
                        cause = found[0]
                    size += found[1]
            if self._part + size > PART_BYTES and self._part > 0:
                yield self._cut(is_whole=False)
                self._part = 0
            self._part += size
            for key in (before, after):
                if key is not None:
                    self._used(key)
                    if cause is None:
                        # The core reads versions for the changes it is given; a skipped change is none of them.
                        self._hand_over(key)
                    self._replaced.discard(key)
            if before is not None:
                self._replaced.add(before)
            commit, path = self._rows.add_change(change)
            if cause is not None:
                self._batch.skipped.append((commit, cause, path))
            else:
                self._batch.changes.append((commit, path, before, after))
                self._batch.empty.append(size == 0)
            waiting.popleft()

    def _hand_over(self, key: str) -> None:
        content = self._fresh.pop(key, None)
        if content is not None:
            self._batch.blobs.append((key, content))
            self._batch.size += len(content)

    def _used(self, key: str) -> None:
        self._known.move_to_end(key)
        left = self._uses[key] - 1
        if left:
            self._uses[key] = left
        else:
            del self._uses[key]

    def _cut(self, is_whole: bool) -> _Batch:
        """End the batch; have the core forget what was replaced, and if need be what was not used for longest."""
        batch, self._batch = self._batch, _Batch()
        self._limit = min(2 * self._limit, BATCH_BYTES)
        batch.is_whole = is_whole
        batch.fresh = self._rows.take()
        for key in self._replaced:
            if key not in self._uses:
                self._forget(key, batch)
        self._replaced.clear()
        if self._size > KEPT_BYTES:
            for key in [k for k, known in self._known.items() if known is not None and k not in self._uses]:
                self._forget(key, batch)
                if self._size <= KEPT_BYTES:
                    break
        return batch

    def _forget(self, key: str, batch: _Batch) -> None:
        known = self._known.pop(key)
        assert known is not None
        self._fresh.pop(key, None)
        self._size -= _weight(*known)
        batch.forget.append(key)


def _unusable(content: bytes | None, size: int) -> Cause | None:
    if size > BLOB_LIMIT:
        return Cause.TOO_LARGE
    if size == -2:
        return Cause.DAMAGED
    if content is None:
        return Cause.MISSING
    return Cause.LFS_POINTER if content.startswith(_LFS) else None


def _weight(cause: Cause | None, size: int) -> int:
    # What the dictionary itself costs is counted, or endless empty files would not be.
    return _OVERHEAD + (size if cause is None else 0)


class _Ahead:
    """Batches made in a thread, one ahead; its errors are raised here, and leaving the block ends it."""

    def __init__(self, batches: Iterator[_Batch]) -> None:
        self._queue: queue.Queue[_Batch | BaseException | None] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(batches,), name="codewm-git", daemon=True)

    def __enter__(self) -> Iterator[_Batch]:
        self._thread.start()
        return iter(self._next, None)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _next(self) -> _Batch | None:
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def _work(self, batches: Iterator[_Batch]) -> None:
        with suppress(_StoppedError):
            try:
                for batch in batches:
                    self._put(batch)
            except _StoppedError:
                raise
            except BaseException as e:
                self._put(e)
            else:
                self._put(None)

    def _put(self, item: _Batch | BaseException | None) -> None:
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return
        raise _StoppedError
