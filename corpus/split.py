"""An edit table in, a training and a held-out part by time out.

The rule: edits are ordered by the committer time of their commit, ties by their row, and the latest fifth
is held out. A commit is never cut in two: the one that the boundary falls into is held out as a whole. So
nothing that is trained on was committed after anything it is tested on, and no seed is involved.
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
    """Rows of a table: what may be trained on and what may not, both oldest first."""

    train: I64
    held_out: I64
    boundary: int
    """Committer time of the first held-out commit, unix seconds; 0 in a table without edits."""


def by_time(table: EditTable, share: float = HOLD_OUT) -> Split:
    """Hold out the latest `share` of the edits (at least one commit's, if there are edits at all)."""
    if not 0 < share < 1:
        raise ValueError(f"share {share} is not between 0 and 1")
    nothing = np.zeros(0, np.int64)
    if len(table) == 0:
        return Split(nothing, nothing, 0)
    # Clocks run backwards now and then: time orders the commits, and their row settles ties.
    time = table.commits.committer_time[table.commit]
    order = np.lexsort((np.arange(len(table)), table.commit, time))
    first = order[min(int(len(order) * (1 - share)), len(order) - 1)]
    boundary = (int(time[first]), int(table.commit[first]))
    held = (time > boundary[0]) | ((time == boundary[0]) & (table.commit >= boundary[1]))
    return Split(order[~held[order]], order[held[order]], boundary[0])
