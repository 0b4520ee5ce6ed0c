"""A repository's whole history in, what codewm would have said of each commit on its day out.

Blocks of commits are judged against nothing but the past before them, with the limits of `score`. Everything is
measured once, in the order of the commits, so that names and tokens are known as of each date; the measurements are
kept in `<data_dir>/replay.safetensors`, because they take most of the time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.history import HistoryLimit
from codewm.model.scoring import cache
from codewm.model.scoring.channels import CHANNELS
from codewm.model.scoring.combine import per_commit
from codewm.model.scoring.gather import build
from codewm.model.scoring.past import Past, take
from codewm.model.scoring.score import judge_adapted
from codewm.model.scoring.settings import ScoreSettings

if TYPE_CHECKING:
    from codewm.corpus.git import Repository
    from codewm.model.scoring.engine_model import ScoringModel

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
FILE_NAME = "replay.safetensors"


@dataclass(frozen=True)
class ReplaySettings:
    """How a history is replayed."""

    block: int = 25
    """Commits judged against the same past: what `score` does with a range of so many."""
    warm_commits: int = 50
    """Scored commits that must lie before a block, for it to be judged: with fewer, codewm abstains."""
    warm_edits: int = 100
    whole: HistoryLimit = field(
        default_factory=lambda: HistoryLimit(commits=20_000, walk=100_000, edits=25_000, files=100_000)
    )
    """How much history is measured at most, the newest first."""


@dataclass(frozen=True)
class Replayed:
    """C commits, oldest first, as they would have been judged on their day."""

    oids: list[str]
    lines_added: NDArray[np.int32]
    """[C]"""
    judged: NDArray[np.bool_]
    """[C] it has scored units, and enough past."""
    p_value: F64
    """[C] conformal, among past commits of its size; NaN where not judged."""
    surprise: F64
    """[C] -log of the p-value continued beyond its smallest (`calibrate`): higher is stranger."""
    channels: Mapping[str, F64]
    """[C] strength of each channel alone (`combine.per_commit`), NaN where it says nothing."""
    conformal: Mapping[str, F64]
    """The same of p-values that are not continued beyond their smallest: what a `Report` has, too."""
    from_root: bool
    """Nothing older was left out."""

    def __len__(self) -> int:
        return len(self.oids)


def replay(
    repo: Repository,
    tip: str,
    model: ScoringModel,
    settings: ScoreSettings,
    wanted: ReplaySettings,
    since: int = 0,
    advance: Callable[[float], object] = lambda done: None,
) -> tuple[Past, Replayed]:
    """Measure the history up to `tip`, and judge the commits from row `since` on.

    `advance` hears the share done so far.
    """
    past = measured(repo, tip, model, settings, wanted)
    return past, judged(past, settings, wanted, since, advance)


def measured(
    repo: Repository, tip: str, model: ScoringModel, settings: ScoreSettings, wanted: ReplaySettings
) -> Past:
    """Measure all edits up to `tip`, or take them from the last run."""
    whole = replace(settings, history=wanted.whole)
    place, key = repo.data_dir / FILE_NAME, _key(model, whole)
    try:
        stored = cache.load(place, key)
    except cache.CacheDamagedError:
        stored = None
    if stored is not None and tip in stored.position:
        return stored.until(stored.position[tip])
    past = build(repo, tip, model, whole)
    cache.save(place, past, key)
    return past


def _key(model: ScoringModel, settings: ScoreSettings) -> str:
    """Name everything that the measurements depend on, and a little more."""
    shown = ScoreSettings()
    settings = replace(settings, alert_budget=shown.alert_budget, threads=shown.threads)
    parts = (model.digest, core.TOKENIZER_ID, model.window, model.action, settings)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def judged(
    past: Past,
    settings: ScoreSettings,
    wanted: ReplaySettings,
    since: int = 0,
    advance: Callable[[float], object] = lambda done: None,
) -> Replayed:
    """Judge each block of commits from row `since` on against the past before it."""
    c = len(past)
    p_value, surprise = np.full(c, np.nan), np.full(c, np.nan)
    channels = {name: np.full(c, np.nan) for name in CHANNELS}
    conformal = {name: np.full(c, np.nan) for name in CHANNELS}
    edits = past.edits
    starts = np.searchsorted(edits.commit, np.arange(c + 1))
    scored = np.diff(starts) > 0
    # Scored commits and edits before each commit.
    commits_before = np.concatenate([[0], np.cumsum(scored)])
    for first in range(max(since, 1), c, wanted.block):
        last = min(first + wanted.block, c)
        advance((first - since) / max(c - since, 1))
        enough = commits_before[first] >= wanted.warm_commits and starts[first] >= wanted.warm_edits
        if not enough or not scored[first:last].any():
            continue
        before = past.until(first - 1).trimmed(settings.history)
        block = take(edits, np.arange(starts[first], starts[last]))
        block = replace(block, commit=block.commit - np.int32(first))
        found, _ = judge_adapted(block, past.lines_added[first:last], before, None, settings)
        p_value[first:last] = found.commits.p_value
        surprise[first:last] = -np.log(found.commits.p_tail)
        for name in CHANNELS:
            one, part = found.channels[name], (block.commit, last - first, settings.combine)
            channels[name][first:last] = per_commit(one.p_tail, *part)
            conformal[name][first:last] = per_commit(one.p_value, *part)
    seen = ~np.isnan(p_value)
    return Replayed(past.oids, past.lines_added, seen, p_value, surprise, channels, conformal, past.from_root)
