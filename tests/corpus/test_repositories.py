"""Claims about `codewm.corpus.git` on the kinds of repositories there are, each made with real git:

1. Shallow, bare, borrowed, linked, nested, packed, SHA-256 and read-only repositories are read as git reads them,
   and nothing is written.
2. Replacements, grafts, mail maps and settings change nothing.
3. Odd names, messages and dates survive.
4. A leftover index of somebody else and ranges that are options are refused.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from codewm.corpus.errors import UserError
from codewm.corpus.git import BLOB_LIMIT, MISSING, Repository
from codewm.corpus.records import LAST_TIME
from tests.corpus.reading import LINES, files_below, git_in, records_of
from tests.helpers import EPOCH, HOUR, GitRepo

# --- kinds of repositories --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "count"),
    [(["--depth=1"], 1), (["--depth=3"], 3), ([f"--shallow-since={EPOCH + 4 * HOUR - 60}"], 3)],
)
def test_shallow_clones_end_where_they_end(
    git_repo: GitRepo, tmp_path: Path, words: list[str], count: int
) -> None:
    for number in range(6):
        git_repo.commit(f"c{number}", {"a.py": f"x = {number}\n"})
    place = tmp_path / "shallow"
    git_in(tmp_path, "clone", "-q", *words, f"file://{git_repo.path}", str(place))
    records = records_of(place)
    assert [r.boundary for r in records] == [True] + [False] * (count - 1)
    assert records[1:] == records_of(git_repo.path)[-count:][1:]
    with Repository.open(place) as repo:
        assert repo.is_shallow
        assert repo.root == records[0].oid


def test_borrowed_objects_are_found_and_their_loss_is_explained(git_repo: GitRepo, tmp_path: Path) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n"})
    place = tmp_path / "shared"
    git_in(tmp_path, "clone", "-q", "--shared", str(git_repo.path), str(place))
    assert records_of(place) == records_of(git_repo.path)
    # A relative address means: from the folder of the objects.
    alternates = place / ".git" / "objects" / "info" / "alternates"
    alternates.write_text(f"../../../{git_repo.path.name}/.git/objects\n")
    with Repository.open(place) as repo:
        assert [c for _, c in repo.read_blobs([git_repo.git("rev-parse", "HEAD:a.py")])] == [b"x = 1\n"]
    alternates.write_text(f"{tmp_path}/gone/objects\n")
    with Repository.open(place) as repo, pytest.raises(UserError, match="borrows is gone") as caught:
        list(repo.commits("HEAD"))
    assert "alternates" in caught.value.hint


def test_submodules_are_entries_and_repositories(git_repo: GitRepo, tmp_path: Path) -> None:
    inner = GitRepo(tmp_path / "inner")
    inner.commit("inside", {"lib.py": "y = 1\n"})
    git_repo.commit("first", {"a.py": "x = 1\n"})
    git_repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner.path), "sub.py")
    git_repo.commit("submodule")
    records = records_of(git_repo.path)
    (entry,) = (c for c in records[1].changes if c.path == b"sub.py")
    assert (entry.status, entry.new_mode) == ("A", "160000")
    with Repository.open(git_repo.path) as repo:
        assert [path for path, _, _ in repo.tree_python_blobs("HEAD")] == [b"a.py"]
        assert repo.worktree().changes == ()
        assert list(repo.read_objects([str(entry.new_oid)])) == [(entry.new_oid, None, MISSING)]
    # Inside it, .git is a file, and the folder it names says where the work tree is.
    assert (git_repo.path / "sub.py" / ".git").is_file()
    (git_repo.path / "sub.py" / "lib.py").write_text("y = 2\n")
    with Repository.open(git_repo.path / "sub.py") as repo:
        assert repo.work_tree == git_repo.path / "sub.py"
        assert [r.subject for r in repo.commits("HEAD")] == ["inside"]
        assert [c.content for c in repo.worktree().changes] == [b"y = 2\n"]


def test_a_subfolder_and_the_git_folder_are_the_same_repository(git_repo: GitRepo) -> None:
    git_repo.commit("first", {"pkg/a.py": "x = 1\n", "b.py": "y = 1\n"})
    git_repo.write("b.py", "y = 2\n")
    with Repository.open(git_repo.path) as top:
        records = list(top.commits("HEAD"))
        for place in (git_repo.path / "pkg", git_repo.path / ".git", git_repo.path / ".git" / "objects"):
            with Repository.open(place) as repo:
                assert (repo.git_dir, repo.identity) == (top.git_dir, top.identity)
                assert list(repo.commits("HEAD")) == records
                assert (repo.work_tree is None) == (".git" in place.parts)
        with Repository.open(git_repo.path / "pkg") as repo:
            assert [c.path for c in repo.worktree().changes] == [b"b.py"]


def test_folders_with_line_breaks_and_odd_bytes(tmp_path: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\n'\"$(touch x)\xe9"))
    repo = GitRepo(place)
    oid = repo.commit("first", {"a.py": "x = 1\n"})
    repo.write("a.py", "x = 2\n")
    with Repository.open(place) as opened:
        assert opened.work_tree == place
        assert [r.oid for r in opened.commits("HEAD")] == [oid]
        assert [c.content for c in opened.worktree().changes] == [b"x = 2\n"]
    bare = place.with_name(place.name + "\n.git")
    git_in(tmp_path, "clone", "-q", "--bare", str(place), str(bare))
    assert [r.oid for r in records_of(bare)] == [oid]


def test_octopus_and_detached_head(git_repo: GitRepo) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n"})
    for name in ("one", "two", "three"):
        git_repo.git("checkout", "-q", "-b", name, "main")
        git_repo.commit(name, {f"{name}.py": "y = 1\n"})
    git_repo.git("checkout", "-q", "main")
    git_repo.commit("ours", {"b.py": "z = 1\n"})
    git_repo.git("merge", "-q", "-m", "octopus", "one", "two", "three")
    git_repo.git("checkout", "-q", "--detach")
    with Repository.open(git_repo.path) as repo:
        assert repo.branch is None
        records = list(repo.commits("HEAD"))
        assert [r.subject for r in records] == ["first", "ours", "octopus"]
        assert len(records[2].parents) == 4
        assert [c.path for c in records[2].changes] == [b"one.py", b"three.py", b"two.py"]
        assert [r.subject for r in repo.commits("HEAD", merges="skip")] == ["first", "ours"]


def test_no_python_and_nothing_at_all(git_repo: GitRepo) -> None:
    git_repo.commit("text", {"README": "hello\n"})
    git_repo.commit("empty")
    with Repository.open(git_repo.path) as repo:
        assert [len(r.changes) for r in repo.commits("HEAD")] == [1, 0]
        assert [r.changes for r in repo.commits("HEAD", suffix=b".py")] == [(), ()]
        assert repo.tree_python_blobs("HEAD") == []
        assert list(repo.read_objects([])) == []


def test_links_modes_and_types(git_repo: GitRepo) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n", "b.py": "y = 1\n"})
    (git_repo.path / "a.py").chmod(0o755)
    (git_repo.path / "link.py").symlink_to("b.py")
    (git_repo.path / "b.py").unlink()
    (git_repo.path / "b.py").symlink_to("a.py")
    git_repo.commit("second")
    changes = {c.path: (c.status, c.old_mode, c.new_mode) for c in records_of(git_repo.path)[1].changes}
    assert changes == {
        b"a.py": ("M", "100644", "100755"),
        b"b.py": ("T", "100644", "120000"),
        b"link.py": ("A", "000000", "120000"),
    }


def test_loose_and_packed_are_the_same_and_nothing_is_written(git_repo: GitRepo) -> None:
    git_repo.commit("first", {"a.py": LINES, "big.py": "#" * (BLOB_LIMIT + 1)})
    git_repo.commit("second", {"a.py": LINES + "x = 1\n"})

    def read() -> Iterator[object]:
        with Repository.open(git_repo.path) as repo:
            records = list(repo.commits("HEAD"))
            yield records
            yield list(repo.read_objects(str(c.new_oid) for r in records for c in r.changes))
            yield (repo.tree_python_blobs("HEAD"), repo.identity, repo.config("user"), repo.branch)
            yield (repo.staged().changes, repo.worktree().changes, repo.first_parents("HEAD"))

    # An old time in the index makes git want to write it anew.
    os.utime(git_repo.path / "a.py", (1, 1))
    for path in git_repo.path.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        before = files_below(git_repo.path)
        loose = list(read())
        assert files_below(git_repo.path) == before
    finally:
        for path in git_repo.path.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
    git_repo.git("gc", "-q")
    assert list(read()) == loose


def test_our_own_folder_is_removed(
    git_repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n"})
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with Repository.open(git_repo.path) as repo:
        repo.head()
        assert list((tmp_path / "tmp").iterdir()) == []
        next(repo.commits("HEAD"))
        assert len(list((tmp_path / "tmp").iterdir())) == 1
    assert list((tmp_path / "tmp").iterdir()) == []
    # What a killed process left is removed by the next one; what is in use, and what is new, is not.
    code = "import os, sys; from codewm.corpus.git import Repository; r = Repository.open(sys.argv[1])"
    code += "; next(r.commits('HEAD')); os.kill(os.getpid(), 9)"
    environment = dict(os.environ) | {"TMPDIR": str(tmp_path / "tmp")}
    subprocess.run([sys.executable, "-c", code, str(git_repo.path)], env=environment, check=False)
    (left,) = (tmp_path / "tmp").iterdir()
    with Repository.open(git_repo.path) as repo:
        next(repo.commits("HEAD"))
        assert left.exists()
        for place in (tmp_path / "tmp").iterdir():
            os.utime(place, (1, 1))
        with Repository.open(git_repo.path) as other:
            next(other.commits("HEAD"))
            assert not left.exists()
        assert len(list(repo.commits("HEAD"))) == 1
    assert list((tmp_path / "tmp").iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with Repository.open(git_repo.path) as repo, pytest.raises(UserError, match="temporary folder"):
        list(repo.commits("HEAD"))


# --- what must not matter ---------------------------------------------------------------------------------------


def test_replacements_and_grafts_are_ignored(git_repo: GitRepo) -> None:
    oids = [git_repo.commit(f"c{i}", {"a.py": f"x = {i}\n"}) for i in range(3)]
    whole = records_of(git_repo.path)
    blob = git_repo.git("rev-parse", "HEAD:a.py")
    other = git_repo.git("hash-object", "-w", "--stdin", input=b"evil = 1\n")
    git_repo.git("replace", blob, other)
    git_repo.git("replace", "--graft", oids[2])
    (git_repo.path / ".git" / "info" / "grafts").write_text(f"{oids[1]}\n")
    assert git_repo.git("rev-list", "--count", "HEAD") == "1"
    assert records_of(git_repo.path) == whole
    with Repository.open(git_repo.path) as repo:
        assert list(repo.read_blobs([blob])) == [(blob, b"x = 2\n")]
        assert repo.root == oids[0]
        assert repo.first_parents("HEAD") == oids


def test_settings_change_nothing(git_repo: GitRepo) -> None:
    git_repo.commit("first\n\nbody", {"a.py": LINES, "caf\xe9.py": "x = 1\n"})
    git_repo.commit(
        "second", {"a.py": None, "b.py": LINES + "x = 1\n", ".mailmap": "Eve <eve@x> <ada@example.com>\n"}
    )
    git_repo.stage({"b.py": None, "c.py": LINES + "x = 1\ny = 1\n"})

    def read() -> list[object]:
        with Repository.open(git_repo.path) as repo:
            records = list(repo.commits("HEAD"))
            oids = [str(c.new_oid) for r in records for c in r.changes]
            staged = repo.staged().changes
            return [
                records,
                list(repo.read_objects(oids)),
                staged,
                repo.tree_python_blobs("HEAD"),
                repo.identity,
            ]

    before = read()
    for name, value in (
        ("core.abbrev", "4"), ("log.date", "relative"), ("diff.renames", "false"), ("diff.renameLimit", "1"),
        ("core.quotePath", "true"), ("log.follow", "true"), ("format.pretty", "oneline"), ("log.showRoot", "false"),
        ("core.bigFileThreshold", "1"), ("log.abbrevCommit", "true"), ("log.decorate", "full"),
        ("log.mailmap", "true"), ("log.diffMerges", "off"), ("diff.orderFile", "order"), ("diff.relative", "true"),
        ("diff.ignoreSubmodules", "all"), ("diff.noprefix", "true"), ("color.ui", "always"), ("color.diff", "always"),
        ("i18n.logOutputEncoding", "UTF-16"), ("notes.displayRef", "*"), ("core.compression", "0"),
        ("diff.suppressBlankEmpty", "true"), ("diff.submodule", "log"), ("core.precomposeUnicode", "true"),
        ("log.excludeDecoration", "*"), ("log.graphColors", "red"), ("core.attributesFile", "attributes"),
        ("include.path", "elsewhere"),
    ):  # fmt: skip
        git_repo.git("config", name, value)
    git_repo.write("order", "*.txt\n*.py\n")
    git_repo.write(".git/elsewhere", '[diff]\n\talgorithm = patience\n[codewm "x.y"]\n\tz\n')
    git_repo.write(".git/info/attributes", "*.py binary -diff working-tree-encoding=UTF-16\n")
    git_repo.git("notes", "add", "-m", "a note", "HEAD")
    assert read() == before
    # What is included is data like the rest.
    with Repository.open(git_repo.path) as repo:
        assert repo.config("codewm") == {"codewm.x.y.z": ""}


def test_configuration_is_read_as_git_reads_it(git_repo: GitRepo) -> None:
    with (git_repo.path / ".git" / "config").open("a") as file:
        file.write(
            '[codewm "a.b=c"]\n\tKey = one\n\tkey = "two # \\n more"\n\tbare\n[CodeWM "X"]\n\tq = \xe9\n'
        )
        file.write("[codewm]\n\tempty =\n")
    with Repository.open(git_repo.path) as repo:
        assert repo.config("codewm") == {
            "codewm.a.b=c.key": "two # \n more",
            "codewm.a.b=c.bare": "",
            "codewm.X.q": "\xe9",
            "codewm.empty": "",
        }
        # None of our own overrides shows.
        assert "core.fsmonitor" not in repo.config("core")
        assert repo.config("nothing") == {}
    (git_repo.path / ".git" / "config").write_text("[core\n")
    with pytest.raises(UserError, match="configuration") as caught:
        Repository.open(git_repo.path)
    assert "mend" in caught.value.hint


def test_the_work_tree_may_be_elsewhere(git_repo: GitRepo, tmp_path: Path) -> None:
    """`core.worktree` may name a folder in another repository; what is read is still this one."""
    other = GitRepo(tmp_path / "other")
    other.commit("other", {"a.py": "theirs = 1\n"})
    git_repo.commit("ours", {"a.py": "ours = 1\n"})
    git_repo.git("config", "core.worktree", str(other.path))
    with Repository.open(git_repo.path) as repo:
        assert repo.work_tree == other.path
        assert repo.git_dir == git_repo.path / ".git"
        assert [r.subject for r in repo.commits("HEAD")] == ["ours"]
        assert [c.content for c in repo.worktree().changes] == [b"theirs = 1\n"]
        assert repo.branch == "main"


# --- names, messages, dates -------------------------------------------------------------------------------------


def test_any_name_survives(git_repo: GitRepo) -> None:
    names = [b"new\nline.py", b'"quoted".py', b"back\\slash.py", b"tab\t.py", b"\xff\xfe.py", b"\x1b[31mred.py",
             b":100644 100644 x.py", b"-n.py", b" .py", b"a..b.py", "\u202eyp.txt.py".encode(), b"\n.py"]  # fmt: skip
    oid = git_repo.git("hash-object", "-w", "--stdin", input=b"x = 1\n")
    index = b"".join(b"100644 " + oid.encode() + b"\t" + name + b"\0" for name in names)
    git_repo.git("update-index", "-z", "--index-info", input=index)
    git_repo.git("commit", "-q", "-m", "odd")
    (record,) = records_of(git_repo.path)
    assert sorted(c.path for c in record.changes) == sorted(names)
    with Repository.open(git_repo.path) as repo:
        assert sorted(path for path, _, _ in repo.tree_python_blobs("HEAD")) == sorted(names)
        assert repo.staged().changes == ()


def _raw_commit(repo: GitRepo, head: bytes, message: bytes) -> str:
    """Write a commit that git would not write; `head` comes after the tree."""
    tree = repo.git("write-tree")
    raw = b"tree " + tree.encode() + b"\n" + head + b"\n" + message
    return repo.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", input=raw)


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        (b"1 +0000", 1),
        (b"-86400 +0000", 0),
        (b"4102444800 +1400", 4102444800),
        (b"99999999999999999999 +0000", LAST_TIME),
        (b"9" * 5000 + b" +0000", LAST_TIME),
        (b"", 0),
        (b"yesterday", 0),
    ],
)
def test_any_date_is_read(git_repo: GitRepo, date: bytes, seconds: int) -> None:
    who = b"Ada <ada@example.com> "
    first = _raw_commit(git_repo, b"author " + who + date + b"\ncommitter " + who + date + b"\n", b"first\n")
    git_repo.git("update-ref", "refs/heads/main", first)
    git_repo.commit("second", {"a.py": "x = 1\n"}, when=EPOCH)
    git_repo.commit("earlier than its parent", {"a.py": "x = 2\n"}, when=EPOCH - 10**8)
    records = records_of(git_repo.path)
    assert [r.subject for r in records] == ["first", "second", "earlier than its parent"]
    assert (records[0].author_time, records[0].committer_time) == (seconds, seconds)
    assert records[2].author_time == EPOCH - 10**8


def test_any_message_is_read(git_repo: GitRepo) -> None:
    who = b"Ren\xe9 <r@example.com> 1700000000 +0000"
    head = b"author " + who + b"\ncommitter " + who + b"\n"
    wanted = []
    parent = b""
    for encoding, message, shown in (
        (b"ISO-8859-1", b"caf\xe9\n", "caf\xe9"),
        (b"", "caf\xe9 \u4e2d\n".encode(), "caf\xe9 \u4e2d"),
        (b"", b"\xff\xfe\x1b[31m\x01\n", "\ufffd\ufffd\x1b[31m\x01"),
        (b"no-such-encoding", b"plain\n", "plain"),
        (b"", b"", ""),
    ):
        extra = b"encoding " + encoding + b"\n" if encoding else b""
        oid = _raw_commit(git_repo, parent + head + extra, message)
        parent = b"parent " + oid.encode() + b"\n"
        git_repo.git("update-ref", "refs/heads/main", oid)
        wanted.append(shown)
    records = records_of(git_repo.path)
    assert [r.subject for r in records] == wanted
    assert records[0].author_name == "Ren\xe9"
    assert records[1].author_name == "Ren\ufffd"


def test_the_encoding_of_commits_may_be_latin1(git_repo: GitRepo) -> None:
    git_repo.git("config", "i18n.commitEncoding", "ISO-8859-1")
    (git_repo.path / "message").write_bytes(b"caf\xe9\n")
    git_repo.git("commit", "-q", "--allow-empty", "-F", "message")
    (record,) = records_of(git_repo.path)
    assert record.subject == "caf\xe9"


# --- what is inherited ------------------------------------------------------------------------------------------


def test_a_leftover_index_is_not_used(
    git_repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n"})
    git_repo.stage({"a.py": "x = 2\n"})
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "elsewhere"))
    with Repository.open(git_repo.path) as repo:
        assert [c.status for c in repo.staged().changes] == ["M"]
        # Git says that it is git who asks; then its index counts wherever it is.
        git_repo.git("read-tree", "HEAD", env={"GIT_INDEX_FILE": str(tmp_path / "elsewhere")})
        monkeypatch.setenv("GIT_PREFIX", "")
        assert repo.staged().changes == ()


@pytest.mark.parametrize(
    "text", ["-x..HEAD", "HEAD..-x", "--all", "--output=x..HEAD", "-x..", "..--all", "^HEAD"]
)
def test_ranges_that_are_options_are_refused(git_repo: GitRepo, text: str) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n"})
    with Repository.open(git_repo.path) as repo:
        with pytest.raises(UserError):
            repo.parse_range(text)
        with pytest.raises(UserError):
            repo.commits(text)
        with pytest.raises(UserError):
            repo.first_parents(text)
    assert not (git_repo.path / "x").exists()
