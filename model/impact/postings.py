"""Rows of (key, value, commit) in, all rows of some keys from before a commit out: an index that knows time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]


def rows_of(offsets: I64, keys: ArrayLike) -> tuple[I64, I64]:
    """All rows of keys [m], where key k has `offsets[k]:offsets[k + 1]`: index into `keys`, and row, each [r]."""
    wanted = np.asarray(keys, np.int64)
    starts = offsets[wanted]
    counts = offsets[wanted + 1] - starts
    ends = np.cumsum(counts)
    which = np.repeat(np.arange(len(wanted)), counts)
    return which, np.arange(len(which)) + np.repeat(starts - (ends - counts), counts)


@dataclass(frozen=True)
class Postings:
    """n rows of K keys, grouped by key; within a key in order of commits, so that a date is a prefix."""

    offsets: I64
    """[K + 1] rows of key k are `offsets[k]:offsets[k + 1]`."""
    value: I32
    """[n]"""
    commit: I32
    """[n] ascending within each key."""

    @classmethod
    def of(cls, key: ArrayLike, value: ArrayLike, commit: ArrayLike, keys: int) -> Postings:
        """Group rows that are in order of their commits by key [n], one of `keys`."""
        by = np.asarray(key, np.int32)
        order = np.argsort(by, kind="stable")
        offsets = np.concatenate([[0], np.cumsum(np.bincount(by, minlength=keys))]).astype(np.int64)
        return cls(offsets, np.asarray(value, np.int32)[order], np.asarray(commit, np.int32)[order])

    def __len__(self) -> int:
        return len(self.value)

    def take(self, keys: ArrayLike, until: int) -> tuple[I64, I32, I32]:
        """Rows of keys [m] from before commit `until`: index into `keys`, value and commit, each [r]."""
        which, rows = rows_of(self.offsets, keys)
        commit = self.commit[rows]
        early = commit < until
        if early.all():
            return which, self.value[rows], commit
        return which[early], self.value[rows[early]], commit[early]

    def values(self, key: int, until: int) -> I32:
        """Values [r] of one key from before commit `until`."""
        low, high = self.offsets[key], self.offsets[key + 1]
        return self.value[low : low + np.searchsorted(self.commit[low:high], until)]
