"""A replayed clone in, what happened to its commits later out: reverted, or blamed by a fix.

`reverted`: a later commit of the first-parent line says that it reverts this one (`codewm.corpus.labels`).
`szz`: a later fix deletes lines that this one wrote (`codewm.corpus.szz`). Both are claims, and come late: the youngest
commits have hardly had the time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.git import Repository
from codewm.corpus.szz import SzzOptions, find
from codewm.corpus.table import EditTable
from codewm.model.evaluation.held_out import Source

Mask = NDArray[np.bool_]
NATURAL = ("szz", "revert")


def reverted(table: EditTable) -> set[str]:
    """Object ids of the commits that a later one says it reverts."""
    rows = np.unique(table.commits.reverts[table.commits.reverts >= 0])
    return {table.commits.oid[r] for r in rows}


def inducing(source: Source, options: SzzOptions) -> set[str]:
    """Object ids of the commits that fixes blame, as known at the newest commit of the store."""
    name = source.repositories[0]
    with Repository.open(source.clones[name]) as repo:
        return set(find(repo, source.table.commits.oid[-1], options).inducing)


def labels_of(oids: Sequence[str], positive: set[str]) -> Mask:
    """[n] whether each commit is one of them."""
    return np.array([oid in positive for oid in oids], np.bool_)
