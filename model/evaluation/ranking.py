"""Predicted next states in, where the true one ranks among others out; one value per edit, NaN where undefined.

Displacements are compared by their direction, states by the cosine in the whitened space, whose mean is 0. A tie
counts half, so that a prediction that cannot tell ranks in the middle: saying 'the copy' wins nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from codewm.model.evaluation.held_out import HeldOut
from codewm.model.evaluation.readings import Readings

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
GALLERY = 5_000
AT = (1, 5, 10, 50)
EDIT_AT = (1, 5)
CHUNK = 512  # edits at a time; 512 x 40 x 128 floats are 10 MB


def unit(x: F32) -> F32:
    """Rows of x [..., D] at length 1; a zero row stays zero."""
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    out: F32 = x / np.maximum(length, 1e-12)
    return out


def wins(true: F32, others: F32, exists: NDArray[np.bool_]) -> F64:
    """Share of the others [n, K] that the truth [n] outranks, ties half; NaN where none exists: [n]."""
    better = np.where(true[:, None] > others, 1.0, np.where(true[:, None] == others, 0.5, 0.0))
    count = exists.sum(1)
    share = np.where(exists, better, 0.0).sum(1) / np.maximum(count, 1)
    return np.where(count > 0, share, np.nan)


def place(true: F32, others: F32, exists: NDArray[np.bool_]) -> F64:
    """How many of the others [n, K] outrank the truth [n], ties half: [n]."""
    ahead = np.where(others > true[:, None], 1.0, np.where(others == true[:, None], 0.5, 0.0))
    placed: F64 = np.where(exists, ahead, 0.0).sum(1)
    return placed


def same_action_rank(readings: Readings, held_out: HeldOut, *, states: bool = False) -> dict[str, F64]:
    """Chance that the true next state outranks another edit's of the same action label, by delta cosine: name -> [N].

    The other edit's is t(s) + d_j, the code at hand moved as the other edit moves its own: it differs from the truth
    by nothing but the edit. With `states` it is t(s'_j) itself, which is another unit altogether; a prediction that
    shrinks towards the mean points at all of those.
    """
    edits, other = held_out.edits, held_out.alternatives
    out = {name: np.full(len(edits), np.nan) for name in readings.predictions}
    for start in range(0, len(edits), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(edits)))
        exists = other[rows] >= 0
        j = np.where(exists, other[rows], 0)
        moved = readings.states[edits.after[j]] - readings.z[rows][:, None] if states else readings.d[j]
        candidates = unit(moved)
        truth = unit(readings.d[rows])
        for name, predicted in readings.predictions.items():
            query = unit(predicted[rows])
            # Summed the same way on both sides: a tie must come out as one.
            true = (truth * query).sum(-1)
            out[name][rows] = wins(true, (candidates * query[:, None]).sum(-1), exists)
    return out


def gallery(after: I64, most: int = GALLERY) -> I64:
    """State ids of at most `most` different next states, drawn by a fixed seed."""
    states = np.unique(after)
    if len(states) > most:
        states = np.sort(np.random.default_rng(2).choice(states, most, replace=False))
    return states


def knn(readings: Readings, held_out: HeldOut, held: I64) -> dict[str, F64]:
    """How many states of the gallery `held` outrank the true next one, for the query z_hat': name -> [N].

    NaN where the true next state is not in the gallery. A hit at k is a value below k.
    """
    after = held_out.edits.after
    at = np.searchsorted(held, after)
    inside = (at < len(held)) & (held[np.minimum(at, len(held) - 1)] == after)
    states = unit(readings.states[held])
    out = {name: np.full(len(after), np.nan) for name in readings.predictions}
    rows = np.flatnonzero(inside)
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        for name, predicted in readings.predictions.items():
            query = unit(readings.z[part] + predicted[part])
            similar = query @ states.T
            true = np.take_along_axis(similar, at[part][:, None], 1)[:, 0]
            others = np.ones(similar.shape, bool)
            others[np.arange(len(part)), at[part]] = False
            out[name][part] = place(true, similar, others)
    return out


def edit_knn(readings: Readings, held_out: HeldOut) -> tuple[dict[str, F64], F64]:
    """As `knn`, in a gallery of each edit's own: t(s), other states of the unit, next states of same-action edits.

    Also how many candidates there are beside the truth: [N]. NaN where there is t(s) alone.
    """
    edits = held_out.edits
    out = {name: np.full(len(edits), np.nan) for name in readings.predictions}
    count = np.zeros(len(edits))
    for start in range(0, len(edits), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(edits)))
        alternatives, siblings = held_out.alternatives[rows], held_out.siblings[rows]
        ids = np.concatenate(
            [
                edits.before[rows][:, None],
                siblings,
                np.where(alternatives >= 0, edits.after[np.maximum(alternatives, 0)], -1),
            ],
            1,
        )
        exists = (ids >= 0) & (ids != edits.after[rows][:, None])
        exists &= ~_repeated(ids)
        states = unit(readings.states[np.maximum(ids, 0)])
        truth = unit(readings.states[edits.after[rows]])
        count[rows] = exists.sum(1)
        for name, predicted in readings.predictions.items():
            query = unit(readings.z[rows] + predicted[rows])
            true = (truth * query).sum(-1)
            placed = place(true, (states * query[:, None]).sum(-1), exists)
            out[name][rows] = np.where(count[rows] > 1, placed, np.nan)
    return out, count


def _repeated(ids: I64) -> NDArray[np.bool_]:
    """Mask over ids [n, K]: the same id stands further left in its row."""
    order = np.argsort(ids, axis=1, kind="stable")
    ordered = np.take_along_axis(ids, order, 1)
    again = np.zeros(ids.shape, bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    out = np.zeros(ids.shape, bool)
    np.put_along_axis(out, order, again, 1)
    return out


def hits(placed: Mapping[str, F64], k: int) -> dict[str, F64]:
    """1 where fewer than k others outrank the truth, else 0; NaN stays."""
    return {name: np.where(np.isnan(p), np.nan, (p < k).astype(np.float64)) for name, p in placed.items()}
