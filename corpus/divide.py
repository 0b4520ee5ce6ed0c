"""A corpus and the roles of its repositories in, its division out: made once, stored with it.

1. By repository: an edit has its repository's role.
2. By time: the latest fifth of each repository's edits is late (`codewm.corpus.split`).
3. What says nothing new is left out (`codewm.corpus.deduplicate`). A training repository gives way to a held-out
   one, and what is late to what is trained on; held-out repositories give way to nobody.
4. In the training part of each repository, edits of test files are at most `TEST_SHARE`. Those left out are
   drawn by their content, so it is the same ones each time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import codewm_core
from codewm.corpus import deduplicate
from codewm.corpus.division import HELD_OUT, ROLES, TRAIN, Division, Reason
from codewm.corpus.pins import Pin
from codewm.corpus.split import HOLD_OUT, boundaries
from codewm.corpus.table import EditTable

Mask = NDArray[np.bool_]
TEST_SHARE = 0.5
"""Share of test files' edits that the training part of a repository has at most."""
RULES = json.dumps(
    {
        "hold_out": HOLD_OUT,
        "state": deduplicate.STATE,
        "similarity": deduplicate.SIMILARITY,
        "long": deduplicate.LONG,
        "long_similarity": deduplicate.LONG_SIMILARITY,
        "bands": deduplicate.BANDS,
        "test_share": TEST_SHARE,
    },
    sort_keys=True,
)
"""What a division says it was made by."""
_TEST_FOLDER = re.compile(r"(?:.*[_-])?(?:(?:[au]|unit)?tests?|testing)(?:[_-].*)?\Z", re.IGNORECASE)
_TEST_FILE = re.compile(r"conftest\Z|(?:.*[_-])?tests?(?:[_-].*)?\Z", re.IGNORECASE)
_CAMEL_CASE = re.compile(r"[Tt]est[A-Z]|.*[a-z]Tests?\Z")


def divide(table: EditTable, pins: Sequence[Pin]) -> Division:
    """Divide a corpus whose repositories are those of `pins`, in this order."""
    roles = np.array([ROLES.index(pin.role) for pin in pins], np.uint8)
    boundary = boundaries(table)
    times = table.commits.committer_time
    division = Division(
        role=roles,
        boundary=boundary,
        boundary_time=np.array([times[row] if row >= 0 else 0 for row in boundary], np.int64),
        reason=np.zeros(len(table), np.uint8),
        rules=RULES,
    )
    reason = division.reason
    reason[is_unchanged(table)] = Reason.UNCHANGED
    reason[(reason == Reason.KEPT) & _is_foreign(table, pins)] = Reason.FOREIGN
    late = division.is_late(table)
    rank = np.where(roles[table.commits.repository[table.commit]] == HELD_OUT, 0, 1 + late.astype(np.int64))
    usable = reason == Reason.KEPT
    again = deduplicate.find_repetitions(table, rank, usable)
    reason[usable] = again[usable]
    reason[_is_spare(table, division)] = Reason.SPARE
    return division


def is_unchanged(table: EditTable) -> Mask:
    """Mask over the edits: no token differs, or none that is inside the window."""
    unchanged = ((table.flags & codewm_core.FLAG_NOOP) != 0) | (table.before == table.after)
    return np.asarray(unchanged, np.bool_)


def is_test(path: str) -> bool:
    """Whether a path looks like one of a test: by the name of a folder or of the file."""
    *folders, name = path.split("/")
    stem = name.removesuffix(".py")
    return bool(
        any(_TEST_FOLDER.match(folder) for folder in folders)
        or _TEST_FILE.match(stem)
        or _CAMEL_CASE.match(stem)
    )


def of_tests(table: EditTable) -> Mask:
    """Mask over the edits: of a test file."""
    return np.array([is_test(path) for path in table.paths], np.bool_)[table.path]


def _is_foreign(table: EditTable, pins: Sequence[Pin]) -> Mask:
    """Mask over the edits: in a place that the list says holds other people's code."""
    repository = table.commits.repository[table.commit]
    foreign = np.zeros(len(table), np.bool_)
    for i, pin in enumerate(pins):
        if pin.without:
            rows = np.flatnonzero(repository == i)
            inside = [f"{path}/".startswith(tuple(f"{p}/" for p in pin.without)) for path in table.paths]
            foreign[rows] = np.array(inside, np.bool_)[table.path[rows]]
    return foreign


def _is_spare(table: EditTable, division: Division) -> Mask:
    """Mask over the edits: of test files, and more than there may be in the training part."""
    train = division.parts(table).train
    tests = of_tests(table)[train]
    repository = table.commits.repository[table.commit[train]]
    # Which ones are left out is settled by what is in them.
    a, b = table.state_hash[table.before[train]], table.state_hash[table.after[train]]
    drawn = (a ^ (b * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xBF58476D1CE4E5B9)
    spare = np.zeros(len(table), np.bool_)
    for r in np.flatnonzero(division.role == TRAIN):
        mine = repository == r
        others = int((mine & ~tests).sum())
        most = int(others * TEST_SHARE / (1 - TEST_SHARE))
        candidates = train[mine & tests]
        order = np.lexsort((candidates, drawn[mine & tests]))
        spare[candidates[order[most:]]] = True
    return spare
