"""Commits, file changes and versions of files in, one `EditTable` out.

Everything is numbered by first appearance, so that a table that was built in steps is the table that is built
at once, and so that the first commits of a table are a prefix of all its arrays (`truncate`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codewm.corpus import labels
from codewm.corpus.records import CommitRecord, FileChange, is_python
from codewm.corpus.table import (
    COMMIT_BOUNDARY,
    COMMIT_MERGE,
    COMMIT_ROOT,
    COMMIT_TYPES,
    CommitTable,
    EditTable,
)
from codewm_core import Miner, assign_chains

I32 = NDArray[np.int32]
# Which of several repositories a commit is from is for `merge` to say.
_COMMIT_COLUMNS = tuple(f.name for f in fields(CommitTable) if f.name != "repository")


class TableBuilder:
    """A table that grows by whole commits. Rows of edits, states, units and names are numbered by the core."""

    def __init__(
        self,
        *,
        tokenizer_id: str,
        action_id: str,
        window: int,
        base: EditTable | None = None,
        salt: bytes = b"",
        with_authors: bool = False,
        threads: int = 0,
    ) -> None:
        self._tokenizer_id = tokenizer_id
        self._action_id = action_id
        self._window = window
        self._base = base
        self._salt = salt
        self._with_authors = with_authors
        self._miner = Miner(window=window, action=action_id, threads=threads)
        self._commits: dict[str, list[Any]] = {name: [] for name in _COMMIT_COLUMNS}
        self._rows: dict[str, int] = {}
        self._paths: dict[bytes, int] = {}
        self._renames: list[tuple[int, int, int]] = []
        if base is not None:
            self._continue(base)

    def add_commit(self, record: CommitRecord) -> None:
        """Append a commit; the changes that follow are its."""
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

    def add_change(self, change: FileChange) -> tuple[int, int]:
        """Count a Python file change of the last commit; return its row and the number of the path."""
        commit = len(self._commits["oid"]) - 1
        self._commits["file_changes"][commit] += 1
        before = self._path(change.old_path) if change.old_path is not None else None
        path = self._path(change.path)
        python = is_python(change.old_path) and is_python(change.new_path)
        if before is not None and before != path and python:
            self._renames.append((commit, before, path))
        return commit, path

    def add_edits(
        self,
        blobs: Sequence[tuple[str, bytes]],
        places: Sequence[tuple[int, int]],
        versions: Sequence[tuple[str | None, str | None]],
    ) -> list[int]:
        """Append the edits between versions of files at (commit, path) `places`; return those without any.

        Versions go by the keys of `blobs`, of this call or of one before.
        """
        changes = [(*place, *version) for place, version in zip(places, versions, strict=True)]
        edits, added, deleted = self._miner.add(blobs, changes)
        for (commit, _), more, fewer in zip(places, added.tolist(), deleted.tolist(), strict=True):
            self._commits["lines_added"][commit] += more
            self._commits["lines_deleted"][commit] += fewer
        return [int(i) for i in np.flatnonzero(edits == 0)]

    def forget(self, keys: Sequence[str]) -> None:
        """Let go of versions that no later change names, or that will be given again."""
        self._miner.forget(keys)

    def table(self) -> EditTable:
        """Return the table so far, with its chains."""
        new = self._miner.columns()
        base = self._base
        moved = new.pop("moved")
        lengths, names = new.pop("state_lengths"), new.pop("name_counts")
        tokens, hashes = new.pop("state_tokens"), new.pop("state_hashes")
        units, texts = new.pop("units"), new.pop("names")
        column: dict[str, Any] = new
        renames = np.array(self._renames, np.int32).reshape(-1, 3)
        known = np.zeros(0, np.int32)
        chain, step = known, known
        if base is not None:
            column = {name: np.concatenate([getattr(base, name), rows]) for name, rows in new.items()}
            moved += len(base)
            lengths = np.concatenate([np.diff(base.offsets), lengths])
            names = np.concatenate([np.diff(base.name_offsets), names])
            tokens = np.concatenate([base.tokens, tokens])
            hashes = np.concatenate([base.state_hash, hashes])
            units, texts = [*base.units, *units], [*base.names, *texts]
            chain, step = base.chain, base.step
        column["chain"], column["step"] = assign_chains(
            column["commit"],
            column["path"],
            column["unit"],
            column["unit_before"],
            column["flags"],
            renames,
            chain,
            step,
            moved,
        )
        return EditTable(
            tokens=tokens,
            offsets=_offsets(lengths),
            state_hash=hashes,
            name_offsets=_offsets(names),
            commits=self._commit_table(),
            renames=renames,
            paths=[p.decode("utf-8", "surrogateescape") for p in self._paths],
            units=units,
            names=texts,
            window=self._window,
            tokenizer_id=self._tokenizer_id,
            action_id=self._action_id,
            **column,
        )

    def _commit_table(self) -> CommitTable:
        c = {name: list(values) for name, values in self._commits.items()}
        arrays = {n: np.array(c[n], kind) for n, kind in COMMIT_TYPES.items() if n in c}
        columns: dict[str, Any] = c | arrays
        return CommitTable(**columns)

    def _continue(self, base: EditTable) -> None:
        for name, values in self._commits.items():
            held = getattr(base.commits, name)
            values.extend(held if isinstance(held, list) else held.tolist())
        self._rows.update({oid: i for i, oid in enumerate(base.commits.oid) if oid})
        self._paths.update({p.encode("utf-8", "surrogateescape"): i for i, p in enumerate(base.paths)})
        self._renames.extend((c, a, b) for c, a, b in base.renames.tolist())
        self._miner.resume(base.tokens, base.offsets, base.units, base.names)

    def _author(self, record: CommitRecord) -> str:
        who = f"{record.author_name} <{record.author_email}>"
        if self._with_authors:
            return who
        secret = self._salt[:64]
        return hashlib.blake2b(who.encode("utf-8", "replace"), key=secret, digest_size=8).hexdigest()

    def _path(self, path: bytes) -> int:
        return self._paths.setdefault(path, len(self._paths))


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


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
