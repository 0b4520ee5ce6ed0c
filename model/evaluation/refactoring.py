"""Edits of a table in, which of them are refactorings of which kind out: read off the diff, by no model.

    move      the unit went to another place as it is (the core pairs the two halves)
    extract   created, while a unit of the same file that now calls it lost most of its code
    inline    deleted, while a unit of the same file gained most of its code
    rename    identifiers change and nothing else: each old one vanishes for one new one, which was not there before,
              and one of them at two places at least; or the unit itself has another name
    reorder   the same tokens in another order

Code is compared as runs of `RUN` tokens without depth markers, which change when code is moved into a function. These
are rules, not the truth: what they miss counts as no refactoring.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.table import EditTable

I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
KINDS = ("move", "extract", "inline", "rename", "reorder")
NONE = -1
RUN = 5
MOST = 0.6
"""Share of a unit's runs that 'most of its code' means."""
SMALLEST = 12
"""Tokens of a unit that is extracted or inlined, at least: one line is in many places."""


def kinds_of(table: EditTable, rows: I64) -> I64:
    """Index into `KINDS` of those rows, or `NONE`: [n]."""
    out = np.full(len(rows), NONE, np.int64)
    for i, row in enumerate(rows.tolist()):
        kind = _kind(table, row)
        if kind is not None:
            out[i] = KINDS.index(kind)
    return out


def _kind(table: EditTable, row: int) -> str | None:
    flags = int(table.flags[row])
    if flags & core.FLAG_MOVED:
        return "move"
    if flags & core.FLAG_CREATED:
        return "extract" if _carried(table, row, "before", created=True) else None
    if flags & core.FLAG_DELETED:
        return "inline" if _carried(table, row, "after", created=False) else None
    before, after = _state(table, row, "before"), _state(table, row, "after")
    renamed = table.unit[row] != table.unit_before[row]
    if len(before) == len(after):
        changed = before != after
        if _is_rename(before, after, changed, at_least=1 if renamed else 2):
            return "rename"
        if np.array_equal(np.sort(before), np.sort(after)):
            return "reorder"
    return None


def _is_rename(before: U16, after: U16, changed: NDArray[np.bool_], at_least: int) -> bool:
    old, new = before[changed], after[changed]
    for side in (old, new):
        if not ((side >= core.IDENT_FIRST) & (side <= core.IDENT_LAST)).all():
            return False
    pairs, counts = np.unique(np.stack([old, new]), axis=1, return_counts=True)
    one_to_one = len(np.unique(pairs[0])) == pairs.shape[1] == len(np.unique(pairs[1]))
    fresh = not np.isin(old, after).any() and not np.isin(new, before).any()
    return bool(len(old) and one_to_one and fresh and counts.max() >= at_least)


def _carried(table: EditTable, row: int, side: str, *, created: bool) -> bool:
    """Whether a modified unit of the same file and commit had (has) most of this unit's code and has (had) it not."""
    mine = _state(table, row, "after" if created else "before")
    if len(mine) < SMALLEST or table.kind[row] not in _FUNCTIONS:
        return False
    wanted = _runs(mine)
    other = "after" if side == "before" else "before"
    first, last = np.searchsorted(table.commit, [table.commit[row], table.commit[row] + 1])
    near = np.arange(first, last)
    apart = core.FLAG_CREATED | core.FLAG_DELETED
    near = near[(table.path[first:last] == table.path[row]) & ((table.flags[first:last] & apart) == 0)]
    name = table.units[int(table.unit[row])].rpartition(".")[2]
    for donor in near.tolist():
        lost = _runs(_state(table, donor, side)) - _runs(_state(table, donor, other))
        if len(wanted & lost) >= MOST * len(wanted) and (not created or name in _called(table, donor)):
            return True
    return False


_FUNCTIONS = tuple(core.KINDS.index(k) for k in ("function", "method"))


def _called(table: EditTable, row: int) -> set[str]:
    """Names that the unit calls more often than before."""
    names = slice(int(table.name_offsets[row]), int(table.name_offsets[row + 1]))
    calls = (table.name_flags[names] & core.NAME_CALL) != 0
    return {table.names[i] for i in table.name_ids[names][calls].tolist()}


def _runs(tokens: U16) -> set[bytes]:
    flat = tokens[(tokens < core.DEPTH_FIRST) | (tokens > core.DEPTH_LAST)]
    data = np.ascontiguousarray(flat).tobytes()
    return {data[2 * i : 2 * (i + RUN)] for i in range(len(flat) - RUN + 1)}


def _state(table: EditTable, row: int, side: str) -> U16:
    return table.state(getattr(table, side)[row])
