"""Raw channel values and those of the repository's past in, percentiles and conformal p-values out.

A value is compared with the past edits that are like it: the same stratum (edit type, kind of unit, test or
not, merged from the finest level up until it has enough members) and, inside it, the nearest in log size.
All ties at the edge of that neighbourhood belong to it, so the result does not depend on any order.

conformal p-value: p = (1 + #{past >= x}) / (n + 1). Ties count against surprise, p is never 0, and on
exchangeable data P(p <= t) <= t. [Vovk, Gammerman, Shafer 2005, Algorithmic Learning in a Random World, eq.
2.20] A member of the past is compared with the *others* (leave one out): it gets what it would get as a new
edit.

tail p-value: the conformal p cannot tell a record from a landslide: both give 1 / (n + 1). Where only the
order matters (combining channels, comparing commits) the tail beyond the highest `tail_share` of the
neighbourhood is continued as an exponential with their mean excess (peaks over threshold, Pickands 1975,
shape 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.distinct import distinct
from codewm.model.scoring.settings import CalibrationSettings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """Values with what they are matched on."""

    values: Floats
    """[N] raw values; NaN where the channel is undefined."""
    sizes: Floats
    """[N] log2 of one plus the size."""
    strata: Ints
    """[N, L] stratum at each level, finest first; the last level is one stratum for all."""

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: NDArray[np.bool_] | Ints) -> Sample:
        """Return the sample of the given rows."""
        return Sample(self.values[index], self.sizes[index], self.strata[index])


@dataclass(frozen=True)
class Calibrated:
    """What a value means here; NaN where the value is undefined or nothing is known to compare it with."""

    percentile: Floats
    """[N] 0-100 among all past values, half of the ties below."""
    percentile_matched: Floats
    """[N] 0-100 among the matched ones."""
    p_value: Floats
    """[N] conformal, among the matched ones, in (0, 1]."""
    p_tail: Floats
    """[N] as `p_value`, continued beyond the highest matched values; in (0, 1]."""
    matched: Ints
    """[N] number of matched past values."""
    median: Floats
    """[N] median of the matched values."""


def log_size(size: NDArray[np.int32] | NDArray[np.int64]) -> Floats:
    """[N] sizes (tokens, lines) -> log2(1 + size)."""
    return np.log2(1.0 + np.maximum(size, 0).astype(np.float64))


def single_stratum(values: Floats, sizes: Floats) -> Sample:
    """Return a sample that is matched on size alone."""
    return Sample(values, sizes, np.zeros((len(values), 1), dtype=np.int64))


def calibrate(
    queries: Sample, past: Sample, neighbours: int, settings: CalibrationSettings, *, own: bool = False
) -> Calibrated:
    """Compare each of the N queries with the past; `own` says that query i is member i of it and leaves it
    out.
    """
    n = len(queries)
    blank = [np.full(n, np.nan) for _ in range(5)]
    out = Calibrated(blank[0], blank[1], blank[2], blank[3], np.zeros(n, np.int64), blank[4])
    defined = ~np.isnan(queries.values)
    members = np.flatnonzero(~np.isnan(past.values))
    if not defined.any() or len(members) <= (1 if own else 0):
        return out
    _overall(queries.values, past.values[members], defined, own, out)
    strata = _Strata(past, members, settings.stratum_minimum)
    keys = np.column_stack([queries.strata.astype(np.float64), queries.sizes])[defined]
    where = np.flatnonzero(defined)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    bounds = np.searchsorted(group.ravel()[order], np.arange(len(first) + 1))
    for g, lead in enumerate(where[first]):
        index = where[order[bounds[g] : bounds[g + 1]]]
        window = strata.window(queries.strata[lead], float(queries.sizes[lead]), neighbours)
        _compare(queries.values[index], window, settings.tail_share, own, index, out)
    return out


def _overall(values: Floats, past: Floats, defined: NDArray[np.bool_], own: bool, out: Calibrated) -> None:
    ordered = np.sort(past)
    x = values[defined]
    below, upto = np.searchsorted(ordered, x, "left"), np.searchsorted(ordered, x, "right")
    out.percentile[defined] = _percentile(below, upto - below - own, len(ordered) - own)


def _percentile(below: Ints, ties: Ints, n: int) -> Floats:
    return 100.0 * (below + 0.5 * ties) / n


class _Strata:
    """Past members by stratum and level, each sorted by size."""

    def __init__(self, past: Sample, members: Ints, minimum: int) -> None:
        self._minimum = minimum
        self._levels: list[dict[int, tuple[Floats, Floats]]] = []
        order = members[np.argsort(past.sizes[members], kind="stable")]
        for level in range(past.strata.shape[1]):
            labels = past.strata[order, level]
            self._levels.append(
                {
                    int(key): (past.sizes[order[labels == key]], past.values[order[labels == key]])
                    for key in distinct(labels)
                }
            )

    def window(self, strata: Ints, size: float, neighbours: int) -> Floats:
        """Values of the nearest members in size, from the finest stratum that has enough of them."""
        sizes, values = np.empty(0), np.empty(0)
        for level, label in zip(self._levels, strata, strict=True):
            sizes, values = level.get(int(label), (sizes, values))
            if int(label) in level and len(sizes) >= self._minimum:
                break
        if len(sizes) <= neighbours:
            return values
        radius = np.partition(np.abs(sizes - size), neighbours - 1)[neighbours - 1]
        low, high = np.searchsorted(sizes, [size - radius - 1e-9, size + radius + 1e-9])
        return values[low:high]


def _compare(x: Floats, window: Floats, tail: float, own: bool, index: Ints, out: Calibrated) -> None:
    """Fill `out[index]` for queries `x` that share one window (which holds them too when `own`)."""
    n = len(window) - own
    if n < 1:
        return
    ordered = np.sort(window)
    below = np.searchsorted(ordered, x, "left")
    upto = np.searchsorted(ordered, x, "right")
    above = len(ordered) - below - own
    out.percentile_matched[index] = _percentile(below, upto - below - own, n)
    out.p_value[index] = (1 + above) / (n + 1)
    out.p_tail[index] = _tail(x, ordered, n, tail, own, out.p_value[index])
    out.matched[index] = n
    out.median[index] = ordered[len(ordered) // 2]


def _tail(x: Floats, ordered: Floats, n: int, share: float, own: bool, p: Floats) -> Floats:
    """Continue p beyond the k-th highest value; with `own`, x itself is one of `ordered` and is taken out."""
    k = math.ceil(share * n)
    if n < 20:
        return p
    top = ordered[::-1][: k + 1]
    if own:
        # With x among the k highest, the others' k highest end one further down.
        inside = x >= ordered[-k]
        threshold = np.where(inside, top[k], top[k - 1])
        total = np.where(inside, top.sum() - x, top[:k].sum())
    else:
        threshold = np.full(len(x), top[k - 1])
        total = np.full(len(x), top[:k].sum())
    # Without spread in the tail any higher value would be infinitely surprising; the scale of the whole
    # neighbourhood keeps it finite.
    centred = ordered - ordered.mean()
    spread = max(math.sqrt(float(centred @ centred) / len(centred)), 1e-9 + 1e-6 * abs(float(ordered[-1])))
    scale = np.maximum((total - k * threshold) / k, 0.1 * spread)
    start = (1 + k) / (n + 1)
    continued = start * np.exp(-np.maximum(x - threshold, 0.0) / scale)
    return np.where(x > threshold, np.maximum(continued, 1e-300), p)
