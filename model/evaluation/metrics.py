"""Predicted and actual displacements in, DESIGN 10's figures with their nulls and intervals out.

Everything is measured in the one target space. Intervals are 95% bootstraps over commits, because edits of one
commit are not independent; a null's margin is the paired bootstrap of (model - null) on the same resamples, and
the model `beats` a null when that interval lies above 0. Of effective ranks, which a resample with repetitions
lowers, the interval is a jackknife over twentieths of the commits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    data: str = ""
    """The repository, '' for all of them together."""
    more: dict[str, Any] = field(default_factory=dict)
    """What only some rows have; its keys stand beside the others in JSON."""

    @property
    def beats(self) -> list[str]:
        """The nulls whose margin's interval lies above 0."""
        return [name for name, (low, _) in self.margins.items() if low > 0]

    def as_json(self) -> dict[str, Any]:
        """A plain dict in the row format of codewm.eval/1."""
        plain = asdict(self)
        more = plain.pop("more")
        return {**plain, "beats": self.beats, **more}


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


Key = tuple[str, str, str]  # metric, subset, data


class Tally:
    """Rows of one set of edits: each figure of the model (named '') beside its nulls, on the same resamples."""

    def __init__(
        self, commit: NDArray[np.int64], *, subset: str = "all", data: str = "", resamples: int = 1_000
    ) -> None:
        self.commit, self.subset, self.data = commit, subset, data
        self.bootstrap = Bootstrap(commit, resamples)
        self.rows: list[Row] = []
        self.draws: dict[Key, F64] = {}
        """The model's figure under every resample, by row: what two models are compared with."""

    def add(
        self,
        metric: str,
        values: Mapping[str, float],
        resampled: Mapping[str, F64] | None = None,
        *,
        n: int | None = None,
        fixed: Mapping[str, float] | None = None,
        **more: Any,
    ) -> None:
        """One row; `fixed` are what it is set beside without being resampled."""
        nulls = {k: v for k, v in values.items() if k} | dict(fixed or {})
        among: tuple[float, float] | None = None
        margins: dict[str, tuple[float, float]] = {}
        if resampled and len(resampled[""]):
            among = interval(resampled[""])
            margins = {k: interval(resampled[""] - v) for k, v in resampled.items() if k}
            self.draws[metric, self.subset, self.data] = resampled[""]
        n = len(self.commit) if n is None else n
        self.rows.append(Row(metric, self.subset, values[""], among, n, nulls, margins, self.data, more))

    def mean(
        self,
        metric: str,
        per_edit: Mapping[str, F64],
        *,
        fixed: Mapping[str, float] | None = None,
        **more: Any,
    ) -> None:
        """A row of means over the edits of which the figure is defined: name -> [N], NaN where it is not.

        Without any such edit there is no row.
        """
        defined = ~np.isnan(per_edit[""])
        if not defined.any():
            return
        count = self.bootstrap.total(defined.astype(np.float64))
        drawn = count > 0  # the others hold none of those edits
        values = {k: float(v[defined].mean()) for k, v in per_edit.items()}
        resampled = {
            k: self.bootstrap.total(np.where(defined, v, 0.0))[drawn] / count[drawn]
            for k, v in per_edit.items()
        }
        self.add(metric, values, resampled, n=int(defined.sum()), fixed=fixed, **more)

    def r2(self, metric: str, predictions: Mapping[str, F32], d: F32) -> None:
        """A row of displacement R2."""
        spread = self.bootstrap.spread(d)
        drawn = spread > 0
        errors = {k: np.square(d.astype(np.float64) - p).sum(1) for k, p in predictions.items()}
        self.add(
            metric,
            {k: displacement_r2(p, d) for k, p in predictions.items()},
            {k: 1 - self.bootstrap.total(e)[drawn] / spread[drawn] for k, e in errors.items()},
        )

    def ranks(self, metrics: tuple[str, str, str], predictions: Mapping[str, F32], d: F32) -> None:
        """Rows of the entropy and the squared rank of predictions, and of the squared one over the truth's."""
        held = {**predictions, "true": d}
        figures = {k: (*effective_ranks(p), 0.0) for k, p in held.items()}
        true = figures["true"][1]
        figures = {k: (e, s, s / true if true else 0.0) for k, (e, s, _) in figures.items()}
        spread = rank_spread(held[""], d, self.commit)
        for i, metric in enumerate(metrics):
            value = figures[""][i]
            among = None if spread is None else (value - 1.96 * spread[i], value + 1.96 * spread[i])
            nulls = {k: v[i] for k, v in figures.items() if k and not (i == 2 and k == "true")}
            self.rows.append(Row(metric, self.subset, value, among, len(d), nulls, data=self.data))


def rank_spread(
    d_hat: F32, d: F32, commit: NDArray[np.int64], parts: int = 20
) -> tuple[float, float, float] | None:
    """Standard errors of the entropy and squared rank of d_hat [N, D], and of the latter over that of d.

    A jackknife over parts of the commits; None where there are fewer than four commits.
    """

    def ranks(kept: NDArray[np.bool_]) -> tuple[float, float, float]:
        entropy, squared = effective_ranks(d_hat[kept])
        true = effective_ranks(d[kept])[1]
        return entropy, squared, squared / true if true else 0.0

    spread = jackknife(ranks, commit, parts)
    if spread is None:
        return None
    first, second, third = spread.tolist()
    return first, second, third


def jackknife(
    figures: Callable[[NDArray[np.bool_]], Sequence[float]], commit: NDArray[np.int64], parts: int = 20
) -> F64 | None:
    """Standard errors [F] of figures of the edits under a mask [N], by leaving out one part of the commits [N] each.

    For what a resample with repetitions would change by itself. None where there are fewer than four commits.
    """
    commits, of = np.unique(commit, return_inverse=True)
    if len(commits) < 4:
        return None
    parts = min(parts, len(commits))
    part = np.random.default_rng(13).permutation(len(commits))[of] % parts
    table = np.array([figures(part != p) for p in range(parts)], np.float64)
    errors: F64 = np.sqrt((parts - 1) / parts * np.square(table - table.mean(0)).sum(0))
    return errors


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
    d, z = d[moved], z[moved]
    predictions = {"": d_hat[moved], **{name: null[moved] for name, null in nulls.items()}}
    tally = Tally(commit[moved], subset=subset, resamples=resamples)
    basics(tally, predictions, d, z)
    return tally.rows


def basics(tally: Tally, predictions: Mapping[str, F32], d: F32, z: F32, suffix: str = "") -> None:
    """The figures that displacements alone give: predictions name -> [N, D] ('' is the model's), d, z = t(s)."""
    tally.r2(f"displacement_r2{suffix}", predictions, d)
    tally.mean(f"nearer_than_copy{suffix}", {k: nearer_than_copy(p, d) for k, p in predictions.items()})
    tally.mean(
        f"prefers_truth_to_copy{suffix}",
        {k: prefers_truth_to_copy(p, d, z) for k, p in predictions.items()},
    )
    tally.mean(f"delta_cosine{suffix}", {k: delta_cosine(p, d) for k, p in predictions.items()})
    ranks = ("predictor_rank_entropy", "predictor_rank_squared", "predictor_rank_share_of_true")
    first, second, third = (metric + suffix for metric in ranks)
    tally.ranks((first, second, third), predictions, d)
