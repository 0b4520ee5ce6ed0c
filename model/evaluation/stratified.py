"""Scores and labels of commits in, figures that compare only like with like out, under every resample of commits.

One row is one commit. A positive is compared with the negatives of its stratum (a repository, a repository and size,
a repository and time) and the wins are pooled over strata by the number of pairs. Under a resample every commit has
a weight, the number of times it was drawn; the order of scores stays, so that a thousand resamples cost one sort.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codewm.model.evaluation.matched import EXACT, strata

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
QUINTILES = np.arange(1, 5) / 5
CLOSE = 1.25  # times as many lines added at most


def size_strata(lines: I64, repository: I64, positive: Mask) -> I64:
    """Repository x lines added, as `matched.strata` cuts it."""
    return strata(lines, repository, ~positive)


def close_strata(lines: I64, repository: I64) -> I64:
    """Repository x lines added, exactly up to `EXACT`, then by less than a factor of `CLOSE`: [n].

    The upper deciles are wide: there, a score that follows from size alone still wins.
    """
    beyond = np.log(np.maximum(lines, EXACT + 1) / (EXACT + 1)) / np.log(CLOSE)
    steps = np.where(lines <= EXACT, lines, EXACT + 1 + np.floor(beyond + 1e-9)).astype(np.int64)
    return crossed(repository, steps)


def time_strata(time: I64, repository: I64, positive: Mask) -> I64:
    """Repository x quintile of the time of its negatives: [n]."""
    out = np.zeros(len(time), np.int64)
    for r in np.unique(repository):
        here = repository == r
        known = time[here & ~positive]
        if len(known):
            out[here] = np.searchsorted(np.quantile(known, QUINTILES), time[here], side="right")
    return repository * (len(QUINTILES) + 1) + out


def crossed(first: I64, second: I64) -> I64:
    """One stratum for each pair of strata: [n]."""
    return first * (int(second.max(initial=0)) + 1) + second


def comparable(positive: Mask, stratum: I64) -> Mask:
    """Rows of strata that have a positive and a negative: [n]."""
    _, where = np.unique(stratum, return_inverse=True)
    where = where.ravel()
    positives = np.bincount(where, weights=positive)
    return np.asarray((positives > 0)[where] & (np.bincount(where) > positives)[where], np.bool_)


def auroc(score: F64, positive: Mask, stratum: I64, weights: F64) -> tuple[float, F64]:
    """The chance that a positive outscores a negative of its stratum, ties half; and under R resamples.

    score, positive, stratum [n]; weights [R, n]. NaN where there is nothing to compare. The probability of Mann and
    Whitney, pooled over strata as by van Elteren with the number of pairs.
    """
    every = np.concatenate([np.ones((1, len(score))), weights])
    won, pairs = np.zeros(len(every)), np.zeros(len(every))
    kept = comparable(positive, stratum)
    for s in np.unique(stratum[kept]):
        rows = np.flatnonzero(stratum == s)
        rows = rows[np.argsort(score[rows], kind="stable")]
        up = positive[rows]
        high, low = every[:, rows] * up, every[:, rows] * ~up
        ordered = score[rows]
        below = np.concatenate([np.zeros((len(every), 1)), np.cumsum(low, 1)], 1)
        first = np.searchsorted(ordered, ordered, "left")
        after = np.searchsorted(ordered, ordered, "right")
        won += (high * (below[:, first] + below[:, after]) / 2).sum(1)
        pairs += high.sum(1) * low.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = won / pairs
    return float(share[0]), share[1:]


def auprc(score: F64, positive: Mask, weights: F64) -> tuple[float, F64]:
    """Average precision over the list of all rows, ties as one step; and under R resamples."""
    every = np.concatenate([np.ones((1, len(score))), weights])
    order = np.argsort(-score, kind="stable")
    up, ordered = positive[order], -score[order]
    drawn = every[:, order]
    found, listed = np.cumsum(drawn * up, 1), np.cumsum(drawn, 1)
    end = np.searchsorted(ordered, ordered, "right") - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(found / listed)[:, end]
        value = (drawn * up * precision).sum(1) / found[:, -1]
    return float(value[0]), value[1:]


def ranks_within(score: F64, repository: I64) -> F64:
    """[n] share of the commits of the same repository that score higher, with half of the ties and of itself.

    The strangest are near 0.
    """
    out = np.zeros(len(score))
    for r in np.unique(repository):
        rows = np.flatnonzero(repository == r)
        ordered = np.sort(score[rows])
        above = len(rows) - np.searchsorted(ordered, score[rows], "right")
        ties = np.searchsorted(ordered, score[rows], "right") - np.searchsorted(ordered, score[rows], "left")
        out[rows] = (above + 0.5 * ties) / len(rows)
    return out


def caught(rank: F64, positive: Mask, top: float, weights: F64) -> tuple[float, F64]:
    """Share of the positives among the `top` of their repository; and under R resamples."""
    every = np.concatenate([np.ones((1, len(rank))), weights])
    with np.errstate(invalid="ignore", divide="ignore"):
        value = every @ (positive & (rank < top)).astype(np.float64) / (every @ positive.astype(np.float64))
    return float(value[0]), value[1:]


def spearman(score: F64, other: F64, repository: I64, weights: F64) -> tuple[float, F64]:
    """Rank correlation within repositories, by their number of commits; and under R resamples (ranks kept)."""
    every = np.concatenate([np.ones((1, len(score))), weights])
    a, b = ranks_within(score, repository) - 0.5, ranks_within(other, repository) - 0.5
    total, value = np.zeros(len(every)), np.zeros(len(every))
    for r in np.unique(repository):
        rows = np.flatnonzero(repository == r)
        w = every[:, rows]
        count = np.maximum(w.sum(1), 1e-12)
        x, y = a[rows] - (w @ a[rows] / count)[:, None], b[rows] - (w @ b[rows] / count)[:, None]
        spread = np.sqrt((w * x**2).sum(1) * (w * y**2).sum(1))
        value += np.where(spread > 1e-12, (w * x * y).sum(1) / np.maximum(spread, 1e-12), 0.0) * count
        total += count
    return float((value / total)[0]), (value / total)[1:]


def added_value(
    sizes: F64, score: F64, positive: Mask, repository: I64, weights: F64
) -> tuple[float, float, F64] | None:
    """How much a score adds to lines added: (AUROC of both, difference to lines alone, difference under R resamples).

    Both are logistic regressions, on the rank of lines added within the repository, and on that and the score's,
    fitted on the other repositories. None with fewer than two repositories that have both labels.
    Needs scikit-learn.
    """
    from sklearn.linear_model import LogisticRegression

    features = np.column_stack([-ranks_within(sizes, repository), -ranks_within(score, repository)])
    usable = [r for r in np.unique(repository) if len(np.unique(positive[repository == r])) == 2]
    if len(usable) < 2:
        return None
    alone, both = np.zeros(len(score)), np.zeros(len(score))
    for r in usable:
        train, test = repository != r, repository == r
        for out, columns in ((alone, [0]), (both, [0, 1])):
            fitted = LogisticRegression().fit(features[train][:, columns], positive[train])
            out[test] = fitted.decision_function(features[test][:, columns])
    value, drawn = auroc(both, positive, repository, weights)
    plain, drawn_plain = auroc(alone, positive, repository, weights)
    return value, value - plain, drawn - drawn_plain
