"""Claims about partial clones, whose remotes are real repositories on this machine:

1. They are read without fetching: missing files are answers, and missing trees a clear error.
2. With `allow_fetch` what is missing comes from the remote, many files at once, and the result is that of a full
   clone.
3. What the repository says about its remote is an address: no program that it names runs, and no transport that
   could run one is used.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from codewm.corpus.errors import UserError
from codewm.corpus.git import MISSING, Repository
from codewm.corpus.harvest import Options, harvest
from tests.corpus.reading import LINES, files_below, git_in, records_of
from tests.helpers import GitRepo


@pytest.fixture
def origin(git_repo: GitRepo) -> GitRepo:
    """A remote that serves partial clones; its second commit moves and edits a file."""
    git_repo.git("config", "uploadpack.allowFilter", "true")
    git_repo.git("config", "uploadpack.allowAnySHA1InWant", "true")
    git_repo.commit("first", {"a.py": LINES, "pkg/b.py": "b = 1\n", "data.txt": "no code\n"})
    git_repo.commit("move", {"a.py": None, "pkg/moved.py": LINES + "last = 1\n"})
    git_repo.commit("edit", {"pkg/b.py": "b = 2\n"})
    return git_repo


def _partial(origin: GitRepo, tmp_path: Path, kind: str) -> Path:
    place = tmp_path / "partial"
    git_in(tmp_path, "clone", "-q", "--no-checkout", f"--filter={kind}", f"file://{origin.path}", str(place))
    return place


def test_a_partial_clone_is_read_without_fetching(origin: GitRepo, tmp_path: Path) -> None:
    place = _partial(origin, tmp_path, "blob:none")
    before = files_below(place)
    full = records_of(origin.path)
    with Repository.open(place) as repo:
        assert repo.is_partial
        records = list(repo.commits("HEAD"))
        assert [r.oid for r in records] == [r.oid for r in full]
        assert [r.message for r in records] == [r.message for r in full]
        # What was moved and edited is told by reading both files, which are not here.
        assert [(c.status, c.path) for c in records[1].changes] == [("D", b"a.py"), ("A", b"pkg/moved.py")]
        assert (records[0], records[2]) == (full[0], full[2])
        oids = [c.new_oid for r in records for c in r.changes if c.new_oid is not None]
        assert list(repo.read_objects(oids)) == [(oid, None, MISSING) for oid in oids]
        assert [(p, size) for p, _, size in repo.tree_python_blobs("HEAD")] == [
            (b"pkg/b.py", MISSING),
            (b"pkg/moved.py", MISSING),
        ]
        assert repo.staged().parents == (full[-1].oid,)
        assert repo.has(full[0].oid)
    assert files_below(place) == before


def test_what_is_here_of_a_partial_clone_is_used(origin: GitRepo, tmp_path: Path) -> None:
    place = _partial(origin, tmp_path, "blob:none")
    full = records_of(origin.path)
    here = [side for c in full[1].changes for side in (c.old_oid, c.new_oid) if side is not None]
    for oid in here:
        git_in(place, "cat-file", "-e", oid)
    assert records_of(place) == full
    asked = [here[0], str(full[2].changes[0].new_oid), here[1]]
    with Repository.open(place) as repo:
        assert [size >= 0 for _, _, size in repo.read_objects(asked)] == [True, False, True]


def test_missing_trees_are_a_clear_error(origin: GitRepo, tmp_path: Path) -> None:
    place = _partial(origin, tmp_path, "tree:0")
    before = files_below(place)
    with Repository.open(place) as repo:
        for read in (lambda: list(repo.commits("HEAD")), lambda: repo.tree_python_blobs("HEAD")):
            with pytest.raises(UserError, match="partial clone") as caught:
                read()
            assert "--allow-fetch" in caught.value.hint
            assert "--refetch --no-filter" in caught.value.hint
    assert files_below(place) == before


@pytest.mark.parametrize("kind", ["blob:none", "tree:0", "blob:limit=100"])
def test_with_allow_fetch_a_partial_clone_gives_what_a_full_one_gives(
    origin: GitRepo, tmp_path: Path, kind: str
) -> None:
    place = _partial(origin, tmp_path, kind)
    with Repository.open(origin.path) as whole, Repository.open(place, allow_fetch=True) as repo:
        full = list(whole.commits("HEAD"))
        assert list(repo.commits("HEAD")) == full
        oids = [c.new_oid for r in full for c in r.changes if c.new_oid is not None]
        assert list(repo.read_objects(oids)) == list(whole.read_objects(oids))
        assert repo.tree_python_blobs("HEAD") == whole.tree_python_blobs("HEAD")
    # The objects stay, and the repository is what it was otherwise.
    assert records_of(place) == full
    git_in(place, "fsck", "--connectivity-only")
    assert git_in(place, "config", "remote.origin.promisor") == "true"


def test_files_are_fetched_many_at_once(git_repo: GitRepo, tmp_path: Path, count_git: Path) -> None:
    git_repo.git("config", "uploadpack.allowFilter", "true")
    git_repo.git("config", "uploadpack.allowAnySHA1InWant", "true")
    git_repo.commit("many", {f"f{i}.py": f"x = {i}\n" for i in range(300)})
    place = _partial(git_repo, tmp_path, "blob:none")
    with Repository.open(git_repo.path) as repo:
        oids = [oid for _, oid, _ in repo.tree_python_blobs("HEAD")]
    absent = "1" * 40
    count_git.unlink(missing_ok=True)
    with Repository.open(place, allow_fetch=True) as repo:
        got = list(repo.read_objects([*oids, absent]))
    assert [size >= 0 for _, _, size in got] == [True] * 300 + [False]
    # One object that the remote does not have costs a few more, not one for each.
    assert 1 < count_git.read_text().split().count("fetch") < 40


def test_a_remote_that_is_gone_is_a_clear_error(origin: GitRepo, tmp_path: Path) -> None:
    place = _partial(origin, tmp_path, "blob:none")
    oid = origin.git("rev-parse", "HEAD:pkg/b.py")
    origin.path.rename(tmp_path / "elsewhere")
    with (
        Repository.open(place, allow_fetch=True) as repo,
        pytest.raises(UserError, match="cannot be fetched") as e,
    ):
        list(repo.read_objects([oid]))
    assert e.value.hint


@pytest.mark.parametrize("url", ["ext::{trap} ext", "--upload-pack={trap}", "evil::{trap}"])
def test_a_hostile_remote_runs_nothing_and_fetches_nothing(
    origin: GitRepo, tmp_path: Path, url: str, trap: Path, sprung: Callable[[], list[str]]
) -> None:
    place = _partial(origin, tmp_path, "blob:none")
    git_in(place, "config", "remote.origin.url", url.format(trap=trap))
    oid = origin.git("rev-parse", "HEAD:pkg/b.py")
    with Repository.open(place, allow_fetch=True) as repo, pytest.raises(UserError) as caught:
        list(repo.read_objects([oid]))
    assert caught.value.hint
    assert sprung() == []


def test_settings_of_a_hostile_remote_are_not_used(
    origin: GitRepo, tmp_path: Path, trap: Path, sprung: Callable[[], list[str]]
) -> None:
    place = _partial(origin, tmp_path, "blob:none")
    git_in(place, "config", "remote.origin.uploadpack", f"{trap} uploadpack; git-upload-pack")
    oid = origin.git("rev-parse", "HEAD:pkg/b.py")
    # Git itself falls into this one.
    subprocess.run(["git", "cat-file", "-e", oid], cwd=place, capture_output=True, check=False)
    assert "uploadpack" in sprung()
    for name, value in (
        ("remote.origin.vcs", "evil"),
        ("core.sshCommand", f"{trap} ssh"),
        ("core.gitProxy", f"{trap} proxy"),
        ("core.fsmonitor", f"{trap} fsmonitor"),
        ("core.hooksPath", str(tmp_path / "hooks")),
        ("credential.helper", f"!{trap} credential"),
        ("protocol.allow", "always"),
        ("url.ext::x.insteadOf", "file://"),
        ("gc.auto", "1"),
        ("gc.recentObjectsHook", f"{trap} gc"),
    ):
        git_in(place, "config", name, value)
    (tmp_path / "hooks").mkdir()
    for hook in ("post-checkout", "reference-transaction", "pre-auto-gc"):
        (tmp_path / "hooks" / hook).write_text(f'#!/bin/sh\n"{trap}" {hook}\n')
        (tmp_path / "hooks" / hook).chmod(0o755)
    other = origin.git("rev-parse", "HEAD~1:pkg/b.py")
    with Repository.open(place, allow_fetch=True) as repo:
        assert list(repo.read_objects([other])) == [(other, b"b = 1\n", 6)]
    assert sprung() == []


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that writes down its first word."""
    place = tmp_path / "trap"
    place.write_text(f'#!/bin/sh\necho "$1" >> "{place}.log"\n')
    place.chmod(0o755)
    (tmp_path / "bin").mkdir(exist_ok=True)
    helper = tmp_path / "bin" / "git-remote-evil"
    helper.write_text(f'#!/bin/sh\n"{place}" helper\n')
    helper.chmod(0o755)
    return place


@pytest.fixture
def sprung(trap: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Return what the trap wrote down since the last time."""
    monkeypatch.setenv("PATH", str(trap.parent / "bin"), prepend=os.pathsep)
    log = trap.parent / "trap.log"

    def read() -> list[str]:
        lines = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    return read


@pytest.fixture
def count_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file to which every git that is started writes the words it was given."""
    real, log = shutil.which("git"), tmp_path / "git.log"
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir(exist_ok=True)
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> "{log}"\nexec "{real}" "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(wrapper.parent), prepend=os.pathsep)
    return log


def test_a_harvest_with_fetching_makes_good_what_one_without_counted_as_missing(
    origin: GitRepo, tmp_path: Path
) -> None:
    place = _partial(origin, tmp_path, "blob:none")
    options = Options(window=64, action="v15", merges="first-parent", jobs=1)
    with Repository.open(place) as repo:
        assert harvest(repo, options).header.edits == 0
    with Repository.open(place, allow_fetch=True) as repo:
        fetched = harvest(repo, options)
    with Repository.open(origin.path) as repo:
        whole = harvest(repo, options)
    assert (fetched.how, fetched.why) == (
        "rebuilt",
        "what was missing from the repository may be fetched now",
    )
    assert fetched.header.edits == whole.header.edits > 0
    with Repository.open(place, allow_fetch=True) as repo:
        assert harvest(repo, options).how == "unchanged"
