"""A repository and a commit in, the edits before that commit and the names known at any date out.

The history is what scoring compares with. It comes from chains.h5 when that covers the commit, else it is
harvested on the fly. Names are known *as of a date*: the tree at the start of the history says which
identifiers existed, and replaying the edits forward says what each commit added. Nothing is ever judged by
what came after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.distinct import distinct
from codewm.corpus.table import COMMIT_BOUNDARY

if TYPE_CHECKING:
    from codewm.corpus.git import CommitRecord, Repository
    from codewm.corpus.table import EditTable

Hashes = NDArray[np.uint64]
Counts = NDArray[np.int32]


@dataclass(frozen=True)
class HistoryLimit:
    """How much of the past is read."""

    commits: int = 500
    """First-parent commits before the base that touch Python."""
    walk: int = 2_000
    """First-parent commits looked at for those."""
    edits: int = 4_000
    """Unit edits, newest first, cut at a whole commit."""
    files: int = 2_000
    """Python file changes read on the fly; older commits are left out once these are reached."""
    files_per_commit: int = 300
    """A past commit that touches more Python files (a reformat, a vendored tree) teaches nothing and is
    skipped.
    """
    name_files: int = 4_000
    """Python files of the starting tree read for their names, in path order."""


@dataclass(frozen=True)
class Names:
    """In how many files of a repository each identifier occurs, as of a date."""

    hashes: Hashes
    """[V] `name_hash` of each known name, ascending."""
    counts: Counts
    """[V] files that hold it; an edit that adds it to one more file counts one."""

    def __len__(self) -> int:
        return len(self.hashes)

    def look_up(self, hashes: Hashes) -> Counts:
        """[n] hashes -> [n] counts, 0 for names never seen."""
        if len(self.hashes) == 0:
            return np.zeros(len(hashes), np.int32)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return np.where(self.hashes[at] == hashes, self.counts[at], 0).astype(np.int32)

    def plus(self, added: Hashes) -> Names:
        """Return the knowledge after `added` (a hash may repeat: one per file that gained the name)."""
        if len(added) == 0:
            return self
        everything = np.concatenate([self.hashes, added])
        weights = np.concatenate([self.counts, np.ones(len(added), np.int32)])
        hashes, where = np.unique(everything, return_inverse=True)
        counts = np.bincount(where.ravel(), weights=weights, minlength=len(hashes))
        return Names(hashes, counts.astype(np.int32))


NO_NAMES = Names(np.empty(0, np.uint64), np.empty(0, np.int32))


def name_hash(names: Sequence[str]) -> Hashes:
    """[n] names -> [n] 64-bit hashes, the same in every process (BLAKE2b, 8 bytes)."""
    digests = (hashlib.blake2b(n.encode("utf-8", "surrogatepass"), digest_size=8).digest() for n in names)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def names_of_tree(repo: Repository, revision: str, limit: HistoryLimit) -> Names:
    """Count the files of `revision` that hold each identifier; '' (before the root) knows nothing."""
    if not revision:
        return NO_NAMES
    oids = [oid for _, oid, *_ in repo.tree_python_blobs(revision)][: limit.name_files]
    sources = [blob for _, blob in repo.read_blobs(oids) if blob is not None]
    names, counts = core.identifiers(sources)
    hashes = name_hash(names)
    order = np.argsort(hashes)
    return Names(hashes[order], np.asarray(counts, np.int32)[order])


@dataclass(frozen=True)
class Replay:
    """What was known when, for the K name uses of a table."""

    before: Counts
    """[K] files that held the name before the commit that uses it."""
    gained: Hashes
    """[G] hash of each name that a file gained, commit by commit."""
    gained_in: NDArray[np.int32]
    """[G] commit index in the table, ascending."""


def replay(known: Names, table: EditTable) -> Replay:
    """Walk the table's commits in order: look up each added name, then learn the commit's names.

    All edits of one commit are judged by what was known before that commit.
    """
    uses = len(table.name_ids)
    before = np.zeros(uses, np.int32)
    if uses == 0:
        return Replay(before, np.empty(0, np.uint64), np.empty(0, np.int32))
    hashes = name_hash(table.names)
    counts = known.look_up(hashes)
    edit = np.repeat(np.arange(len(table)), np.diff(table.name_offsets))
    commit, path = table.commit[edit], table.path[edit].astype(np.int64)
    if np.any(np.diff(commit) < 0):
        raise ValueError("edits must be ordered oldest commit first")
    new_here = (table.name_flags & core.NAME_IN_MODULE) == 0
    bounds = np.flatnonzero(np.diff(commit)) + 1
    gained: list[Hashes] = []
    gained_in: list[NDArray[np.int32]] = []
    width = len(table.names)
    for low, high in zip([0, *bounds], [*bounds, uses], strict=True):
        ids = table.name_ids[low:high]
        before[low:high] = counts[ids]
        fresh = new_here[low:high]
        # A file counts a name once, in however many of its units the name turns up.
        pairs = distinct(path[low:high][fresh] * width + ids[fresh])
        learnt = (pairs % width).astype(np.int64)
        np.add.at(counts, learnt, 1)
        gained.append(hashes[learnt])
        gained_in.append(np.full(len(learnt), commit[low], np.int32))
    return Replay(before, np.concatenate(gained), np.concatenate(gained_in))


@dataclass(frozen=True)
class History:
    """The edits of the commits up to a base, and where they come from."""

    table: EditTable
    """Every commit of the run, with or without edits, oldest first; its last commit is the base."""
    before: str
    """First parent of the first commit, '' if that is a root; the tree to read known names from."""
    source: str
    """'chains' or 'live'."""


def history(
    repo: Repository,
    base: str,
    limit: HistoryLimit,
    *,
    window: int,
    action: str,
) -> History:
    """Read the edits of `base` and the first-parent commits before it, within the limit.

    Takes them from chains.h5 where that was made with the same window and action and holds `base`; else
    harvests them on the fly. Raises `UserError` where chains.h5 is damaged, foreign or of another tokeniser:
    quietly reading around it would hide that the next training run cannot use it.
    """
    table = _from_chains(repo, base, limit, window, action)
    source = "chains"
    if table is None:
        records = live_records(repo, base, limit)
        table = harvest_live(repo, records, window=window, action=action)
        source = "live"
    return _since(table, limit, source)


def history_in(table: EditTable, last: int, limit: HistoryLimit) -> History:
    """Read the edits of commit `last` of a table and those before it, within the limit, as `history` does."""
    return _since(_latest(table, last, limit), limit, "chains")


def _since(table: EditTable, limit: HistoryLimit, source: str) -> History:
    table = _without_sweeps(table, limit)
    first = table.commits
    # Where a shallow clone ends, the tree of the boundary itself is all that is known.
    boundary = bool(first.flags[0] & COMMIT_BOUNDARY)
    return History(table, first.oid[0] if boundary else first.parent[0], source)


def harvest_live(repo: Repository, records: Sequence[CommitRecord], *, window: int, action: str) -> EditTable:
    """Turn records into edits now, without storing anything."""
    from codewm.corpus.edits import extract

    return extract(repo, records, window=window, action=action)[0]


def live_records(repo: Repository, base: str, limit: HistoryLimit) -> list[CommitRecord]:
    """List the commits to harvest on the fly, oldest first; sweeping commits lose their changes."""
    records = list(repo.commits(base, max_count=limit.walk, suffix=b".py"))
    kept: list[CommitRecord] = []
    files = commits = 0
    for record in reversed(records):
        touched = sum(change.is_python for change in record.changes)
        if touched > limit.files_per_commit:
            record, touched = record._replace(changes=()), 0
        files += touched
        commits += touched > 0
        if kept and (files > limit.files or commits > limit.commits):
            break
        kept.append(record)
    return kept[::-1]


def _from_chains(
    repo: Repository, base: str, limit: HistoryLimit, window: int, action: str
) -> EditTable | None:
    path = repo.data_dir / "chains.h5"
    if not path.is_file():
        return None
    from codewm.corpus import store

    table = store.read(path)
    if table.window != window or table.action_id != action or base not in table.commits.oid:
        return None
    return _latest(table, table.commits.oid.index(base), limit)


def _latest(table: EditTable, last: int, limit: HistoryLimit) -> EditTable:
    touching = np.flatnonzero(table.commits.file_changes[: last + 1] > 0)[-limit.commits :]
    first = int(touching[0]) if len(touching) else 0
    return commits_between(table, max(first, last + 1 - limit.walk), last)


def commits_between(table: EditTable, first: int, last: int) -> EditTable:
    """Return the table of the commits `first` to `last` (inclusive) alone; strings and states stay as they
    are.
    """
    size = last + 1 - first
    kept = table.select((table.commit >= first) & (table.commit <= last))
    part = slice(first, last + 1)
    columns = {f.name: getattr(table.commits, f.name)[part] for f in fields(table.commits)}
    reverts = columns["reverts"] - np.int32(first)
    columns["reverts"] = np.where((reverts >= 0) & (reverts < size), reverts, -1).astype(np.int32)
    renames = table.renames[(table.renames[:, 0] >= first) & (table.renames[:, 0] <= last)].copy()
    renames[:, 0] -= first
    return replace(
        kept, commits=replace(table.commits, **columns), commit=kept.commit - np.int32(first), renames=renames
    )


def _without_sweeps(table: EditTable, limit: HistoryLimit) -> EditTable:
    sweeping = table.commits.file_changes > limit.files_per_commit
    return table.select(~sweeping[table.commit]) if sweeping.any() else table
