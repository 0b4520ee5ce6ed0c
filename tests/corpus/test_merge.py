"""Claims about a corpus, several stores merged into one:

1. It holds every edit of every store, with its repository, in the order of the stores; nothing else.
2. States, paths, units and names are there once; chains, reverts and renames stay inside their repository.
3. It is the same bytes each time, whatever stands at its place, and is not written when nothing is new.
4. The same repository twice, other settings, an input as the output and somebody's file are refused.
5. Who needs the past of one repository refuses it; the split goes by each repository's own time.
6. Training takes a corpus as it takes its stores one by one, and no repository twice.
7. The command harvests each repository by itself; one that fails stops neither the others nor is it hidden.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest
from codewm.corpus.ledger import Ledger, sums
from codewm.corpus.merge import Merger, merge_files
from codewm.corpus.split import by_time
from codewm.corpus.store import Store, read, read_store
from codewm.corpus.table import EditTable
from tests.helpers import GitRepo, run_cli

SHARED = "def area(width, height):\n    return width * height\n"


def young(path: Path) -> GitRepo:
    """A repository with the paths and a function of the history, a revert and a rename."""
    repo = GitRepo(path)
    repo.commit("start", {"pkg/a.py": SHARED, "pkg/own.py": "def own():\n    return 1\n"})
    bad = repo.commit("change own", {"pkg/own.py": "def own():\n    return 2\n"})
    repo.commit(f"back\n\nThis reverts commit {bad}.", {"pkg/own.py": "def own():\n    return 1\n"})
    repo.git("mv", "pkg/own.py", "pkg/moved.py")
    repo.commit("move", {"pkg/moved.py": "def own():\n    return 1\n\n\ndef more():\n    return own()\n"})
    return repo


@pytest.fixture
def places(history: Path, tmp_path: Path) -> list[Path]:
    return [history, young(tmp_path / "young").path]


@pytest.fixture
def files(places: list[Path], tmp_path: Path, options: Options) -> list[Path]:
    made = []
    for i, place in enumerate(places):
        with Repository.open(place) as repo:
            made.append(harvest(repo, options, tmp_path / f"{i}.h5").path)
    return made


def edits(store: Store, rows: np.ndarray) -> list[tuple[object, ...]]:
    """Everything there is to say about edits, without a number that depends on the table it is in."""
    t = store.table
    c = t.commits
    found = []
    for i in rows.tolist():
        names = slice(t.name_offsets[i], t.name_offsets[i + 1])
        reverts = int(c.reverts[t.commit[i]])
        found.append(
            (
                tuple(t.tokens[t.offsets[t.before[i]] : t.offsets[t.before[i] + 1]].tolist()),
                tuple(t.tokens[t.offsets[t.after[i]] : t.offsets[t.after[i] + 1]].tolist()),
                tuple(t.action[i].tolist()),
                (c.oid[t.commit[i]], c.parent[t.commit[i]], c.author[t.commit[i]], c.subject[t.commit[i]]),
                (int(c.time[t.commit[i]]), int(c.flags[t.commit[i]]), c.oid[reverts] if reverts >= 0 else ""),
                (t.paths[t.path[i]], t.units[t.unit[i]], t.units[t.unit_before[i]]),
                (int(t.kind[i]), int(t.step[i]), int(t.flags[i]), tuple(t.lines[i].tolist())),
                tuple(t.names[n] for n in t.name_ids[names].tolist()),
                tuple(t.name_flags[names].tolist()),
            )
        )
    return found


def ledger(store: Store) -> list[tuple[str, int, str]]:
    t = store.table
    return [(t.commits.oid[c], k, t.paths[p]) for c, k, p in store.ledger.tolist()]


def renames(table: EditTable) -> list[tuple[str, str, str]]:
    return [(table.commits.oid[c], table.paths[a], table.paths[b]) for c, a, b in table.renames.tolist()]


def test_every_edit_is_there_with_its_repository(files: list[Path], tmp_path: Path) -> None:
    header, written = merge_files(files, tmp_path / "corpus.h5")
    assert written
    corpus, parts = read_store(tmp_path / "corpus.h5"), [read_store(f) for f in files]
    assert corpus.header == header
    of_edit = corpus.table.commits.repository[corpus.table.commit]
    for i, part in enumerate(parts):
        assert edits(corpus, np.flatnonzero(of_edit == i)) == edits(part, np.arange(len(part.table)))
        assert corpus.table.repositories[i] == part.table.repositories[0]
    assert len(corpus.table) == sum(len(p.table) for p in parts) == header.edits
    assert ledger(corpus) == [row for p in parts for row in ledger(p)]
    assert renames(corpus.table) == [row for p in parts for row in renames(p.table)]
    assert [r.name for r in corpus.table.repositories] == ["clone", "young"]
    found = sums(corpus.table, Ledger(corpus.ledger))
    assert all(s.balanced for s in found.values())
    assert sum(s.file_changes for s in found.values()) == sum(
        int(p.table.commits.file_changes.sum()) for p in parts
    )


def test_what_is_shared_is_there_once(files: list[Path], tmp_path: Path) -> None:
    merge_files(files, tmp_path / "corpus.h5")
    corpus, parts = read(files[0]), [read(f) for f in files]
    corpus = read_store(tmp_path / "corpus.h5").table
    for table in (corpus, *parts):
        states = [table.states([i])[0].tobytes() for i in range(len(table.state_hash))]
        assert len(set(states)) == len(states)
    assert len(corpus.state_hash) < sum(len(p.state_hash) for p in parts)
    for kind in ("paths", "units", "names"):
        texts = [set(getattr(p, kind)) for p in parts]
        assert texts[0] & texts[1]
        assert sorted(getattr(corpus, kind)) == sorted(texts[0] | texts[1])
    repository = corpus.commits.repository
    reverting = np.flatnonzero(corpus.commits.reverts >= 0)
    assert (repository[corpus.commits.reverts[reverting]] == repository[reverting]).all()
    assert set(repository[reverting].tolist()) == {0, 1}
    chains = [set(corpus.chain[repository[corpus.commit] == i].tolist()) for i in (0, 1)]
    assert not chains[0] & chains[1]
    assert len(chains[0] | chains[1]) == sum(int(p.chain.max()) + 1 for p in parts)


def test_it_is_the_same_each_time(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "corpus.h5"
    merge_files(files, out)
    first = out.read_bytes()
    assert merge_files(files, out)[1] is False
    out.write_bytes(first[:-1])
    assert merge_files(files, out)[1] is True
    assert out.read_bytes() == first
    merge_files(files[::-1], out)
    assert [r.name for r in read_store(out).table.repositories] == ["young", "clone"]
    assert out.read_bytes() != first
    merge_files(files, out)
    assert out.read_bytes() == first
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".") or p.suffix == ".lock"]


def test_a_corpus_can_be_merged_again(files: list[Path], tmp_path: Path, options: Options) -> None:
    third = GitRepo(tmp_path / "third")
    third.commit("one", {"x.py": "def x():\n    return 1\n"})
    with Repository.open(third.path) as repo:
        last = harvest(repo, options, tmp_path / "third.h5").path
    merge_files(files, tmp_path / "two.h5")
    merge_files([tmp_path / "two.h5", last], tmp_path / "nested.h5")
    merge_files([*files, last], tmp_path / "flat.h5")
    nested, flat = read_store(tmp_path / "nested.h5"), read_store(tmp_path / "flat.h5")
    assert nested.table.repositories == flat.table.repositories
    assert nested.table.commits.repository.tolist() == flat.table.commits.repository.tolist()
    rows = np.arange(len(flat.table))
    assert edits(nested, rows) == edits(flat, rows)
    assert nested.table.chain.tolist() == flat.table.chain.tolist()


def test_a_repository_counts_once(
    files: list[Path], tmp_path: Path, clone: Callable[..., Path], places: list[Path], options: Options
) -> None:
    copy = clone(places[1], name="copy.git")
    with Repository.open(copy) as repo:
        again = harvest(repo, options, tmp_path / "again.h5").path
    with pytest.raises(UserError, match="same repository") as caught:
        merge_files([*files, again], tmp_path / "corpus.h5")
    assert str(files[1]) in caught.value.message
    assert str(again) in caught.value.message
    assert not (tmp_path / "corpus.h5").exists()
    ran = run_cli("harvest", str(places[1]), str(copy), "--out", str(tmp_path / "corpus.h5"))
    assert (ran.status, "same repository" in ran.err) == (2, True)


def test_other_settings_are_named(
    files: list[Path], tmp_path: Path, places: list[Path], options: Options
) -> None:
    for name, value in (("window", replace(options, window=64)), ("action", replace(options, action="v7"))):
        with Repository.open(places[1]) as repo:
            other = harvest(repo, value, tmp_path / "other.h5").path
        with pytest.raises(UserError, match=name) as caught:
            merge_files([files[0], other], tmp_path / "corpus.h5")
        assert str(files[0]) in caught.value.message
        assert str(other) in caught.value.message


def test_nobodys_file_is_overwritten(files: list[Path], tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("chapter one")
    with pytest.raises(UserError, match="not a store"):
        merge_files(files, thesis)
    assert thesis.read_text() == "chapter one"
    before = files[0].read_bytes()
    with pytest.raises(UserError, match="into itself"):
        merge_files(files, files[0])
    assert files[0].read_bytes() == before
    with pytest.raises(UserError, match="nothing to merge"):
        merge_files(files[:1], tmp_path / "corpus.h5")
    files[0].write_bytes(before[:-1])
    with pytest.raises(UserError, match="damaged"):
        merge_files(files, tmp_path / "corpus.h5")


def test_no_part_of_it_is_out_of_place(files: list[Path]) -> None:
    merger = Merger()
    for file in files:
        merger.add(read_store(file), str(file))
    table = merger.store().table
    table.check()
    crossed = table.chain.copy()
    crossed[-1] = crossed[0]
    commits = replace(table.commits, repository=table.commits.repository[::-1].copy())
    outside = replace(table.commits, repository=table.commits.repository + np.int32(1))
    for wrong in (
        replace(table, chain=crossed),
        replace(table, commits=commits),
        replace(table, commits=outside),
        replace(table, repositories=table.repositories[:1]),
        replace(table, repositories=table.repositories[::-1]),
    ):
        with pytest.raises(ValueError, match=r"chain|repository"):
            wrong.check()


def test_it_is_nobodys_past(files: list[Path], places: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "corpus.h5"
    merge_files(files, out)
    with pytest.raises(UserError, match="corpus of 2 repositories"):
        read(out)
    with Repository.open(places[1]) as repo:
        own = repo.data_dir / "chains.h5"
    own.write_bytes(out.read_bytes())
    ran = run_cli("score", "HEAD", "--repo", str(places[1]))
    assert (ran.status, "corpus" in ran.err) == (2, True)
    ran = run_cli("harvest", str(places[1]))
    assert (ran.status, "number of repositories" in ran.err) == (0, True)
    assert len(read(own).repositories) == 1


def test_each_repository_is_split_by_its_own_time(files: list[Path], tmp_path: Path) -> None:
    merge_files(files, tmp_path / "corpus.h5")
    corpus, parts = read_store(tmp_path / "corpus.h5").table, [read(f) for f in files]
    split = by_time(corpus)
    first = 0
    trained: list[int] = []
    for part in parts:
        alone = by_time(part)
        assert len(alone.held_out)
        assert len(alone.train)
        trained += (alone.train + first).tolist()
        first += len(part)
    assert split.train.tolist() == trained
    assert sorted([*trained, *split.held_out.tolist()]) == list(range(len(corpus)))


def test_the_command(places: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "corpus.h5"
    ran = run_cli("harvest", *map(str, places), "--out", str(out), "--json")
    assert ran.status == 0, ran.err
    found = json.loads(ran.out)
    assert found["schema"] == "codewm.harvest/1"
    assert [row["how"] for row in found["repositories"]] == ["new", "new"]
    assert found["corpus"]["how"] == "merged"
    assert found["corpus"]["header"]["edits"] == sum(row["header"]["edits"] for row in found["repositories"])
    assert "2 repositories" in ran.err
    stores = [row["store"] for row in found["repositories"]]
    again = json.loads(run_cli("harvest", *stores, "--out", str(tmp_path / "b.h5"), "--json").out)
    assert [row["how"] for row in again["repositories"]] == ["given", "given"]
    assert (tmp_path / "b.h5").read_bytes() == out.read_bytes()
    mixed = run_cli("harvest", str(places[0]), stores[1], "--out", str(out))
    assert (mixed.status, "nothing new: 2 repositories" in mixed.err) == (0, True)


def test_one_that_fails_stops_no_other(places: list[Path], tmp_path: Path) -> None:
    empty = GitRepo(tmp_path / "empty").path
    out = tmp_path / "corpus.h5"
    named = [str(places[0]), str(empty), str(places[1])]
    ran = run_cli("harvest", *named, "--out", str(out), "--json")
    rows = json.loads(ran.out)["repositories"]
    assert ran.status == 2
    assert [row.get("how", "failed") for row in rows] == ["new", "failed", "new"]
    assert f"error: {empty}: the repository has no commits yet" in ran.err
    assert "hint: " in ran.err
    assert rows[1]["error"] == "the repository has no commits yet"
    assert not out.exists()
    ran = run_cli("harvest", *named)
    assert (ran.status, ran.err.count("nothing new")) == (2, 2)


@pytest.mark.parametrize("words", [["0.h5"], ["0.h5", "1.h5"], ["0.h5", "--out", "c.h5"], ["a", "b", "0.h5"]])
def test_bad_words(files: list[Path], tmp_path: Path, words: list[str]) -> None:
    ran = run_cli("harvest", *words, cwd=tmp_path)
    assert (ran.status, ran.out) == (2, "")
    assert "hint: " in ran.err
    assert not (tmp_path / "c.h5").exists()


@pytest.fixture
def busy(tmp_path: Path, options: Options) -> list[Path]:
    """Stores of two repositories with enough edits to train on, the second of them years younger."""
    made = []
    for name, start in (("old", 1_500_000_000), ("new", 1_700_000_000)):
        repo = GitRepo(tmp_path / name)
        for i in range(30):
            body = "".join(f"def {name}{j}(a):\n    return a * {i + j} + {j}\n\n\n" for j in range(8))
            repo.commit(f"c{i}", {"m.py": body}, when=start + i * 3600)
        with Repository.open(repo.path) as opened:
            made.append(harvest(opened, options, tmp_path / f"{name}.h5").path)
    return made


def test_training_takes_a_corpus_like_its_stores(busy: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from codewm.model.batches import prepare
    from codewm.model.config import TrainConfig

    merge_files(busy, tmp_path / "corpus.h5")
    corpus = read_store(tmp_path / "corpus.h5").table
    together = prepare([corpus], TrainConfig())
    apart = prepare([read(f) for f in busy], TrainConfig())
    assert together.ledger == apart.ledger
    for part in ("fit", "validation", "holdout"):
        rows = getattr(together, part)
        assert rows.tolist() == getattr(apart, part).tolist()
        assert set(corpus.commits.repository[corpus.commit[rows]].tolist()) == {0, 1}
    for side in ("before", "after"):
        states = [
            data.tokens[data.offsets[i] : data.offsets[i + 1]].tolist()
            for data in (together, apart)
            for i in getattr(data, side).tolist()
        ]
        assert states[: len(states) // 2] == states[len(states) // 2 :]


def test_training_refuses_a_repository_that_comes_twice(busy: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    merge_files(busy, tmp_path / "corpus.h5")
    words = ["--corpus", str(tmp_path / "corpus.h5"), "--corpus", str(busy[1])]
    ran = run_cli("train", *words, "--output", str(tmp_path / "m.safetensors"))
    assert (ran.status, "are the same repository" in ran.err) == (2, True)
