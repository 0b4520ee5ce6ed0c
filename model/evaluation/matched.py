"""Scores of ordinary and of suspect edits in, an AUROC that size cannot win out.

A suspect edit is only compared with ordinary ones of the same repository whose number of added lines lies in the
same decile (of the ordinary edits there); up to `EXACT` lines, which several deciles would share, the number must be
the same. A score that follows from the stratum has exactly 0.5; lines added itself is printed beside, so that what
size is left inside the upper deciles can be seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codewm.model.evaluation.metrics import Bootstrap

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
DECILES = np.arange(1, 10) / 10
EXACT = 5  # added lines


def strata(lines: NDArray[np.integer], repository: I64, ordinary: NDArray[np.bool_]) -> I64:
    """A number for each repository and stratum of lines added: [n]."""
    out = np.zeros(len(lines), np.int64)
    for r in np.unique(repository):
        here = repository == r
        known = lines[here & ordinary]
        if len(known):
            deciles = np.quantile(known, DECILES, method="lower")
            edges = np.unique(np.concatenate([np.arange(EXACT + 1), deciles]))
            out[here] = np.searchsorted(edges, lines[here], side="left")
    return repository * (len(DECILES) + EXACT + 2) + out


@dataclass(frozen=True)
class Pairs:
    """Every comparison that is made: rows of a suspect and of an ordinary edit, each [P]."""

    suspect: I64
    ordinary: I64

    def __len__(self) -> int:
        return len(self.suspect)


def pairs(suspects: I64, ordinary: I64, stratum: I64, commit: I64) -> Pairs:
    """All pairs of a suspect and an ordinary row of one stratum, and of two commits.

    Edits of one commit are not independent, and a resample that draws it twice would hold their pairs four times.
    """
    left: list[I64] = [np.zeros(0, np.int64)]
    right: list[I64] = [np.zeros(0, np.int64)]
    for s in np.unique(stratum[suspects]):
        a, b = suspects[stratum[suspects] == s], ordinary[stratum[ordinary] == s]
        p, q = np.repeat(a, len(b)), np.tile(b, len(a))
        apart = commit[p] != commit[q]
        left.append(p[apart])
        right.append(q[apart])
    return Pairs(np.concatenate(left), np.concatenate(right))


def outranked(scores: F64, compared: Pairs) -> F64:
    """1 where the suspect scores higher than the ordinary edit, 0.5 where they tie: scores [n, S] -> [P, S]."""
    a, b = scores[compared.suspect], scores[compared.ordinary]
    return np.where(a > b, 1.0, np.where(a == b, 0.5, 0.0))


def auroc(scores: F64, compared: Pairs, bootstrap: Bootstrap, resamples: slice) -> tuple[F64, F64]:
    """The matched AUROC of scores [n, S]: [S], and under those resamples of commits: [R, S].

    A resample without any pair is NaN.
    """
    won = outranked(scores, compared)
    weights = bootstrap.weights[resamples]
    drawn = weights[:, bootstrap.of[compared.suspect]] * weights[:, bootstrap.of[compared.ordinary]]
    total = drawn.sum(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        resampled: F64 = drawn @ won / total
    value = won.mean(0) if len(won) else np.full(scores.shape[1], np.nan)
    return value, resampled
