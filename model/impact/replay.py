"""A past in, questions with known answers out: of each commit some files are shown, and the others are to be found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from codewm.model.impact.past import GONE, Past
from codewm.model.impact.postings import I32

MOST_FILES = 30
"""A commit that changes more Python files is a sweep: nobody asks what it forgot."""

MOST_UNITS = 50
"""Likewise, of units."""


@dataclass(frozen=True)
class Question:
    """What is shown of a commit, and what is to be found."""

    commit: int
    shown: I32
    hidden: I32
    """Those that existed before the commit: nobody can foretell a new file's name."""


def changed_files(past: Past, commit: int) -> tuple[I32, I32]:
    """The Python files that a commit changed, and those of them that existed before."""
    files = past.changed[1][past.first_change[commit] : past.first_change[commit + 1]]
    before, after = past.paths_before(commit)[files], past.paths_before(commit + 1)[files]
    python = past.path_table.python
    path = np.where(before == GONE, after, before)
    kept = (path != GONE) & python[path]
    return files[kept], files[kept & (before != GONE)]


def questions(
    past: Past, first: int, last: int, *, all_but_one: bool = False, most: int = MOST_FILES
) -> Iterator[list[Question]]:
    """Of each commit in `first <= c < last` with 2 to `most` Python files, every question there is.

    One file is shown and the others are hidden, or, with `all_but_one`, the other way round. A commit of which
    nothing that existed is hidden gives none.
    """
    for commit in range(first, last):
        if not past.first_change[commit + 1] - past.first_change[commit] >= 2:
            continue
        files, old = changed_files(past, commit)
        if not 2 <= len(files) <= most:
            continue
        found = []
        for one in files:
            alone, rest = files[files == one], files[files != one]
            shown, hidden = (rest, alone) if all_but_one else (alone, rest)
            hidden = hidden[np.isin(hidden, old)]
            if len(hidden):
                found.append(Question(commit, shown, hidden))
        if found:
            yield found


@dataclass(frozen=True)
class UnitQuestion:
    """One changed unit of a commit, and the others that existed before."""

    commit: int
    edit: int
    """Row of the edits."""
    hidden: I32
    """Chains."""


def unit_questions(
    past: Past, first: int, last: int, *, most: int = MOST_UNITS, draw: int = 10, seed: int = 0
) -> Iterator[list[UnitQuestion]]:
    """Of each commit in `first <= c < last` with 2 to `most` changed units, one question for each of `draw` of them."""
    for commit in range(first, last):
        low, high = int(past.first_edit[commit]), int(past.first_edit[commit + 1])
        chains, at = np.unique(past.edits[2][low:high], return_index=True)
        if not 2 <= len(chains) <= most:
            continue
        old = np.array([len(past.commits_of_unit.values(int(c), commit)) > 0 for c in chains])
        rng = np.random.default_rng([seed, commit])
        found = []
        for i in np.sort(rng.permutation(len(chains))[:draw]):
            hidden = chains[old & (chains != chains[i])]
            if len(hidden):
                found.append(UnitQuestion(commit, low + int(at[i]), hidden))
        if found:
            yield found


def questions_about_tests(past: Past, first: int, last: int, *, most: int = MOST_FILES) -> Iterator[Question]:
    """Of each commit that changes code and tests that were there: the code is shown, and the tests are to be found."""
    for commit in range(first, last):
        files, old = changed_files(past, commit)
        if not 2 <= len(files) <= most:
            continue
        after, before = past.paths_before(commit + 1)[files], past.paths_before(commit)[files]
        path = np.where(after == GONE, before, after)
        test = past.path_table.test[path]
        hidden = files[past.path_table.collected[path] & np.isin(files, old)]
        if len(hidden) and not test.all():
            yield Question(commit, files[~test], hidden)
