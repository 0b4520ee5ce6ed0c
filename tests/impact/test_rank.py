"""Claims about ranking and what is called missing:

1. A file that changed with another ranks first for it; one that never did, and shares nothing with it, last.
2. A new file, of which no history knows, is led to its module by name and import: co-change has no answer.
3. Chances lie between 0 and 1 and follow the scores; what is no candidate has none.
4. 'Missing' needs the counts and the ranking: at the bar it is said, below it is not, and sweeps do not count.
5. A test file is told from its path, and a module by what it is about.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from codewm.model.impact.missing import counts, missing
from codewm.model.impact.past import Past
from codewm.model.impact.paths import is_test, stem
from codewm.model.impact.rank import Ranked, rank_files, rank_units
from codewm.model.impact.settings import ImpactSettings
from codewm.model.impact.signals import Known, View
from codewm.model.impact.unit_signals import UnitView
from codewm.model.impact.weights import chances
from tests.helpers import GitRepo
from tests.impact.shop import checks, fill, module
from tests.impact.test_past import number, read


def ask(past: Past, *paths: str) -> tuple[View, Known, Ranked]:
    """What is ranked for these files of the last commit."""
    commit = len(past) - 1
    files = np.array([number(past, p) for p in paths], np.int32)
    view, known = View(past, commit), Known.of(past, commit, files)
    return view, known, rank_files(view, known)


def names(past: Past, view: View, ranked: Ranked) -> list[str]:
    return [past.paths[view.path[f]] for f in ranked.order]


def test_habits_rank_first(git_repo: GitRepo) -> None:
    fill(git_repo)
    git_repo.commit("again", {"pkg/prices.py": module("prices", 99)})
    past = read(git_repo)
    view, _, ranked = ask(past, "pkg/prices.py")
    order = names(past, view, ranked)
    assert order[0] == "tests/test_prices.py"
    assert order.index("pkg/carts.py") < order.index("pkg/shelves.py")
    assert "pkg/prices.py" not in order
    assert "NOTES.txt" not in order


def test_units_that_changed_together_rank_first(git_repo: GitRepo) -> None:
    fill(git_repo)
    git_repo.commit("again", {"pkg/prices.py": module("prices", 99)})
    past = read(git_repo)
    _, known, ranked = ask(past, "pkg/prices.py")
    view = UnitView(past, len(past) - 1)
    best = rank_units(view, known, ranked).order[0]
    assert past.units[view.name[best]] == "test_prices_total"


def test_a_new_file_is_led_to_its_module(git_repo: GitRepo) -> None:
    fill(git_repo)
    git_repo.commit("tests of shelves", {"tests/test_shelves.py": checks("shelves", 1)})
    past = read(git_repo)
    view, _, ranked = ask(past, "tests/test_shelves.py")
    assert names(past, view, ranked)[0] == "pkg/shelves.py"
    assert ranked.thin == 1.0


def test_chances_are_chances() -> None:
    found = chances(np.array([3.0, 1.0, -np.inf, 1.0]), 2)
    assert found[2] == 0
    assert ((found[[0, 1, 3]] > 0) & (found[[0, 1, 3]] < 1)).all()
    assert found[0] > found[1] == found[3]
    assert len(chances(np.zeros(0), 1)) == 0
    assert (chances(np.full(3, -np.inf), 1) == 0).all()


def test_missing_needs_counts_and_the_ranking(git_repo: GitRepo) -> None:
    fill(git_repo)
    git_repo.commit("again", {"pkg/prices.py": module("prices", 99)})
    past = read(git_repo)
    view, known, ranked = ask(past, "pkg/prices.py")
    settings = ImpactSettings()
    found = missing(view, known.files, ranked, settings)
    assert [past.paths[view.path[c.file]] for c in found] == ["tests/test_prices.py"]
    # Of the latest ten changes, the one of the middle went without its tests.
    assert (found[0].together, found[0].changes) == (9, 10)
    assert missing(view, known.files, ranked, replace(settings, missing_confidence=0.9)) == found
    assert missing(view, known.files, ranked, replace(settings, missing_confidence=0.91)) == []
    assert missing(view, known.files, ranked, replace(settings, missing_support=10)) == []
    assert missing(view, known.files, ranked, replace(settings, missing_chance=1.0)) == []


def test_sweeps_do_not_count(git_repo: GitRepo) -> None:
    for version in range(4):
        git_repo.commit("sweep", {f"m{i}.py": module(f"m{i}", version) for i in range(70)})
    git_repo.commit("one", {"m0.py": module("m0", 9)})
    past = read(git_repo)
    view, known, ranked = ask(past, "m0.py")
    assert counts(view, known.files, 10) == {}
    assert missing(view, known.files, ranked, ImpactSettings()) == []


@pytest.mark.parametrize(
    ("path", "test", "about"),
    [
        ("tests/test_core.py", True, "core"),
        ("src/pkg/_core.py", False, "core"),
        ("pkg/core/__init__.py", False, "core"),
        ("pkg/core_test.py", True, "core"),
        ("testing/data.txt", False, "data"),
        ("pkg/contest.py", False, "contest"),
        ("test.py", True, "test"),
    ],
)
def test_paths_say_what_they_are(path: str, test: bool, about: str) -> None:
    assert is_test(path) is test
    assert stem(path) == about
