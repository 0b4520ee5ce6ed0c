"""An edit table in, what its history says of each commit as of its day out: fixes, churn, age, people, company kept.

The features are those that predict defects where anything does (Kamei et al. 2013, "A large-scale empirical study
of just-in-time quality assurance", IEEE TSE 39(6), table 1), made so that they do not drift with time: counts fade
by half every `half_life` days, and a person's experience is a share of the work done lately. Plain counts grow with
the age of a repository; a model that is given them learns the date.

Only commits before a commit's own row are looked at, never a later one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import combinations
from math import exp, log, log1p
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable

DAY = 86_400.0
FEATURES: dict[str, str] = {
    "file_fixes": "recent fixes to its files",
    "file_fix_share": "share of fixes in what its files went through",
    "unit_fixes": "recent fixes to its functions",
    "file_changes": "recent changes to its files",
    "unit_changes": "recent changes to its functions",
    "file_age": "time since its files last changed",
    "new_files": "share of new files",
    "file_authors": "people at work on its files",
    "author_share": "author's share of recent work",
    "author_on_files": "author's share of the work on its files",
    "together": "its files usually change together",
    "left_out": "a file that usually changes along is missing",
}
"""What each column says, for people."""


@dataclass(frozen=True)
class ExperienceSettings:
    """How a history is summed up."""

    half_life: float = 180.0
    """Days."""
    most_files: int = 20
    """A commit that touches more files says nothing about which change together."""
    least_support: int = 3
    """Times that two files changed together before one is missed without the other."""
    still_there: float = 0.25
    """Faded changes from which a person counts as one who works on a file."""


@dataclass
class _Faded:
    """A count that fades."""

    value: float = 0.0
    at: float = 0.0

    def now(self, time: float, rate: float) -> float:
        return self.value * exp(-rate * max(time - self.at, 0.0))

    def add(self, time: float, rate: float) -> None:
        self.value, self.at = self.now(time, rate) + 1.0, max(time, self.at)


@dataclass
class _Place:
    """What is known of a file or a unit."""

    changes: _Faded = field(default_factory=_Faded)
    fixes: _Faded = field(default_factory=_Faded)
    people: dict[str, _Faded] = field(default_factory=dict)
    last: float = 0.0
    times: int = 0


def experience(table: EditTable, settings: ExperienceSettings | None = None) -> NDArray[np.float64]:
    """[C, len(FEATURES)] the history of each commit as of its day; NaN in a row whose commit edits nothing.

    Time is the committer's, and never runs backwards.
    """
    settings = settings or ExperienceSettings()
    walk = _Walk(settings)
    commits = table.commits
    out = np.full((len(commits), len(FEATURES)), np.nan)
    starts = np.searchsorted(table.commit, np.arange(len(commits) + 1))
    moved: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for c, before, after in table.renames.tolist():
        moved[c].append((before, after))
    time = np.maximum.accumulate(commits.committer_time.astype(np.float64)) if len(commits) else np.zeros(0)
    for c in range(len(commits)):
        walk.rename(moved.get(c, ()))
        part = slice(int(starts[c]), int(starts[c + 1]))
        files = sorted(set(table.path[part].tolist()))
        units = sorted(set(table.chain[part].tolist()))
        if files:
            out[c] = walk.look(files, units, commits.author[c], float(time[c]))
            walk.learn(files, units, commits.author[c], float(time[c]), bool(commits.fixes[c]))
    return out


class _Walk:
    """Everything known so far."""

    def __init__(self, settings: ExperienceSettings) -> None:
        self._settings = settings
        self._rate = log(2) / (settings.half_life * DAY)
        self._files: dict[int, _Place] = defaultdict(_Place)
        self._units: dict[int, _Place] = defaultdict(_Place)
        self._authors: dict[str, _Faded] = defaultdict(_Faded)
        self._all = _Faded()
        self._pairs: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        # A renamed file stays the same file.
        self._now: dict[int, int] = {}

    def rename(self, moves: list[tuple[int, int]] | tuple[()]) -> None:
        """Let paths after renames be the files they were before."""
        self._now.update([(after, self._now.get(before, before)) for before, after in moves])

    def look(self, paths: list[int], units: list[int], author: str, time: float) -> list[float]:
        """What was known before a commit, in the order of `FEATURES`."""
        rate, settings = self._rate, self._settings
        files = self._of(paths)
        known = [self._files[f] for f in files if f in self._files]
        parts = [self._units[u] for u in units if u in self._units]
        fixes = [p.fixes.now(time, rate) for p in known]
        changes = [p.changes.now(time, rate) for p in known]
        people = [sum(v.now(time, rate) >= settings.still_there for v in p.people.values()) for p in known]
        own = [p.people[author].now(time, rate) if author in p.people else 0.0 for p in known]
        everything = self._all.now(time, rate)
        return [
            log1p(max(fixes, default=0.0)),
            max((f / (c + 1.0) for f, c in zip(fixes, changes, strict=True)), default=0.0),
            log1p(max((p.fixes.now(time, rate) for p in parts), default=0.0)),
            log1p(sum(changes) / len(changes)) if changes else 0.0,
            log1p(max((p.changes.now(time, rate) for p in parts), default=0.0)),
            log1p(sum((time - p.last) / DAY for p in known) / len(known)) if known else 0.0,
            1.0 - len(known) / len(files),
            log1p(max(people, default=0)),
            self._authors[author].now(time, rate) / (everything + 1.0),
            sum(o / (c + 1.0) for o, c in zip(own, changes, strict=True)) / len(known) if known else 0.0,
            self._together(files),
            self._left_out(files),
        ]

    def learn(self, paths: list[int], units: list[int], author: str, time: float, is_fix: bool) -> None:
        """Remember a commit."""
        files = self._of(paths)
        for places, keys in ((self._files, files), (self._units, units)):
            for key in keys:
                place = places[key]
                place.changes.add(time, self._rate)
                if is_fix:
                    place.fixes.add(time, self._rate)
                place.last = time
                place.times += 1
        for f in files:
            self._files[f].people.setdefault(author, _Faded()).add(time, self._rate)
        self._authors[author].add(time, self._rate)
        self._all.add(time, self._rate)
        if len(files) <= self._settings.most_files:
            for a, b in combinations(files, 2):
                self._pairs[a][b] += 1
                self._pairs[b][a] += 1

    def _of(self, paths: list[int]) -> list[int]:
        return sorted({self._now.get(p, p) for p in paths})

    def _sure(self, a: int, b: int) -> float:
        """How often b changed with a, of the times that a did."""
        times = self._files[a].times if a in self._files else 0
        return self._pairs[a][b] / times if times and a in self._pairs and b in self._pairs[a] else 0.0

    def _together(self, files: list[int]) -> float:
        few = files[: self._settings.most_files]
        pairs = [max(self._sure(a, b), self._sure(b, a)) for a, b in combinations(few, 2)]
        return sum(pairs) / len(pairs) if pairs else 0.0

    def _left_out(self, files: list[int]) -> float:
        here = set(files)
        sure = [
            self._sure(a, b)
            for a in files[: self._settings.most_files]
            if a in self._pairs
            for b, times in self._pairs[a].items()
            if b not in here and times >= self._settings.least_support
        ]
        return max(sure, default=0.0)
