"""Scored commits and labels in, rows of the benchmark out: every score beside the rivals, like compared with like.

For each label set L and score (`subset`):

    L_auroc                     pairs of one repository
    L_auroc_size_matched        pairs of one repository and number of lines added, or decile of it
    L_auroc_closely_matched     pairs of one repository whose lines added differ by less than a quarter: the upper
                                deciles are so wide that lines added itself still wins in them
    L_auroc_time_matched        pairs of one repository and fifth of its commit times
    L_auroc_size_time_matched   both
    L_auprc                     average precision over all commits; its base rate is beside it
    L_caught_in_top_5, 10, 50   share of the positives among that percentage of their repository's commits
    L_auroc_added_to_lines      AUROC of lines added and the score, less that of lines added alone; fitted on the
                                other repositories

Label sets are over the repositories that have a positive. 95% intervals are bootstraps over commits, and the rows of
codewm's surprise have the margins to every other score on the same resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codewm.model.evaluation import matched
from codewm.model.evaluation.cases import KIND_NAMES, REAL
from codewm.model.evaluation.injected import FORMS, METRICS, UNSEEN
from codewm.model.evaluation.label_files import kind_of
from codewm.model.evaluation.metrics import Bootstrap, Row, interval
from codewm.model.evaluation.mistakes import ALL
from codewm.model.evaluation.replay import SURPRISE, Scored
from codewm.model.evaluation.stratified import (
    added_value,
    auprc,
    auroc,
    caught,
    close_strata,
    comparable,
    crossed,
    ranks_within,
    size_strata,
    spearman,
    time_strata,
)

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
LINES = "lines_added"
TOPS = (5, 10, 50)
FEW = 20
"""With fewer positives nothing is fitted to them, and no figure means much."""
INJECTED = METRICS[0]
_CHUNK = 100  # resamples at a time, of pairs


@dataclass(frozen=True)
class Pool:
    """Commits, or cases, of several repositories."""

    repositories: list[str]
    repository: I64
    """[n] index into `repositories`."""
    time: I64
    lines: I64
    p_value: F64
    values: dict[str, F64]

    def take(self, rows: I64 | Mask) -> Pool:
        """Some of them."""
        values = {k: v[rows] for k, v in self.values.items()}
        return Pool(
            self.repositories,
            self.repository[rows],
            self.time[rows],
            self.lines[rows],
            self.p_value[rows],
            values,
        )

    def __len__(self) -> int:
        return len(self.repository)


def pool(scored: Sequence[Scored]) -> Pool:
    """Put repositories after each other; only scores that all of them have are kept."""
    filled = [s for s in scored if len(s)]
    names = [k for k in filled[0].values if all(k in s.values for s in filled)] if filled else []
    none = np.zeros(0, np.int64)
    return Pool(
        repositories=[s.repository for s in scored],
        repository=np.concatenate([none, *(np.full(len(s), i) for i, s in enumerate(scored) if len(s))]),
        time=np.concatenate([none, *(s.time for s in filled)]),
        lines=np.concatenate([none, *(s.lines_added for s in filled)]),
        p_value=np.concatenate([np.zeros(0), *(s.p_value for s in filled)]),
        values={k: np.concatenate([s.values[k] for s in filled]) for k in names},
    )


Drawn = dict[str, tuple[float, F64]]
"""By score: its value, and under every resample."""


def rows_of(
    metric: str, found: Drawn, n: int, data: str = "", baselines: Sequence[str] = (), **more: Any
) -> list[Row]:
    """One row for each score; that of the surprise has all others beside it, and its margins to them."""
    out = []
    for name, (value, drawn) in found.items():
        beside = {k: v for k, v in found.items() if k != name and (name == SURPRISE or k == LINES)}
        among = _interval(drawn)
        margins = {k: _interval(drawn - v[1]) for k, v in beside.items()} if name == SURPRISE else {}
        nulls = {k: v[0] for k, v in beside.items()}
        kind = {"baseline": True} if name in baselines else {}
        held = {k: m for k, m in margins.items() if m is not None}
        out.append(Row(metric, name, value, among, n, nulls, held, data, {**more, **kind}))
    return out


def _interval(drawn: F64) -> tuple[float, float] | None:
    known = drawn[~np.isnan(drawn)]
    return interval(known) if len(known) else None


def _weights(commits: int, resamples: int, seed: int = 0) -> F64:
    return Bootstrap(np.arange(commits), resamples, seed).weights if commits else np.zeros((resamples, 0))


def natural_rows(
    name: str, commits: Pool, positive: Mask, resamples: int, baselines: Sequence[str]
) -> list[Row]:
    """Rows of one label set: pooled, and by repository. None without a positive and a negative to compare."""
    has = np.isin(commits.repository, np.unique(commits.repository[positive]))
    here, up = commits.take(has), positive[has]
    if not comparable(up, here.repository).any():
        return []
    weights = _weights(len(here), resamples)
    size = size_strata(here.lines, here.repository, up)
    when = time_strata(here.time, here.repository, up)
    matchings = {
        "auroc": here.repository,
        "auroc_size_matched": size,
        "auroc_closely_matched": close_strata(here.lines, here.repository),
        "auroc_time_matched": when,
        "auroc_size_time_matched": crossed(size, when),
    }
    ranks = {k: ranks_within(v, here.repository) for k, v in here.values.items()}
    rows: list[Row] = []
    positives = int(up.sum())
    for metric, stratum in matchings.items():
        found = {k: auroc(v, up, stratum, weights) for k, v in here.values.items()}
        used = int((up & comparable(up, stratum)).sum())
        more: dict[str, Any] = {"positives": positives, "positives_compared": used}
        rows += rows_of(f"{name}_{metric}", found, len(here), baselines=baselines, **more)
    # Values of different repositories are not compared: what counts is the place among the repository's own.
    found = {k: auprc(-v, up, weights) for k, v in ranks.items()}
    rows += rows_of(
        f"{name}_auprc",
        found,
        len(here),
        baselines=baselines,
        positives=positives,
        base_rate=float(up.mean()),
    )
    for top in TOPS:
        found = {k: caught(v, up, top / 100, weights) for k, v in ranks.items()}
        metric = f"{name}_caught_in_top_{top}"
        rows += rows_of(metric, found, len(here), baselines=baselines, positives=positives)
    rows += _added(name, here, up, weights, baselines)
    return rows + _by_repository(name, here, up, resamples, baselines)


def _added(name: str, here: Pool, up: Mask, weights: F64, baselines: Sequence[str]) -> list[Row]:
    if find_spec("sklearn") is None or up.sum() < FEW:
        return []
    sizes = here.lines.astype(np.float64)
    rows = []
    for score, values in here.values.items():
        if score == LINES:
            continue
        found = added_value(sizes, values, up, here.repository, weights)
        if found is not None:
            both, gain, drawn = found
            kind = {"baseline": True} if score in baselines else {}
            more = {"auroc_of_both": both, "positives": int(up.sum()), **kind}
            metric = f"{name}_auroc_added_to_lines"
            rows.append(Row(metric, score, gain, _interval(drawn), len(up), more=more))
    return rows


def _by_repository(name: str, here: Pool, up: Mask, resamples: int, baselines: Sequence[str]) -> list[Row]:
    rows = []
    for r in np.unique(here.repository):
        mine = np.flatnonzero(here.repository == r)
        part, positive = here.take(mine), up[mine]
        if not comparable(positive, part.repository).any():
            continue
        weights = _weights(len(mine), resamples)
        size = size_strata(part.lines, part.repository, positive)
        for metric, stratum in (("auroc", part.repository), ("auroc_size_matched", size)):
            found = {k: auroc(v, positive, stratum, weights) for k, v in part.values.items()}
            found = {k: v for k, v in found.items() if not np.isnan(v[0])}
            rows += rows_of(
                f"{name}_{metric}",
                found,
                len(mine),
                here.repositories[r],
                baselines,
                positives=int(positive.sum()),
            )
    return rows


def plain_rows(commits: Pool, resamples: int, budget: tuple[int, int], baselines: Sequence[str]) -> list[Row]:
    """Rows that need no labels: rank correlation with lines added, and how many commits alert at the budget."""
    weights = _weights(len(commits), resamples)
    lines = commits.lines.astype(np.float64)
    found = {
        k: spearman(v, lines, commits.repository, weights) for k, v in commits.values.items() if k != LINES
    }
    rows = []
    for name, (value, drawn) in found.items():
        kind = {"baseline": True} if name in baselines else {}
        rows.append(Row("spearman_with_lines_added", name, value, _interval(drawn), len(commits), more=kind))
    for r in (None, *np.unique(commits.repository).tolist()):
        here = ~np.isnan(commits.p_value)
        here &= True if r is None else commits.repository == r
        alert = (commits.p_value[here] <= budget[0] / budget[1]).astype(np.float64)
        if not len(alert):
            continue
        drawn = _weights(len(alert), resamples) @ alert / len(alert)
        data = "" if r is None else commits.repositories[r]
        more = {"budget": budget[0] / budget[1]}
        rows.append(
            Row(
                "alert_rate",
                SURPRISE,
                float(alert.mean()),
                _interval(drawn),
                len(alert),
                data=data,
                more=more,
            )
        )
    return rows


def injected_rows(
    scored: Sequence[Scored], cases: Pool, resamples: int, baselines: Sequence[str]
) -> list[Row]:
    """Rows of mistakes that were made: the mean over kinds, over those not trained on, the worst, and each.

    A mistake is compared with real edits of the same repository and number of lines added (`matched`), of other
    commits. Kinds and forms count alike, however many there are.
    """
    every = [case for s in scored for case in s.case]
    if not every or not cases.values:
        return []
    commit = np.unique([f"{s.repository} {oid}" for s in scored for oid in s.oid], return_inverse=True)[1]
    ordinary = np.array([case.kind == REAL for case in every])
    stratum = matched.strata(cases.lines, cases.repository, ordinary)
    values = np.column_stack(list(cases.values.values()))
    bootstrap = Bootstrap(commit.ravel().astype(np.int64), resamples)
    said = np.array([kind_of(case) for case in every])
    rows: list[Row] = []
    each: dict[tuple[str, str], tuple[F64, F64, int]] = {}
    for kind in KIND_NAMES:
        for form in FORMS:
            suspects = np.flatnonzero(said == f"{kind}, {form}")
            compared = matched.pairs(suspects, np.flatnonzero(ordinary), stratum, commit.ravel())
            if not len(compared):
                continue
            parts = [
                matched.auroc(values, compared, bootstrap, slice(i, i + _CHUNK))
                for i in range(0, resamples, _CHUNK)
            ]
            drawn = np.concatenate([p[1] for p in parts])
            each[kind, form] = parts[0][0], drawn, len(np.unique(compared.suspect))
    untrained = {kind for kind in KIND_NAMES if kind not in ALL or not ALL[kind].trained}
    for metric, wanted in ((INJECTED, set(KIND_NAMES)), (INJECTED + UNSEEN, untrained)):
        chosen = {key: found for key, found in each.items() if key[0] in wanted}
        if chosen:
            value, drawn = _mean(list(chosen.values()))
            found = {k: (float(value[i]), drawn[:, i]) for i, k in enumerate(cases.values)}
            more: dict[str, Any] = {"kinds": [f"{k}, {f}" for k, f in chosen]}
            rows += rows_of(metric, found, sum(f[2] for f in chosen.values()), baselines=baselines, **more)
    by_kind = {
        k: _mean([f for key, f in each.items() if key[0] == k])[0] for k in dict.fromkeys(k for k, _ in each)
    }
    for i, name in enumerate(cases.values):
        worst = min(by_kind, key=lambda k: by_kind[k][i]) if by_kind else ""
        if worst:
            marks = {"kind": worst, **({"baseline": True} if name in baselines else {})}
            lowest = float(by_kind[worst][i])
            rows.append(Row(f"{INJECTED}_worst_kind", name, lowest, None, len(by_kind), more=marks))
    for (kind, form), (value, drawn, n) in each.items():
        found = {k: (float(value[i]), drawn[:, i]) for i, k in enumerate(cases.values)}
        more = {"kind": f"{kind}, {form}", "trained": kind not in untrained}
        rows += rows_of(f"{INJECTED}_of_kind", found, n, baselines=baselines, **more)
    return rows


def _mean(found: Sequence[tuple[F64, F64, int]]) -> tuple[F64, F64]:
    """Mean over kinds: [S], and [R, S]; a resample has those kinds that occur in it."""
    drawn = np.stack([f[1] for f in found])
    occurs = (~np.isnan(drawn)).sum(0)
    with np.errstate(invalid="ignore"):
        mean: F64 = np.nansum(drawn, 0) / np.where(occurs > 0, occurs, np.nan)
    return np.asarray(np.mean([f[0] for f in found], 0)), mean
