"""Claims about `corpus.fixes`:

1. What is kept is what is found, whatever bytes a path holds; it is taken from the file while HEAD stays.
2. A new commit, or a damaged file, has it found again.
"""

from __future__ import annotations

import json

import pytest

from codewm.corpus import fixes
from codewm.corpus.git import Repository
from codewm.corpus.szz import Labels, find
from tests.helpers import GitRepo

PATH = b"pkg/\xff a.py".decode("utf-8", "surrogateescape")


def history(repo: GitRepo) -> None:
    repo.commit("start", {PATH: "def f(a):\n    return a + 1\n"})
    repo.commit("change", {PATH: "def f(a):\n    return a + 2\n"})
    repo.commit("fix crash", {PATH: "def f(a):\n    return abs(a)\n"})


def known(repo: GitRepo) -> Labels:
    with Repository.open(repo.path) as opened:
        return fixes.known_fixes(opened)


def test_what_is_kept_is_what_is_found(git_repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    history(git_repo)
    with Repository.open(git_repo.path) as opened:
        found = find(opened)
    assert len(found.links) == 1
    assert known(git_repo) == found

    def refuse(*_: object, **__: object) -> Labels:
        raise AssertionError("found again")

    monkeypatch.setattr(fixes, "find", refuse)
    assert known(git_repo) == found
    git_repo.commit("more", {"b.py": "x = 1\n"})
    with pytest.raises(AssertionError, match="found again"):
        known(git_repo)


def test_a_damaged_file_is_made_again(git_repo: GitRepo) -> None:
    history(git_repo)
    found, place = known(git_repo), git_repo.path / ".git" / "codewm" / fixes.FILE_NAME
    whole = json.loads(place.read_text())
    for damage in (
        "",
        "[]",
        "{}",
        json.dumps({**whole, "links": [[1, 2]]}),
        json.dumps({**whole, "links": 3}),
    ):
        place.write_text(damage)
        assert known(git_repo) == found
        assert json.loads(place.read_text()) == whole
