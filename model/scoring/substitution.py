"""Costs of added and removed tokens in, how unusual it is that one token took the place of another out.

Where one token takes the place of one other, both answer the same question: what stands here? Two things speak for a
mistake. Usually the new one is no rarer in its place than the old one was: a wrong number, another variable, another
string is. And hardly any edit changes nothing in a place but a number, a constant or the direction of a condition,
while one in five gives a thing another name. Tokens tell strings apart by 96 hashes alone; what a string says is not
known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.distinct import is_among

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.ngrams import Cost

Floats = NDArray[np.float64]
I64 = NDArray[np.int64]

TURNED, NAME, STRING, NUMBER, CONSTANT, OTHER_VALUE, TOKEN = range(7)
"""What was replaced: the direction of a condition or sum, one name, string, number or constant by another one, one of
these by one of another of them, or any other token.
"""
SHARE = np.array([0.0026, 0.188, 0.085, 0.0085, 0.0015, 0.018, 0.061])
"""Of 14,282 edits of units that were there before and after, in ten repositories of training (docs/lab-log.md)."""
_FACTOR = 3.0
"""Weight of the bits of that share beside those of the token: a small edit is often nothing but one replacement, and
what a token costs varies by more than the shares do.
"""
NOTHING = -1

_TOKEN = {word: i for i, word in enumerate(core.vocabulary()[: core.IDENT_FIRST])}
_NOT = _TOKEN["not_operator"]
_PAIRS = (
    ("==", "!="),
    ("<", ">="),
    (">", "<="),
    ("in", "not in"),
    ("is", "is not"),
    ("and", "or"),
    ("+", "-"),
)
_OPPOSITE = np.full(core.VOCAB_SIZE, NOTHING)
for _a, _b in _PAIRS:
    _OPPOSITE[_TOKEN[_a]], _OPPOSITE[_TOKEN[_b]] = _TOKEN[_b], _TOKEN[_a]
_KIND = np.full(core.VOCAB_SIZE, TOKEN)
_KIND[core.IDENT_FIRST : core.IDENT_LAST + 1] = NAME
_KIND[core.STRING_FIRST : core.STRING_LAST + 1] = STRING
_KIND[core.NUMBER_FIRST : core.NUMBER_LAST + 1] = NUMBER
_KIND[[_TOKEN[word] for word in ("true", "false", "none")]] = CONSTANT


@dataclass(frozen=True)
class Substitutions:
    """M single tokens that took the place of single tokens in N edits, or a `not` that came or went alone."""

    edit: I64
    """[M] index of the edit, ascending."""
    gone: I64
    """[M] position in the state before, `NOTHING` where a `not` came in."""
    come: I64
    """[M] position in the state after, `NOTHING` where a `not` went."""
    bits: Floats
    """[M] what the new token costs more than the old one, each after those before it; for a `not` what it costs, and 0
    if it went, for what follows it stood there before, too.
    """
    kind: I64
    """[M] `TURNED` to `TOKEN`."""

    @property
    def strangeness(self) -> Floats:
        """[M] >= 0: of log2 of the odds of it, rare kinds and dear tokens first; a softplus, so that 0 is left for
        edits that replace nothing.
        """
        return np.asarray(
            np.logaddexp2(0.0, self.bits - _FACTOR * np.log2(SHARE[self.kind])), dtype=np.float64
        )

    def strangest(self, edit: int) -> int:
        """Index of the strangest one of an edit, -1 if it has none."""
        low, high = np.searchsorted(self.edit, [edit, edit + 1])
        return int(low + np.argmax(self.strangeness[low:high])) if high > low else -1


def substitutions(table: EditTable, rows: I64, added: Cost, removed: Cost) -> Substitutions:
    """Find them in the edits `rows` [N] of a table, whose added and removed tokens these are."""
    (edit_come, place_come), (edit_gone, place_gone) = _places(added), _places(removed)
    span = int(max(place_come.max(initial=0), place_gone.max(initial=0))) + 1
    # As many unchanged tokens are before both sides of a change, and before no other change of the edit.
    come, first_come, many_come = np.unique(
        edit_come * span + place_come, return_index=True, return_counts=True
    )
    gone, first_gone, many_gone = np.unique(
        edit_gone * span + place_gone, return_index=True, return_counts=True
    )
    _, in_come, in_gone = np.intersect1d(come, gone, assume_unique=True, return_indices=True)
    single = (many_come[in_come] == 1) & (many_gone[in_gone] == 1)
    new = _tokens(table, table.after[rows], edit_come, added)
    old = _tokens(table, table.before[rows], edit_gone, removed)
    lone_come = _alone(many_come, in_come, new[first_come] == _NOT)
    lone_gone = _alone(many_gone, in_gone, old[first_gone] == _NOT)
    # Index among the added and among the removed tokens; a token too few stands for nothing.
    nothing = [np.full(len(lone), NOTHING) for lone in (lone_gone, lone_come)]
    a = np.concatenate([first_come[in_come[single]], first_come[lone_come], nothing[0]]).astype(np.int64)
    b = np.concatenate([first_gone[in_gone[single]], nothing[1], first_gone[lone_gone]]).astype(np.int64)
    edit = np.where(a >= 0, np.append(edit_come, 0)[a], np.append(edit_gone, 0)[b])
    order = np.argsort(edit, kind="stable")
    a, b, edit = a[order], b[order], edit[order]
    came, went = (np.append(cost.bits, 0).astype(np.float64)[k] for cost, k in ((added, a), (removed, b)))
    bits = np.where(a >= 0, came - went, 0.0)
    return Substitutions(
        edit,
        np.append(removed.position, NOTHING).astype(np.int64)[b],
        np.append(added.position, NOTHING).astype(np.int64)[a],
        bits,
        np.where((a < 0) | (b < 0), TURNED, _kinds(np.append(old, 0)[b], np.append(new, 0)[a])),
    )


def _alone(counts: I64, paired: I64, wanted: NDArray[np.bool_]) -> I64:
    """The places [P] of one wanted token that are not among the paired ones."""
    single = np.flatnonzero((counts == 1) & wanted)
    return single[~is_among(single, paired)]


def _kinds(old: I64, new: I64) -> I64:
    """[M] what was replaced."""
    was, now = _KIND[old], _KIND[new]
    values = (was != TOKEN) & (now != TOKEN)
    kind = np.where(was == now, was, np.where(values, OTHER_VALUE, TOKEN))
    return np.where(_OPPOSITE[old] == new, TURNED, kind)


def _tokens(table: EditTable, states: NDArray[np.int32], edit: I64, cost: Cost) -> I64:
    """[T] the token at each position."""
    return np.asarray(table.tokens[table.offsets[states][edit] + cost.position], dtype=np.int64)


def _places(cost: Cost) -> tuple[I64, I64]:
    """Of each token its edit, and how many unchanged tokens are before it."""
    counts = np.diff(cost.offsets)
    edit = np.repeat(np.arange(len(counts)), counts)
    rank = np.arange(len(edit)) - cost.offsets[:-1][edit]
    return edit, cost.position.astype(np.int64) - rank


def strangest(table: EditTable, rows: I64, added: Cost, removed: Cost) -> Floats:
    """[N] strangeness of the strangest substitution of each edit, 0 for edits without one; NaN for units that were
    created or deleted.
    """
    found = substitutions(table, rows, added, removed)
    apart = (table.flags[rows] & (core.FLAG_CREATED | core.FLAG_DELETED)) != 0
    out = np.zeros(len(rows))
    np.maximum.at(out, found.edit, found.strangeness)
    return np.where(apart, np.nan, out)
