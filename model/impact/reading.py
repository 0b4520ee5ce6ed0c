"""Commit records and their edit table in, a `Past` out; or one `Past` and what followed it, a longer one.

records ─► files, numbered through renames ─┐
edits   ─► units and names they brought ────┴► rows in order of commits
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.model.impact.past import DEFINITION, GONE, IMPORT, USE, Past, first_of
from codewm.model.impact.postings import I32

if TYPE_CHECKING:
    from codewm.corpus.records import CommitRecord
    from codewm.corpus.table import EditTable

_NO_COMMIT = -1


class FileNumbers:
    """Numbers files through renames, commit by commit; goes on from a past."""

    def __init__(self, past: Past) -> None:
        self.paths = {p.encode("utf-8", "surrogateescape"): i for i, p in enumerate(past.paths)}
        self.known = len(self.paths)
        self.count = past.files
        self.current: dict[bytes, int] = {}
        self.lost: dict[bytes, int] = {}
        self.named: list[tuple[int, int, int]] = []
        texts = list(self.paths)
        held: dict[int, bytes] = {}
        for file, path in zip(past.named[1].tolist(), past.named[2].tolist(), strict=True):
            before = held.pop(file, None)
            if before is not None and self.current.get(before) == file:
                del self.current[before]
            if path != GONE:
                held[file] = texts[path]
                self.current[texts[path]] = file
            elif before is not None:
                self.lost[before] = file

    def start(self, paths: Iterable[bytes], commit: int = _NO_COMMIT) -> None:
        """Take files for granted that are there before the next commit."""
        for path in paths:
            if path not in self.current:
                self._appear(commit, path)

    def add(self, commit: int, record: CommitRecord) -> dict[bytes, int]:
        """The files that a commit changed, by their path after it (before it, if they are gone)."""
        changed: dict[bytes, int] = {}
        # First all leave and then all arrive: in one commit, a path may be left by one file and taken by another.
        moved = []
        for change in record.changes:
            old, new = change.old_path, change.new_path
            if change.status == "R" and old is not None and new is not None:
                file = self.current.pop(old, None)
                moved.append((self._fresh() if file is None else file, new))
            elif new is None and old is not None:
                file = self.current.pop(old, None)
                if file is not None:
                    self.lost[old] = file
                    self.named.append((commit, file, GONE))
                    changed[old] = file
        for file, new in moved:
            self.current[new] = changed[new] = file
            self.named.append((commit, file, self._path(new)))
        for change in record.changes:
            new = change.new_path
            if new is not None and change.status != "R":
                file = self.current.get(new)
                changed[new] = self._appear(commit, new) if file is None else file
        return changed

    def _appear(self, commit: int, path: bytes) -> int:
        # A file that comes back is the one that went.
        file = self.lost.pop(path, None)
        if file is None:
            file = self._fresh()
        self.current[path] = file
        self.named.append((commit, file, self._path(path)))
        return file

    def _fresh(self) -> int:
        self.count += 1
        return self.count - 1

    def _path(self, path: bytes) -> int:
        return self.paths.setdefault(path, len(self.paths))


def empty_past(*, whole: bool = True, source: str = "live", shallow: bool = False) -> Past:
    """Nothing has happened yet."""
    i32 = np.zeros(0, np.int32)
    return Past(
        oids=[],
        times=np.zeros(0, np.int64),
        changed=(i32, i32),
        named=(i32, i32, i32),
        paths=[],
        names=[],
        units=[],
        edits=(i32, i32, i32, i32, np.zeros(0, np.bool_)),
        mentions=(i32, i32, i32, i32, np.zeros(0, np.uint8)),
        whole=whole,
        source=source,
        shallow=shallow,
    )


def extended(
    past: Past,
    records: Iterable[CommitRecord],
    table: EditTable | None,
    *,
    start: Sequence[bytes] = (),
) -> Past:
    """Add commits that follow, and what a table says of their units; edits of other commits are passed over.

    `start` are paths that exist before the first of them, where that is not told by `past`.
    """
    numbers = FileNumbers(past)
    numbers.start(start, len(past) - 1)
    oids, times = list(past.oids), past.times.tolist()
    changed: list[tuple[int, int]] = []
    at: dict[tuple[str, bytes], int] = {}
    for record in records:
        commit = len(oids)
        oids.append(record.oid)
        times.append(max(record.committer_time, times[-1] if times else 0))
        if record.boundary:
            # Where a shallow clone ends, everything looks new.
            numbers.start((c.path for c in record.changes), commit)
            files = {c.path: numbers.current[c.path] for c in record.changes if c.path in numbers.current}
        else:
            files = numbers.add(commit, record)
            changed += [(commit, file) for file in dict.fromkeys(files.values())]
        at |= {(record.oid, path): file for path, file in files.items() if path.endswith(b".py")}
    paths = [p.decode("utf-8", "surrogateescape") for p in numbers.paths]
    longer = replace(
        past,
        oids=oids,
        times=np.array(times, np.int64),
        changed=_joined(past.changed, _columns(changed, 2)),
        named=_joined(past.named, _columns(numbers.named, 3)),
        paths=paths,
    )
    return longer if table is None else _with_units(longer, past, table, at)


def _joined(old: tuple[Any, ...], new: tuple[Any, ...]) -> Any:
    """Columns, each followed by its new rows."""
    return tuple(np.concatenate(pair) for pair in zip(old, new, strict=True))


def _columns(rows: list[Any], width: int) -> tuple[I32, ...]:
    table = np.array(rows, np.int32).reshape(-1, width)
    return tuple(table[:, i] for i in range(width))


def _with_units(longer: Past, past: Past, table: EditTable, at: dict[tuple[str, bytes], int]) -> Past:
    position = {oid: i for i, oid in enumerate(longer.oids) if i >= len(past)}
    row = np.array([position.get(oid, -1) for oid in table.commits.oid], np.int32)
    if len(table) == 0:
        return longer
    width = max(len(table.paths), 1)
    pairs, of = np.unique(table.commit.astype(np.int64) * width + table.path, return_inverse=True)
    files = [
        at.get((table.commits.oid[p // width], table.paths[p % width].encode("utf-8", "surrogateescape")), -1)
        for p in pairs.tolist()
    ]
    commit, file = row[table.commit], np.array(files, np.int32)[of.ravel()]
    kept = (commit >= 0) & (file >= 0)
    gone = (table.flags & core.FLAG_DELETED) > 0
    unit_ids, units = _interned(past.units, table.units)
    name_ids, names = _interned(past.names, table.names)
    unit = unit_ids[table.unit]
    if len(past.edits[0]):
        chain = _chains(past, table, file, unit, unit_ids[table.unit_before], gone, kept)
    else:
        chain = table.chain
    index = np.flatnonzero(kept)
    fresh = (commit[index], file[index], chain[index], unit[index], gone[index])
    edit = np.repeat(np.arange(len(table)), np.diff(table.name_offsets))
    held = kept[edit]
    edit, name, sort = edit[held], name_ids[table.name_ids[held]], _sort_of(table.name_flags[held])
    first = first_of((chain[edit].astype(np.int64) * max(len(names), 1) + name) * 4 + sort)
    edit = edit[first]
    brought = (commit[edit], file[edit], chain[edit], name[first], sort[first])
    return replace(
        longer,
        units=units,
        names=names,
        edits=_joined(past.edits, fresh),
        mentions=_joined(past.mentions, brought),
    )


def _interned(old: list[str], new: list[str]) -> tuple[I32, list[str]]:
    """Numbers [n] of the new texts, after those of the old ones; and all texts."""
    known = {text: i for i, text in enumerate(old)}
    numbers = np.array([known.setdefault(text, len(known)) for text in new], np.int32)
    return numbers, list(known)


def _chains(
    past: Past,
    table: EditTable,
    file: I32,
    unit: I32,
    before: I32,
    gone: NDArray[np.bool_],
    kept: NDArray[np.bool_],
) -> I32:
    """Find the units of the past that edits [N] go on with, by file and name; others get new numbers."""
    files, units, exists = past.units_before(len(past))
    alive = {(int(files[c]), int(units[c])): int(c) for c in np.flatnonzero(exists)}
    chain = np.zeros(len(table), np.int32)
    count = past.chains
    created = (table.flags & core.FLAG_CREATED) > 0
    for i in np.flatnonzero(kept).tolist():
        found = None if created[i] else alive.pop((int(file[i]), int(before[i])), None)
        if found is None:
            found, count = count, count + 1
        chain[i] = found
        if not gone[i]:
            alive[int(file[i]), int(unit[i])] = found
    return chain


def _sort_of(flags: NDArray[np.uint8]) -> NDArray[np.uint8]:
    imported, bound = (flags & core.NAME_IMPORT) > 0, (flags & core.NAME_BOUND) > 0
    return np.where(imported, IMPORT, np.where(bound, DEFINITION, USE)).astype(np.uint8)
