"""Commits of a table in, which of them belong together by what their authors said out: reverts and issues.

Neither is made from the edit: a message cites a commit, or an issue's number. What they cite is their claim.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.git import Repository
from codewm.corpus.records import RevSpec
from codewm.model.evaluation.held_out import Source

I64 = NDArray[np.int64]
_ISSUE = re.compile(r"(?:(?<![\w#&/])#|\b[Gg][Hh]-|/(?:issues|pull)/)([1-9]\d{1,5})\b")
"""#123, GH-123 and links. One digit numbers steps and items, too."""
MOST_COMMITS = 20
"""Citing one number: more is a list of changes, or no issue."""


def reverted_by(source: Source) -> dict[int, int]:
    """Commit that says it reverts another -> that other, by rows."""
    reverts = source.table.commits.reverts
    rows = np.flatnonzero(reverts >= 0)
    return dict(zip(rows.tolist(), reverts[rows].tolist(), strict=True))


def messages_of(source: Source) -> list[str]:
    """The whole message of each commit where there is a clone that has it, else the subject: [C]."""
    commits = source.table.commits
    out = list(commits.subject)
    for r, name in enumerate(source.repositories):
        line = np.flatnonzero(commits.repository == r).tolist()
        if name not in source.clones or not line:
            continue
        at = {commits.oid[i]: i for i in line}
        with Repository.open(source.clones[name]) as repo:
            tip = commits.oid[line[-1]]
            if tip and repo.has(tip):
                for record in repo.commits(RevSpec(tip), suffix=b".py"):
                    if record.oid in at:
                        out[at[record.oid]] = record.message
    return out


def cited(message: str) -> set[int]:
    """Issue and pull request numbers that a message cites."""
    return {int(number) for number in _ISSUE.findall(message)}


def issues_of(source: Source, messages: Sequence[str]) -> dict[int, set[tuple[int, int]]]:
    """Commit -> (repository, number) of the issues that it cites and another commit, too.

    A revert cites what it reverts: what it says of issues is that commit's, so it is left out.
    """
    repository = source.table.commits.repository.tolist()
    reverts = reverted_by(source)
    citing: Mapping[tuple[int, int], list[int]] = defaultdict(list)
    for commit, message in enumerate(messages):
        if commit not in reverts:
            for number in cited(message):
                citing[repository[commit], number].append(commit)
    out: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for issue, commits in citing.items():
        if 2 <= len(commits) <= MOST_COMMITS:
            for commit in commits:
                out[commit].add(issue)
    return dict(out)
