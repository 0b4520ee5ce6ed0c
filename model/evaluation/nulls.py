"""What a prediction must beat: the same split, predicted without the thing under test.

copy             nothing moves
constant_mean    every edit moves as the average training edit does
zero_action      the model, told nothing about the edit
shuffled_action  the model, told another held-out edit's action
linear_map       ridge regression from [t(s), a], fitted on the training edits
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from codewm.model.evaluation.metrics import displacement_r2

F32 = NDArray[np.float32]
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def copy(d: F32) -> F32:
    """Zero displacements of d's shape [N, D]."""
    return np.zeros_like(d)


def constant_mean(fit_d: F32, n: int) -> F32:
    """The training edits' mean displacement [M, D], n times: [n, D]."""
    return np.repeat(fit_d.mean(0, dtype=np.float64)[None].astype(np.float32), n, 0)


def zero_action(predict: Callable[[F32], F32], action: F32) -> F32:
    """The model's prediction with every action [N, A] set to zero: [N, D]."""
    return predict(np.zeros_like(action))


def shuffled_action(predict: Callable[[F32], F32], action: F32, seed: int = 0) -> F32:
    """The model's prediction with the actions [N, A] of the split passed around; nobody keeps its own row."""
    n = len(action)
    order = np.random.default_rng([seed, 11]).permutation(n)
    given = np.empty(n, np.int64)
    given[order] = np.roll(order, 1)
    return predict(action[given])


def _design(z: F32, action: F32) -> NDArray[np.float64]:
    return np.concatenate([z, action, np.ones((len(z), 1), np.float32)], 1).astype(np.float64)


def linear_map(fit: tuple[F32, F32, F32], validation: tuple[F32, F32, F32], z: F32, action: F32) -> F32:
    """Ridge from [t(s), a, 1] to d, its strength picked on the validation edits: triples (t(s), a, d) -> [N, D]."""
    X = _design(fit[0], fit[1])
    gram, moment = X.T @ X / len(X), X.T @ fit[2].astype(np.float64) / len(X)
    V = _design(validation[0], validation[1])
    best = -np.inf
    chosen: NDArray[np.float64] = np.zeros_like(moment)
    for ridge in RIDGES:
        weights = np.linalg.solve(gram + ridge * np.eye(len(gram)), moment)
        score = displacement_r2((V @ weights).astype(np.float32), validation[2])
        if score > best:
            best, chosen = score, weights
    return (_design(z, action) @ chosen).astype(np.float32)
