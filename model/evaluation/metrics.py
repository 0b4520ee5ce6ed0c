"""Predicted and actual displacements in, DESIGN 10's figures with their nulls and intervals out.

Everything is measured in the one target space. Intervals are 95% bootstraps over commits, because edits of one
commit are not independent; a null's margin is the paired bootstrap of (model - null) on the same resamples, and
the model `beats` a null when that interval lies above 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codewm.model.diagnostics import effective_ranks

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One figure: `interval` is None where no bootstrap applies."""

    metric: str
    subset: str
    value: float
    interval: tuple[float, float] | None
    n: int
    nulls: dict[str, float] = field(default_factory=dict)
    margins: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def beats(self) -> list[str]:
        """The nulls whose margin's interval lies above 0."""
        return [name for name, (low, _) in self.margins.items() if low > 0]

    def as_json(self) -> dict[str, Any]:
        """A plain dict in the row format of codewm.eval/1."""
        return {**asdict(self), "beats": self.beats}


def _cosine(a: F64, b: F64) -> F64:
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.where(norms > 1e-12, (a * b).sum(-1) / np.maximum(norms, 1e-12), 0.0)


def displacement_r2(d_hat: F32, d: F32) -> float:
    """1 - sum|d - d_hat|^2 / sum|d - mean d|^2 over edits: [N, D] twice. The constant mean scores 0."""
    error = np.square(d.astype(np.float64) - d_hat).sum()
    spread = np.square(d.astype(np.float64) - d.mean(0, dtype=np.float64)).sum()
    return float(1 - error / spread)


def nearer_than_copy(d_hat: F32, d: F32) -> F64:
    """1 where |z' - t(s')| < |t(s) - t(s')|, else 0: [N]. Gamed by shrinking d_hat; never report it alone."""
    nearer: F64 = (np.square(d - d_hat).sum(-1) < np.square(d).sum(-1)).astype(np.float64)
    return nearer


def prefers_truth_to_copy(d_hat: F32, d: F32, z: F32) -> F64:
    """1 where cos(z', t(s')) > cos(z', t(s)), else 0: [N]. Shrinking d_hat lowers it."""
    before = z.astype(np.float64)
    predicted = before + d_hat
    return (_cosine(predicted, before + d) > _cosine(predicted, before)).astype(np.float64)


def delta_cosine(d_hat: F32, d: F32) -> F64:
    """cos(d_hat, d), 0 for a zero prediction: [N]."""
    return _cosine(d_hat.astype(np.float64), d.astype(np.float64))


class Bootstrap:
    """Resamples of commits, shared by every figure so that differences are paired."""

    def __init__(self, commit: NDArray[np.int64], resamples: int, seed: int = 0) -> None:
        _, self.of = np.unique(commit, return_inverse=True)
        self.commits = int(self.of.max()) + 1
        rng = np.random.default_rng([seed, 7])
        share = np.full(self.commits, 1 / self.commits)
        self.weights = rng.multinomial(self.commits, share, size=resamples).astype(np.float64)  # [R, C]
        self.count = self.total(np.ones(len(commit)))

    def total(self, values: F64) -> F64:
        """Sum of per-edit values [N] or [N, D] under every resample: [R] or [R, D]."""
        if values.ndim == 1:
            return self.weights @ np.bincount(self.of, weights=values, minlength=self.commits)
        sums = np.zeros((self.commits, values.shape[1]))
        np.add.at(sums, self.of, values)
        return self.weights @ sums

    def mean(self, values: F64) -> F64:
        """Mean of per-edit values [N] under every resample: [R]."""
        return self.total(values) / self.count

    def spread(self, d: F32) -> F64:
        """sum|d - mean d|^2 under every resample: [R]."""
        wide = d.astype(np.float64)
        spread: F64 = self.total(np.square(wide).sum(1)) - np.square(self.total(wide)).sum(1) / self.count
        return spread


def interval(resampled: F64) -> tuple[float, float]:
    """The middle 95%."""
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(low), float(high)


def table(
    d_hat: F32,
    d: F32,
    z: F32,
    commit: NDArray[np.int64],
    nulls: Mapping[str, F32],
    *,
    subset: str = "all",
    resamples: int = 1_000,
) -> list[Row]:
    """Every figure over edits with d != 0: d_hat, d, z = t(s) [N, D], commit [N], nulls name -> [N, D]."""
    moved = np.square(d).sum(1) > 0
    d_hat, d, z, commit = d_hat[moved], d[moved], z[moved], commit[moved]
    predictions = {"": d_hat, **{name: null[moved] for name, null in nulls.items()}}
    bootstrap = Bootstrap(commit, resamples)
    spread = bootstrap.spread(d)
    rows: list[Row] = []

    def add(metric: str, values: dict[str, float], resampled: dict[str, F64]) -> None:
        margins = {k: interval(resampled[""] - v) for k, v in resampled.items() if k}
        nulls_ = {k: v for k, v in values.items() if k}
        rows.append(Row(metric, subset, values[""], interval(resampled[""]), len(d), nulls_, margins))

    errors = {k: np.square(d.astype(np.float64) - p).sum(1) for k, p in predictions.items()}
    add(
        "displacement_r2",
        {k: displacement_r2(p, d) for k, p in predictions.items()},
        {k: 1 - bootstrap.total(e) / spread for k, e in errors.items()},
    )
    for metric, per_edit in (
        ("nearer_than_copy", {k: nearer_than_copy(p, d) for k, p in predictions.items()}),
        ("prefers_truth_to_copy", {k: prefers_truth_to_copy(p, d, z) for k, p in predictions.items()}),
        ("delta_cosine", {k: delta_cosine(p, d) for k, p in predictions.items()}),
    ):
        add(
            metric,
            {k: float(v.mean()) for k, v in per_edit.items()},
            {k: bootstrap.mean(v) for k, v in per_edit.items()},
        )
    ranks = {k: effective_ranks(p) for k, p in predictions.items()}
    true = effective_ranks(d)
    for i, metric in enumerate(("predictor_rank_entropy", "predictor_rank_squared")):
        others = {"true": true[i], **{k: v[i] for k, v in ranks.items() if k}}
        rows.append(Row(metric, subset, ranks[""][i], None, len(d), others))
    return rows
