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
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from codewm.corpus.causes import Cause
from codewm.corpus.git import BLOB_LIMIT, Repository
from codewm.corpus.records import REGULAR_MODES, CommitRecord, FileChange, is_python
from codewm_core import TOKENIZER_ID

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from codewm.corpus.builder import TableBuilder
    from codewm.corpus.ledger import Ledger
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
# Commits whose versions are asked for in one go; bounds what waits where few of them touch Python.
_GROUP = 512
_LFS = b"version https://git-lfs.github.com/spec/"
# What a version costs to know, even an empty one.
_OVERHEAD = 200


@dataclass
class _Change:
    """A file change, and either why it gives no edit or the versions to compare, by key (None: no such side)."""

    change: FileChange
    cause: Cause | None = None
    before: str | None = None
    after: str | None = None
    is_empty: bool = False


@dataclass
class _Batch:
    """What goes to the core at once: commits, each followed by its changes, and the versions that are new."""

    steps: list[CommitRecord | _Change] = field(default_factory=list)
    blobs: list[tuple[str, bytes]] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    size: int = 0
    commits: int = 0
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
    meanwhile: Callable[[], object] | None = None,
) -> tuple[EditTable, Ledger]:
    """Turn commits (oldest first) into unit edits; after those of `base`, if there is one.

    What gives no edit is counted in the ledger, after the rows `skipped` [L, 3] of that of `base`; merges too
    if `skip_merges`. `progress` is called with numbers of commits done. `jobs` is the number of threads of
    the core, 0 for one per core. Authors are hashed with `salt` unless `with_authors`. `save` is given what
    would be returned if the history ended here, every `save_every` seconds, less often if saving takes long.
    `meanwhile` is called once Git is at work.
    """
    due = time.monotonic() + save_every
    with _Ahead(_Reader(repo, skip_merges).batches(commits)) as batches:
        if meanwhile is not None:
            meanwhile()
        # Git is at work while numpy is imported.
        from codewm.corpus.builder import TableBuilder
        from codewm.corpus.ledger import Ledger

        builder = TableBuilder(
            tokenizer_id=TOKENIZER_ID,
            action_id=action,
            window=window,
            base=base,
            salt=salt,
            with_authors=with_authors,
            threads=jobs,
        )
        ledger = Ledger(skipped)
        for batch in batches:
            _add(builder, ledger, batch)
            if progress is not None:
                progress(batch.commits)
            if save is not None and batch.is_whole and time.monotonic() >= due:
                started = time.monotonic()
                save(builder.table(), ledger)
                done = time.monotonic()
                due = done + max(save_every, 20 * (done - started))
    return builder.table(), ledger


def _add(builder: TableBuilder, ledger: Ledger, batch: _Batch) -> None:
    places: list[tuple[int, int]] = []
    versions: list[tuple[str | None, str | None]] = []
    empty: list[bool] = []
    for step in batch.steps:
        if isinstance(step, CommitRecord):
            builder.add_commit(step)
            continue
        commit, path = builder.add_change(step.change)
        if step.cause is not None:
            ledger.add(commit, step.cause, path)
        else:
            places.append((commit, path))
            versions.append((step.before, step.after))
            empty.append(step.is_empty)
    for silent in builder.add_edits(batch.blobs, places, versions):
        commit, path = places[silent]
        ledger.add(commit, Cause.EMPTY_FILE if empty[silent] else Cause.NO_UNIT_CHANGED, path)
    builder.forget(batch.forget)


class _Reader:
    """The Git side: decides which versions are read, and reads them."""

    def __init__(self, repo: Repository, skip_merges: bool) -> None:
        self._repo = repo
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
        self._uses: Counter[str] = Counter()
        self._waiting: deque[CommitRecord | _Change] = deque()
        self._batch = _Batch()
        self._limit = max(BATCH_BYTES >> 3, 1)
        # Bytes that the commit so far has put into batches, and since it was last cut.
        self._part = 0
        self._contents = 0

    def batches(self, commits: Iterable[CommitRecord]) -> Iterator[_Batch]:
        """Cut history into batches of whole commits, and larger commits into several."""
        rest = iter(commits)
        while group := list(islice(rest, _GROUP)):
            for key, content, size in self._repo.read_objects(self._wanted(group)):
                self._arrived(key, content, size)
                yield from self._ready()
            yield from self._ready()
        yield self._cut(is_whole=True)

    def _wanted(self, group: Iterable[CommitRecord]) -> Iterator[str]:
        """Object ids of the versions to read, in the order of the changes that need them."""
        for record in group:
            self._waiting.append(record)
            for change in record.changes:
                if not change.is_python:
                    continue
                step = self._step(record, change)
                self._waiting.append(step)
                for key in (step.before, step.after):
                    if key is None:
                        continue
                    self._uses[key] += 1
                    if key not in self._known:
                        self._known[key] = None
                        yield key

    def _step(self, record: CommitRecord, change: FileChange) -> _Change:
        """Decide by the raw diff alone what is worth reading."""
        before = change.old_oid if is_python(change.old_path) else None
        after = change.new_oid if is_python(change.new_path) else None
        sides = ((change.old_mode, change.old_path), (change.new_mode, change.new_path))
        modes = [mode for mode, side in sides if is_python(side)]
        if record.boundary:
            return _Change(change, Cause.SHALLOW_BOUNDARY)
        if self._skip_merges and record.is_merge:
            return _Change(change, Cause.MERGE_SKIPPED)
        if not REGULAR_MODES.issuperset(modes):
            return _Change(change, Cause.NOT_A_FILE)
        if change.content is not None and is_python(change.new_path):
            # Not in any object yet, so it has no name of its own.
            after = f"content {self._contents}"
            self._contents += 1
            self._arrived(after, change.content, len(change.content))
        elif before == after:
            return _Change(change, Cause.RENAMED_ONLY if change.status == "R" else Cause.MODE_ONLY)
        return _Change(change, None, before, after)

    def _arrived(self, key: str, content: bytes | None, size: int) -> None:
        cause = _unusable(content, size)
        if cause is None and content is not None:
            self._fresh[key] = content
        self._known[key] = (cause, max(size, 0))
        self._size += _weight(cause, size)

    def _ready(self) -> Iterator[_Batch]:
        """Move what has all its versions into batches."""
        while self._waiting:
            step = self._waiting[0]
            if isinstance(step, CommitRecord):
                if self._batch.size >= self._limit:
                    yield self._cut(is_whole=True)
                self._part = 0
                self._batch.commits += 1
            else:
                sides = [self._known[key] for key in (step.before, step.after) if key is not None]
                if None in sides:
                    return
                found = [side for side in sides if side is not None]
                size = sum(size for _, size in found)
                if self._part + size > PART_BYTES and self._part > 0:
                    yield self._cut(is_whole=False)
                    self._part = 0
                self._part += size
                if step.cause is None:
                    step.cause = next((cause for cause, _ in found if cause is not None), None)
                    step.is_empty = size == 0
                for key in (step.before, step.after):
                    if key is not None:
                        self._used(key)
                        self._hand_over(key)
                        self._replaced.discard(key)
                if step.before is not None:
                    self._replaced.add(step.before)
            self._batch.steps.append(step)
            self._waiting.popleft()

    def _hand_over(self, key: str) -> None:
        content = self._fresh.pop(key, None)
        if content is not None:
            self._batch.blobs.append((key, content))
            self._batch.size += len(content)

    def _used(self, key: str) -> None:
        self._known.move_to_end(key)
        self._uses[key] -= 1
        if not self._uses[key]:
            del self._uses[key]

    def _cut(self, is_whole: bool) -> _Batch:
        """End the batch; have the core forget what was replaced, and if need be what was not used for longest."""
        batch, self._batch = self._batch, _Batch()
        self._limit = min(2 * self._limit, BATCH_BYTES)
        batch.is_whole = is_whole
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
