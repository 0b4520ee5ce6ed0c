"""A ranking in, the files out of which it can be said that they usually change with these but are missing here.

Said only with counts that anyone can check: of the latest changes of a file of the change, so many also changed the
other. And only where the ranking agrees: counts alone would call something missing in a third of all finished commits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codewm.model.impact.postings import I32, I64
from codewm.model.impact.rank import Ranked
from codewm.model.impact.settings import ImpactSettings
from codewm.model.impact.signals import SWEEP, View


@dataclass(frozen=True)
class Count:
    """Of the latest `changes` commits that changed `shown`, `together` also changed `file`."""

    file: int
    shown: int
    together: int
    changes: int
    commits: tuple[int, ...]
    """Those, newest first."""


def counts(view: View, shown: I32, lately: int) -> dict[int, Count]:
    """For every file that changed with one of `shown` [q], the count that is most often so; sweeps left out."""
    past = view.past
    found: dict[int, Count] = {}
    for one in shown.tolist():
        commits = past.commits_of_file.values(one, view.until)
        commits = commits[past.sizes[commits] <= SWEEP][-lately:]
        if not len(commits):
            continue
        which, others = past.together(commits)
        for file, rows in _grouped(others, which).items():
            if file == one or not view.exists[file]:
                continue
            new = Count(file, one, len(rows), len(commits), tuple(int(commits[r]) for r in rows[::-1]))
            old = found.get(file)
            if old is None or _weight(new) > _weight(old):
                found[file] = new
    return found


def missing(view: View, shown: I32, ranked: Ranked, settings: ImpactSettings) -> list[Count]:
    """What usually changes with the change and is not part of it, best ranked first."""
    chance = ranked.chances
    likely = {int(f) for f in np.flatnonzero(chance >= settings.missing_chance)}
    if not likely:
        return []
    known = counts(view, shown, settings.lately)
    usual = [
        known[f] for f in likely & known.keys() if is_usual(known[f], settings, settings.missing_confidence)
    ]
    return sorted(usual, key=lambda c: -ranked.scores[c.file])


def is_usual(count: Count, settings: ImpactSettings, share: float) -> bool:
    """Often enough, and in that share of the cases."""
    return count.together >= settings.missing_support and count.together >= share * count.changes


def _weight(count: Count) -> float:
    # 3 of 3 is less than 9 of 10.
    return count.together / (count.changes + 2)


def _grouped(keys: I32, values: I64) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for key, value in zip(keys.tolist(), values.tolist(), strict=True):
        groups.setdefault(key, []).append(value)
    return groups
