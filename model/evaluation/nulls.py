"""What a prediction must beat: the same split, predicted without the thing under test.

copy             nothing moves
constant_mean    every edit moves as the average training edit does
zero_action      the model, told nothing about the edit
shuffled_action  the model, told another held-out edit's action
linear_map       ridge regression from [t(s), a], fitted on the training edits of the same kind
bag_of_tokens    the same from [how often each token occurs in s, a]: no network at all
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def copy(d: F32) -> F32:
    """Zero displacements of d's shape [N, D]."""
    return np.zeros_like(d)


def constant_mean(fit_d: F32, n: int) -> F32:
    """The training edits' mean displacement [M, D], n times: [n, D]."""
    return np.repeat(fit_d.mean(0, dtype=np.float64)[None].astype(np.float32), n, 0)


def shuffled(action: F32, seed: int = 0) -> F32:
    """The actions [N, A] of the split passed around; nobody keeps its own row."""
    n = len(action)
    order = np.random.default_rng([seed, 11]).permutation(n)
    given = np.empty(n, np.int64)
    given[order] = np.roll(order, 1)
    return action[given]


def told(action: F32, other: F32 | None = None) -> dict[str, F32]:
    """What the model is told of edits: their own actions [N, A] under '', and those of its nulls.

    `other` are another edit's actions; None passes around those of the split.
    """
    return {
        "": action,
        "zero_action": np.zeros_like(action),
        "shuffled_action": shuffled(action) if other is None else other,
    }


def read_told(
    read: Callable[[I64, F32], tuple[F32, F32]], edited: I64, told: Mapping[str, F32]
) -> tuple[F32, dict[str, F32]]:
    """Latents f of the states, and what each telling makes the model read of those `edited` [N]: each [N, R].

    `read(edited, action)` is `Engine.read` with its states; every state is encoded once for all tellings.
    """
    f, read_all = read(np.tile(edited, len(told)), np.concatenate(list(told.values())))
    return f, dict(zip(told, np.split(read_all, len(told)), strict=True))


def _design(z: F32, action: F32) -> NDArray[np.float64]:
    return np.concatenate([z, action, np.ones((len(z), 1), np.float32)], 1).astype(np.float64)


def linear_map(
    fit: tuple[F32, F32, F32, I64], validation: tuple[F32, F32, F32, I64], held_out: tuple[F32, F32, I64]
) -> F32:
    """Ridge from [t(s), a, 1] to d, one map per kind of edit, its strength picked on the validation edits.

    fit and validation are (t(s), a, d, kind), held_out is (t(s), a, kind); the result is [N, D]. One map for all
    kinds would be a weaker null: created units would drown the modified ones.
    """
    out = np.zeros((len(held_out[0]), fit[2].shape[1]), np.float32)
    for kind in np.unique(held_out[2]):
        f, v, h = fit[3] == kind, validation[3] == kind, held_out[2] == kind
        if not f.any():
            continue
        # Without validation edits of this kind the strongest ridge is used.
        watched = v if v.sum() > 1 else np.zeros(len(v), bool)
        out[h] = _ridge(
            (fit[0][f], fit[1][f], fit[2][f]),
            (validation[0][watched], validation[1][watched], validation[2][watched]),
            held_out[0][h],
            held_out[1][h],
        )
    return out


def _ridge(fit: tuple[F32, F32, F32], validation: tuple[F32, F32, F32], z: F32, action: F32) -> F32:
    X = _design(fit[0], fit[1])
    gram, moment = X.T @ X / len(X), X.T @ fit[2].astype(np.float64) / len(X)
    V = _design(validation[0], validation[1])
    best = -np.inf
    chosen: NDArray[np.floating[Any]] = np.zeros_like(moment)
    for ridge in RIDGES:
        weights = np.linalg.solve(gram + ridge * np.eye(len(gram)), moment)
        # As R2 would choose, but also defined where the validation edits are all alike.
        missed = (V @ weights).astype(np.float32) - validation[2].astype(np.float64)
        score = -float(np.square(missed).sum()) if len(V) else ridge
        if score > best:
            best, chosen = score, weights
    return (_design(z, action) @ chosen).astype(np.float32)
