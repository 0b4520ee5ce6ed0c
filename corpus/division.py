"""What a corpus says about its own use: which edits are for training, which for testing, which for neither.

The division is made once, when a corpus is built, and stored in it: a role for each repository, the commit at
which its late part begins, and for each edit the reason why it is not used, if it is not. Nobody who reads
the corpus derives any of it again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]
ROLES = ("train", "held-out")
TRAIN, HELD_OUT = range(len(ROLES))


class Reason(IntEnum):
    """Why an edit is in no part; the numbers are stored, so they never change."""

    KEPT = 0
    """It is in its part."""
    UNCHANGED = 1
    """No token of the two states differs."""
    FOREIGN = 2
    """In a place that the list says holds other people's code."""
    REPEATED = 3
    """The same two states as another edit of the same repository."""
    COPIED = 4
    """The same two states as an edit of another training repository."""
    SIMILAR = 5
    """Nearly the same as an edit of another training repository."""
    HELD_OUT_COPY = 6
    """The same two states as an edit of a held-out repository."""
    HELD_OUT_SIMILAR = 7
    """Nearly the same as an edit of a held-out repository."""
    HELD_OUT_STATE = 8
    """One of the two states, and no short one, is also in an edit of a held-out repository."""
    SPARE = 9
    """An edit of a test file, beyond the share that they have in their repository's training part."""


PARTS = ("train", "late", "past", "unseen")


@dataclass(frozen=True)
class Parts:
    """Rows of a table, ascending; the unused ones are in none of them."""

    train: I64
    """Training repositories, before their boundary."""
    late: I64
    """Training repositories, from their boundary on: to test on later edits of what was trained on."""
    past: I64
    """Held-out repositories, before their boundary: a past to calibrate with, never to train on."""
    unseen: I64
    """Held-out repositories, from their boundary on: to test on repositories never seen."""


@dataclass(frozen=True)
class Division:
    """The division of N edits of R repositories."""

    role: U8
    """[R] index into `ROLES`."""
    boundary: I32
    """[R] row of the commit that begins the late part, -1 in a repository without edits."""
    boundary_time: I64
    """[R] its committer time, unix seconds; 0 in a repository without edits."""
    reason: U8
    """[N] a `Reason`."""
    rules: str
    """What it was made by, as JSON: `hold_out`, the share of the late part, and every other setting."""

    @property
    def hold_out(self) -> float:
        """The share of each repository's edits that the late part was made of."""
        return float(json.loads(self.rules)["hold_out"])

    def select(self, index: I64) -> Division:
        """Keep some edits."""
        return replace(self, reason=self.reason[index])

    def is_late(self, table: EditTable) -> Mask:
        """Mask over the edits: their commit is the boundary's, or follows it in time."""
        commits = table.commits
        repository = commits.repository
        boundary, since = self.boundary[repository], self.boundary_time[repository]
        time = commits.committer_time
        # Ties of time are settled by the row, as they were when the boundary was drawn.
        late = (boundary >= 0) & ((time > since) | ((time == since) & (np.arange(len(commits)) >= boundary)))
        return np.asarray(late[table.commit], np.bool_)

    def parts(self, table: EditTable) -> Parts:
        """The rows of each part."""
        used = self.reason == Reason.KEPT
        held_out = self.role[table.commits.repository[table.commit]] == HELD_OUT
        late = self.is_late(table)
        return Parts(
            train=np.flatnonzero(used & ~held_out & ~late),
            late=np.flatnonzero(used & ~held_out & late),
            past=np.flatnonzero(used & held_out & ~late),
            unseen=np.flatnonzero(used & held_out & late),
        )

    def check(self, table: EditTable) -> None:
        """Raise `ValueError` if it cannot be the division of this table."""
        repositories, commits = len(table.repositories), table.commits
        for name in ("role", "boundary", "boundary_time"):
            _require(len(getattr(self, name)) == repositories, f"{name} of the division has a wrong length")
        _require(repositories > 0, "the division has no repositories")
        _require(len(self.reason) == len(table), "reason of the division has a wrong length")
        _require(not (self.role >= len(ROLES)).any(), "a repository has an unknown role")
        _require(not (self.reason > max(Reason)).any(), "an edit is left out for an unknown reason")
        edited = np.bincount(commits.repository[table.commit], minlength=repositories) > 0
        _require(bool(((self.boundary >= 0) == edited).all()), "a boundary is missing")
        _require(not (self.boundary < -1).any(), "a boundary points outside")
        has = np.flatnonzero(edited)
        row = self.boundary[has]
        _require(not (row >= len(commits)).any(), "a boundary points outside")
        _require(bool((commits.repository[row] == has).all()), "a boundary is in another repository")
        _require(
            bool((commits.committer_time[row] == self.boundary_time[has]).all()),
            "a boundary has another time",
        )
        _require(not self.boundary_time[~edited].any(), "a boundary has another time")
        rules: Any = json.loads(self.rules)
        _require(isinstance(rules, dict), "the rules of the division are no table")
        share = rules.get("hold_out")
        _require(isinstance(share, float) and 0 < share < 1, "the rules name no share to hold out")


def _require(holds: bool | np.bool_, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
