"""Costs of added and removed tokens in, what it costs more to write this than what stood there out.

Where one token takes the place of one other, both answer the same question: what stands here? Usually the new one is no
rarer in its place than the old one was. A comparison turned around, a wrong number, another variable is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from codewm.model.scoring.ngrams import Cost

Floats = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Substitutions:
    """M single tokens that took the place of single tokens, in N edits."""

    edit: I64
    """[M] index of the edit, ascending."""
    gone: I64
    """[M] position in the state before."""
    come: I64
    """[M] position in the state after."""
    bits: Floats
    """[M] what the new token costs more than the old one, each after the tokens before it."""

    def dearest(self, edit: int) -> int:
        """Index of the one that costs most more in an edit, -1 if it has none."""
        low, high = np.searchsorted(self.edit, [edit, edit + 1])
        return int(low + np.argmax(self.bits[low:high])) if high > low else -1


def substitutions(added: Cost, removed: Cost) -> Substitutions:
    """Find them among the added and removed tokens of the same N edits."""
    (edit_come, place_come), (edit_gone, place_gone) = _places(added), _places(removed)
    span = int(max(place_come.max(initial=0), place_gone.max(initial=0))) + 1
    # As many unchanged tokens are before both sides of a change, and before no other change of the edit.
    come, first_come, many_come = np.unique(
        edit_come * span + place_come, return_index=True, return_counts=True
    )
    gone, first_gone, many_gone = np.unique(
        edit_gone * span + place_gone, return_index=True, return_counts=True
    )
    both, in_come, in_gone = np.intersect1d(come, gone, assume_unique=True, return_indices=True)
    single = (many_come[in_come] == 1) & (many_gone[in_gone] == 1)
    a, b = first_come[in_come[single]], first_gone[in_gone[single]]
    bits = added.bits[a].astype(np.float64) - removed.bits[b]
    return Substitutions(
        both[single] // span, removed.position[b].astype(np.int64), added.position[a].astype(np.int64), bits
    )


def _places(cost: Cost) -> tuple[I64, I64]:
    """Of each token its edit, and how many unchanged tokens are before it."""
    counts = np.diff(cost.offsets)
    edit = np.repeat(np.arange(len(counts)), counts)
    rank = np.arange(len(edit)) - cost.offsets[:-1][edit]
    return edit, cost.position.astype(np.int64) - rank


def dearest(added: Cost, removed: Cost) -> Floats:
    """[N] bits that the dearest substitution of each edit costs more; NaN for edits without one."""
    found = substitutions(added, removed)
    out = np.full(len(added), -np.inf)
    np.maximum.at(out, found.edit, found.bits)
    return np.where(np.isneginf(out), np.nan, out)
