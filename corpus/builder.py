"""Commits, file changes and batches of unit edits in, one `EditTable` out.

Everything is numbered by first appearance, so that a table that was built in steps is the table that is built
at once, and so that the first commits of a table are a prefix of all its arrays (`truncate`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codewm.corpus import chains, labels
from codewm.corpus.records import CommitRecord, FileChange
from codewm.corpus.table import (
    COMMIT_BOUNDARY,
    COMMIT_MERGE,
    COMMIT_ROOT,
    COMMIT_TYPES,
    EDIT_COLUMNS,
    NAME_COLUMNS,
    CommitTable,
    EditTable,
)
from codewm_core import FLAG_CREATED, FLAG_DELETED, EditBatch

I32 = NDArray[np.int32]
_GROWING = tuple(c for c in (*EDIT_COLUMNS, *NAME_COLUMNS) if c not in ("chain", "step"))
# Element type where it is not int32.
_TYPES: dict[str, Any] = {
    "action": np.float32,
    "kind": np.uint8,
    "flags": np.uint16,
    "name_flags": np.uint8,
}


class TableBuilder:
    """A table that grows; `add_commit` and `add_change` may run beside `add_edits`, in another thread."""

    def __init__(
        self,
        *,
        tokenizer_id: str,
        action_id: str,
        action_width: int,
        window: int,
        base: EditTable | None = None,
        salt: bytes = b"",
        with_authors: bool = False,
    ) -> None:
        self._tokenizer_id = tokenizer_id
        self._action_id = action_id
        self._window = window
        self._salt = salt
        self._with_authors = with_authors
        self._commits: dict[str, list[Any]] = {f.name: [] for f in fields(CommitTable)}
        self._rows: dict[str, int] = {}
        self._lines: dict[int, tuple[int, int]] = {}
        self._paths: dict[bytes, int] = {}
        self._units: dict[str, int] = {}
        self._names: dict[str, int] = {}
        self._renames: list[tuple[int, int, int]] = []
        self._states: dict[bytes, int] = {}
        self._tokens: list[bytes] = []
        self._lengths: list[int] = []
        self._hashes: list[int] = []
        wide = {"action": (0, action_width), "lines": (0, 2)}
        # Each column starts with an empty chunk of its type, so that a history without edits has one too.
        self._columns: dict[str, list[NDArray[Any]]] = {
            name: [np.zeros(wide.get(name, (0,)), _TYPES.get(name, np.int32))] for name in _GROWING
        }
        self._name_counts: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
        if base is not None:
            self._continue(base)

    def add_commit(self, record: CommitRecord) -> int:
        """Append a commit; return its row."""
        row = len(self._commits["oid"])
        flags = (
            COMMIT_MERGE * record.is_merge
            | COMMIT_ROOT * (not record.parents and not record.boundary)
            | COMMIT_BOUNDARY * record.boundary
        )
        values: dict[str, Any] = {
            "oid": record.oid,
            "parent": record.parents[0] if record.parents else "",
            "author": self._author(record),
            "time": record.author_time,
            "committer_time": record.committer_time,
            "subject": record.subject,
            "flags": flags,
            "file_changes": 0,
            "lines_added": 0,
            "lines_deleted": 0,
            "reverts": labels.reverted(record, self._rows, self._commits["subject"]),
            "fixes": labels.is_fix(record),
        }
        for name, value in values.items():
            self._commits[name].append(value)
        if record.oid:
            self._rows[record.oid] = row
        return row

    def add_change(self, commit: int, change: FileChange) -> int:
        """Count a Python file change; return the number of its path."""
        self._commits["file_changes"][commit] += 1
        before = self._path(change.old_path) if change.old_path is not None else None
        path = self._path(change.path)
        python = all(p is not None and p.endswith(b".py") for p in (change.old_path, change.new_path))
        if before is not None and before != path and python:
            self._renames.append((commit, before, path))
        return path

    def add_edits(self, places: Sequence[tuple[int, int]], batch: EditBatch) -> list[int]:
        """Append what the core made of pairs at (commit, path) `places`; return pairs without edits."""
        where = np.array(places, np.int32).reshape(-1, 2)
        for commit, added, deleted in np.column_stack([where[:, 0], batch.pair_lines]).tolist():
            was = self._lines.get(commit, (0, 0))
            self._lines[commit] = (was[0] + added, was[1] + deleted)
        unit_before, unit = self._intern_units(batch)
        before, after = self._intern_states(batch)
        self._name_counts.append(np.diff(batch.name_offsets))
        columns = {
            "before": before,
            "after": after,
            "commit": where[batch.pair, 0],
            "path": where[batch.pair, 1],
            "unit": unit,
            "unit_before": unit_before,
            "name_ids": self._intern_names(batch),
        }
        for name, chunks in self._columns.items():
            chunks.append(columns[name] if name in columns else getattr(batch, name))
        silent = np.ones(len(places), bool)
        silent[batch.pair] = False
        return [int(i) for i in np.flatnonzero(silent)]

    def table(self) -> EditTable:
        """Return the table so far, with its chains."""
        column: dict[str, Any] = {name: np.concatenate(chunks) for name, chunks in self._columns.items()}
        renames = np.array(self._renames, np.int32).reshape(-1, 3)
        column["chain"], column["step"] = chains.assign(
            column["commit"], column["path"], column["unit"], column["unit_before"], column["flags"], renames
        )
        tokens = np.frombuffer(b"".join(self._tokens), "<u2").astype(np.uint16)
        return EditTable(
            tokens=tokens,
            offsets=np.concatenate([[0], np.cumsum(self._lengths, dtype=np.int64)]).astype(np.int64),
            state_hash=np.array(self._hashes, np.uint64),
            name_offsets=np.cumsum(np.concatenate(self._name_counts)),
            commits=self._commit_table(),
            renames=renames,
            paths=[p.decode("utf-8", "surrogateescape") for p in self._paths],
            units=list(self._units),
            names=list(self._names),
            window=self._window,
            tokenizer_id=self._tokenizer_id,
            action_id=self._action_id,
            **column,
        )

    def _commit_table(self) -> CommitTable:
        c = {name: list(values) for name, values in self._commits.items()}
        for row, (added, deleted) in self._lines.items():
            c["lines_added"][row] += added
            c["lines_deleted"][row] += deleted
        columns: dict[str, Any] = c | {n: np.array(c[n], kind) for n, kind in COMMIT_TYPES.items()}
        return CommitTable(**columns)

    def _continue(self, base: EditTable) -> None:
        for name, chunks in self._columns.items():
            chunks.append(getattr(base, name))
        self._name_counts.append(np.diff(base.name_offsets))
        for name, values in self._commits.items():
            held = getattr(base.commits, name)
            values.extend(held if isinstance(held, list) else held.tolist())
        self._rows.update({oid: i for i, oid in enumerate(base.commits.oid) if oid})
        self._paths.update({p.encode("utf-8", "surrogateescape"): i for i, p in enumerate(base.paths)})
        self._units.update({u: i for i, u in enumerate(base.units)})
        self._names.update({n: i for i, n in enumerate(base.names)})
        self._renames.extend((c, a, b) for c, a, b in base.renames.tolist())
        flat = base.tokens.astype("<u2").tobytes()
        bounds = (base.offsets * 2).tolist()
        for start, end in pairwise(bounds):
            self._state(flat[start:end])

    def _author(self, record: CommitRecord) -> str:
        who = f"{record.author_name} <{record.author_email}>"
        if self._with_authors:
            return who
        secret = self._salt[:64]
        return hashlib.blake2b(who.encode("utf-8", "replace"), key=secret, digest_size=8).hexdigest()

    def _path(self, path: bytes) -> int:
        return self._paths.setdefault(path, len(self._paths))

    def _intern_units(self, batch: EditBatch) -> tuple[I32, I32]:
        """Number the unit before and after each edit; the one that does not exist takes the other's name."""
        units, pairs = self._units, []
        for b, a, f in zip(batch.before_unit, batch.after_unit, batch.flags.tolist(), strict=True):
            before = a if f & FLAG_CREATED else b
            after = b if f & FLAG_DELETED else a
            pairs.append((units.setdefault(before, len(units)), units.setdefault(after, len(units))))
        both = np.array(pairs, np.int32).reshape(-1, 2)
        return both[:, 0].copy(), both[:, 1].copy()

    def _intern_names(self, batch: EditBatch) -> I32:
        """Number names by first use, not by their place in a list that knows only its batch."""
        used, first = np.unique(batch.name_ids, return_index=True)
        numbers = np.zeros(len(batch.names), np.int32)
        for i in used[np.argsort(first)].tolist():
            numbers[i] = self._names.setdefault(batch.names[i], len(self._names))
        return numbers[batch.name_ids]

    def _intern_states(self, batch: EditBatch) -> tuple[I32, I32]:
        sides = [
            (tokens.astype("<u2").tobytes(), (offsets * 2).tolist())
            for tokens, offsets in (
                (batch.before_tokens, batch.before_offsets),
                (batch.after_tokens, batch.after_offsets),
            )
        ]
        (b, bo), (a, ao) = sides
        ids = [
            (self._state(b[bo[i] : bo[i + 1]]), self._state(a[ao[i] : ao[i + 1]])) for i in range(len(batch))
        ]
        both = np.array(ids, np.int32).reshape(-1, 2)
        return both[:, 0].copy(), both[:, 1].copy()

    def _state(self, tokens: bytes) -> int:
        digest = hashlib.blake2b(tokens, digest_size=16).digest()
        number = self._states.setdefault(digest, len(self._states))
        if number == len(self._tokens):
            self._tokens.append(tokens)
            self._lengths.append(len(tokens) // 2)
            self._hashes.append(int.from_bytes(digest[:8], "little"))
        return number


def truncate(table: EditTable, ledger: I32, commits: int) -> tuple[EditTable, I32]:
    """Return the table and the ledger rows [L, 3] as they were after the first `commits` commits."""
    kept = table.select(table.commit < commits)
    rows = ledger[ledger[:, 0] < commits]
    renames = table.renames[table.renames[:, 0] < commits]
    states = 1 + _highest(kept.before, kept.after)
    paths = 1 + _highest(kept.path, rows[:, 2], renames[:, 1:])
    end = int(table.offsets[states])
    held = {f.name: getattr(table.commits, f.name)[:commits] for f in fields(CommitTable)}
    return (
        replace(
            kept,
            tokens=table.tokens[:end],
            offsets=table.offsets[: states + 1],
            state_hash=table.state_hash[:states],
            commits=CommitTable(**held),
            renames=renames,
            paths=table.paths[:paths],
            units=table.units[: 1 + _highest(kept.unit, kept.unit_before)],
            names=table.names[: 1 + _highest(kept.name_ids)],
        ),
        rows,
    )


def _highest(*ids: I32) -> int:
    return max((int(i.max()) for i in ids if i.size), default=-1)
