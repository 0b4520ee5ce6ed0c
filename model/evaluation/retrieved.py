"""Ranked candidates in, what a list of ten is worth out: each figure per query, with what a random order would get.

    reciprocal_rank_at_10   1 / place of the first relevant one among ten, else 0 (its mean is the papers' MRR@10)
    precision_at_k          relevant ones among the first k, in parts of k
    hit_at_10               1 if one of ten is relevant (the papers' R@10; R@1 is precision at 1)
    ndcg_at_10              sum over places j of rel_j / log2(j + 1), in parts of the best that the gallery allows

Equal scores are put in random order by a fixed seed: a scorer that cannot tell gets what chance gets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
DEPTH = 10
PRECISIONS = (1, 10)
METRICS = ("reciprocal_rank_at_10", "precision_at_1", "precision_at_10", "hit_at_10", "ndcg_at_10")
_EQUAL = 6  # decimals of a cosine in f32 that mean something


def top(scores: NDArray[np.floating], allowed: Mask, rng: np.random.Generator) -> I64:
    """Columns of the `DEPTH` best of scores [Q, G] among the allowed, best first; -1 where there are fewer."""
    jittered = np.round(scores.astype(np.float64), _EQUAL)
    jittered += rng.random(scores.shape) * 10.0**-_EQUAL / 2
    jittered[~allowed] = -np.inf
    count = min(DEPTH, scores.shape[1])
    best = np.argpartition(-jittered, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(jittered, best, 1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, 1)
    found = np.isfinite(np.take_along_axis(jittered, best, 1))
    out = np.full((len(scores), DEPTH), -1, np.int64)
    out[:, :count] = np.where(found, best, -1)
    return out


def measures(found: I64, relevant: Mask) -> dict[str, F64]:
    """Every metric [Q] of columns `found` [Q, DEPTH], relevant [Q, G]; NaN for a query to which nothing is."""
    count = relevant.sum(1)
    hit = np.take_along_axis(relevant, np.maximum(found, 0), 1) & (found >= 0)
    first = np.where(hit.any(1), hit.argmax(1), DEPTH)
    gain = 1 / np.log2(np.arange(DEPTH) + 2)
    best = np.cumsum(gain)[np.clip(count, 1, DEPTH) - 1]
    out = {
        "reciprocal_rank_at_10": np.where(first < DEPTH, 1 / (first + 1.0), 0.0),
        **{f"precision_at_{k}": hit[:, :k].sum(1) / k for k in PRECISIONS},
        "hit_at_10": hit.any(1).astype(np.float64),
        "ndcg_at_10": (hit * gain).sum(1) / best,
    }
    return {name: np.where(count > 0, v, np.nan) for name, v in out.items()}


def chance(relevant: I64, candidates: I64) -> dict[str, F64]:
    """What a random order of `candidates` [Q], of which so many are relevant [Q], is expected to get: [Q] each.

    Exact, without replacement. With a share p of many candidates, the first is sum_j p (1 - p)^(j - 1) / j, the
    papers' class prior (CodeWM-1, table 7).
    """
    r, g = relevant.astype(np.float64), candidates.astype(np.float64)
    none_yet = np.ones_like(r)  # the chance that no place so far holds a relevant one
    reciprocal = np.zeros_like(r)
    for j in range(DEPTH):
        left = np.maximum(g - j, 1e-12)
        share = np.where(g > j, np.clip(r / left, 0, 1), 0.0)
        reciprocal += none_yet * share / (j + 1)
        none_yet = none_yet * (1 - share)
    p = r / np.maximum(g, 1)
    gain = 1 / np.log2(np.arange(DEPTH) + 2)
    places = np.cumsum(gain)[np.clip(candidates, 1, DEPTH) - 1]
    best = np.cumsum(gain)[np.clip(relevant, 1, DEPTH) - 1]
    filled = {k: np.minimum(g, k) / k for k in PRECISIONS}
    out = {
        "reciprocal_rank_at_10": reciprocal,
        **{f"precision_at_{k}": p * filled[k] for k in PRECISIONS},
        "hit_at_10": 1 - none_yet,
        "ndcg_at_10": p * places / best,
    }
    return {name: np.where(relevant > 0, v, np.nan) for name, v in out.items()}
