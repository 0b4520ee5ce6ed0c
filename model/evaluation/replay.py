"""A harvested repository in, its latest commits scored as they would have been then out, with rivals and mistakes.

    table ─► blocks of commits ─► measured with the past before the block ─► judged ─► the block joins the past
                    └► real edits of a block with one thing wrong, judged by the same past

Nothing that scores a commit was committed after its block begins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.history import commits_between, history_in
from codewm.corpus.split import boundaries
from codewm.corpus.table import EditTable
from codewm.model.evaluation.baselines import Baselines
from codewm.model.evaluation.cases import Case, cases_of
from codewm.model.evaluation.held_out import Source
from codewm.model.scoring.alone import measure_alone
from codewm.model.scoring.calibrate import Calibrated
from codewm.model.scoring.channels import CHANNELS, Edits
from codewm.model.scoring.combine import per_commit
from codewm.model.scoring.engine_model import ScoringModel
from codewm.model.scoring.gather import build, measured, past_of
from codewm.model.scoring.past import empty_past
from codewm.model.scoring.score import Judged, judge
from codewm.model.scoring.settings import ScoreSettings

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
SURPRISE, AT_SIZE = "surprise", "surprise_at_size"
"""The score of a commit, and how rare it is among past commits with as many lines added."""


@dataclass(frozen=True)
class Scored:
    """C scored commits of one repository, or M cases made from them; every array is by row."""

    repository: str
    oid: list[str]
    """The commit, or that which a case was made from."""
    time: I64
    """Committer time, unix seconds."""
    lines_added: I64
    p_value: F64
    """Conformal, of the commit among past ones of its size; NaN where there was too little past."""
    values: dict[str, F64]
    """By the name of the score; higher is stranger."""
    edits: I64
    """Changed units."""
    case: list[Case]
    """What was done to it; [] for commits as they are."""

    def __len__(self) -> int:
        return len(self.oid)


@dataclass(frozen=True)
class Window:
    """Which commits of a table are scored."""

    first: int
    last: int
    """Inclusive."""

    def blocks(self, size: int) -> list[Window]:
        """Cut it into runs of `size` commits, the last one perhaps shorter."""
        return [
            Window(start, min(start + size - 1, self.last))
            for start in range(self.first, self.last + 1, size)
        ]


def window_of(table: EditTable, share: float, limit: int) -> Window:
    """The latest `share` of the edits by commit time; of those, the first `limit` by whole commits.

    The first, because what was committed last had no time to be reverted or fixed. Raises `UserError` for a corpus.
    """
    if len(table.repositories) > 1:
        raise UserError("a corpus has no clones to replay", "name the clones")
    first = int(boundaries(table, share)[0])
    if first < 0:
        raise UserError("there are no edits to score", "name a repository with Python files")
    here = table.commit[table.commit >= first]
    last = len(table.commits) - 1
    if len(here) > limit:
        last = max(int(here[limit]) - 1, first)
    return Window(first, last)


def blocks_around(
    table: EditTable, window: Window, size: int, wanted: Collection[str], limit: int
) -> list[Window]:
    """The blocks of the window that hold a wanted commit with code in it; the first of them, up to `limit` edits."""
    edited = np.unique(table.commit[(table.flags & core.FLAG_NOOP) == 0])
    marked = [int(c) for c in edited if table.commits.oid[c] in wanted]
    found: list[Window] = []
    edits = 0
    for part in window.blocks(size):
        if not any(part.first <= c <= part.last for c in marked):
            continue
        edits += int(((table.commit >= part.first) & (table.commit <= part.last)).sum())
        if found and edits > limit:
            break
        found.append(part)
    return found


def replay_blocks(
    source: Source,
    blocks: Sequence[Window],
    model: ScoringModel,
    settings: ScoreSettings,
    progress: Callable[[int], object] = lambda done: None,
) -> Scored:
    """Score some blocks of commits, each against the past before it, as `replay` does.

    What lies between two blocks is read only as far as it belongs to the past of the second one; the rivals know as
    much of the past as codewm does, and no more.
    """
    table, name = source.table, source.repositories[0]
    _check_kind(source, model)
    limit = settings.history
    past, rivals, reached = empty_past(), Baselines(), 0
    scored: list[Scored] = []
    with Repository.open(source.clones[name]) as repo:
        for part in blocks:
            if part.first > reached:
                between = commits_between(table, reached, part.first - 1)
                if reached and len(np.unique(between.commit)) <= limit.commits:
                    edits, known = measured(between, past, model, settings)
                    past = past.plus(between, edits, known).trimmed(limit)
                    rivals.learn(between)
                else:
                    found = history_in(table, part.first - 1, limit)
                    past, rivals = past_of(repo, found, model, settings), Baselines()
                    rivals.learn(found.table)
            here = commits_between(table, part.first, part.last)
            edits, known = measured(here, past, model, settings)
            judged = judge(edits, here.commits.lines_added, past, None, settings)
            scored.append(_scored(name, here, edits, judged, rivals, settings))
            past, reached = past.plus(here, edits, known).trimmed(limit), part.last + 1
            rivals.learn(here)
            progress(part.last - part.first + 1)
    return joined(name, scored)


def _check_kind(source: Source, model: ScoringModel) -> None:
    """Raise `UserError` where the store was made for another kind of model."""
    table = source.table
    if (table.window, table.action_id) != (model.window, model.action):
        raise UserError(
            f"{source.name} was harvested with window {table.window} and action {table.action_id}, "
            f"the model is told {model.window} and {model.action}",
            "harvest with the settings of the model",
        )


def replay(
    source: Source,
    window: Window,
    model: ScoringModel,
    settings: ScoreSettings,
    *,
    block: int,
    injections: int,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[Scored, Scored]:
    """Score the commits of the window, and `injections` of its edits with every mistake in them (and as they were).

    `block` is the number of commits that are scored by one past. Raises `UserError` where the store was made for
    another kind of model.
    """
    table = source.table
    _check_kind(source, model)
    name = source.repositories[0]
    with Repository.open(source.clones[name]) as repo:
        before = table.commits.parent[window.first]
        past = build(repo, before, model, settings) if before else empty_past()
    rivals = Baselines()
    if window.first:
        rivals.learn(commits_between(table, 0, window.first - 1))
    cases = cases_of(
        source, window.first, window.last, injections, model.action, model.window, settings.threads
    )
    real: list[Scored] = []
    made: list[Scored] = []
    for run in window.blocks(block):
        start, end = run.first, run.last
        part = commits_between(table, start, end)
        edits, known = measured(part, past, model, settings)
        judged = judge(edits, part.commits.lines_added, past, None, settings)
        real.append(_scored(name, part, edits, judged, rivals, settings))
        mine = [c for c in range(len(cases.origin)) if start <= cases.origin[c] <= end]
        if mine:
            chosen = _commits(cases.table, np.array(mine))
            # As of the block's date, and none may learn from another.
            dates = np.full(len(mine), len(past), np.int64)
            alone, _ = measure_alone(chosen, past, dates, model, settings)
            judged = judge(alone, chosen.commits.lines_added, past, None, settings)
            made.append(_scored(name, chosen, alone, judged, rivals, settings, [cases.case[c] for c in mine]))
        past = past.plus(part, edits, known).trimmed(settings.history)
        rivals.learn(part)
        progress(end - start + 1)
    return joined(name, real), joined(name, made)


def _commits(table: EditTable, wanted: I64) -> EditTable:
    """The table of some commits alone."""
    rows = np.flatnonzero(np.isin(table.commit, wanted))
    kept = table.select(rows)
    columns: dict[str, Any] = {}
    for column in fields(table.commits):
        values = getattr(table.commits, column.name)
        columns[column.name] = (
            [values[i] for i in wanted.tolist()] if isinstance(values, list) else values[wanted]
        )
    number = np.searchsorted(wanted, kept.commit).astype(np.int32)
    return replace(kept, commit=number, commits=replace(table.commits, **columns))


def _scored(
    name: str,
    table: EditTable,
    edits: Edits,
    judged: Judged,
    rivals: Baselines,
    settings: ScoreSettings,
    cases: Sequence[Case] = (),
) -> Scored:
    """The commits of a table with code in them, by every score."""
    commits = len(table.commits)
    count = np.bincount(edits.commit, minlength=commits)
    kept = np.flatnonzero((count > 0) & ~np.isnan(judged.score))
    values = {SURPRISE: judged.score, AT_SIZE: -np.log(judged.commits.p_tail)}
    for channel in CHANNELS:
        values[channel] = _of_channel(judged.channels[channel], edits, commits, settings)
    values |= rivals.score(table)
    return Scored(
        repository=name,
        oid=[table.commits.oid[c] for c in kept],
        time=table.commits.committer_time[kept],
        lines_added=table.commits.lines_added[kept].astype(np.int64),
        p_value=judged.commits.p_value[kept],
        # A channel that has nothing to say finds nothing strange.
        values={k: np.nan_to_num(v, nan=0.0)[kept] for k, v in values.items()},
        edits=count[kept],
        case=[cases[c] for c in kept.tolist()] if cases else [],
    )


def _of_channel(calibrated: Calibrated, edits: Edits, commits: int, settings: ScoreSettings) -> F64:
    """[C] what the score of a commit would be if there were this channel alone."""
    return per_commit(calibrated.p_tail, edits.commit, commits, settings.combine)


def joined(name: str, parts: Sequence[Scored]) -> Scored:
    """One after the other."""
    if not parts:
        nothing = np.zeros(0)
        none = np.zeros(0, np.int64)
        return Scored(name, [], none, none, nothing, {}, none, [])
    return Scored(
        repository=name,
        oid=[oid for part in parts for oid in part.oid],
        time=np.concatenate([part.time for part in parts]),
        lines_added=np.concatenate([part.lines_added for part in parts]),
        p_value=np.concatenate([part.p_value for part in parts]),
        values={k: np.concatenate([part.values[k] for part in parts]) for k in parts[0].values},
        edits=np.concatenate([part.edits for part in parts]),
        case=[case for part in parts for case in part.case],
    )
