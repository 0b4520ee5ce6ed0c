"""A history and the labels of its fixes in, what became of each edit and each commit out: kept, fixed or reverted.

Of a commit: it was reverted when a later one says so, and fixed when a later fix deleted lines of it
(`corpus.szz`). Of an edit of one unit, besides: undone, when the unit went back to the very state before it.
Both are claims of authors and noisy; who shows them says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

import codewm_core as core
from codewm.corpus.szz import DAY

if TYPE_CHECKING:
    from codewm.corpus.szz import Labels
    from codewm.corpus.table import EditTable

SOON = 180.0
"""Days within which a fix nearby, or a return to the code before, may still be about the edit."""


@dataclass(frozen=True)
class Fate:
    """What became of an edit or a commit."""

    what: str
    """'reverted', 'undone', 'fixed', 'touched' (a fix changed the same unit, but none of these lines), 'deleted',
    'kept', 'gone' (an edit that deleted a unit, and it has not come back) or 'unknown'.
    """
    by: str = ""
    """The commit that did it, '' for 'kept', 'gone' and 'unknown'."""
    subject: str = ""
    days: float = 0.0
    """Until then; for 'kept', until the newest commit."""
    later: int | None = None
    """Later edits of the same unit; None for a commit."""

    @property
    def is_bad(self) -> bool:
        """The edit did not stand."""
        return self.what in ("reverted", "undone", "fixed")

    @property
    def sentence(self) -> str:
        """For people, in a few words."""
        after = f"{_ago(self.days)} later"
        said = {
            "reverted": f"reverted {after}",
            "undone": f"undone {after}",
            "fixed": f"fixed {after}",
            "touched": f"kept, fix nearby {after}",
            "deleted": f"deleted {after}",
            "gone": f"still gone, {_ago(self.days)}",
            "unknown": "not known",
        }
        if self.what in said:
            return said[self.what]
        if self.later is None:
            return f"not fixed since ({_ago(self.days)})"
        if not self.later:
            return f"kept as it was, {_ago(self.days)}"
        return f"kept, {self.later} more edit{'s' if self.later != 1 else ''}"


UNKNOWN = Fate("unknown")


class Fates:
    """Looks up what became of the commits and edits of a table, as known at its end."""

    def __init__(self, table: EditTable, labels: Labels) -> None:
        self._table, self._labels = table, labels
        self._row = {oid: c for c, oid in enumerate(table.commits.oid)}
        self._starts = np.searchsorted(table.commit, np.arange(len(table.commits) + 1))

    def commit(self, oid: str) -> Fate:
        """The first thing that happened to a commit; 'unknown' for one that is not in the table."""
        c = self._row.get(oid)
        if c is None:
            return UNKNOWN
        fates = [f for f in (self._reverted(c), self._fixed(c)) if f is not None]
        return min(fates, key=lambda f: f.days) if fates else Fate("kept", days=self._days(c, -1))

    def came_out(self, oid: str, horizon: float) -> float:
        """Unix time at which a commit turned out to be bad, if within so many days; else inf."""
        c, fate = self._row.get(oid), self.commit(oid)
        if c is None or not fate.is_bad or fate.days > horizon:
            return float("inf")
        return float(self._table.commits.committer_time[self._row[fate.by]])

    def edit(self, oid: str, path: str, unit: str) -> Fate:
        """What became of one unit's edit in a commit."""
        c = self._row.get(oid)
        i = -1 if c is None else self._find(c, path, unit)
        if c is None or i < 0:
            return UNKNOWN
        table = self._table
        chain = self._chains[int(table.chain[i])]
        later = chain[chain > i]
        later = later[table.commit[later] > c]
        moved = later[(table.flags[later] & core.FLAG_NOOP) == 0]
        reverted = self._reverted(c)
        if reverted is not None:
            return reverted
        undone = moved[table.after[moved] == table.before[i]]
        fixes = {self._row.get(link.fix, -1) for link in self._labels.fixes.get(oid, ())}
        touched = [int(j) for j in moved if int(table.commit[j]) in fixes]
        # What came first is what happened to it; later edits were of something else.
        if touched and (not len(undone) or touched[0] <= undone[0]):
            return self._by("fixed", c, int(table.commit[touched[0]]), len(moved))
        # A unit that was made and later deleted was not undone: it had its time.
        made = bool(table.flags[i] & core.FLAG_CREATED)
        if len(undone) and not made and self._days(c, int(table.commit[undone[0]])) <= SOON:
            return self._by("undone", c, int(table.commit[undone[0]]), len(moved))
        weak = [int(table.commit[j]) for j in moved if table.commits.fixes[table.commit[j]]]
        if weak and self._days(c, weak[0]) <= SOON:
            return self._by("touched", c, weak[0], len(moved))
        if len(moved) and table.flags[moved[-1]] & core.FLAG_DELETED:
            return self._by("deleted", c, int(table.commit[moved[-1]]), len(moved))
        if table.flags[i] & core.FLAG_DELETED and not len(moved):
            return Fate("gone", days=self._days(c, -1), later=0)
        return Fate("kept", days=self._days(c, -1), later=len(moved))

    def describe(self, oid: str, path: str, unit: str) -> tuple[int, int, int] | None:
        """Unix time of an edit, and the tokens it added and removed; None for one that is not in the table."""
        c = self._row.get(oid)
        i = -1 if c is None else self._find(c, path, unit)
        if c is None or i < 0:
            return None
        table = self._table
        return int(table.commits.time[c]), int(table.tokens_added[i]), int(table.tokens_removed[i])

    @cached_property
    def _chains(self) -> dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]]:
        order = np.argsort(self._table.chain, kind="stable")
        chains, starts = np.unique(self._table.chain[order], return_index=True)
        return dict(zip(chains.tolist(), np.split(order, starts[1:]), strict=True))

    @cached_property
    def _reverters(self) -> dict[int, int]:
        reverts = self._table.commits.reverts
        found: dict[int, int] = {}
        for r in np.flatnonzero(reverts >= 0):
            found.setdefault(int(reverts[r]), int(r))
        return found

    def _find(self, c: int, path: str, unit: str) -> int:
        table = self._table
        for i in range(int(self._starts[c]), int(self._starts[c + 1])):
            if table.units[table.unit[i]] == unit and table.paths[table.path[i]] == path:
                return i
        return -1

    def _reverted(self, c: int) -> Fate | None:
        by = self._reverters.get(c)
        return None if by is None else self._by("reverted", c, by)

    def _fixed(self, c: int) -> Fate | None:
        for link in self._labels.fixes.get(self._table.commits.oid[c], ()):
            if link.fix in self._row:
                return self._by("fixed", c, self._row[link.fix])
        return None

    def _by(self, what: str, c: int, by: int, later: int | None = None) -> Fate:
        commits = self._table.commits
        return Fate(what, commits.oid[by], commits.subject[by], self._days(c, by), later)

    def _days(self, c: int, later: int) -> float:
        time = self._table.commits.committer_time
        return max(float(time[later] - time[c]) / DAY, 0.0)


def _ago(days: float) -> str:
    if days < 1:
        return "hours"
    if days < 60:
        return f"{days:.0f} day{'s' if round(days) != 1 else ''}"
    return f"{days / 30.44:.0f} months" if days < 730 else f"{days / 365.25:.0f} years"
