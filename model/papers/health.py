"""Latents of a batch or of a fixed sample in, the figures that tell a collapse from learning out, nulls beside them.

`copy_cosine` is the papers' diagnostic (paper 1, equation 7); it says nothing without `unrelated_cosine`, that of
states which have nothing to do with each other. Mixed displacements subtract f(s) from states of the target space, as
the published figures do; one-space ones subtract t(s). `nearest` looks the next state up among those of other edits.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from codewm.model.diagnostics import effective_ranks, off_diagonal_cosine
from codewm.model.evaluation.ranking import place, unit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
AT = (1, 5, 10)
"""How many of a gallery count as near: paper 2, figure 1."""


def health(online: F32, before: F32, after: F32, predicted: F32) -> dict[str, float]:
    """Figures of n edits: f(s), t(s), t(s') and the prediction of t(s'), [n, D] each.

    Ranks by both definitions of `diagnostics.effective_ranks`. Of the constant target, a row is predicted by the mean
    of the others' t(s').
    """
    out: dict[str, float] = {}
    named = {"online": online, "target": after, "predictor": predicted, "displacement": after - before}
    for name, x in named.items():
        out[f"{name}_rank_entropy"], out[f"{name}_rank_squared"] = effective_ranks(x)
    constant = others_mean(after)
    out |= {
        "copy_cosine": _mean_cosine(before, after),
        "unrelated_cosine": off_diagonal_cosine(after),
        "online_off_diagonal": off_diagonal_cosine(online),
        "predictor_off_diagonal": off_diagonal_cosine(predicted),
        "prediction_cosine": _mean_cosine(predicted, after),
        "online_target_copy": _mean_cosine(online, after),
        "mixed_delta_cosine": _mean_cosine(predicted - online, after - online),
        "mixed_constant": _mean_cosine(constant - online, after - online),
        "mixed_copy": _mean_cosine(before - online, after - online),
        "delta_cosine": _mean_cosine(predicted - before, after - before),
        "delta_constant": _mean_cosine(constant - before, after - before),
        "displacement_share": float(_norms(after - before).mean() / max(_norms(before).mean(), 1e-12)),
    }
    return out


def nearest(after: F32, state: I64, queries: Mapping[str, F32]) -> dict[str, float]:
    """name of a query [n, D] -> share of edits whose true next state t(s') [n, D] is among the k nearest by cosine.

    The gallery is the next states themselves; `state` [n] says which of them are one state, which are no wrong answer
    for each other. By chance it is k / n. `knn_at_5` is of the query "", `copy_knn_at_5` of "copy".
    """
    gallery = unit(after)
    others = state[:, None] != state[None, :]
    out: dict[str, float] = {}
    for name, query in queries.items():
        similar = unit(query) @ gallery.T
        placed = place(np.diag(similar).copy(), similar, others)
        out |= {f"{name + '_' if name else ''}knn_at_{k}": float((placed < k).mean()) for k in AT}
    return out


def others_mean(x: F32) -> F64:
    """For each row of x [n, D], the mean of the others."""
    wide = x.astype(np.float64)
    out: F64 = (wide.sum(0) - wide) / max(len(wide) - 1, 1)
    return out


def cosines(a: NDArray[np.floating], b: NDArray[np.floating]) -> F64:
    """Cosine of each row: [n], 0 where one of both is 0."""
    norms = _norms(a) * _norms(b)
    dots = (a.astype(np.float64) * b).sum(1)
    out: F64 = np.where(norms > 1e-12, dots / np.maximum(norms, 1e-12), 0.0)
    return out


def _mean_cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(cosines(a, b).mean())


def _norms(x: NDArray[np.floating]) -> F64:
    out: F64 = np.linalg.norm(x.astype(np.float64), axis=1)
    return out
