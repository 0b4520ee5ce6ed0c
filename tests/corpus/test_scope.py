"""Claims about a harvest of a part of the history:

1. --since begins at the oldest commit of that date, or after a revision; --path keeps changes with a side below it,
   and neither changes an edit that is kept.
2. What Git would quietly misread is refused; a path that matches nothing is said.
3. A limited store is appended to within its limits, and training keeps them; other limits start over.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest, like_stored
from codewm.corpus.ledger import Ledger, sums
from codewm.corpus.store import read_store
from tests.corpus.conftest import by_subject, run, stored
from tests.helpers import GitRepo, run_cli


@pytest.fixture
def skewed(git_repo: GitRepo) -> GitRepo:
    """Five commits in February and March 2024, one of them from a clock that was a year behind."""
    february = 1_706_745_600
    week = 7 * 86_400
    for i, when in enumerate((0, 1, 2, -52, 4, 5)):
        git_repo.commit(f"c{i}", {"a.py": f"x = {i}\n"}, when=february + when * week)
    git_repo.git("tag", "third", "HEAD~3")
    return git_repo


@pytest.mark.parametrize(
    ("since", "first"),
    [
        ("2024-02-14", "c2"),
        ("2024-02-20T00:00:00Z", "c4"),
        ("2020-01-01", "c0"),
        ("never", "c0"),
        ("third", "c3"),
        ("HEAD~1", "c5"),
        ("main~2", "c4"),
    ],
)
def test_since(skewed: GitRepo, options: Options, since: str, first: str) -> None:
    whole = read_store(run(skewed.path, options).path).table
    result = run(skewed.path, replace(options, since=since))
    table = read_store(result.path).table
    assert table.commits.subject[0] == first
    assert table.commits.subject == whole.commits.subject[-len(table.commits) :]
    assert table.action.tolist() == whole.action[-len(table) :].tolist()
    if first == "c0":
        assert result.how == "unchanged"
    else:
        assert (result.how, "--since" in result.why) == ("rebuilt", True)
    assert run(skewed.path, replace(options, since=since)).how == "unchanged"
    skewed.commit("later", {"a.py": "x = 9\n"})
    assert run(skewed.path, replace(options, since=result.header.since or "never")).how == "appended"


@pytest.mark.parametrize(
    ("since", "words"),
    [
        ("gibberish", "neither"),
        ("2 yeers ago", "neither"),
        ("20240131", "neither"),
        ("v9.9", "neither"),
        ("--help", "neither"),
        ("-1", "neither"),
        ("", "neither|empty"),
        ("now", "neither"),
        ("2090-01-01", "no commit since '2090-01-01', which Git reads as 2090-01-01"),
        ("HEAD", "nothing follows"),
    ],
)
def test_since_that_says_nothing(skewed: GitRepo, since: str, words: str) -> None:
    ran = run_cli("harvest", f"--since={since}", str(skewed.path))
    assert (ran.status, "hint: " in ran.err) == (2, True)
    assert re.search(words, ran.err)
    assert not (skewed.path / ".git" / "codewm").exists()


def test_since_digits_are_a_date_unless_a_tag_is_called_so(skewed: GitRepo, options: Options) -> None:
    assert run(skewed.path, replace(options, since="2021")).header.commits == 6
    skewed.git("tag", "2021", "HEAD~2")
    assert run(skewed.path, replace(options, since="2021")).header.commits == 2


@pytest.fixture
def folders(git_repo: GitRepo) -> GitRepo:
    def f(n: int) -> str:
        return "".join(f"def f{i}(a):\n    return a + {n * i}\n\n\n" for i in range(6))

    git_repo.commit("start", {"src/a.py": f(1), "src/sub/b.py": f(2), "src2/c.py": f(3), "top.py": f(4)})
    git_repo.commit("src2", {"src2/c.py": f(5)})
    git_repo.commit("both", {"src/a.py": f(6), "top.py": f(7)})
    git_repo.git("mv", "src/a.py", "src2/a.py")
    git_repo.commit("out")
    git_repo.git("mv", "top.py", "src/top.py")
    git_repo.commit("in", {"src/top.py": f(7).replace("+ 7", "- 7")})
    return git_repo


@pytest.mark.parametrize(
    ("paths", "subjects"),
    [
        (("src",), {"start", "both", "out", "in"}),
        (("src/", "./src//sub"), {"start", "both", "out", "in"}),
        (("src/sub/b.py",), {"start"}),
        (("top.py",), {"start", "both", "in"}),
        (("src2", "top.py"), {"start", "src2", "both", "out", "in"}),
        (("s*",), set()),
        (("sr",), set()),
    ],
)
def test_path(folders: GitRepo, options: Options, paths: tuple[str, ...], subjects: set[str]) -> None:
    whole = stored(folders.path, options)
    store = stored(folders.path, replace(options, paths=paths))
    changed = np.flatnonzero(store.table.commits.file_changes)
    assert {store.table.commits.subject[i] for i in changed} == subjects
    assert store.table.commits.oid == whole.table.commits.oid
    assert all(s.balanced for s in sums(store.table, Ledger(store.ledger)).values())
    everything = {e for s in whole.table.commits.subject for e in by_subject(whole, s)}
    assert {e for s in store.table.commits.subject for e in by_subject(store, s)} <= everything
    again = run(folders.path, replace(options, paths=tuple(reversed(paths))))
    assert (again.how, again.header.paths) == ("unchanged", store.header.paths)
    folders.commit("more", {"src/z.py": "def z():\n    return 1\n"})
    assert run(folders.path, replace(options, paths=paths)).how == "appended"


@pytest.mark.parametrize("path", ["/etc", "../x", "a/../../b", "", "x" * 5000])
def test_path_that_leads_nowhere(folders: GitRepo, path: str) -> None:
    ran = run_cli("harvest", "--path", path, str(folders.path))
    assert (ran.status, "--path" in ran.err, "hint: " in ran.err) == (2, True, True)


def test_path_that_matches_nothing_is_said(folders: GitRepo) -> None:
    ran = run_cli("harvest", "--path", "nowhere", str(folders.path))
    assert (ran.status, "in this history below nowhere" in ran.err) == (0, True)
    ran = run_cli("harvest", str(folders.path))
    assert "started over: the store was made with another --path: nowhere instead of everything" in ran.err


def test_training_keeps_the_limits_of_the_store(skewed: GitRepo, options: Options) -> None:
    asked = replace(options, since="third", paths=("a.py",))
    run(skewed.path, asked)
    with Repository.open(skewed.path) as repo:
        assert harvest(repo, like_stored(repo, options)).how == "unchanged"
