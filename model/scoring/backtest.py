"""A replayed history and what became of its commits in, whether the alerts would have been worth it out.

A commit is bad if it was reverted, or lines of it were deleted by a later fix, within `horizon` days: what is known
now, which nobody knew when it was scored. Commits younger than that are not counted, because they had no time.
AUROC: the chance that a bad commit scores higher than another one; size-matched, of the same number of added lines
(`evaluation.matched`); and matched on time too, of the same era. Intervals are 95% bootstraps over commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.szz import DAY
from codewm.model.scoring.fate import Fate, Fates

if TYPE_CHECKING:
    from codewm.model.scoring.replay import Replayed

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
WEEK = 7 * DAY
_NOTHING = (float("nan"),) * 3


@dataclass(frozen=True)
class BacktestSettings:
    """How a history is judged."""

    horizon: float = 365.0
    """Days in which what is wrong with a commit should have come out."""
    least_bad: int = 20
    """With fewer bad commits nothing can be told."""
    eras: int = 4
    """Equal numbers of commits, oldest to newest, within which time is matched."""
    resamples: int = 1_000


@dataclass(frozen=True)
class Looked:
    """One commit of the replay."""

    oid: str
    subject: str
    time: int
    lines_added: int
    p_value: float
    fate: Fate
    bad: bool
    """Reverted or fixed within the horizon."""
    old_enough: bool
    """The horizon has passed."""


@dataclass(frozen=True)
class Ranked:
    """How well one score tells bad commits from others; each figure with its interval."""

    name: str
    auroc: tuple[float, float, float]
    size_matched: tuple[float, float, float]
    time_matched: tuple[float, float, float]
    """Size and time."""
    less: tuple[float, float, float]
    """How much lower its size-matched figure is than the first score's, on the same resamples."""


@dataclass(frozen=True)
class Backtest:
    """Everything `codewm backtest` has to say."""

    first: int
    """Unix time of the oldest commit replayed."""
    last: int
    walked: int
    """Commits looked at, and of those:"""
    judged: int
    """with code, and enough past."""
    counted: int
    """Judged, and older than the horizon."""
    bad: int
    """Counted, and bad."""
    reverted: int
    budget: tuple[int, int]
    horizon: float
    alerts: tuple[Looked, ...]
    """Newest first."""
    misses: tuple[Looked, ...]
    """Bad commits without an alert, the largest first; all of them."""
    busiest_week: int
    """Most alerts in a week."""
    expected_hits: float
    """Of the alerts old enough to tell, had commits of the same sizes been drawn blindly."""
    rows: tuple[Ranked, ...]
    """codewm's first; () with too few bad commits."""
    gate: bool
    """Whether alerts clearly say more than chance and size do."""
    verdict: str

    @property
    def weeks(self) -> float:
        """Length of the replay."""
        return max((self.last - self.first) / WEEK, 1.0)

    @property
    def hits(self) -> tuple[Looked, ...]:
        """Alerts for commits that turned out bad, and are old enough to be counted."""
        return tuple(a for a in self.alerts if a.bad and a.old_enough)

    @property
    def told(self) -> int:
        """Alerts old enough to be counted."""
        return sum(a.old_enough for a in self.alerts)


@dataclass(frozen=True)
class History:
    """What the chains say of the C replayed commits, in their order."""

    subjects: list[str]
    time: I64
    """[C] committer time."""
    baselines: Mapping[str, F64]
    """Name -> [C] scores that the replay's are set beside."""


def backtest(
    replayed: Replayed,
    history: History,
    fates: Fates,
    budget: tuple[int, int],
    since: int,
    settings: BacktestSettings | None = None,
) -> Backtest:
    """Judge the replay from row `since` on."""
    settings = settings or BacktestSettings()
    rows = np.flatnonzero(replayed.judged & (np.arange(len(replayed)) >= since))
    newest = int(history.time.max(initial=0))
    looked = []
    for c in rows.tolist():
        fate = fates.commit(replayed.oids[c])
        looked.append(
            Looked(
                oid=replayed.oids[c],
                subject=history.subjects[c],
                time=int(history.time[c]),
                lines_added=int(replayed.lines_added[c]),
                p_value=float(replayed.p_value[c]),
                fate=fate,
                bad=fate.is_bad and fate.days <= settings.horizon,
                old_enough=newest - int(history.time[c]) >= settings.horizon * DAY,
            )
        )
    bad = np.array([x.bad for x in looked], np.bool_)
    counted = np.array([x.old_enough for x in looked], np.bool_)
    alert = replayed.p_value[rows] <= budget[0] / budget[1]
    lines = replayed.lines_added[rows]
    told = int((alert & counted).sum())
    expected = _expected(bad, counted, alert, lines)
    kept = rows[counted]
    table: tuple[Ranked, ...] = ()
    enough = int(bad[counted].sum()) >= settings.least_bad and bool((~bad[counted]).any())
    if enough:
        scores = {"codewm": replayed.surprise[kept]}
        scores |= {name: values[kept] for name, values in history.baselines.items()}
        scores |= {f"only {name}": values[kept] for name, values in replayed.channels.items()}
        table = rank(scores, bad[counted], lines[counted], kept, settings)
    hits = int((alert & counted & bad).sum())
    gate, verdict = _verdict(table, told, hits, expected, int(bad[counted].sum()), len(kept), settings)
    alerts = tuple(looked[i] for i in np.flatnonzero(alert)[::-1])
    missed = np.flatnonzero(bad & counted & ~alert)
    return Backtest(
        first=looked[0].time if looked else newest,
        last=newest,
        walked=len(replayed) - since,
        judged=len(rows),
        counted=len(kept),
        bad=int(bad[counted].sum()),
        reverted=sum(x.bad and x.old_enough and x.fate.what == "reverted" for x in looked),
        budget=budget,
        horizon=settings.horizon,
        alerts=alerts,
        misses=tuple(looked[i] for i in missed[np.argsort(-lines[missed], kind="stable")]),
        busiest_week=int(np.bincount([int((a.time - looked[0].time) // WEEK) for a in alerts]).max(initial=0))
        if alerts
        else 0,
        expected_hits=expected,
        rows=table,
        gate=gate,
        verdict=verdict,
    )


def rank(
    scores: Mapping[str, F64], bad: Bools, lines: NDArray[np.int32], order: I64, settings: BacktestSettings
) -> tuple[Ranked, ...]:
    """AUROC of each score [n] for telling `bad` [n]; `order` [n] says which commits are older.

    Where a score says nothing (NaN) it is lowest.
    """
    from codewm.model.evaluation.matched import auroc, pairs, strata
    from codewm.model.evaluation.metrics import Bootstrap, interval

    n = len(bad)
    stacked = np.column_stack([np.nan_to_num(s, nan=-np.inf) for s in scores.values()])
    one = np.zeros(n, np.int64)
    era = np.argsort(np.argsort(order)) * settings.eras // n
    commit = np.arange(n)
    bootstrap = Bootstrap(commit, settings.resamples)
    whole = slice(0, settings.resamples)
    found: list[list[tuple[float, float, float]]] = []
    less: list[tuple[float, float, float]] = []
    for stratum in (one, strata(lines, one, ~bad), strata(lines, era, ~bad)):
        compared = pairs(np.flatnonzero(bad), np.flatnonzero(~bad), stratum, commit)
        if not len(compared):
            found.append([_NOTHING] * len(scores))
            continue
        values, drawn = auroc(stacked, compared, bootstrap, whole)
        drawn = drawn[~np.isnan(drawn).any(1)]
        found.append([(float(v), *interval(drawn[:, i])) for i, v in enumerate(values)])
        if len(found) == 2:
            less = [
                (float(values[0] - v), *interval(drawn[:, 0] - drawn[:, i])) for i, v in enumerate(values)
            ]
    less = less or [_NOTHING] * len(scores)
    return tuple(Ranked(name, *figures) for name, *figures in zip(scores, *found, less, strict=True))


def _expected(bad: Bools, counted: Bools, alert: Bools, lines: NDArray[np.int32]) -> float:
    """How many of the alerts would have hit, drawn blindly among commits of the same size."""
    from codewm.model.evaluation.matched import strata

    if not counted.any():
        return 0.0
    stratum = strata(lines[counted], np.zeros(int(counted.sum()), np.int64), ~bad[counted])
    rate = np.bincount(stratum, weights=bad[counted]) / np.maximum(np.bincount(stratum), 1)
    return float(rate[stratum[alert[counted]]].sum())


def _verdict(
    rows: tuple[Ranked, ...],
    told: int,
    hits: int,
    expected: float,
    bad: int,
    counted: int,
    settings: BacktestSettings,
) -> tuple[bool, str]:
    """One sentence: may one gate on this here?"""
    if not rows:
        if not counted:
            return False, (
                "Do not gate here: no commit with enough past before it is old enough to know what became of it."
            )
        return False, (
            f"Do not gate here: only {bad} of {counted} commits old enough to tell were later fixed or reverted, "
            f"and below {settings.least_bad} nobody can say whether alerts help."
        )
    value, low, high = rows[0].size_matched
    figure = f"size-matched AUROC {value:.2f}, 95% interval {low:.2f} to {high:.2f}, 0.5 is a coin"
    counts = f"{hits} of {told} alerts hit, and {expected:.1f} would have by chance"
    if low <= 0.5:
        return False, (
            "Do not gate here: among commits of the same size, the score does not tell those that were later fixed "
            f"or reverted from the others ({figure}); {counts}."
        )
    if hits < 2 * expected or hits < 2:
        return False, (
            f"Do not gate here: the score says something beyond size ({figure}), but too little at this budget: "
            f"{counts}."
        )
    return True, (
        f"Alerts are worth reading here: {counts}, and the score says something beyond size ({figure}). "
        "Most of what they point at is still harmless, so warn with them and do not block."
    )
