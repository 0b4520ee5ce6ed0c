"""Claims about `codewm.corpus.szz` and the line diffs it follows (`codewm.corpus.hunks`):

1. A fix blames the commits that last changed the lines it deletes, and no others, as `git blame -w --first-parent`
   does: through renames, merges and changes of white space.
2. Blank lines, comments, tests and files of other kinds blame nobody; nor does what is too old, a fix that touches too
   many files, or a line from before the end of a shallow clone.
3. What was not known at a time is not told at that time; a clock that goes back makes nothing known earlier.
4. Text that looks like a diff, odd names and files that are not compared do not confuse it.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from codewm.corpus import hunks
from codewm.corpus.git import Repository
from codewm.corpus.szz import DAY, Labels, SzzOptions, find
from tests.helpers import EPOCH, HOUR, GitRepo


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return GitRepo(tmp_path / "repo")


def _labels(repo: GitRepo, options: SzzOptions | None = None) -> Labels:
    with Repository.open(repo.path) as opened:
        return find(opened, options=options)


def _pairs(labels: Labels) -> set[tuple[str, str]]:
    return {(link.inducing, link.fix) for link in labels.links}


def test_a_fix_blames_whose_lines_it_deletes(repo: GitRepo) -> None:
    repo.commit("first", {"a.py": "x = 1\ny = 2\nz = 3\n"})
    wrong = repo.commit("set y", {"a.py": "x = 1\ny = 20\nz = 3\n"})
    repo.commit("add below and above", {"a.py": "w = 0\nx = 1\ny = 20\nz = 3\nv = 4\n"})
    fix = repo.commit("fix y", {"a.py": "w = 0\nx = 1\ny = 21\nz = 3\nv = 4\n"})
    labels = _labels(repo)
    (link,) = labels.links
    assert (link.inducing, link.fix, link.lines, link.paths) == (wrong, fix, 1, (b"a.py",))
    assert (link.introduced, link.known) == (EPOCH + 2 * HOUR, EPOCH + 4 * HOUR)
    assert labels.inducing == {wrong: link.known}
    assert labels.fixes == {wrong: (link,)}
    assert (labels.counts["fixes"], labels.counts["commits"]) == (1, 4)


def test_lines_are_followed_through_renames(repo: GitRepo) -> None:
    body = "".join(f"line_{i} = {i}\n" for i in range(20))
    moved = body.replace("line_9 = 9", "line_9 = 99")
    first = repo.commit("first", {"a.py": body})
    move = repo.commit("move and change", {"a.py": None, "pkg/a.py": moved})
    repo.commit("move alone", {"pkg/a.py": None, "pkg/b.py": moved, "pkg/a2.py": "other = 1\n"})
    fix = repo.commit("fix a crash", {"pkg/b.py": body.replace("line_3 = 3\n", "")})
    # The line that the move changed is put back, too.
    assert _pairs(_labels(repo)) == {(first, fix), (move, fix)}


def test_white_space_owns_nothing_and_blames_nobody(repo: GitRepo) -> None:
    first = repo.commit("first", {"a.py": "if x:\n  y = 1\n  z = 2\n"})
    repo.commit("indent", {"a.py": "if x:\n        y = 1\n        z = 2\n"})
    repo.commit("fix indentation", {"a.py": "if x:\n    y = 1\n    z = 2\n"})
    fix = repo.commit("fix y", {"a.py": "if x:\n    y = 3\n    z = 2\n"})
    assert _pairs(_labels(repo)) == {(first, fix)}


def test_a_merge_owns_what_it_brings(repo: GitRepo) -> None:
    repo.commit("first", {"a.py": "x = 1\n", "b.py": "p = 1\n"})
    repo.git("checkout", "-q", "-b", "topic")
    repo.commit("on the branch", {"b.py": "p = 1\nq = 2\n"})
    repo.git("checkout", "-q", "main")
    repo.commit("meanwhile", {"a.py": "x = 2\n"})
    repo.git("merge", "-q", "--no-ff", "-m", "Merge branch 'topic'", "topic")
    merge = repo.git("rev-parse", "HEAD")
    fix = repo.commit("fix q", {"b.py": "p = 1\nq = 3\n"})
    assert _pairs(_labels(repo)) == {(merge, fix)}


def test_what_does_not_count(repo: GitRepo) -> None:
    files = {
        "a.py": "# a remark\n\nx = 1\n",
        "tests/test_a.py": "x = 1\n",
        "a.txt": "x = 1\n",
        "gone.py": "x = 1\n",
    }
    repo.commit("first", files)
    repo.commit("fix remark", {"a.py": "x = 1\n"})
    repo.commit("fix the test", {"tests/test_a.py": "x = 2\n"})
    repo.commit("fix the text", {"a.txt": "x = 2\n"})
    repo.commit("fix by removing", {"gone.py": None})
    repo.commit("fix typo", {"a.py": "x = 3\n"})  # no fix: `labels.is_fix`
    labels = _labels(repo)
    assert labels.links == ()
    assert labels.counts["fixes"] == labels.counts["nothing deleted"] == 4


def test_age_and_breadth_are_limited(repo: GitRepo) -> None:
    files = {f"f{i}.py": "x = 1\n" for i in range(4)}
    first = repo.commit("first", files)
    late = EPOCH + 100 * DAY
    fix = repo.commit("fix all", dict.fromkeys(files, "x = 2\n"), when=late)
    assert _pairs(_labels(repo, SzzOptions(max_age_days=101, max_files=4))) == {(first, fix)}
    assert _labels(repo, SzzOptions(max_age_days=99, max_files=4)).counts["too old"] == 1
    assert _labels(repo, SzzOptions(max_age_days=101, max_files=3)).counts["too many files"] == 1


def test_a_shallow_end_owns_nothing(repo: GitRepo, tmp_path: Path) -> None:
    repo.commit("first", {"a.py": "x = 1\ny = 1\n"})
    boundary = repo.commit("second", {"a.py": "x = 2\ny = 1\n"})
    third = repo.commit("third", {"a.py": "x = 2\ny = 3\n"})
    fix = repo.commit("fix both", {"a.py": "x = 9\ny = 9\n"})
    shallow = GitRepo(tmp_path / "shallow")
    shallow.git("fetch", "-q", "--depth=3", f"file://{repo.path}", "main")
    shallow.git("reset", "-q", "--hard", "FETCH_HEAD")
    assert shallow.git("rev-list", "--max-parents=0", "HEAD") == boundary
    assert _pairs(_labels(shallow)) == {(third, fix)}
    assert _pairs(_labels(repo)) == {(third, fix), (boundary, fix)}


def test_a_label_is_known_from_its_fix_on(repo: GitRepo) -> None:
    first = repo.commit("first", {"a.py": "x = 1\n"}, when=EPOCH + 10 * DAY)
    # The clock of this one was behind: what it tells is not known before the commit it follows.
    one = repo.commit("fix x", {"a.py": "x = 2\n"}, when=EPOCH)
    two = repo.commit("fix x again", {"a.py": "x = 3\n"}, when=EPOCH + 20 * DAY)
    labels = _labels(repo)
    assert [(link.inducing, link.fix, link.known) for link in labels.links] == [
        (first, one, EPOCH + 10 * DAY),
        (one, two, EPOCH + 20 * DAY),
    ]
    assert labels.known_at(EPOCH + 10 * DAY - 1).inducing == {}
    assert labels.known_at(EPOCH + 10 * DAY).inducing == {first: EPOCH + 10 * DAY}
    assert labels.known_at(EPOCH + 20 * DAY) == labels


def test_text_that_looks_like_a_diff(repo: GitRepo) -> None:
    odd = "diff --git a/x b/x\n@@ -1 +1 @@\ncommit 0123\nindex 1234..5678\nBinary files a and b differ\n-- -\n++ +"
    odd = f'"""\n{odd}\n"""\nx = 1\n'
    first = repo.commit("first", {'o"dd\n \\.py': odd, "other.py": "y = 1\n"})
    fix = repo.commit("fix", {'o"dd\n \\.py': odd.replace("x = 1", "x = 2").replace("commit 0123\n", "")})
    (link,) = _labels(repo).links
    assert (link.inducing, link.fix, link.lines) == (first, fix, 2)


def test_a_file_without_diffs_is_nobodys_until_it_is_written_anew(repo: GitRepo) -> None:
    huge = "x = 1\n" + "#" * (3 << 20) + "\n"
    repo.commit("first", {"a.py": huge})
    repo.commit("fix", {"a.py": huge.replace("x = 1", "x = 2")})
    repo.commit("smaller", {"a.py": "x = 2\n"})
    repo.commit("fix again", {"a.py": "x = 3\n"})
    repo.commit("remove", {"a.py": None})
    repo.commit("NUL", {"a.py": "x = '\0'\n"})
    repo.commit("fix NUL", {"a.py": "x = 4\n"})
    repo.commit("remove again", {"a.py": None})
    again = repo.commit("write", {"a.py": "x = 4\n"})
    fix = repo.commit("fix at last", {"a.py": "x = 5\n"})
    labels = _labels(repo)
    assert _pairs(labels) == {(again, fix)}
    assert labels.counts["fixes"] == 4
    assert labels.counts["nobody known"] == 1  # "fix again": the others delete nothing that Git would show


def test_attributes_and_encodings_of_the_repository_do_not_matter(repo: GitRepo) -> None:
    first = repo.commit("first", {"a.py": b"x = '\xff'\r\ny = 1\n"})
    repo.write(".gitattributes", "*.py -diff\n")
    fix = repo.commit("fix", {"a.py": b"x = '\xfe'\r\ny = 1"})
    assert _pairs(_labels(repo)) == {(first, fix)}


def test_random_histories_are_blamed_as_git_does(repo: GitRepo) -> None:
    rng = random.Random(5)
    lines = [f"v{i} = {i}" for i in range(30)]
    repo.commit("first", {"a.py": "\n".join(lines) + "\n"})
    for n in range(60):
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(lines))
            kind = rng.choice(("insert", "delete", "change", "indent"))
            if kind == "insert" or len(lines) < 15:
                lines.insert(at, f"n{n} = {rng.randint(0, 9)}")
            elif kind == "delete":
                del lines[at]
            else:
                lines[at] = f"  {lines[at]}" if kind == "indent" else f"c{n} = {rng.randint(0, 9)}"
        repo.commit("fix" if n % 3 == 0 else "change", {"a.py": "\n".join(lines) + "\n"})
    labels = _labels(repo)
    with Repository.open(repo.path) as opened:
        patches = dict(hunks.patches(opened, "HEAD"))
    seen = 0
    for fix in dict.fromkeys(link.fix for link in labels.links):
        shown = repo.git("blame", "-w", "-l", "-s", "--root", "--first-parent", f"{fix}~1", "--", "a.py")
        owners = [line.split()[0] for line in shown.splitlines()]
        (patch,) = patches[fix].values()
        expected = Counter(owners[h.start + i] for h in patch.hunks for i in range(len(h.removed)))
        assert {link.inducing: link.lines for link in labels.links if link.fix == fix} == expected
        seen += expected.total()
    assert seen > 20


def _lose(repo: GitRepo, rev: str) -> None:
    """Remove a loose object, as a partial clone or a damaged disk would."""
    oid = repo.git("rev-parse", rev)
    (repo.path / ".git" / "objects" / oid[:2] / oid[2:]).unlink()


def test_a_lost_file_of_another_kind_does_not_matter(repo: GitRepo) -> None:
    body = "".join(f"line_{i} = {i}\n" for i in range(20))
    data = "".join(f"data {i}\n" for i in range(20))
    first = repo.commit("first", {"a.py": body, "data.txt": data, "script": body.replace("line", "row")})
    moved = repo.commit(
        "move and change",
        {
            "a.py": None,
            "c.py": body.replace("= 9", "= 99"),
            "data.txt": None,
            "other.txt": data + "more\n",
            "script": None,
            "script.py": body.replace("line", "row").replace("= 9", "= 99"),
        },
    )
    changed = {"c.py": body.replace("line_3 = 3", "line_3 = 4"), "script.py": body.replace("line", "row")}
    fix = repo.commit("fix", changed)
    # What was no Python file before is its own from then on.
    expected = {first: 1, moved: 2}
    for lose in (False, True):
        if lose:
            _lose(repo, f"{first}:data.txt")
        labels = _labels(repo)
        assert _pairs(labels) == {(first, fix), (moved, fix)}
        assert {link.inducing: link.lines for link in labels.links} == expected


@pytest.mark.parametrize("name", ["lost.py", 'odd [a]*?\\ "q".py', "pkg/caf\u00e9.py"])
def test_a_lost_python_file_is_nobodys(repo: GitRepo, name: str) -> None:
    first = repo.commit("first", {name: "x = 1\n", "a.py": "y = 1\n"})
    repo.commit("second", {name: "x = 2\n"})
    fix = repo.commit("fix both", {name: "x = 3\n", "a.py": "y = 2\n"})
    _lose(repo, f"{first}:{name}")
    assert _pairs(_labels(repo)) == {(first, fix)}
    assert _labels(repo).links[0].paths == (b"a.py",)
