"""Claims about building the corpus from clones of pinned repositories:

1. Each is harvested at its pinned commit, wherever its clone has got to; the clone is not written to.
2. Built twice it is the same file; run again it harvests and writes nothing; another pin redoes its repository.
3. What cannot be harvested is named, each with its reason, before anything is.
4. The division is stored and read back: by role, by each repository's own time, without what says nothing new.
5. Edits of test files are at most half of the training part of each repository, and always the same ones are left
   out; the other parts keep theirs.
6. Other people's code, where the list says so, is in no part.
7. Training takes the stored parts: nothing held out, late or left out is trained on, and held-out repositories are
   what it is tested on. It refuses to hold out another share than the corpus did.
8. It is not merged into another corpus, which would forget what is held out.
9. The list in the tree keeps to its own rules, and a list that does not is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codewm.cli.commands.train import _sources
from codewm.corpus.collect import build, summarise
from codewm.corpus.divide import TEST_SHARE, is_test, of_tests
from codewm.corpus.division import PARTS, Division, Reason
from codewm.corpus.errors import UserError
from codewm.corpus.pins import Pin, read_pins
from codewm.corpus.split import by_time
from codewm.corpus.store import Store, read_store
from codewm.corpus.table import EditTable
from tests.corpus.reading import files_below
from tests.helpers import GitRepo, run_cli

SHARED = "def shared(rows):\n    return [row for row in rows if row.kept and row.size > 3]\n"
ENTRY = '{{ name = "{name}", role = "{role}", licence = "MIT", commit = "{commit}"{more} }}'


def history(place: Path, name: str, start: int, commits: int = 20) -> str:
    """A repository of its own code, tests and vendored code; its newest commit."""
    repo = GitRepo(place)
    tip = ""
    for i in range(commits):
        body = "".join(f"def {name}{j}(a):\n    return {name}_{j}(a, {i}) + {j}\n\n\n" for j in range(3))
        tests = "".join(f"def test_{name}{j}():\n    assert {name}{j}({i}) == {j}\n\n\n" for j in range(6))
        vendored = f"def vendored(a):\n    return a.{name}({i})\n"
        files = {"m.py": body, "tests/test_m.py": tests, "vendor/v.py": vendored}
        tip = repo.commit(f"c{i}", files, when=start + i * 3600)
    return tip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clones of three repositories in the three ways that they may lie, and the list of their pins."""
    folder = tmp_path_factory.mktemp("collect")
    clones = folder / "clones"
    ways = {"ann/one": "ann/one", "bob/two": "bob+two", "cy/three": "cy+three/repo"}
    entries = []
    for i, (name, way) in enumerate(ways.items()):
        repo = clones / way
        tip = history(repo, name.partition("/")[2], 1_500_000_000 + i * 100_000_000)
        if name == "bob/two":
            # It went on since it was pinned, and what it did says nothing about where HEAD is.
            GitRepo(repo).commit("later", {"m.py": "x = 1\n"})
        role = "held-out" if name == "cy/three" else "train"
        more = ', without = ["vendor"]' if name == "ann/one" else ""
        entries.append(ENTRY.format(name=name, role=role, commit=tip, more=more))
    write_list(folder / "list.toml", entries)
    return folder


def write_list(path: Path, entries: list[str], evaluation: tuple[str, ...] = ("three",)) -> Path:
    path.write_text(
        f"evaluation = {json.dumps(evaluation)}\nrepositories = [\n" + ",\n".join(entries) + "\n]\n"
    )
    return path


def collect(place: Path, out: Path, *words: str) -> list[dict[str, object]]:
    ran = run_cli(
        "collect", str(place / "clones"), str(out), "--list", str(place / "list.toml"), "--json", *words
    )
    assert ran.status == 0, ran.err
    rows: list[dict[str, object]] = json.loads(ran.out)["repositories"]
    return rows


@pytest.fixture(scope="module")
def corpus(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    out = tmp_path_factory.mktemp("corpus") / "corpus.h5"
    collect(place, out)
    return read_store(out)


def division_of(table: EditTable) -> Division:
    assert table.division is not None
    return table.division


def test_each_is_harvested_at_its_pin(place: Path, tmp_path: Path) -> None:
    before = files_below(place / "clones")
    rows = collect(place, tmp_path / "corpus.h5")
    assert files_below(place / "clones") == before
    table = read_store(tmp_path / "corpus.h5").table
    pins = read_pins(place / "list.toml")
    assert [(o.name, o.tip) for o in table.repositories] == [(p.name, p.commit) for p in pins]
    assert [row["commits"] for row in rows] == [20, 20, 20]
    assert "later" not in table.commits.subject
    assert sum(int(str(row["edits"])) for row in rows) == len(table)


def test_it_is_the_same_file_each_time(place: Path, tmp_path: Path) -> None:
    collect(place, tmp_path / "a.h5")
    collect(place, tmp_path / "b.h5", "-j", "2")
    first = (tmp_path / "a.h5").read_bytes()
    assert (tmp_path / "b.h5").read_bytes() == first
    before = files_below(tmp_path)
    words = ["collect", str(place / "clones"), str(tmp_path / "a.h5"), "--list", str(place / "list.toml")]
    ran = run_cli(*words)
    assert (ran.status, ran.err.count("unchanged"), "nothing new" in ran.err) == (0, 3, True)
    assert files_below(tmp_path) == before
    assert "train: 2" in ran.out
    assert "held-out: 1" in ran.out
    (tmp_path / "a.h5").write_bytes(first[:-1])
    collect(place, tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == first


def test_another_pin_redoes_its_repository(place: Path, tmp_path: Path) -> None:
    (tmp_path / "clones").symlink_to(place / "clones")
    text = (place / "list.toml").read_text()
    (tmp_path / "list.toml").write_text(text)
    collect(tmp_path, tmp_path / "corpus.h5")
    pin = read_pins(place / "list.toml")[0]
    earlier = GitRepo(place / "clones" / pin.name).git("rev-parse", f"{pin.commit}~5")
    (tmp_path / "list.toml").write_text(text.replace(pin.commit, earlier))
    rows = collect(tmp_path, tmp_path / "corpus.h5")
    assert [row["commits"] for row in rows] == [15, 20, 20]
    assert read_store(tmp_path / "corpus.h5").table.repositories[0].tip == earlier


def test_what_is_missing_is_named(place: Path, tmp_path: Path, clone: Callable[..., Path]) -> None:
    pins = read_pins(place / "list.toml")
    clone(place / "clones" / "ann" / "one", "--depth=3", name="ann+one")
    (tmp_path / "dee" / "four").mkdir(parents=True)
    entries = [
        ENTRY.format(name=pins[0].name, role="train", commit=pins[0].commit, more=""),
        ENTRY.format(name="dee/four", role="train", commit="0" * 40, more=""),
        ENTRY.format(name="eve/five", role="train", commit="1" * 40, more=""),
        ENTRY.format(name="bob/two", role="train", commit="2" * 40, more=""),
    ]
    write_list(tmp_path / "list.toml", entries)
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "two").symlink_to(place / "clones" / "bob+two")
    ran = run_cli("collect", str(tmp_path), str(tmp_path / "c.h5"), "--list", str(tmp_path / "list.toml"))
    assert (ran.status, ran.out) == (2, "")
    lines = dict(line.split(": ", 1) for line in ran.err.splitlines() if "/" in line.split(":")[0])
    assert "shallow" in lines["ann/one"]
    assert "repository" in lines["dee/four"]
    assert lines["eve/five"] == "there is no clone"
    assert f"has no commit {'2' * 40}" in lines["bob/two"]
    assert "4 of 4 repositories cannot be harvested" in ran.err
    assert not list(tmp_path.glob("c.*"))


def test_a_clone_that_is_not_whole_is_refused(tmp_path: Path, place: Path) -> None:
    pins = read_pins(place / "list.toml")
    repo = GitRepo(tmp_path / "clones" / "dee" / "four")
    repo.commit("first", {"a.py": SHARED})
    tip = repo.commit("second", {"a.py": SHARED.replace("3", "4")})
    oid = repo.git("rev-parse", "HEAD~1:a.py")
    (repo.path / ".git" / "objects" / oid[:2] / oid[2:]).rename(tmp_path / "blob")
    (tmp_path / "clones" / "ann").symlink_to(place / "clones" / "ann")
    entries = [
        ENTRY.format(name="dee/four", role="train", commit=tip, more=""),
        ENTRY.format(name=pins[0].name, role="train", commit=pins[0].commit, more=""),
    ]
    write_list(tmp_path / "list.toml", entries)
    words = [
        "collect",
        str(tmp_path / "clones"),
        str(tmp_path / "c.h5"),
        "--list",
        str(tmp_path / "list.toml"),
    ]
    ran = run_cli(*words)
    assert (ran.status, (tmp_path / "c.h5").exists()) == (2, False)
    assert "error: dee/four: " in ran.err
    assert "not whole: 2 changes of files" in ran.err
    assert f"{pins[0].name}: new, 20 commits" in ran.err
    (tmp_path / "blob").rename(repo.path / ".git" / "objects" / oid[:2] / oid[2:])
    ran = run_cli(*words)
    assert (ran.status, "dee/four: new, 2 commits" in ran.err) == (0, True)


def test_the_division_goes_by_role_and_time(corpus: Store) -> None:
    table = corpus.table
    division = division_of(table)
    parts = division.parts(table)
    repository = table.commits.repository[table.commit]
    late = np.zeros(len(table), bool)
    late[by_time(table).held_out] = True
    assert division.is_late(table).tolist() == late.tolist()
    used = division.reason == Reason.KEPT
    for name, held_out, is_late in (
        ("train", False, False), ("late", False, True), ("past", True, False), ("unseen", True, True),
    ):  # fmt: skip
        rows = getattr(parts, name)
        assert (
            rows.tolist()
            == np.flatnonzero(used & ((repository == 2) == held_out) & (late == is_late)).tolist()
        )
        assert len(rows)
    times = table.commits.committer_time[table.commit]
    for r in range(3):
        mine = repository == r
        assert times[mine & ~late].max() < division.boundary_time[r] == times[mine & late].min()
    assert set(division.reason[table.before == table.after].tolist()) <= {Reason.UNCHANGED}


def test_a_selection_keeps_its_reasons(corpus: Store) -> None:
    division = division_of(corpus.table)
    rows = np.arange(0, len(corpus.table), 3)
    assert division_of(corpus.table.select(rows)).reason.tolist() == division.reason[rows].tolist()


def test_tests_are_at_most_half_of_what_is_trained_on(corpus: Store, place: Path) -> None:
    table = corpus.table
    division = division_of(table)
    tests = of_tests(table)
    repository = table.commits.repository[table.commit]
    spare = division.reason == Reason.SPARE
    assert tests[spare].all()
    rows = summarise(table, read_pins(place / "list.toml"))
    for r, row in enumerate(rows[:2]):
        mine = division.parts(table).train
        mine = mine[repository[mine] == r]
        assert tests[mine].mean() == row["test_share"] == TEST_SHARE
        assert spare[repository == r].sum() == row["left_out"]["spare"] > 0
    assert not spare[repository == 2].any()
    assert not spare[division.is_late(table)].any()
    assert tests[division.parts(table).unseen].mean() > TEST_SHARE


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tests/a.py", True), ("src/pkg/test/a.py", True), ("testing/x/a.py", True), ("a/test_b.py", True),
        ("a/b_test.py", True), ("conftest.py", True), ("tests.py", True), ("utest/run.py", True),
        ("a/testFoo.py", True), ("test-data/unit/a.py", True), ("a/FooTests.py", True), ("unit_tests/a.py", True),
        ("a/contest.py", False), ("latest/a.py", False), ("a/testimonials.py", False), ("pytester/a.py", False),
        ("a/attestation.py", False), ("a/fastest.py", False), ("protest/a.py", False),
    ],
)  # fmt: skip
def test_what_a_test_is(path: str, expected: bool) -> None:
    assert is_test(path) is expected


def test_other_peoples_code_is_in_no_part(corpus: Store) -> None:
    table = corpus.table
    reason = division_of(table).reason
    repository = table.commits.repository[table.commit]
    vendored = np.array([p.startswith("vendor/") for p in table.paths])[table.path]
    assert set(reason[vendored & (repository == 0)].tolist()) <= {Reason.FOREIGN, Reason.UNCHANGED}
    assert (reason[vendored & (repository == 0)] == Reason.FOREIGN).any()
    assert not (reason[vendored & (repository > 0)] == Reason.FOREIGN).any()
    assert not (reason[~vendored] == Reason.FOREIGN).any()


def test_what_is_held_out_keeps_its_copies(tmp_path: Path) -> None:
    entries = []
    for i, (name, role) in enumerate((("a/one", "train"), ("b/two", "train"), ("c/held", "held-out"))):
        repo = GitRepo(tmp_path / "clones" / name)
        repo.commit("own", {"own.py": f"def own{i}(a):\n    return a.own{i} + {i}\n"})
        repo.commit("copied", {"copied.py": SHARED})
        last = repo.commit(
            "last", {"last.py": "def last():\n    return None\n"} if i < 2 else {"n.py": "y = n\n"}
        )
        entries.append(ENTRY.format(name=name, role=role, commit=last, more=""))
    write_list(tmp_path / "list.toml", entries)
    rows = collect(tmp_path, tmp_path / "corpus.h5")
    left_out = [{k: n for k, n in dict(row["left_out"]).items() if n} for row in rows]  # type: ignore[call-overload]
    # Both have the last commit as their late part: the second one's is a copy of the first one's.
    assert left_out == [{"held_out_copy": 1}, {"held_out_copy": 1, "copied": 1}, {}]


def test_training_takes_the_stored_parts(corpus: Store) -> None:
    pytest.importorskip("torch")
    from codewm.model.batches import prepare
    from codewm.model.config import TrainConfig

    table = corpus.table
    parts = division_of(table).parts(table)
    data = prepare([table], TrainConfig())
    assert sorted([*data.fit.tolist(), *data.validation.tolist()]) == parts.train.tolist()
    assert data.holdout.tolist() == parts.unseen.tolist()
    roles = replace(division_of(table), role=np.zeros(3, np.uint8))
    nothing_held = prepare([replace(table, division=roles)], TrainConfig())
    assert set(nothing_held.holdout.tolist()) > set(parts.late.tolist())
    with pytest.raises(UserError, match=r"0\.2"):
        prepare([table], TrainConfig(holdout=0.3))
    # What is held out is no source of the model.
    assert [(s["name"], s["role"]) for s in _sources(Path("corpus.h5"), corpus)] == [
        ("ann/one", "train"), ("bob/two", "train"), ("cy/three", "held-out"),
    ]  # fmt: skip


def test_it_is_not_merged_again(place: Path, tmp_path: Path) -> None:
    collect(place, tmp_path / "a.h5")
    other = GitRepo(tmp_path / "other")
    other.commit("one", {"x.py": SHARED})
    ran = run_cli("harvest", str(tmp_path / "a.h5"), str(other.path), "--out", str(tmp_path / "b.h5"))
    assert (ran.status, "is divided" in ran.err, (tmp_path / "b.h5").exists()) == (2, True, False)


def test_one_repository_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two repositories"):
        build([Pin("a/b", "train", "MIT", "0" * 40)], tmp_path, tmp_path / "c.h5")


def test_the_list_in_the_tree() -> None:
    pins = read_pins()
    roles = [pin.role for pin in pins]
    assert roles.count("train") >= 40
    assert roles.count("held-out") >= 8
    assert roles == sorted(roles, reverse=True)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('{ name = "a/three", role = "train", licence = "MIT", commit = "C" }', "is for evaluation"),
        ('{ name = "a/b", role = "train", licence = "GPL-3.0-only", commit = "C" }', "licence"),
        ('{ name = "a/b", role = "train", licence = "MIT AND LGPL-2.1-only", commit = "C" }', "licence"),
        ('{ name = "a/b", role = "tested", licence = "MIT", commit = "C" }', "role"),
        ('{ name = "a/b", role = "train", licence = "MIT", commit = "main" }', "commit"),
        ('{ name = "b", role = "train", licence = "MIT", commit = "C" }', "owner/name"),
        ('{ name = "../b", role = "train", licence = "MIT", commit = "C" }', "owner/name"),
        ('{ name = "a/b", role = "train", commit = "C" }', "keys"),
        ('{ name = "a/b", role = "train", licence = "MIT", commit = "C", tag = "v1" }', "keys"),
        ('{ name = "a/b", role = "train", licence = "MIT", commit = "C", without = ["x/"] }', "slash"),
        ('{ name = "a/b", role = "train", licence = 1, commit = "C" }', "no text"),
        ('"a/b"', "no table"),
        ('{ name = "a/b", role = "train", licence = "MIT", commit = "C" },\n'
         '{ name = "A/B", role = "held-out", licence = "MIT", commit = "C" }', "twice"),
        ("{", "TOML"),
    ],
)  # fmt: skip
def test_a_list_that_is_refused(tmp_path: Path, entry: str, words: str) -> None:
    path = write_list(tmp_path / "list.toml", [entry.replace('"C"', '"' + "a" * 40 + '"')])
    with pytest.raises(UserError, match=words) as caught:
        read_pins(path)
    assert caught.value.hint


def test_every_part_has_a_name(corpus: Store) -> None:
    parts = division_of(corpus.table).parts(corpus.table)
    assert {*vars(parts)} == set(PARTS)
