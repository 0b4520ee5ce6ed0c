"""Claims about what changed places:

1. Swapped arguments are found, beside other changes, too, and the report says so.
2. A renamed argument, a new one, and code that moved far are none; of a created function nothing is said.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codewm.corpus.git import Repository
from codewm.model.scoring.engine_model import load_model
from codewm.model.scoring.ngrams import NO_LORE, bits_of
from codewm.model.scoring.score import Target, score
from codewm.model.scoring.settings import TokenSettings
from codewm.model.scoring.transposition import transposed
from tests.helpers import GitRepo
from tests.scoring.test_tokens import table_of

BEFORE = """def f(source, target, limit):
    total = limit - source
    copy(source, target)
    for item in target:
        total += item.size * limit
        report(item, total, flush=True)
        check(item.name, item.path, item.owner)
    return total
"""


def moved(repo: GitRepo, after: str) -> list[float]:
    repo.commit("start", {"a.py": BEFORE})
    repo.commit("change", {"a.py": after})
    table = table_of(repo, "HEAD~1..HEAD")
    rows = np.arange(len(table))
    bits = bits_of(table, rows, NO_LORE, TokenSettings().words)
    return transposed(table, rows, bits.added, bits.removed).tolist()


@pytest.mark.parametrize(
    "pairs",
    [
        [("copy(source, target)", "copy(target, source)")],
        [("report(item, total, ", "report(total, item, ")],
        [("copy(source, target)", "copy(target, source)"), ("    return total\n", "    return total or None\n")],
    ],
)  # fmt: skip
def test_what_changed_places_is_found(git_repo: GitRepo, pairs: list[tuple[str, str]]) -> None:
    after = BEFORE
    for old, new in pairs:
        after = after.replace(old, new)
    assert moved(git_repo, after) == [1.0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("copy(source, target)", "copy(source, limit)"),
        ("copy(source, target)", "copy(source, target, limit)"),
        ("    copy(source, target)\n", ""),
        ("    copy(source, target)\n", "    copy(target)\n"),
    ],
)
def test_other_changes_are_none(git_repo: GitRepo, old: str, new: str) -> None:
    assert moved(git_repo, BEFORE.replace(old, new)) == [0.0]


def test_what_moved_far_is_none_and_of_a_new_function_nothing_is_said(git_repo: GitRepo) -> None:
    far = BEFORE.replace("    copy(source, target)\n", "").replace(
        "    return total\n", "    copy(source, target)\n    return total\n"
    )
    found = moved(git_repo, far + "\n\ndef g():\n    return 1\n")
    assert sorted(found, key=np.isnan) == [0.0, pytest.approx(np.nan, nan_ok=True)]


def test_the_report_has_it(git_repo: GitRepo, model_file: Path) -> None:
    moved(git_repo, BEFORE.replace("copy(source, target)", "copy(target, source)"))
    with Repository.open(git_repo.path) as repo:
        report = score(repo, Target(revisions="HEAD~1..HEAD"), load_model(git_repo.path, str(model_file)))
    assert report.commits[0].units[0].channels["transposition"].raw == 1.0
