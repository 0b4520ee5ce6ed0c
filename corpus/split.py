"""An edit table in, a training and a held-out part by time out.

The rule: edits are ordered by the committer time of their commit, ties by their row, and the latest fifth
is held out. A commit is never cut in two: the one that the boundary falls into is held out as a whole. So
nothing that is trained on was committed after anything it is tested on, and no seed is involved. In a corpus
the rule holds for each repository by its own time: a young one is not held out as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.table import EditTable

I64 = NDArray[np.int64]
HOLD_OUT = 0.2
"""Share of the edits that is held out, the latest ones."""


@dataclass(frozen=True)
class Split:
    """Rows of a table: what may be trained on and what may not; repository by repository, oldest first."""

    train: I64
    held_out: I64
    boundary: int
    """Committer time of the first held-out commit (in a corpus, of any repository), unix seconds; 0 in a
    table without edits.
    """


def by_time(table: EditTable, share: float = HOLD_OUT) -> Split:
    """Hold out the latest `share` of each repository's edits (at least one commit's, if it has any at all)."""
    if not 0 < share < 1:
        raise ValueError(f"share {share} is not between 0 and 1")
    repository = table.commits.repository[table.commit]
    parts = [_by_time(table, np.flatnonzero(repository == r), share) for r in np.unique(repository)]
    if not parts:
        nothing = np.zeros(0, np.int64)
        return Split(nothing, nothing, 0)
    return Split(
        np.concatenate([p.train for p in parts]),
        np.concatenate([p.held_out for p in parts]),
        min(p.boundary for p in parts),
    )


def boundaries(table: EditTable, share: float = HOLD_OUT) -> NDArray[np.int32]:
    """The commit with which the latest `share` of each repository's edits begins: [R] rows, -1 without edits."""
    repository = table.commits.repository[table.commit]
    first = np.full(max(len(table.repositories), 1), -1, np.int32)
    for r in np.unique(repository):
        part = _by_time(table, np.flatnonzero(repository == r), share)
        first[r] = table.commit[part.held_out[0]]
    return first


def _by_time(table: EditTable, rows: I64, share: float) -> Split:
    # Clocks run backwards now and then: time orders the commits, and their row settles ties.
    commit = table.commit[rows]
    time = table.commits.committer_time[commit]
    order = np.lexsort((rows, commit, time))
    first = order[min(int(len(order) * (1 - share)), len(order) - 1)]
    boundary = (int(time[first]), int(commit[first]))
    held = (time > boundary[0]) | ((time == boundary[0]) & (commit >= boundary[1]))
    return Split(rows[order[~held[order]]], rows[order[held[order]]], boundary[0])
