"""Claims about `corpus.experience`:

1. A commit is described by what came before it alone: later commits, and its own message, change nothing.
2. Fixes count where they were made, and fade by half in a half-life.
3. A renamed file keeps its history; a new one has none.
4. A missing companion is seen, once two files have changed together often enough.
5. An author's experience is a share of the work, of all and of the files.
"""

from __future__ import annotations

import numpy as np
import pytest

from codewm.corpus.edits import extract
from codewm.corpus.experience import FEATURES, ExperienceSettings, experience
from codewm.corpus.git import Repository
from codewm.corpus.table import EditTable
from tests.helpers import EPOCH, GitRepo

DAY = 86_400
ADA, BEN = "Ada <ada@example.com>", "Ben <ben@example.com>"


def source(n: int) -> str:
    return f"def f(a):\n    return a + {n}\n"


def table(repo: GitRepo) -> EditTable:
    with Repository.open(repo.path) as opened:
        return extract(opened, opened.commits("HEAD"), window=256, action="v15", with_authors=True)[0]


def column(found: np.ndarray, name: str) -> list[float]:
    return [float(v) for v in found[:, list(FEATURES).index(name)]]


def test_only_what_came_before_counts(git_repo: GitRepo) -> None:
    for n in range(5):
        git_repo.commit(f"change {n}", {"a.py": source(n)}, author=ADA)
    before = experience(table(git_repo))
    git_repo.commit("fix a bug", {"a.py": source(7)}, author=BEN)
    git_repo.commit("more", {"a.py": source(8)}, author=BEN)
    after = experience(table(git_repo))
    assert np.array_equal(before, after[:5], equal_nan=True)
    # The fix does not count for itself, but for what follows.
    assert column(after, "file_fixes")[5] == 0
    assert column(after, "file_fixes")[6] == pytest.approx(np.log1p(1), rel=1e-3)


def test_fixes_fade_by_half_and_stay_where_they_were_made(git_repo: GitRepo) -> None:
    git_repo.commit("start", {"a.py": source(0), "b.py": source(0)}, when=EPOCH)
    git_repo.commit("fix crash", {"a.py": source(1)}, when=EPOCH + DAY)
    git_repo.commit("change a", {"a.py": source(2)}, when=EPOCH + 31 * DAY)
    git_repo.commit("change b", {"b.py": source(2)}, when=EPOCH + 31 * DAY)
    found = experience(table(git_repo), ExperienceSettings(half_life=30))
    assert column(found, "file_fixes")[2] == pytest.approx(np.log1p(0.5))
    assert column(found, "unit_fixes")[2] == pytest.approx(np.log1p(0.5))
    assert column(found, "file_fixes")[3] == 0
    assert column(found, "file_age")[2:] == [pytest.approx(np.log1p(30)), pytest.approx(np.log1p(31))]


def test_a_renamed_file_keeps_its_history(git_repo: GitRepo) -> None:
    git_repo.commit("start", {"a.py": source(0)})
    git_repo.commit("fix crash", {"a.py": source(1)})
    git_repo.commit("move", {"a.py": None, "c.py": source(1) + "\n\ndef g():\n    return 1\n"})
    git_repo.commit("new", {"d.py": source(5)})
    found = experience(table(git_repo))
    assert column(found, "new_files") == [1, 0, 0, 1]
    assert column(found, "file_fixes")[2] > 0.6
    assert column(found, "file_fixes")[3] == 0


def test_a_missing_companion_is_seen(git_repo: GitRepo) -> None:
    for n in range(4):
        git_repo.commit(f"both {n}", {"a.py": source(n), "b.py": source(n)})
    git_repo.commit("one", {"a.py": source(9)})
    found = experience(table(git_repo))
    assert column(found, "left_out") == [0, 0, 0, 0, 1]
    assert column(found, "together")[3] == 1


def test_experience_is_a_share_of_the_work(git_repo: GitRepo) -> None:
    for n in range(9):
        git_repo.commit(f"ada {n}", {"a.py": source(n)}, author=ADA)
    git_repo.commit("ben", {"a.py": source(20)}, author=BEN)
    git_repo.commit("ada", {"a.py": source(21)}, author=ADA)
    found = experience(table(git_repo))
    assert column(found, "author_share")[9] == 0
    assert column(found, "author_share")[10] == pytest.approx(9 / 11, abs=0.01)
    assert column(found, "author_on_files")[10] == pytest.approx(9 / 11, abs=0.01)
    assert column(found, "file_authors")[10] == pytest.approx(np.log1p(2))


def test_a_commit_without_edits_has_nothing(git_repo: GitRepo) -> None:
    git_repo.commit("start", {"a.py": source(0)})
    git_repo.commit("text", {"README": "x"})
    found = experience(table(git_repo))
    assert np.isnan(found[1]).all()
    assert not np.isnan(found[0]).any()
