"""A past and what was judged by it in, whether its latest commits still look like the rest of it out.

Conformal p-values keep their budget while the commits to come are like those that they are compared with. A
repository that changes its ways (a new author, formatter, framework) breaks that, and its alerts then say no more
than that. Two looks, the second only after the first:

1. Every past commit that is compared with was compared with the others of them, to be one of their sample. Its place
   among them, by its surprise and by each channel, must not climb in the order of the history. The largest step up of
   the mean, over all places to cut and in standard errors, says where it does [CUSUM; Page 1954]. Neighbours are
   alike (they work on the same thing), so the errors come from the long-run variance [Newey and West 1987].
2. The commits after the cut are judged by those before it, as they would have been then. If there are more alerts
   than the budget lets one expect, so that chance hardly explains it, that is drift. The number of alerts among n
   commits that share m others to be compared with is beta-binomial: they err together.

Then scores are compared with what came after the change alone, if that is enough to compare with. A shift down, or
one that brings no alerts, is no drift here: the budget holds. The verdict depends on the past alone, and is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codewm.model.scoring.channels import CHANNELS
from codewm.model.scoring.past import Past, take
from codewm.model.scoring.shelf import Entry, Shelf
from codewm.model.scoring.standing import key_of

if TYPE_CHECKING:
    from pathlib import Path

    from codewm.model.scoring.channels import Edits
    from codewm.model.scoring.reference import Reference
    from codewm.model.scoring.score import Judged
    from codewm.model.scoring.settings import DriftSettings, ScoreSettings
    from codewm.model.scoring.standing import Standing

    Judge = Callable[[Edits, NDArray[np.int32], Past, Reference | None, ScoreSettings], Judged]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SCHEMA = "codewm.drift/1"
"""To be counted up when a verdict would be another one, for another reason than settings."""


@dataclass(frozen=True)
class Own:
    """What past commits are compared with each other, in the order of the history."""

    commit: NDArray[np.int32]
    """[u] the compared commits, as rows of the past."""
    strength: Floats
    """[u] `combine.per_commit`, each among the others."""
    channels: dict[str, Floats]
    """[u] the same of each channel alone."""

    @classmethod
    def of(cls, commit: NDArray[np.int32], stands: Standing) -> Own:
        """Of the commits that a standing has edits of."""
        return cls(commit, stands.commits[commit], dict(zip(CHANNELS, stands.channels, strict=True)))


@dataclass(frozen=True)
class Drift:
    """The latest commits of the past are unlike those before them."""

    since: int
    """First commit after the change, as a row of the past: the first that alerts."""
    commits: int
    """Scored commits since then,"""
    edits: int
    """and their edits."""
    alerts: int
    """Among them, when judged by what came before."""
    expected: float
    channels: tuple[str, ...]
    """Those that moved, the one that moved most first."""

    def is_enough(self, settings: ScoreSettings) -> bool:
        """Tell whether what came after the change can be compared with alone."""
        enough = settings.calibration
        return self.commits >= enough.little_commits and self.edits >= enough.little_edits


def detect(past: Past, judged: Judged, settings: ScoreSettings, judge: Judge) -> Drift | None:
    """Look at the commits that others were compared with; None where they are alike, or too few to tell."""
    own = judged.own
    said = {"": own.strength, **own.channels}
    found = {name: largest_step(values, settings.drift) for name, values in said.items()}
    steps = sorted(((*step, name) for name, step in found.items() if step is not None), reverse=True)
    if not steps:
        return None
    # A few commits of the new kind among those compared with would hide all the others.
    first = int(own.commit[max(steps[0][1] - settings.drift.margin, 0)])
    later = take(past.edits, np.flatnonzero(past.edits.commit >= first))
    later = replace(later, commit=later.commit - np.int32(first))
    before = replace(past, edits=take(past.edits, np.flatnonzero(past.edits.commit < first)))
    then = judge(later, past.lines_added[first:], before, None, settings)
    p, (allowed, per) = then.commits.p_value, settings.alert_budget
    told = np.flatnonzero(~np.isnan(p))
    alert = told[p[told] <= allowed / per]
    if not len(alert):
        return None
    known = int(np.median(then.commits.matched[told]))
    if by_chance(len(alert), len(told), known, allowed / per)[1] > settings.drift.level:
        return None
    since, commits = int(alert[0]), int((told >= alert[0]).sum())
    expected, _ = by_chance(len(alert), commits, known, allowed / per)
    edits = int((later.commit >= since).sum())
    moved = tuple(name for *_, name in steps if name)
    return Drift(first + since, commits, edits, len(alert), expected, moved)


def recalled(
    place: Path | None, past: Past, judged: Judged, settings: ScoreSettings, judge: Judge
) -> Drift | None:
    """Return what `detect` finds, from the file at `place` where it is there; else it is there the next time."""
    if place is None:
        return detect(past, judged, settings, judge)
    compared = (settings.calibration, settings.combine, settings.drift, settings.alert_budget)
    shelf, key = Shelf(place), key_of(SCHEMA, past.edits, past.lines_added, *compared)
    kept = shelf.find(key)
    if kept is not None:
        try:
            verdict = kept.said["drift"]
            return None if verdict is None else Drift(**{**verdict, "channels": tuple(verdict["channels"])})
        except (KeyError, TypeError):
            pass  # it is another thing, and found again
    found = detect(past, judged, settings, judge)
    shelf.put(key, Entry(said={"drift": None if found is None else asdict(found)}))
    return found


def largest_step(values: Floats, settings: DriftSettings) -> tuple[float, int] | None:
    """By how much [n] values, in order, step up most, in standard errors, and which is the first above; None where no
    step is beyond chance. NaN says nothing.
    """
    told = np.flatnonzero(~np.isnan(values))
    n, least = len(told), settings.least
    if n < 2 * least:
        return None
    inside = _steps(_ranks(values[told]))[least - 1 : n - least]
    best = int(np.argmax(inside))
    return (float(inside[best]), int(told[best + least])) if inside[best] > settings.step else None


def by_chance(alerts: int, commits: int, known: int, budget: float) -> tuple[float, float]:
    """How many of n commits are expected to alert, each compared with the same m others, and the chance of as many
    as there are: beta-binomial with a = floor(b (m + 1)), b = m + 1 - a [Vovk 2012, conditional validity, prop. 2a].
    """
    a = math.floor(budget * (known + 1) + 1e-9)
    if a == 0:
        return 0.0, 1.0
    b = known + 1 - a

    def beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    def choose(k: int) -> float:
        return math.lgamma(commits + 1) - math.lgamma(k + 1) - math.lgamma(commits - k + 1)

    below = sum(
        math.exp(choose(k) + beta(k + a, commits - k + b) - beta(a, b))
        for k in range(min(alerts, commits + 1))
    )
    return commits * a / (known + 1), max(0.0, 1.0 - below)


def _steps(ranks: Floats) -> Floats:
    """[n - 1] the mean after each place less that before it, in standard errors of neighbours that are alike."""
    n = len(ranks)
    centred = ranks - ranks.mean()
    before = np.cumsum(centred)[:-1]
    count = np.arange(1, n)
    lags = round(n ** (1 / 3))
    variance = float(centred @ centred) / n
    for lag in range(1, lags + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag]) / n
    if variance <= 1e-12:
        return np.zeros(n - 1)
    return np.asarray(-before / np.sqrt(variance * count * (n - count) / n), np.float64)


def _ranks(values: Floats) -> Floats:
    """[n] places in (0, 1), ties in the middle."""
    ordered = np.sort(values)
    low, high = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return np.asarray((low + high) / (2.0 * len(values)), np.float64)
