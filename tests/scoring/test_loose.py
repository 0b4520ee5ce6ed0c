"""Claims about what an edit leaves dangling:

1. A statement behind a return, a name that is used and no longer set, one used before it is set, and one that is set
   and no longer used are counted, each by itself.
2. What was dangling before, `self`, a function's own name, attributes, and a name removed with all its uses are not.
3. Of a function that was created, and of a class or a module, nothing is said.
4. On a real history: a commit that leaves something is told from one that tidies up, and says what it left.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import codewm_core as core
from codewm.corpus.git import Repository
from codewm.model.scoring.channels import CHANNELS
from codewm.model.scoring.engine_model import load_model
from codewm.model.scoring.loose import LooseEnds, loose_ends, weights
from codewm.model.scoring.reasons import loose_ends as say
from codewm.model.scoring.score import Target, score
from tests.helpers import GitRepo
from tests.scoring.test_tokens import table_of

BEFORE = """def f(self, rows, limit=3):
    total = 0
    for row, weight in rows:
        total += row.size * weight
    if total > limit:
        raise ValueError(total)
    best = max(rows)
    return best
"""


def state(source: str) -> np.ndarray:
    return np.asarray(core.units(source.encode())[0].tokens)


def ends(after: str, before: str = BEFORE) -> LooseEnds:
    return loose_ends(state(before), state(after))


@pytest.mark.parametrize(
    ("old", "new", "left"),
    [
        ("    best = max(rows)\n", "    return None\n    best = max(rows)\n", LooseEnds(unreached=1)),
        ("        raise ValueError(total)\n", "        raise ValueError(total)\n        print(total)\n",
         LooseEnds(unreached=1)),
        ("    best = max(rows)\n", "", LooseEnds(unset=1)),
        ("    return best\n", "", LooseEnds(unused=1)),
        ("total > limit", "total > total", LooseEnds(unused=1)),
        ("    best = max(rows)\n    return best\n", "    print(best)\n    best = max(rows)\n    return best\n",
         LooseEnds(early=1)),
    ],
)  # fmt: skip
def test_each_loose_end_is_counted(old: str, new: str, left: LooseEnds) -> None:
    assert ends(BEFORE.replace(old, new)) == left


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    best = max(rows)\n    return best\n", "    return max(rows)\n"),  # the name is gone altogether
        ("row.size", "row.total"),
        ("    total = 0\n", "    total = 0\n    self.total = total\n"),
        ("    return best\n", "    found = best\n    return found\n"),
        ("    if total > limit:\n        raise ValueError(total)\n", "    print(limit)\n"),
    ],
)
def test_what_is_tidy_stays_unsaid(old: str, new: str) -> None:
    assert ends(BEFORE.replace(old, new)) == LooseEnds()


def test_what_was_there_before_is_not_the_edits_doing() -> None:
    dead = BEFORE.replace("    best = max(rows)\n", "    return None\n    best = max(rows)\n")
    assert ends(dead.replace("total = 0", "total = 1"), dead) == LooseEnds()
    method = "def f(self):\n    return self.x\n"
    assert ends("def f(self):\n    return 1\n", method) == LooseEnds()
    assert ends("def f(n):\n    return n\n", "def f(n):\n    return f(n - 1)\n") == LooseEnds()


def test_of_other_units_nothing_is_said(git_repo: GitRepo) -> None:
    git_repo.commit("start", {"a.py": "X = 1\nY = X\n\n\n" + BEFORE})
    added = "\n\ndef g(a):\n    return 1\n    return a\n"
    git_repo.commit("change", {"a.py": "X = 1\nY = 2\n\n\n" + BEFORE + added})
    table = table_of(git_repo, "HEAD~1..HEAD")
    assert len(table) == 2
    assert np.isnan(weights(table, np.arange(len(table)))).all()


def test_a_commit_that_leaves_something_is_told_from_one_that_tidies_up(
    git_repo: GitRepo, model_file: Path
) -> None:
    git_repo.commit("start", {"a.py": BEFORE})
    git_repo.commit(
        "tidies",
        {"a.py": BEFORE.replace("    best = max(rows)\n    return best\n", "    return max(rows)\n")},
    )
    git_repo.commit("leaves", {"a.py": BEFORE.replace("    best = max(rows)\n", "    return None\n")})
    with Repository.open(git_repo.path) as repo:
        report = score(repo, Target(revisions="HEAD~2..HEAD"), load_model(git_repo.path, str(model_file)))
    values = {c.subject: c.units[0].channels["loose_ends"].raw for c in report.commits}
    assert values["tidies"] == 0.0
    assert values["leaves"] is not None
    assert values["leaves"] >= 3
    assert "loose_ends" in CHANNELS
    assert say(LooseEnds(unreached=1, unused=2)) == (
        "loose ends: 1 statement behind a return, raise, break or continue, 2 names set and no longer used"
    )
