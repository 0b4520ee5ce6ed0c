"""Edits and file renames in commit order in, the chain and the step of every edit out.

A chain is the life of one unit along first-parent history: it follows the unit when it is renamed inside its
file and when its file is renamed. A creation starts a chain and a deletion ends one; an edit of a unit that
was never seen starts one too (history may begin in the middle).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codewm_core import FLAG_CREATED, FLAG_DELETED

I32 = NDArray[np.int32]


def assign(
    commit: I32, path: I32, unit: I32, unit_before: I32, flags: NDArray[np.uint16], renames: I32
) -> tuple[I32, I32]:
    """Number the chains by first edit: [N] columns and [R, 3] renames -> (chain [N], step [N])."""
    chains = np.zeros(len(commit), np.int32)
    steps = np.zeros(len(commit), np.int32)
    live: dict[int, dict[int, tuple[int, int]]] = {}
    next_chain = 0
    moves = _by_commit(renames)
    at = 0
    columns = (commit, path, unit, unit_before, flags)
    rows = list(zip(*(c.tolist() for c in columns), strict=True))
    for now in sorted({r[0] for r in rows} | set(moves)):
        _move_files(live, moves.get(now, ()))
        ended: list[tuple[int, int]] = []
        begun: list[tuple[int, int, tuple[int, int]]] = []
        # Every edit of a commit looks at the state before it: two units may have swapped names.
        while at < len(rows) and rows[at][0] == now:
            _, p, u, b, f = rows[at]
            last = None if f & FLAG_CREATED else live.get(p, {}).get(b)
            if last is None:
                chain, step = next_chain, 0
                next_chain += 1
            else:
                chain, step = last[0], last[1] + 1
                ended.append((p, b))
            chains[at], steps[at] = chain, step
            if not f & FLAG_DELETED:
                begun.append((p, u, (chain, step)))
            at += 1
        for p, u in ended:
            live.get(p, {}).pop(u, None)
        for p, u, life in begun:
            live.setdefault(p, {})[u] = life
    return chains, steps


def _by_commit(renames: I32) -> dict[int, list[tuple[int, int]]]:
    moves: dict[int, list[tuple[int, int]]] = {}
    for commit, old, new in renames.tolist():
        moves.setdefault(commit, []).append((old, new))
    return moves


def _move_files(live: dict[int, dict[int, tuple[int, int]]], moves: Sequence[tuple[int, int]]) -> None:
    """Carry the living units of renamed files over, all at once: two files may have swapped names."""
    taken = [(new, live.pop(old, {})) for old, new in moves]
    live.update(taken)
