"""Vectors in, the shape of the cloud they make out: how many directions it uses, and how evenly.

Published figures of one name follow several definitions; each has a name of its own here.

    rank_entropy          exp of the entropy of the singular values of the centred rows
    rank_squared          the same of their squares: CodeWM-2 tables 1 and 4
    rank_uncentred        of the singular values of unit rows that are not centred: CodeWM-2 tables 5, 6 and 9
    top_share             the variance along the first principal direction, in parts of all
    directions_95, _99    principal directions that hold so much of the variance
    isotropy_eigenvalues  least over largest eigenvalue of the covariance: 1 where it is a multiple of the identity
    isotropy_variances    1 / (1 + c), c the coefficient of variation of the dimensions' variances: blind to correlation
    mean_cosine           of two different rows: near 0 in an isotropic cloud, 1 where all point one way
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codewm.model.diagnostics import effective_ranks, off_diagonal_cosine, singular_values, uncentred_rank
from codewm.model.evaluation.metrics import Row, jackknife

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
RANKS = ("rank_entropy", "rank_squared", "rank_uncentred")
FIGURES = (
    *RANKS, "top_share", "directions_95", "directions_99", "isotropy_eigenvalues", "isotropy_variances",
    "mean_cosine",
)  # fmt: skip


def ranks(x: F32) -> dict[str, float]:
    """The three effective ranks of x [N, D]."""
    return dict(zip(RANKS, (*effective_ranks(x), uncentred_rank(x)), strict=True))


def shape(x: F32) -> dict[str, float]:
    """Every figure of x [N, D]."""
    variance = np.square(singular_values(x))
    total = float(variance.sum())
    share = np.cumsum(variance) / total if total > 0 else np.ones(len(variance))
    across = x.astype(np.float64).var(0)
    mean = float(across.mean())
    return ranks(x) | {
        "top_share": float(share[0]),
        "directions_95": float(np.searchsorted(share, 0.95 - 1e-12) + 1),
        "directions_99": float(np.searchsorted(share, 0.99 - 1e-12) + 1),
        "isotropy_eigenvalues": float(variance[-1] / variance[0]) if total > 0 else 0.0,
        "isotropy_variances": 1 / (1 + float(across.std()) / mean) if mean > 0 else 0.0,
        "mean_cosine": off_diagonal_cosine(x),
    }


def rows_of(
    x: F32, commit: I64, subset: str, prefix: str = "", only: tuple[str, ...] = FIGURES, parts: int = 20
) -> list[Row]:
    """A row for each figure of x [N, D] with a jackknife over commits [N].

    Beside it stands an isotropic cloud of the same size and number of dimensions: what is due to the sample alone.
    """

    def figures(kept: NDArray[np.bool_]) -> list[float]:
        found = shape(x[kept]) if set(only) - set(RANKS) else ranks(x[kept])
        return [found[name] for name in only]

    values = figures(np.ones(len(x), bool))
    errors = jackknife(figures, commit, parts)
    even = np.random.default_rng(8).normal(size=x.shape).astype(np.float32)
    null = shape(even)
    out = []
    for i, name in enumerate(only):
        among = None if errors is None else (values[i] - 1.96 * errors[i], values[i] + 1.96 * errors[i])
        more = {"dimensions": x.shape[1]}
        out.append(Row(prefix + name, subset, values[i], among, len(x), {"isotropic": null[name]}, more=more))
    return out
