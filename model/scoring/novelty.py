"""Edits in commit order in, how far each is from the edits that the repository made before out, as of its date.

Two views of an edit, neither of them learnt:
structure  the net change of each syntax token, identifiers, strings and numbers being one token each; compared by
           direction, so that doing the same thing twice is no novelty. What changes no structure (order, names, values)
           points nowhere and is far from everything; how unusual that is here, calibration says.
shape      the description of the edit that the model is told (`codewm_core.ACTIONS`): what kind of change, where in
           the unit, how much of it.
Nearness in the model's own target space was tried, too, and says nothing (docs/lab-log.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.model.scoring.syntax import SYNTAX, SYNTAX_SIZE

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.settings import NoveltySettings

Floats = NDArray[np.float64]
F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Bags = NDArray[np.int8]

_BLOCK = 500
# Standard deviations of the numbers of v15, over edits of ten of the repositories that the base model was trained on.
_SCALE = {
    "v15": (0.44, 0.25, 0.47, 0.42, 0.25, 0.36, 0.29, 0.28, 0.10, 0.055, 0.31, 0.11, 0.11, 0.086, 0.32),
}


def net_changes(table: EditTable, rows: I64) -> Bags:
    """[n, SYNTAX_SIZE] how much oftener each syntax token occurs after each edit, cut to 127."""
    net = np.zeros((len(rows), SYNTAX_SIZE), np.int32)
    for sign, ids in ((1, table.after[rows]), (-1, table.before[rows])):
        tokens, offsets = table.states(ids)
        edit = np.repeat(np.arange(len(rows)), np.diff(offsets))
        flat = edit * SYNTAX_SIZE + SYNTAX[tokens]
        net += sign * np.bincount(flat, minlength=net.size).reshape(net.shape)
    net[:, : core.TRUNC + 1] = 0
    return np.clip(net, -127, 127).astype(np.int8)


def directions(net: Bags) -> F32:
    """[n, D] unit vectors of net changes, each damped to its square root; zero where there is none."""
    wide = net.astype(np.float32)
    return _unit(np.sign(wide) * np.sqrt(np.abs(wide)))


def shapes(action: NDArray[np.float32], action_id: str) -> F32:
    """[n, A] unit vectors of descriptions, each number in units of its spread."""
    scale = np.asarray(_SCALE.get(action_id, np.ones(action.shape[1])), np.float32)
    return _unit(action / scale)


def _unit(rows: F32) -> F32:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, np.float32(1e-9)), dtype=np.float32)


def distance(
    queries: F32, date: I64, known: F32, known_date: I64, nearest: int, settings: NoveltySettings
) -> Floats:
    """[n] one minus the mean cosine to the `nearest` ones of the latest `memory` known edits before each date.

    `known_date` ascends. NaN with fewer than `least` known edits.
    """
    out = np.full(len(queries), np.nan)
    ends = np.searchsorted(known_date, date, "left")
    order = np.argsort(ends, kind="stable")
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        block = block[ends[block] >= settings.least]
        if not len(block):
            continue
        last = ends[block]
        low = max(0, int(last.min()) - settings.memory)
        near = queries[block] @ known[low : int(last.max())].T
        place = np.arange(low, int(last.max()))
        outside = (place[None] >= last[:, None]) | (place[None] < last[:, None] - settings.memory)
        near[outside] = -2.0
        top = np.partition(near, near.shape[1] - nearest, axis=1)[:, -nearest:]
        out[block] = 1.0 - top.mean(1)
    return out
