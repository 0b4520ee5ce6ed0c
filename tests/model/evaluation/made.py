"""Arrays in, held-out edits and readings out: worlds whose right answers are known."""

from __future__ import annotations

import numpy as np

from codewm.model.evaluation.held_out import Edits, HeldOut
from codewm.model.evaluation.readings import Nulls, Readings


def world(
    n: int, *, labels: int = 1, dim: int = 8, seed: int = 0, alternatives: int = 32
) -> tuple[HeldOut, np.ndarray]:
    """n modified edits in n // 4 commits with states of their own, and t [2n, dim] of these at random."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % labels
    others = np.full((n, alternatives), -1, np.int64)
    for i in range(n):
        same = np.flatnonzero((label == label[i]) & (np.arange(n) != i))
        others[i] = rng.choice(same, alternatives)
    edits = Edits(
        tokens=np.zeros(2 * n, np.uint16), offsets=np.arange(2 * n + 1), before=np.arange(n),
        after=n + np.arange(n), action=np.zeros((n, 15), np.float32), group=np.zeros(n, np.int64),
        commit=np.arange(n) // 4, repository=np.zeros(n, np.int64),
    )  # fmt: skip
    held_out = HeldOut(
        edits=edits, label=label, alternatives=others, siblings=np.full((n, 4), -1, np.int64), fit=edits,
        watched=np.zeros(n, bool), repositories=["a"], action_id="v15", window=256, about={},
    )  # fmt: skip
    return held_out, rng.normal(size=(2 * n, dim)).astype(np.float32)


def readings(held_out: HeldOut, states: np.ndarray, **predictions: np.ndarray) -> Readings:
    """Readings with these predictions beside the perfect one (`truth`) and the copy; `model` becomes ''."""
    edits = held_out.edits
    z = states[edits.before]
    d = states[edits.after] - z
    given = {"": predictions.pop("model", d), "truth": d, "copy": np.zeros_like(d), **predictions}
    known = Nulls(z, edits.action, d, edits.group, held_out.watched, z)
    nothing = np.zeros(len(d), np.float32)
    return Readings(states, z, d, given, nothing, nothing, known)
