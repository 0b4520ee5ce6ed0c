"""Edits in, how much of what they add repeats what stands beside it out.

A statement pasted twice is made of ordinary tokens, moves the unit as usual and brings no new name; what is odd about
it is that it is there already. Counted are runs of added tokens that are equal to the run of the same length before or
behind them. It needs no model and no past.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.ngrams import Cost

Floats = NDArray[np.float64]
LEAST = 3
"""Shorter runs are doubled all the time: brackets, commas, depth markers."""


def repeated(table: EditTable, rows: NDArray[np.int64], added: Cost) -> Floats:
    """[N] tokens of each edit in runs that are doubled; NaN for edits that add nothing, and created units.

    `added` has the positions of the added tokens of these rows.
    """
    out = np.full(len(rows), np.nan)
    for i, row in enumerate(rows.tolist()):
        positions, _ = added.of(i)
        if not len(positions):
            continue
        tokens = table.state(table.after[row])
        if len(positions) == len(tokens):
            continue
        out[i] = sum(
            len(run)
            for run in np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)
            if len(run) >= LEAST and _doubled(tokens, int(run[0]), len(run))
        )
    return out


def _doubled(tokens: NDArray[np.uint16], start: int, length: int) -> bool:
    run = tokens[start : start + length]
    before, behind = tokens[max(start - length, 0) : start], tokens[start + length : start + 2 * length]
    return np.array_equal(before, run) or np.array_equal(behind, run)
