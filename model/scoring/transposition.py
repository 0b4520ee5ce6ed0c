"""Edits in, how many runs of tokens changed places with what stood beside them out.

Two arguments in another order are the same tokens as before: no name is new, no token rare, nothing is gone. Ordinary
edits move code further, or change it while they do. It needs no model and no past. Operands and attributes are two
replacements (`substitution`), and statements are not found: a mark of depth stands between them, so that the runs
that moved begin elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import codewm_core as core

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.ngrams import Cost

Floats = NDArray[np.float64]
FARTHEST = 12
"""Unchanged tokens that a run may have passed."""
_Run = tuple[int, int, int]
"""First position, end, and how many unchanged tokens are before it."""


def transposed(table: EditTable, rows: NDArray[np.int64], added: Cost, removed: Cost) -> Floats:
    """[N] runs of each edit that are gone from one place and come in unchanged at another one near it; NaN for units
    that were created or deleted. `added` and `removed` have the positions of the tokens of these rows.
    """
    apart = (table.flags[rows] & (core.FLAG_CREATED | core.FLAG_DELETED)) != 0
    out = np.where(apart, np.nan, 0.0)
    both = (np.diff(added.offsets) > 0) & (np.diff(removed.offsets) > 0) & ~apart
    for i in np.flatnonzero(both).tolist():
        gone, come = _runs(removed.of(i)[0]), _runs(added.of(i)[0])
        # A run that stands where another one stood has replaced it.
        places = {run[2] for run in gone} & {run[2] for run in come}
        gone, come = ([run for run in runs if run[2] not in places] for runs in (gone, come))
        if gone and come:
            before, after = (table.state(side[rows[i]]) for side in (table.before, table.after))
            out[i] = sum(any(_same(before, g, after, c) for c in come) for g in gone)
    return out


def _runs(positions: NDArray[np.int32]) -> list[_Run]:
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    first = np.concatenate([[0], breaks])
    last = np.concatenate([breaks, [len(positions)]]) - 1
    return [
        (int(positions[a]), int(positions[b]) + 1, int(positions[a]) - a)
        for a, b in zip(first.tolist(), last.tolist(), strict=True)
    ]


def _same(before: NDArray[np.uint16], gone: _Run, after: NDArray[np.uint16], come: _Run) -> bool:
    passed = abs(gone[2] - come[2])
    return 0 < passed <= FARTHEST and np.array_equal(before[gone[0] : gone[1]], after[come[0] : come[1]])
