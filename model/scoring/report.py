"""The result of scoring, as plain values: what every output format and the hook are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FIXED_AT_SIZE = "AUROC 0.49, 0.42 to 0.56"
"""How well the surprise tells commits that a later fix blames from others of their size: nine held-out repositories,
126 of 1,673 commits (docs/lab-log.md, Anomaly with nine channels).
"""
REVERTED_AT_SIZE = "0.53, 0.48 to 0.58"
"""Likewise of commits that were reverted, among others of their size and days: 353 of 5,081 commits of 33 repositories
that nothing was trained on.
"""


@dataclass(frozen=True)
class Neighbour:
    """A past edit that moved its unit in nearly the same direction."""

    oid: str
    subject: str
    path: str
    unit: str
    similarity: float
    """Cosine of the two displacements."""


@dataclass(frozen=True)
class Channel:
    """What one channel says about one edit; None where it has nothing to say or nothing to compare with."""

    raw: float | None
    percentile: float | None
    """0-100 among all past edits."""
    percentile_size_matched: float | None
    """0-100 among past edits of this kind and size."""
    p_value: float | None
    """Conformal, same comparison."""


@dataclass(frozen=True)
class UnitScore:
    """One changed unit."""

    path: str
    unit: str
    kind: str
    change: str
    """'created', 'deleted' or 'modified'."""
    test: bool
    """Lies in a test file, and was compared with edits of test files."""
    lines: tuple[int, int]
    first_changed_line: int
    tokens_added: int
    tokens_removed: int
    action: Mapping[str, float]
    """What the model was told about the edit."""
    surprise: float | None
    """The channels together, as a probability, 0-1."""
    percentile: float | None
    percentile_size_matched: float | None
    displacement: float
    """Length of the actual displacement in the target space."""
    predicted_displacement: float
    """Length of the predicted one."""
    channels: Mapping[str, Channel]
    reasons: tuple[str, ...]
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class CommitScore:
    """One commit; every number is None when it has no scored units or there is nothing to compare with."""

    oid: str
    """'' for staged or work-tree changes."""
    subject: str
    author_time: int
    merge: bool
    state: str
    """'scored', 'no Python' (no Python file changed), 'no code' (comments, formatting), 'no parent'
    (shallow).
    """
    score: float | None
    """Surprise of the commit, 0-1: its most surprising unit, corrected for their number."""
    percentile: float | None
    percentile_size_matched: float | None
    p_value: float | None
    alert: bool
    lines_added: int
    lines_deleted: int
    reasons: tuple[str, ...]
    units: tuple[UnitScore, ...]
    """Most surprising first."""


@dataclass(frozen=True)
class Calibration:
    """What the numbers were compared with."""

    commits: int
    """Scored commits of this repository's past."""
    edits: int
    source: str
    """'chains', 'live' or 'cache'."""
    reference_edits: int
    """Edits of the base model's reference sample that joined in, because the past is short."""
    sentence: str
    """For people."""


@dataclass(frozen=True)
class Report:
    """Everything `codewm score` has to say."""

    repository: str
    """Identity of the repository."""
    model_source: str
    model_digest: str
    model_sentence: str
    tokenizer_id: str
    action_id: str
    action_names: tuple[str, ...]
    calibration: Calibration
    alert_budget: tuple[int, int]
    commits: tuple[CommitScore, ...]
    """Newest first."""
    notes: tuple[str, ...] = ()
    """What people should know about this run: skipped parts, rebuilt caches."""
