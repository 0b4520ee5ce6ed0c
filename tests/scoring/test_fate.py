"""Claims about `model.scoring.fate`:

1. A commit that a later one says it reverts is reverted; one whose lines a later fix deletes is fixed; else it is kept.
2. An edit is fixed only where the fix changed its own unit; a fix of other lines of the unit is 'nearby'.
3. An edit whose unit goes back to the state before it is undone, but not after half a year, nor one that made the unit.
4. What came first is what happened; what is not in the table is not known.
"""

from __future__ import annotations

from codewm.corpus import szz
from codewm.corpus.edits import extract
from codewm.corpus.git import Repository
from codewm.model.scoring.fate import Fates
from tests.helpers import EPOCH, GitRepo

DAY = 86_400
START = "def f(a):\n    b = a + 1\n    c = b * 2\n    return c\n\n\ndef g(a):\n    return a - 1\n"
WRONG = START.replace("a + 1", "a + 3")
RIGHT = WRONG.replace("a + 3", "abs(a) + 3")


def fates(repo: GitRepo) -> Fates:
    with Repository.open(repo.path) as opened:
        table, _ = extract(opened, opened.commits("HEAD"), window=256, action="v15")
        return Fates(table, szz.find(opened))


def test_a_fix_that_deletes_the_lines(git_repo: GitRepo) -> None:
    git_repo.commit("start", {"a.py": START}, when=EPOCH)
    wrong = git_repo.commit("change f", {"a.py": WRONG}, when=EPOCH + DAY)
    fix = git_repo.commit("fix negative numbers", {"a.py": RIGHT}, when=EPOCH + 11 * DAY)
    found = fates(git_repo)
    commit, edit = found.commit(wrong), found.edit(wrong, "a.py", "f")
    assert (commit.what, commit.by, commit.days) == ("fixed", fix, 10)
    assert (edit.what, edit.by) == ("fixed", fix)
    assert commit.is_bad
    assert commit.sentence == "fixed 10 days later"
    assert found.came_out(wrong, 30) == EPOCH + 11 * DAY
    assert found.came_out(wrong, 5) == float("inf")
    assert found.commit(fix).what == "kept"
    assert found.came_out(fix, 30) == float("inf")


def test_a_fix_nearby_is_no_fix_of_it(git_repo: GitRepo) -> None:
    git_repo.commit("start", {"a.py": START}, when=EPOCH)
    change = git_repo.commit("change f", {"a.py": WRONG}, when=EPOCH + DAY)
    git_repo.commit("fix g", {"a.py": WRONG.replace("a - 1", "a - 2")}, when=EPOCH + 2 * DAY)
    assert fates(git_repo).edit(change, "a.py", "f").sentence == "kept as it was, 1 day"
    git_repo.commit("fix f", {"a.py": WRONG.replace("b * 2", "b * 4")}, when=EPOCH + 3 * DAY)
    edit = fates(git_repo).edit(change, "a.py", "f")
    assert edit.what == "touched"
    assert not edit.is_bad


def test_a_revert_and_a_return(git_repo: GitRepo) -> None:
    git_repo.commit("start", {"a.py": START}, when=EPOCH)
    wrong = git_repo.commit("change f", {"a.py": WRONG}, when=EPOCH + DAY)
    back = git_repo.commit("as before", {"a.py": START}, when=EPOCH + 4 * DAY)
    found = fates(git_repo)
    assert (found.edit(wrong, "a.py", "f").what, found.edit(wrong, "a.py", "f").by) == ("undone", back)
    # Of the commit nobody says so.
    assert found.commit(wrong).what == "kept"
    again = git_repo.commit("again", {"a.py": WRONG}, when=EPOCH + 5 * DAY)
    git_repo.git("revert", "--no-edit", "HEAD")
    found = fates(git_repo)
    assert found.commit(again).what == "reverted"
    assert found.edit(again, "a.py", "f").what == "reverted"


def test_a_return_much_later_is_another_matter(git_repo: GitRepo) -> None:
    git_repo.commit("start", {"a.py": START}, when=EPOCH)
    change = git_repo.commit("change f", {"a.py": WRONG}, when=EPOCH + DAY)
    made = git_repo.commit("add h", {"a.py": WRONG + "\n\ndef h():\n    return 7\n"}, when=EPOCH + 2 * DAY)
    drop = git_repo.commit("drop h", {"a.py": WRONG}, when=EPOCH + 3 * DAY)
    git_repo.commit("as before", {"a.py": START}, when=EPOCH + 400 * DAY)
    found = fates(git_repo)
    assert found.edit(change, "a.py", "f").sentence == "kept, 1 more edit"
    assert found.edit(made, "a.py", "h").sentence == "deleted 1 day later"
    assert found.edit(drop, "a.py", "h").sentence == "still gone, 13 months"


def test_what_is_not_there_is_not_known(git_repo: GitRepo) -> None:
    here = git_repo.commit("start", {"a.py": START})
    found = fates(git_repo)
    assert found.commit("0" * 40).what == "unknown"
    assert found.edit(here, "b.py", "f").what == "unknown"
    assert found.describe(here, "b.py", "f") is None
