"""A commit, or the change at hand, in; the past edits of this repository that moved their unit most alike out.

Alike is the cosine of displacements t(s') - t(s), whatever the code was (DESIGN 8), among edits that did the same to
their unit: created, deleted or modified it. What points the other way takes something back: `undoes`. The past is the
one that scoring compares with, up to the commit's first parent. What became of an edit is what a later message says:
that it reverts it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.errors import UserError
from codewm.corpus.history import harvest_live
from codewm.corpus.labels import reverted
from codewm.corpus.records import RevSpec
from codewm.model.scoring.channels import CHANGES, changes_of, unit_vectors
from codewm.model.scoring.gather import past_before
from codewm.model.scoring.landings import FILE_NAME, Kept, highest, landings
from codewm.model.scoring.score import select
from codewm.model.scoring.settings import ScoreSettings

if TYPE_CHECKING:
    from codewm.corpus.git import CommitRecord, Repository
    from codewm.model.scoring.engine_model import ScoringModel
    from codewm.model.scoring.past import Past
    from codewm.model.scoring.score import Target

F32 = NDArray[np.float32]
OPPOSITE = -0.95
"""Cosine from which an edit is said to take another back (of exact reverts it is -1)."""


@dataclass(frozen=True)
class PastEdit:
    """One past edit."""

    oid: str
    subject: str
    path: str
    unit: str
    change: str
    """One of `CHANGES`."""
    tokens: int
    """Added and removed."""
    similarity: float
    """Cosine of the displacements, in [-1, 1]."""
    reverted_by: str | None
    """The later commit that says so, None where none does."""


@dataclass(frozen=True)
class SimilarUnit:
    """One unit of the change, and its past edits, the most alike first."""

    path: str
    unit: str
    change: str
    tokens: int
    undoes: PastEdit | None
    """The latest past edit that points the other way, if any does."""
    edits: tuple[PastEdit, ...]


@dataclass(frozen=True)
class Similar:
    """What was asked for, and what was found."""

    oid: str
    """'' for what is staged or in the work tree."""
    subject: str
    model_sentence: str
    past_edits: int
    past_commits: int
    units: tuple[SimilarUnit, ...]
    """The largest first."""
    left_out: int
    """Smaller units of the change, beyond what was asked for."""


def similar(
    repo: Repository,
    target: Target,
    model: ScoringModel,
    settings: ScoreSettings | None = None,
    *,
    count: int,
    units: int,
    warn: Callable[[str], None] = lambda text: None,
) -> Similar:
    """The `count` most similar past edits of each of the `units` largest units that one change edits.

    Raises `UserError` where there is no such change, or no past to look in.
    """
    records = select(repo, target)
    if len(records) != 1:
        raise UserError("name one commit", "a range has many changes")
    (record,) = records
    settings = settings or ScoreSettings()
    base = record.parents[0] if record.parents and not record.boundary else ""
    past, _ = past_before(repo, base, model, settings, warn)
    if not len(past.edits):
        raise UserError("there are no past edits before this change", "name a later commit")
    table = harvest_live(repo, records, window=model.window, action=model.action)
    rows = np.flatnonzero((table.flags & core.FLAG_NOOP) == 0)
    landed, _, _ = landings(
        model.engine, table, rows, settings.threads, Kept(repo.data_dir / FILE_NAME, model)
    )
    mine, changes = unit_vectors(landed.astype(np.float16)), changes_of(table.flags[rows])
    sizes = table.tokens_added[rows] + table.tokens_removed[rows]
    directions = unit_vectors(past.edits.displacement)
    undone = _reverted(repo, past)
    largest = np.argsort(-sizes, kind="stable")
    found = []
    for i in largest[:units].tolist():
        # A displacement of nothing points nowhere.
        likeness = directions @ mine[i]
        alike = np.flatnonzero(past.edits.change == changes[i])
        nearest = alike[highest(likeness[alike], count)]
        opposite = np.flatnonzero(likeness <= OPPOSITE)
        row = int(rows[i])
        found.append(
            SimilarUnit(
                path=table.paths[int(table.path[row])],
                unit=table.units[int(table.unit[row])],
                change=CHANGES[int(changes[i])],
                tokens=int(sizes[i]),
                undoes=_edit(past, int(opposite[-1]), float(likeness[opposite[-1]]), undone)
                if len(opposite)
                else None,
                edits=tuple(_edit(past, j, float(likeness[j]), undone) for j in nearest.tolist()),
            )
        )
    return Similar(
        oid=record.oid,
        subject=record.subject,
        model_sentence=model.sentence,
        past_edits=len(past.edits),
        past_commits=len(np.unique(past.edits.commit)),
        units=tuple(found),
        left_out=max(0, len(rows) - units),
    )


def _edit(past: Past, j: int, likeness: float, undone: dict[str, str]) -> PastEdit:
    oid = past.oids[int(past.edits.commit[j])]
    return PastEdit(
        oid=oid,
        subject=past.subjects[int(past.edits.commit[j])],
        path=past.paths[int(past.path[j])],
        unit=past.units[int(past.unit[j])],
        change=CHANGES[int(past.edits.change[j])],
        tokens=int(past.edits.size[j]),
        similarity=float(f"{likeness:.4g}"),  # the rest is noise, and differs between machines
        reverted_by=undone.get(oid),
    )


def _reverted(repo: Repository, past: Past) -> dict[str, str]:
    """Commit of the past -> the later commit, up to HEAD, that says it reverts it."""
    since: RevSpec | str = RevSpec(repo.head(), past.oids[0])
    rows = {past.oids[0]: 0}
    subjects = [past.subjects[0]]
    out: dict[str, str] = {}
    record: CommitRecord
    for record in repo.commits(since, suffix=b".py"):
        row = reverted(record, rows, subjects)
        if row >= 0:
            out[next(oid for oid, at in rows.items() if at == row)] = record.oid
        rows[record.oid] = len(subjects)
        subjects.append(record.subject)
    return out
