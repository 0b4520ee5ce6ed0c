"""Vectors in, health figures out: how many directions are used, and whether everything points one way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32] | NDArray[np.float64]


def singular_values(x: Array) -> NDArray[np.float64]:
    """Singular values of the centred rows of x [N, D], largest first, without forming more than D x D."""
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    values = np.linalg.eigvalsh(centred.T @ centred)[::-1]
    spectrum: NDArray[np.float64] = np.sqrt(np.clip(values, 0.0, None))
    return spectrum


def effective_ranks(x: Array) -> tuple[float, float]:
    """(entropy rank, squared rank) of the centred rows of x [N, D].

    exp of the entropy of the normalised singular values (Roy and Vetterli 2007), and of their squares, which is
    the spectrum of the covariance. Both are named because published figures under one name use either.
    """
    if len(x) < 2:
        return 0.0, 0.0
    sigma = singular_values(x)
    return _exp_entropy(sigma), _exp_entropy(sigma**2)


def uncentred_rank(x: Array) -> float:
    """exp of the entropy of the singular values of x [N, D], its rows at length 1 and not centred.

    What the papers' full-validation audit calls effective rank (CodeWM-2 tables 6 and 9); its geometry probe means the
    squared one of `effective_ranks` by the same name (tables 1 and 4).
    """
    rows = x.astype(np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    values = np.linalg.eigvalsh(rows.T @ rows)[::-1]
    return _exp_entropy(np.sqrt(np.clip(values, 0.0, None)))


def _exp_entropy(weights: NDArray[np.float64]) -> float:
    total = weights.sum()
    if total <= 0:
        return 0.0
    p = weights[weights > total * 1e-12] / total
    return float(np.exp(-(p * np.log(p)).sum()))


def off_diagonal_cosine(x: Array) -> float:
    """Mean cosine between different rows of x [N, D]: 1 when everything has collapsed to one direction."""
    rows = x.astype(np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    n = len(rows)
    if n < 2:
        return 0.0
    return float((np.square(rows.sum(0)).sum() - np.square(rows).sum()) / (n * (n - 1)))


def gradient_norm(gradients: list[NDArray[np.float32]]) -> float:
    """Euclidean norm over a list of gradients of any shapes."""
    return float(np.sqrt(sum(float(np.square(g.astype(np.float64)).sum()) for g in gradients)))
