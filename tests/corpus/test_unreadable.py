"""Claims about reading what cannot all be read:

1. Damaged files are answers, in order, and the rest goes on, walking included; missing is not damaged.
2. Damaged commits and trees are clear errors.
3. A git that is ended by somebody is started again; complaints do not block it; readings may be nested.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from codewm.corpus.errors import UserError
from codewm.corpus.git import DAMAGED, MISSING, CommitRecord, Repository
from tests.helpers import GitRepo

LINES = "".join(f"line_{i} = {i}\n" for i in range(40))


def _records(place: Path) -> list[CommitRecord]:
    with Repository.open(place) as repo:
        return list(repo.commits("HEAD"))


def _loose(place: Path, oid: str) -> Path:
    """The file that holds an object; writable from now on."""
    path = place / ".git" / "objects" / oid[:2] / oid[2:]
    path.chmod(0o644)
    return path


def _flip(path: Path, at: int) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[at] ^= 0x55
    path.write_bytes(data)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _garble(path: Path) -> None:
    path.write_bytes(b"\x78\x01 this is not deflate")


@pytest.mark.parametrize(
    "harm",
    [
        _truncate,
        _garble,
        lambda path: path.write_bytes(b""),
        lambda path: _flip(path, path.stat().st_size - 3),
    ],
    ids=["truncated", "garbled", "empty", "flipped"],
)
def test_damaged_files_are_answers_and_the_rest_goes_on(
    git_repo: GitRepo, harm: Callable[[Path], None]
) -> None:
    git_repo.commit("many", {f"f{i:03}.py": f"x = {i}\n" + LINES * (i % 5) for i in range(700)})
    with Repository.open(git_repo.path) as repo:
        whole = list(repo.read_objects([oid for _, oid, _ in repo.tree_python_blobs("HEAD")]))
    hurt = [0, 1, 300, 511, 512, 699]
    for place in hurt:
        harm(_loose(git_repo.path, whole[place][0]))
    oids = [oid for oid, _, _ in whole]
    expected = [(oid, None, DAMAGED) if i in hurt else whole[i] for i, oid in enumerate(oids)]
    absent = "1" * 40
    with Repository.open(git_repo.path) as repo:
        assert list(repo.read_objects(oids)) == expected
        # Missing and damaged are told apart, whatever was complained about before.
        asked = [oids[0], absent, oids[2], oids[300], absent]
        assert [size for _, _, size in repo.read_objects(asked)] == [
            DAMAGED, MISSING, whole[2][2], DAMAGED, MISSING
        ]  # fmt: skip


def test_a_flipped_bit_in_a_pack_harms_what_is_there_alone(git_repo: GitRepo) -> None:
    noise = [os.urandom(3000).hex() for _ in range(9)]
    git_repo.commit("packed", {f"f{i}.py": f"x = '{text}'\n" for i, text in enumerate(noise)})
    git_repo.git("repack", "-adq", "--depth=0")
    with Repository.open(git_repo.path) as repo:
        whole = list(repo.read_objects([oid for _, oid, _ in repo.tree_python_blobs("HEAD")]))
    (pack,) = (git_repo.path / ".git" / "objects" / "pack").glob("*.pack")
    (index,) = pack.parent.glob("*.idx")
    shown = subprocess.run(["git", "show-index"], input=index.read_bytes(), capture_output=True, check=True)
    offsets = {line.split()[1]: int(line.split()[0]) for line in shown.stdout.decode().splitlines()}
    _flip(pack, offsets[whole[4][0]] + 1500)
    with Repository.open(git_repo.path) as repo:
        got = list(repo.read_objects([oid for oid, _, _ in whole]))
    assert got == [*whole[:4], (whole[4][0], None, DAMAGED), *whole[5:]]


@pytest.mark.parametrize("which", ["*.pack", "*.idx"])
def test_a_pack_cut_short_is_damage(git_repo: GitRepo, which: str) -> None:
    git_repo.commit("packed", {"a.py": LINES, "b.py": "x = 1\n"})
    git_repo.git("repack", "-adq")
    oid = git_repo.git("rev-parse", "HEAD:a.py")
    (path,) = (git_repo.path / ".git" / "objects" / "pack").glob(which)
    path.chmod(0o644)
    with Repository.open(git_repo.path) as repo:
        tip = repo.head()
        _truncate(path)
        assert list(repo.read_objects([oid])) == [(oid, None, DAMAGED)]
        for read in (lambda: list(repo.commits(tip)), repo.head):
            with pytest.raises(UserError) as caught:
                read()
            assert "git fsck" in caught.value.hint


def test_a_damaged_file_that_may_have_been_renamed_does_not_end_the_walk(git_repo: GitRepo) -> None:
    git_repo.commit("first", {"a.py": LINES, "b.py": LINES.replace("=", "+=")})
    git_repo.commit("move", {"a.py": None, "moved.py": LINES + "x = 1\n"})
    git_repo.commit("move b", {"b.py": None, "b2.py": LINES.replace("=", "+=") + "y = 1\n", "c.txt": "1\n"})
    git_repo.commit("edit", {"moved.py": LINES + "x = 2\n"})
    whole = _records(git_repo.path)
    assert [c.status for r in whole[1:3] for c in r.changes] == ["R", "R", "A"]
    _truncate(_loose(git_repo.path, git_repo.git("rev-parse", "HEAD~3:a.py")))
    records = _records(git_repo.path)
    assert [(c.status, c.path) for c in records[1].changes] == [("D", b"a.py"), ("A", b"moved.py")]
    assert [records[0], *records[2:]] == [whole[0], *whole[2:]]
    with Repository.open(git_repo.path) as repo:
        python = [[c.path for c in r.changes] for r in repo.commits("HEAD", suffix=b".py")]
        assert python == [[b"a.py", b"b.py"], [b"a.py", b"moved.py"], [b"b2.py"], [b"moved.py"]]
        # A range gives what the whole walk gives.
        assert list(repo.commits("HEAD~3..HEAD")) == records[1:]
        assert list(repo.commits("HEAD", max_count=3)) == records[1:]


@pytest.mark.parametrize("what", ["HEAD~1", "HEAD~1^{tree}", "HEAD", "HEAD^{tree}"])
@pytest.mark.parametrize("harm", [_truncate, Path.unlink], ids=["truncated", "gone"])
def test_damaged_commits_and_trees_are_clear_errors(
    git_repo: GitRepo, what: str, harm: Callable[[Path], None]
) -> None:
    for number in range(3):
        git_repo.commit(f"c{number}", {"pkg/a.py": f"x = {number}\n"})
    harm(_loose(git_repo.path, git_repo.git("rev-parse", what)))
    with Repository.open(git_repo.path) as repo, pytest.raises(UserError) as caught:
        list(repo.commits("HEAD"))
    assert "git fsck" in caught.value.hint


def test_git_killed_in_the_middle_is_started_again(git_repo: GitRepo) -> None:
    git_repo.commit("many", {f"f{i:03}.py": f"x = {i}\n" + LINES * 40 for i in range(600)})
    with Repository.open(git_repo.path) as repo:
        oids = [oid for _, oid, _ in repo.tree_python_blobs("HEAD")]
        whole = list(repo.read_objects(oids))
        reading = repo.read_objects(oids)
        got = [next(reading) for _ in range(10)]
        (process,) = repo._running
        os.kill(process._popen.pid, signal.SIGKILL)
        got += reading
        assert got == whole


def test_many_complaints_do_not_block(git_repo: GitRepo) -> None:
    """What git says on stderr is more than a pipe holds."""
    git_repo.commit("many", {f"f{i:03}.py": f"x = {i}\n" for i in range(200)})
    with Repository.open(git_repo.path) as repo:
        oids = [oid for _, oid, _ in repo.tree_python_blobs("HEAD")]
        _garble(_loose(git_repo.path, oids[7]))
        asked = [oids[0], *[oids[7]] * 120, oids[1]]
        sizes = [size for _, _, size in repo.read_objects(asked)]
    assert sizes == [6, *[DAMAGED] * 120, 6]


def test_readings_may_be_nested(git_repo: GitRepo) -> None:
    git_repo.commit("many", {f"f{i:03}.py": f"x = {i:03}\n" for i in range(600)})
    with Repository.open(git_repo.path) as repo:
        oids = [oid for _, oid, _ in repo.tree_python_blobs("HEAD")]
        seen = []
        for oid, _ in repo.read_blobs(oids):
            seen.append(oid)
            if len(seen) in (3, 400):
                assert [o for o, _ in repo.read_blobs(oids[::-1])] == oids[::-1]
        assert seen == oids
        # Walking and reading at the same time, one feeding the other.
        both = repo.read_blobs(c.new_oid for r in repo.commits("HEAD") for c in r.changes if c.new_oid)
        assert sum(content is not None for _, content in both) == 600
        assert len(repo._running) == 1
    assert not repo._running
