"""Token states in commit order in, the bits of what each edit adds and removes out, as of each commit's date.

The n-gram cache of the core knows the tree that the history starts from and learns each commit after it was
measured. What it knows is kept as n-grams of full order and their counts: sorted arrays, which merge and cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.model.scoring.syntax import SYNTAX

if TYPE_CHECKING:
    from codewm.corpus.git import Repository
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.settings import GramSettings, TokenSettings

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Grams:
    """N-grams of a repository as of a date."""

    keys: Keys
    """[G] ascending; see `codewm_core.NgramCache`."""
    counts: NDArray[np.uint32]
    """[G] how often each occurred."""

    def plus(self, gained: Keys) -> Grams:
        """Return the knowledge after `gained`, in which an n-gram may repeat."""
        if len(gained) == 0:
            return self
        everything = np.concatenate([self.keys, gained])
        weights = np.concatenate([self.counts, np.ones(len(gained), np.uint32)])
        keys, where = np.unique(everything, return_inverse=True)
        counts = np.bincount(where.ravel(), weights=weights, minlength=len(keys))
        return Grams(keys, counts.astype(np.uint32))


NO_GRAMS = Grams(np.empty(0, np.uint64), np.empty(0, np.uint32))


@dataclass(frozen=True)
class Cost:
    """Bits of the tokens of N edits."""

    position: I32
    """[T] place of the token in its state."""
    bits: NDArray[np.float32]
    """[T]"""
    offsets: I64
    """[N + 1] of the edits in both."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of(self, edit: int) -> tuple[I32, NDArray[np.float32]]:
        """Return positions and bits of one edit's tokens."""
        part = slice(int(self.offsets[edit]), int(self.offsets[edit + 1]))
        return self.position[part], self.bits[part]

    def take(self, edits: I64) -> Cost:
        """Return the costs of the edits [M] by index."""
        counts = np.diff(self.offsets)[edits]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        flat = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][edits] - offsets[:-1], counts)
        return Cost(self.position[flat], self.bits[flat], offsets)


@dataclass(frozen=True)
class Bits:
    """What N edits cost, and what the commits taught."""

    added: Cost
    removed: Cost
    gained: Keys
    """[G] n-grams gained, in the order of the commits."""
    gained_in: I32
    """[G] commit index in the table."""
    silent: NDArray[np.bool_]
    """[N] too little was known to call anything unusual."""


@dataclass(frozen=True)
class Lore:
    """N-grams of one kind that a history taught: what it started with, and what each commit added."""

    start: Grams
    gained: Keys
    """[G] in the order of the commits."""
    gained_in: I32
    """[G] commit index."""

    def until(self, last: int) -> Lore:
        """Return what was known after commit `last`."""
        known = self.gained_in <= last
        return Lore(self.start, self.gained[known], self.gained_in[known])

    def since(self, first: int) -> Lore:
        """Return the same knowledge, of which what is older than commit `first` is where it starts."""
        late = self.gained_in >= first
        return Lore(
            self.start.plus(self.gained[~late]), self.gained[late], self.gained_in[late] - np.int32(first)
        )

    def plus(self, bits: Bits, commits: int) -> Lore:
        """Return the knowledge after more commits, which follow the first `commits`."""
        return Lore(
            self.start,
            np.concatenate([self.gained, bits.gained]),
            np.concatenate([self.gained_in, bits.gained_in + np.int32(commits)]),
        )


def lore_of(start: Grams) -> Lore:
    """Return what is known before the first commit."""
    return Lore(start, np.empty(0, np.uint64), np.empty(0, np.int32))


NO_LORE = lore_of(NO_GRAMS)


def lores_of_tree(repo: Repository, revision: str, settings: TokenSettings) -> tuple[Lore, Lore]:
    """Count the n-grams of words and of syntax in the Python files of `revision`; '' (before the root) has none."""
    if not revision:
        return NO_LORE, NO_LORE
    oids, size = [], 0
    for _, oid, length, *_ in repo.tree_python_blobs(revision):
        size += length
        if size > settings.tree_bytes:
            break
        oids.append(oid)
    sources = [blob for _, blob in repo.read_blobs(oids) if blob is not None]
    words, syntax = (lore_of(Grams(*_cache(s).count(sources))) for s in (settings.words, settings.syntax))
    return words, syntax


def _cache(settings: GramSettings) -> core.NgramCache:
    return core.NgramCache(settings.order, SYNTAX if settings.syntax else None)


class Walk:
    """A cache on its way through time."""

    def __init__(self, start: Grams, settings: GramSettings) -> None:
        self._settings = settings
        self._cache = _cache(settings)
        self._cache.add(start.keys, start.counts)
        self._known = int(start.counts.sum())
        self._silent = [np.empty(0, np.bool_)]
        self._costs: tuple[list[_Part], list[_Part]] = ([], [])
        self._gained = [np.empty(0, np.uint64)]
        self._gained_in = [np.empty(0, np.int32)]

    def learn(self, grams: Keys) -> None:
        """Let time pass: these n-grams were gained."""
        self._cache.add(grams)
        self._known += len(grams)

    def measure(self, table: EditTable, rows: I64) -> None:
        """Measure edits by what is known now."""
        self._silent.append(np.full(len(rows), self._known < self._settings.least))
        states = table.states(table.before[rows]), table.states(table.after[rows])
        for found, cost in zip(
            self._costs, self._cache.costs(*states, self._settings.own, self._settings.beyond), strict=True
        ):
            found.append(cost)

    def follow(self, table: EditTable, rows: I64) -> None:
        """Learn edits of one commit."""
        new, _ = self._cache.gained(table.states(table.before[rows]), table.states(table.after[rows]))
        self.learn(new)
        self._gained.append(new)
        self._gained_in.append(np.full(len(new), table.commit[rows[0]], np.int32))

    def bits(self) -> Bits:
        """Everything measured, in that order, and everything learnt from `follow`."""
        added, removed = (_joined(parts) for parts in self._costs)
        gained, gained_in = np.concatenate(self._gained), np.concatenate(self._gained_in)
        return Bits(added, removed, gained, gained_in, np.concatenate(self._silent))


def bits_of(table: EditTable, rows: I64, known: Lore, settings: GramSettings) -> Bits:
    """Measure the rows [N] of a table, commit by commit, by what was known before each commit."""
    walk = Walk(known.start, settings)
    walk.learn(known.gained)
    commit = table.commit[rows]
    bounds = [0, *(np.flatnonzero(np.diff(commit)) + 1).tolist(), len(rows)] if len(rows) else [0]
    for low, high in pairwise(bounds):
        walk.measure(table, rows[low:high])
        walk.follow(table, rows[low:high])
    return walk.bits()


def bits_alone(table: EditTable, rows: I64, date: I64, known: Lore, settings: GramSettings) -> Bits:
    """Measure the rows [N] of a table by what was known after the first `date` [N] commits, each by itself."""
    walk = Walk(known.start, settings)
    order = np.argsort(date, kind="stable")
    at, learnt = date[order], 0
    for until in np.unique(at).tolist():
        low, high = np.searchsorted(known.gained_in, [learnt, until])
        walk.learn(known.gained[low:high])
        walk.measure(table, rows[order[at == until]])
        learnt = until
    bits, back = walk.bits(), np.argsort(order, kind="stable")
    taken = bits.added.take(back), bits.removed.take(back)
    return Bits(*taken, bits.gained, bits.gained_in, bits.silent[back])


_Part = tuple[I32, NDArray[np.float32], I64]


def _joined(parts: list[_Part]) -> Cost:
    if not parts:
        return Cost(np.empty(0, np.int32), np.empty(0, np.float32), np.zeros(1, np.int64))
    counts = np.concatenate([np.diff(p[2]) for p in parts])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Cost(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]), offsets)


def total(cost: Cost) -> Floats:
    """[N] bits of each edit's tokens together; NaN where there are none."""
    counts = np.diff(cost.offsets)
    edit = np.repeat(np.arange(len(counts)), counts)
    value = np.bincount(edit, weights=cost.bits, minlength=len(counts))
    return np.where(counts > 0, value, np.nan)


def mean(cost: Cost) -> Floats:
    """[N] bits of each edit's tokens on average; NaN where there are none."""
    return np.asarray(total(cost) / np.maximum(np.diff(cost.offsets), 1), dtype=np.float64)
