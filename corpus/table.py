"""The edits of a history as flat arrays: the one container that harvest makes and everything else reads.

States are stored once each and referred to by id; variable-length things are one flat array and offsets, as
in a CSR matrix. Edits are ordered oldest commit first. `chains.h5` is this, written down.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codewm.corpus.commits import (
    COMMIT_BOUNDARY as COMMIT_BOUNDARY,
    COMMIT_MERGE as COMMIT_MERGE,
    COMMIT_ROOT as COMMIT_ROOT,
)
from codewm.corpus.division import Division

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U64 = NDArray[np.uint64]
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Origin:
    """A repository that edits come from."""

    identity: str
    """`Repository.identity`, the same in every full clone."""
    root: str
    """The first commit of its first-parent line that there was."""
    tip: str
    """The newest commit harvested."""
    name: str
    """Its folder, as shown to people; says nothing about which repository it is."""
    commits: int
    """Commits of it in the table."""


@dataclass(frozen=True)
class CommitTable:
    """C commits of a first-parent line, oldest first; every commit walked, with or without edits.

    In a corpus the lines of several repositories follow each other.
    """

    oid: list[str]
    """[C] '' is the index or the work tree."""
    parent: list[str]
    """[C] the first parent, '' for a root."""
    author: list[str]
    """[C] salted hash, or `Name <email>` where that was asked for."""
    time: I64
    """[C] author time, unix seconds."""
    committer_time: I64
    """[C] committer time, unix seconds."""
    subject: list[str]
    """[C] first line of the message."""
    flags: U8
    """[C] bits `COMMIT_*`."""
    file_changes: I32
    """[C] Python file changes against the first parent, counted before anything is skipped."""
    lines_added: I32
    """[C] lines added to the Python files that were read."""
    lines_deleted: I32
    """[C] likewise."""
    reverts: I32
    """[C] row of the commit that this one says it reverts, or -1."""
    fixes: NDArray[np.bool_]
    """[C] the subject reads like a fix."""
    repository: I32 = field(default_factory=lambda: np.zeros(0, np.int32))
    """[C] index into the table's `repositories`, ascending. What is left out at the end is 0."""

    def __post_init__(self) -> None:
        missing = len(self.oid) - len(self.repository)
        if missing > 0:
            whole = np.concatenate([np.asarray(self.repository, np.int32), np.zeros(missing, np.int32)])
            object.__setattr__(self, "repository", whole)

    def __len__(self) -> int:
        return len(self.oid)


@dataclass(frozen=True)
class EditTable:
    """N edits between U states in C commits; `A` is the width of the action vector."""

    tokens: U16
    """[T] token ids of all states."""
    offsets: I64
    """[U + 1] state i is `tokens[offsets[i]:offsets[i + 1]]`."""
    state_hash: U64
    """[U] First 8 bytes (little endian) of the BLAKE2b-128 of the tokens as little-endian u16."""
    before: I32
    """[N] state id."""
    after: I32
    """[N] state id."""
    action: F32
    """[N, A]"""
    commit: I32
    """[N] row of `commits`, ascending."""
    path: I32
    """[N] index into `paths`: the file after the edit, or before it if it was deleted."""
    unit: I32
    """[N] index into `units`: the unit after the edit, or before it if it was deleted."""
    unit_before: I32
    """[N] likewise: the unit before the edit, or after it if it was created; differs where it was renamed."""
    kind: U8
    """[N] index into `codewm_core.KINDS`."""
    chain: I32
    """[N] edits of the same unit through time share it."""
    step: I32
    """[N] place in the chain, from 0."""
    flags: U16
    """[N] bits `codewm_core.FLAG_*`."""
    tokens_added: I32
    tokens_removed: I32
    lines: I32
    """[N, 2] first and last line of the unit after the edit (before it, if deleted), from 1."""
    first_changed_line: I32
    name_offsets: I64
    """[N + 1] into the three below: names that occur more often in the unit than before."""
    name_ids: I32
    """[K] index into `names`."""
    name_flags: U8
    """[K] bits `codewm_core.NAME_*`."""
    name_lines: I32
    """[K] line of the new occurrence."""
    commits: CommitTable
    renames: I32
    """[R, 3] commit, path before, path after; of every renamed Python file, edited or not."""
    paths: list[str]
    """Bytes of a path that are no UTF-8 are kept by `surrogateescape`."""
    units: list[str]
    names: list[str]
    tokenizer_id: str
    action_id: str
    window: int
    """Tokens of a state at most."""
    repositories: tuple[Origin, ...] = ()
    """Where the commits come from; () is one repository that nobody named."""
    division: Division | None = None
    """What the edits are for, in a corpus that was divided."""

    def __len__(self) -> int:
        return len(self.before)

    def select(self, which: ArrayLike) -> EditTable:
        """Keep some edits, by mask [N] or indices in order; states and commits stay as they are."""
        index = np.asarray(which)
        if index.dtype == np.bool_:
            index = np.flatnonzero(index)
        index = index.astype(np.int64)
        counts = np.diff(self.name_offsets)[index]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        # Row i of the selection takes its names from the same run in the old arrays.
        flat = np.arange(offsets[-1]) + np.repeat(self.name_offsets[:-1][index] - offsets[:-1], counts)
        rows = {name: getattr(self, name)[index] for name in EDIT_COLUMNS}
        names = {name: getattr(self, name)[flat] for name in NAME_COLUMNS}
        division = None if self.division is None else self.division.select(index)
        return replace(self, **rows, **names, name_offsets=offsets, division=division)

    def state(self, one: int) -> U16:
        """The tokens of a state."""
        return self.tokens[self.offsets[one] : self.offsets[one + 1]]

    def states(self, ids: ArrayLike) -> tuple[U16, I64]:
        """Gather states [n] into flat tokens and offsets [n + 1], as the engine and the trainer take them."""
        return take_states(self.tokens, self.offsets, ids)

    def check(self) -> None:
        """Raise `ValueError` if an index points outside its table or a length disagrees."""
        n, c, k = len(self), len(self.commits), len(self.name_ids)
        for name in EDIT_COLUMNS:
            _require(len(getattr(self, name)) == n, f"{name} has a wrong length")
        for name in NAME_COLUMNS:
            _require(len(getattr(self, name)) == k, f"{name} has a wrong length")
        for column in fields(CommitTable):
            _require(
                len(getattr(self.commits, column.name)) == c, f"commits.{column.name} has a wrong length"
            )
        _check_offsets("offsets", self.offsets, len(self.tokens))
        _check_offsets("name_offsets", self.name_offsets, k)
        states = len(self.offsets) - 1
        _require(len(self.name_offsets) == n + 1, "name_offsets has a wrong length")
        _require(len(self.state_hash) == states, "state_hash has a wrong length")
        _require(bool((np.diff(self.offsets) <= self.window).all()), "a state is longer than the window")
        _require(self.action.ndim == 2 and self.lines.shape == (n, 2), "a column has a wrong shape")
        _require(self.renames.ndim == 2 and self.renames.shape[1] == 3, "renames has a wrong shape")
        for name, size in (
            ("before", states),
            ("after", states),
            ("commit", c),
            ("path", len(self.paths)),
            ("unit", len(self.units)),
            ("unit_before", len(self.units)),
        ):
            _check_ids(name, getattr(self, name), size)
        _check_ids("name_ids", self.name_ids, len(self.names))
        _check_ids("renames", self.renames[:, 0], c)
        _check_ids("renames", self.renames[:, 1:], len(self.paths))
        _check_ids("reverts", self.commits.reverts + 1, c + 1)
        self._check_repositories()
        if self.division is not None:
            self.division.check(self)
        _require(bool((np.diff(self.commit) >= 0).all()), "edits are out of order")

    def _check_repositories(self) -> None:
        repository, chain = self.commits.repository, self.chain
        _check_ids("commits.repository", repository, max(len(self.repositories), 1))
        _require(bool((np.diff(repository) >= 0).all()), "commits.repository is out of order")
        if self.repositories:
            counts = np.bincount(repository, minlength=len(self.repositories)).tolist()
            _require(counts == [r.commits for r in self.repositories], "a repository has other commits")
        if len(self.repositories) > 1 and len(self):
            # Chains are numbered by their first edit, so those of one repository follow each other, too.
            of_edit = repository[self.commit]
            _check_ids("chain", chain, len(self))
            first = np.full(int(chain.max()) + 1, -1, np.int32)
            first[chain[::-1]] = of_edit[::-1]
            _require(bool((first[chain] == of_edit).all()), "a chain runs through two repositories")


# Columns with one row per edit, and with one row per added name.
EDIT_COLUMNS = (
    "before", "after", "action", "commit", "path", "unit", "unit_before", "kind", "chain", "step", "flags",
    "tokens_added", "tokens_removed", "lines", "first_changed_line",
)  # fmt: skip
NAME_COLUMNS = ("name_ids", "name_flags", "name_lines")
COLUMN_TYPES: dict[str, type[np.generic]] = {
    **dict.fromkeys((*EDIT_COLUMNS, *NAME_COLUMNS), np.int32),
    "action": np.float32,
    "kind": np.uint8,
    "flags": np.uint16,
    "name_flags": np.uint8,
    "name_offsets": np.int64,
    "tokens": np.uint16,
    "offsets": np.int64,
    "state_hash": np.uint64,
}
"""The columns of an `EditTable` that are arrays."""
COMMIT_TYPES: dict[str, type[np.generic]] = {
    "time": np.int64,
    "committer_time": np.int64,
    "flags": np.uint8,
    "file_changes": np.int32,
    "lines_added": np.int32,
    "lines_deleted": np.int32,
    "reverts": np.int32,
    "fixes": np.bool_,
    "repository": np.int32,
}
"""The columns of a `CommitTable` that are arrays; the others are lists of text."""


def take_states(tokens: U16, offsets: I64, ids: ArrayLike) -> tuple[U16, I64]:
    """Gather states [n] of flat tokens and their offsets, repetitions and all: flat tokens and offsets [n + 1]."""
    index = np.asarray(ids, dtype=np.int64)
    starts, lengths = offsets[:-1][index], np.diff(offsets)[index]
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = np.arange(ends[-1]) + np.repeat(starts - ends[:-1], lengths)
    return tokens[flat], ends


def _check_offsets(name: str, offsets: I64, end: int) -> None:
    _require(offsets.ndim == 1 and len(offsets) > 0, f"{name} is empty")
    _require(offsets[0] == 0 and offsets[-1] == end, f"{name} does not span its array")
    _require(bool((np.diff(offsets) >= 0).all()), f"{name} goes backwards")


def _check_ids(name: str, ids: NDArray[np.int32], size: int) -> None:
    _require(ids.size == 0 or (int(ids.min()) >= 0 and int(ids.max()) < size), f"{name} points outside")


def _require(holds: bool | np.bool_, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
