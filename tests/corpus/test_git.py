"""Claims about `codewm.corpus.git`:

1. Records are the first-parent history, oldest first, with exactly the paths, modes and ids that git shows.
2. Any bytes in a path or a message survive; renames are pairs.
3. A range is a range, one revision is one commit, and what begins with '-' never reaches git.
4. Blobs come in the order asked for, however many; missing and too large ones are told apart.
5. Bad repositories and revisions are `UserError`s with a hint.
6. The index and the work tree are read like commits, the index that a hook was given included.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from codewm.corpus.errors import UserError
from codewm.corpus.git import BLOB_LIMIT, Repository
from tests.helpers import GitRepo


def _git(folder: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def test_records_are_the_first_parent_line(history: Path) -> None:
    with Repository.open(history) as repo:
        records = list(repo.commits("HEAD"))
    assert [r.oid for r in records] == _git(
        history, "rev-list", "--first-parent", "--reverse", "HEAD"
    ).split()
    assert records[0].parents == ()
    assert sum(r.is_merge for r in records) == 1
    merge = next(r for r in records if r.is_merge)
    assert [c.new_path for c in merge.changes] == [b"pkg/topic.py"]


def test_changes_are_what_git_says(history: Path) -> None:
    with Repository.open(history) as repo:
        for record in repo.commits("HEAD"):
            against = record.parents[0] if record.parents else "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
            shown = _git(history, "diff-tree", "-r", "-M", "--name-status", "-z", against, record.oid)
            fields = []
            for change in record.changes:
                fields.append(change.status)
                sides = [change.old_path, change.new_path] if change.status == "R" else [change.path]
                fields += [p.decode("utf-8", "surrogateescape") for p in sides if p is not None]
            # Only the score after R differs.
            said = [f[0] if f[:1] == "R" and f[1:].isdigit() else f for f in shown.rstrip("\0").split("\0")]
            assert fields == [f for f in said if f], record.subject


def test_odd_names_survive(history: Path) -> None:
    with Repository.open(history) as repo:
        paths = {c.path for r in repo.commits("HEAD") for c in r.changes}
    assert {b"pkg/caf\xe9.py", b"pkg/new\nline.py", b'pkg/"quoted".py'} <= paths


@pytest.mark.parametrize(
    "message", ["one", "two\n\nlines", ":100644 100644 looks like a diff", "\n\nblank", "x\n:000000\n"]
)
def test_messages_do_not_confuse_the_parser(git_repo: GitRepo, message: str) -> None:
    git_repo.commit(message, {"a.py": "x = 1\n"})
    git_repo.commit("empty")
    git_repo.commit("last", {"a.py": "x = 2\n"})
    with Repository.open(git_repo.path) as repo:
        records = list(repo.commits("HEAD"))
    assert [len(r.changes) for r in records] == [1, 0, 1]
    assert records[0].message.strip() == message.strip()


def test_ranges(git_repo: GitRepo) -> None:
    oids = [git_repo.commit(f"c{i}", {"a.py": f"x = {i}\n"}) for i in range(5)]
    with Repository.open(git_repo.path) as repo:
        assert [r.oid for r in repo.commits(repo.parse_range("HEAD~2..HEAD"))] == oids[3:]
        assert [r.oid for r in repo.commits(repo.parse_range("HEAD~2.."))] == oids[3:]
        assert [r.oid for r in repo.commits(repo.parse_range("HEAD~1"))] == [oids[3]]
        assert [r.oid for r in repo.commits(repo.parse_range(oids[0]))] == [oids[0]]
        assert [r.oid for r in repo.commits("HEAD", max_count=2)] == oids[3:]
        assert list(repo.commits(repo.parse_range("HEAD..HEAD"))) == []
        with pytest.raises(UserError):
            repo.parse_range("HEAD~2...HEAD")


@pytest.mark.parametrize(
    "rev", ["", "--output=/tmp/x", "-n1", "nowhere", "HEAD\nHEAD", "HEAD~99", "HEAD:a.py"]
)
def test_bad_revisions_are_refused(git_repo: GitRepo, rev: str) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n"})
    with Repository.open(git_repo.path) as repo, pytest.raises(UserError) as caught:
        repo.resolve(rev)
    assert caught.value.hint


def test_blobs_in_order_and_many(git_repo: GitRepo) -> None:
    git_repo.commit("many", {f"f{i}.py": f"x = {i}\n" * (i + 1) for i in range(700)})
    git_repo.commit("big", {"big.py": "#" * (BLOB_LIMIT + 1)})
    with Repository.open(git_repo.path) as repo:
        oids = [oid for _, oid, _ in repo.tree_python_blobs("HEAD")] * 3
        oids.insert(5, "0" * 39 + "1")
        got = list(repo.read_objects(oids))
        sizes = {oid: size for _, oid, size in repo.tree_python_blobs("HEAD")}
        assert [oid for oid, _, _ in got] == oids
        assert got[5] == (oids[5], None, -1)
        for oid, content, size in got[:5] + got[6:]:
            assert size == sizes[oid]
            assert content is None if size > BLOB_LIMIT else content is not None and len(content) == size
        # Left early, the reader starts afresh.
        next(repo.read_blobs(oids))
        assert [oid for oid, _ in repo.read_blobs(oids[:3])] == oids[:3]


def test_no_repository(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(UserError) as caught:
            Repository.open(path)
        assert caught.value.hint


def test_no_commits_yet(git_repo: GitRepo) -> None:
    with Repository.open(git_repo.path) as repo:
        assert repo.branch == "main"
        with pytest.raises(UserError, match="no commits"):
            repo.head()
        with pytest.raises(UserError, match="no commits"):
            repo.resolve("HEAD~3")
        git_repo.stage({"a.py": "x = 1\n"})
        staged = repo.staged()
    assert [c.status for c in staged.changes] == ["A"]
    assert staged.parents == ()


def test_foreign_owner_is_explained(git_repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n"})
    # Inherited GIT_* variables are dropped, so this has to be what makes git think so: a wrapper.
    wrapper = git_repo.path.parent / "bin" / "git"
    wrapper.parent.mkdir()
    real = subprocess.run(["which", "git"], check=True, capture_output=True).stdout.decode().strip()
    wrapper.write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec "{real}" "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(wrapper.parent), prepend=":")
    with pytest.raises(UserError, match="belongs to somebody else") as caught:
        Repository.open(git_repo.path)
    assert "safe.directory" in caught.value.hint


def test_a_refused_bare_repository_is_explained(
    git_repo: GitRepo, tmp_path: Path, clone: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n"})
    (tmp_path / "settings").write_text("[safe]\n\tbareRepository = explicit\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "settings"))
    with pytest.raises(UserError, match="refuses") as caught:
        Repository.open(clone(git_repo.path))
    assert "safe.bareRepository" in caught.value.hint


def test_shallow(history: Path, clone: Callable[..., Path]) -> None:
    with Repository.open(clone(history, "--depth=3", name="shallow.git")) as repo:
        records = list(repo.commits("HEAD"))
        assert [r.boundary for r in records] == [True, False, False]
        with pytest.raises(UserError) as caught:
            repo.resolve("HEAD~5")
    assert "unshallow" in caught.value.hint


def test_staged_and_worktree(git_repo: GitRepo) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n", "b.py": "y = 1\n", "c.py": "z = 1\n" * 9, "d.py": "d = 1\n"})
    git_repo.stage({"a.py": "x = 2\n"})
    git_repo.git("mv", "c.py", "moved.py")
    git_repo.write("b.py", "y = 2\n")
    (git_repo.path / "d.py").unlink()
    with Repository.open(git_repo.path / ".git" / "..") as repo:
        staged = {(c.status, c.old_path, c.new_path) for c in repo.staged().changes}
        assert staged == {("M", b"a.py", b"a.py"), ("R", b"c.py", b"moved.py")}
        work = {c.path: c for c in repo.worktree().changes}
    assert set(work) == {b"a.py", b"b.py", b"moved.py", b"d.py"}
    assert work[b"b.py"].content == b"y = 2\n"
    assert work[b"a.py"].content is None
    assert work[b"d.py"].status == "D"
    assert work[b"moved.py"].old_path == b"c.py"


def test_worktree_reads_no_links(git_repo: GitRepo) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n", "pkg/b.py": "y = 1\n"})
    secret = git_repo.path.parent / "secret"
    secret.mkdir()
    (secret / "b.py").write_text("password = 1\n")
    (git_repo.path / "a.py").unlink()
    (git_repo.path / "a.py").symlink_to(secret / "b.py")
    (git_repo.path / "pkg" / "b.py").unlink()
    (git_repo.path / "pkg").rmdir()
    (git_repo.path / "pkg").symlink_to(secret)
    with Repository.open(git_repo.path) as repo:
        assert [(c.status, c.content) for c in repo.worktree().changes] == [("D", None), ("D", None)]


def test_the_index_of_a_hook_is_used(git_repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n"})
    git_repo.write("a.py", "x = 2\n")
    git_repo.git("add", "a.py", env={"GIT_INDEX_FILE": str(git_repo.path / ".git" / "other")})
    with Repository.open(git_repo.path) as repo:
        assert repo.staged().changes == ()
        monkeypatch.setenv("GIT_INDEX_FILE", ".git/other")
        monkeypatch.setenv("GIT_DIR", "/nowhere")
        monkeypatch.setenv("GIT_WORK_TREE", "/nowhere")
        # `other` holds a.py alone, as the real index does.
        assert [c.path for c in repo.staged().changes] == [b"a.py"]
        assert Repository.open(git_repo.path).config("user")["user.name"] == "Ada"


def test_linked_worktree(git_repo: GitRepo) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n"})
    other = git_repo.path.parent / "other"
    git_repo.git("worktree", "add", "-q", "-b", "side", str(other))
    with Repository.open(git_repo.path) as main, Repository.open(other) as linked:
        assert linked.work_tree == other.resolve()
        assert linked.data_dir == main.data_dir
        assert linked.branch == "side"
        assert linked.identity == main.identity


def test_sha256(tmp_path: Path) -> None:
    place = tmp_path / "repo"
    place.mkdir()
    _git(place, "init", "-q", "--object-format=sha256", "-b", "main")
    (place / "a.py").write_text("x = 1\n")
    _git(place, "add", "a.py")
    with Repository.open(place) as repo:
        assert [c.status for c in repo.staged().changes] == ["A"]
    _git(place, "-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "-m", "first")
    with Repository.open(place) as repo:
        (record,) = repo.commits("HEAD")
        assert len(record.oid) == 64
        assert record.changes[0].new_oid is not None
        assert list(repo.read_blobs([record.changes[0].new_oid])) == [(record.changes[0].new_oid, b"x = 1\n")]
        assert repo.worktree().changes == ()
