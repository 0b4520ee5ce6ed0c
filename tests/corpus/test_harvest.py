"""Claims about harvesting, on a history in which everything occurs (tests/fixtures/history.sh):

1. Nothing is lost: every Python file change has edits or a line in the ledger, by the expected cause.
2. The table is right: units, chains across renames, created, deleted, moved, reverts, fixes, line counts.
3. The result is the same bytes for any number of threads, any batch size, and at once or in steps.
4. A second run does nothing; new commits are appended; rewritten history redoes only what follows.
5. Two at once: the second is refused. Interrupted: the old store stays, no litter is left (killed: test_kill.py).
6. Shallow clones, repositories without Python and large imports work or explain themselves.
7. A damaged store is rebuilt and the reason said; one of a newer codewm and a file that is no store are not touched.
8. The salt is random, kept, never half written; another salt means starting over.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import codewm_core as core
from codewm.corpus import (
    builder,
    edits,
    harvest as harvest_module,
    header as header_module,
    store as store_module,
)
from codewm.corpus.errors import UserError
from codewm.corpus.git import BLOB_LIMIT, Repository
from codewm.corpus.harvest import Options, harvest, store_path
from codewm.corpus.header import SCHEMA
from codewm.corpus.ledger import Cause, Ledger, sums
from codewm.corpus.lock import exclusive
from codewm.corpus.store import read_store
from tests.corpus.conftest import build, by_subject, run, stored
from tests.helpers import GitRepo


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def test_nothing_is_lost(history: Path, options: Options) -> None:
    store = stored(history, options)
    found = sums(store.table, Ledger(store.ledger))
    assert all(s.balanced for s in found.values())
    seen = {
        (store.table.commits.subject[c], store.table.paths[p], Cause(k).name)
        for c, k, p in store.ledger.tolist()
    }
    assert seen == {
        ("first files", "pkg/__init__.py", "EMPTY_FILE"),
        ("comment at the end", "pkg/a.py", "NO_UNIT_CHANGED"),
        ("rename the file, same content", "pkg/b.py", "RENAMED_ONLY"),
        ("mode only", "pkg/c.py", "MODE_ONLY"),
        ("a symbolic link", "pkg/link.py", "NOT_A_FILE"),
        ("a submodule called vendor.py", "vendor.py", "NOT_A_FILE"),
        ("a file of more than a megabyte", "pkg/big.py", "TOO_LARGE"),
        ("an LFS pointer", "pkg/lfs.py", "LFS_POINTER"),
    }
    # The independent count: git's own list of Python paths, commit by commit.
    total = 0
    for oid in git(history, "rev-list", "--first-parent", "HEAD").split():
        shown = git(history, "show", "-m", "--first-parent", "-M", "--format=", "--raw", "-z", oid)
        fields = shown.strip("\n").split("\0")
        total += sum(
            any(p.endswith(".py") for p in fields[i + 1 : i + (3 if " R" in f else 2)])
            for i, f in enumerate(fields)
            if f.lstrip("\n").startswith(":")
        )
    assert total == sum(s.file_changes for s in found.values())


def test_edits_are_what_happened(history: Path, options: Options) -> None:
    store = stored(history, options)
    created = core.FLAG_CREATED
    first = by_subject(store, "first files")
    assert {u for _, u, _ in first} >= {"area", "Box.open"}
    assert all(f & created for _, _, f in first)
    assert by_subject(store, "Fix the area") == [("pkg/a.py", "area", 0)]
    assert by_subject(store, "rename the file and edit Box.open") == [("pkg/c.py", "Box.open", 0)]
    assert by_subject(store, "rename the function") == [("pkg/c.py", "surface", core.FLAG_MOVED)]
    assert all(f & core.FLAG_DELETED for _, _, f in by_subject(store, "delete the file"))
    assert {u for _, u, _ in by_subject(store, "delete the class")} == {"Box", "Box.open"}
    assert by_subject(store, "a path and a source that are no UTF-8")[0][0] == "pkg/caf\udce9.py"
    assert {p for p, _, _ in by_subject(store, "no longer Python")} == {"pkg/dos.txt"}
    merged = by_subject(store, "Merge pull request #7 from ada/topic")
    assert [(p, u) for p, u, _ in merged] == [("pkg/topic.py", "topic")]
    assert len(by_subject(store, "no Python at all")) == 0


def test_chains_follow_renames(history: Path, options: Options) -> None:
    t = stored(history, options).table
    area = next(i for i in range(len(t)) if t.units[t.unit[i]] == "area")
    life = np.flatnonzero(t.chain == t.chain[area])
    assert t.step[life].tolist() == list(range(len(life)))
    subjects = [t.commits.subject[t.commit[i]] for i in life]
    assert subjects == [
        "first files",
        "Fix the area",
        "rename the function",
        'Revert "Fix the area"',
        "delete the file",
    ]
    # Nothing here is longer than the window, so each step begins where the last one ended.
    assert (t.after[life][:-1] == t.before[life][1:]).all()
    assert t.states([t.after[life[-1]]])[0].tolist() == [core.EMPTY]


def test_messages(history: Path, options: Options) -> None:
    c = stored(history, options).table.commits
    assert c.subject[c.reverts[c.subject.index('Revert "Fix the area"')]] == "Fix the area"
    assert (c.reverts >= 0).sum() == 1
    assert c.fixes[c.subject.index("Fix the area")]
    assert c.fixes[c.subject.index("Merge pull request #7 from ada/topic")]
    assert not c.fixes[c.subject.index("mode only")]
    row = c.subject.index("Fix the area")
    assert (c.lines_added[row], c.lines_deleted[row]) == (1, 1)
    assert len(set(c.author)) == 1
    assert "ada" not in c.author[0].lower()


def test_merges_can_be_skipped(history: Path, options: Options) -> None:
    store = stored(history, replace(options, merges="skip"))
    found = sums(store.table, Ledger(store.ledger))
    assert found["merge"].skipped == {Cause.MERGE_SKIPPED: 1}
    assert found["merge"].with_edits == 0
    assert found["non-merge"] == sums(*_again(history, options))["non-merge"]


def _again(history: Path, options: Options) -> tuple[edits.EditTable, Ledger]:
    store = stored(history, replace(options, rebuild=True))
    return store.table, Ledger(store.ledger)


def test_authors_on_request(history: Path, options: Options) -> None:
    store = stored(history, replace(options, with_authors=True))
    assert set(store.table.commits.author) == {"Ada <ada@example.com>"}


def test_same_bytes_for_any_number_of_threads_and_batches(
    history: Path, options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(history, options, tmp_path / "one.h5").path.read_bytes()
    assert run(history, replace(options, jobs=4), tmp_path / "four.h5").path.read_bytes() == expected
    monkeypatch.setattr(edits, "_GROUP", 1)
    monkeypatch.setattr(edits, "BATCH_BYTES", 1)
    monkeypatch.setattr(edits, "KEPT_BYTES", 1)
    assert run(history, options, tmp_path / "small.h5").path.read_bytes() == expected


def test_what_shrank_from_too_large_is_known_in_later_batches(
    git_repo: GitRepo, options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As contrib/get-pip.py of pip did: the edit from the large version is skipped, the next one is not.
    for name, content in (
        ("large", "#" * (BLOB_LIMIT + 1)),
        ("small", "def f():\n    return 1\n"),
        ("gone", None),
    ):
        git_repo.commit(name, {"a.py": content})
    expected = run(git_repo.path, options, tmp_path / "one.h5")
    found = sums(*_again(git_repo.path, options))["non-merge"]
    assert (found.with_edits, found.skipped) == (1, {Cause.TOO_LARGE: 2})
    monkeypatch.setattr(edits, "BATCH_BYTES", 1)
    assert run(git_repo.path, options, tmp_path / "small.h5").path.read_bytes() == expected.path.read_bytes()


def test_steps_equal_at_once(history: Path, options: Options, tmp_path: Path) -> None:
    expected = run(history, options, tmp_path / "once.h5").path.read_bytes()
    out = tmp_path / "steps.h5"
    tip = git(history, "rev-parse", "main")
    line = git(history, "rev-list", "--first-parent", "--reverse", "main").split()
    for i, oid in enumerate(line):
        git(history, "update-ref", "refs/heads/main", oid)
        result = run(history, options, out)
        assert (result.how, result.new_commits) == ("appended" if i else "new", 1)
    assert oid == tip
    assert out.read_bytes() == expected


def test_second_run_reads_nothing(history: Path, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run(history, options).path.read_bytes()
    monkeypatch.setattr(store_module, "read_store", None)
    again = run(history, options)
    assert (again.how, again.new_commits) == ("unchanged", 0)
    assert again.path.read_bytes() == before


def test_rewritten_history(tmp_path: Path, options: Options) -> None:
    folder = build("history.sh", tmp_path / "repo")
    run(folder, options)
    build("rewritten.sh", folder)
    result = run(folder, options)
    assert (result.how, result.new_commits) == ("rewritten", 1)
    mended = result.path.read_bytes()
    assert run(folder, replace(options, rebuild=True)).path.read_bytes() == mended
    git(folder, "reset", "-q", "--hard", "HEAD~4")
    assert (run(folder, options).how, run(folder, options).how) == ("rewritten", "unchanged")
    store = read_store(store_path(Repository.open(folder)))
    assert store.header.commits == len(store.table.commits) == len(store.table.commits.oid)


def test_other_options_start_over(history: Path, options: Options) -> None:
    run(history, options)
    result = run(history, replace(options, window=64))
    assert result.how == "rebuilt"
    assert "window" in result.why
    few = run(history, replace(options, window=64, max_commits=3))
    assert few.header.commits == 3
    assert run(history, replace(options, window=64, max_commits=3)).how == "unchanged"


def test_two_at_once(history: Path, options: Options) -> None:
    with Repository.open(history) as repo:
        path = store_path(repo)
        with exclusive(path), pytest.raises(UserError, match=str(os.getpid())):
            harvest(repo, options)
        assert harvest(repo, options).how == "new"
    assert sorted(p.name for p in path.parent.iterdir()) == ["chains.h5", "salt"]


@pytest.mark.parametrize("where", ["reading", "writing"])
def test_interrupted(history: Path, options: Options, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    tip = git(history, "rev-parse", "main")
    git(history, "update-ref", "refs/heads/main", "main~2")
    path = run(history, options).path
    before = path.read_bytes()
    git(history, "update-ref", "refs/heads/main", tip)

    def interrupt(*args: object, **words: object) -> None:
        raise KeyboardInterrupt

    target, name = (builder.TableBuilder, "add_edits") if where == "reading" else (os, "fsync")
    monkeypatch.setattr(target, name, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(history, options)
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["chains.h5", "salt"]
    monkeypatch.undo()
    assert run(history, options).how == "appended"


def test_read_only_folder(history: Path, options: Options, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        run(history, options, place / "chains.h5")


def test_shallow(history: Path, clone: Callable[..., Path], options: Options) -> None:
    shallow = clone(history, "--depth=3", name="shallow.git")
    store = stored(shallow, options)
    found = sums(store.table, Ledger(store.ledger))
    assert found["non-merge"].balanced
    # Git hides the parents of the boundary, so that it is a merge is not to be seen.
    assert Cause.SHALLOW_BOUNDARY in found["non-merge"].skipped
    assert not (store.table.commit == 0).any()
    with pytest.raises(UserError, match="shallow"):
        run(clone(history, "--depth=1", name="one.git"), options)
    git(shallow, "fetch", "-q", "--unshallow")
    full = run(shallow, options)
    assert full.how == "rebuilt"
    assert full.header.commits == len(git(history, "rev-list", "--first-parent", "HEAD").split())


def test_missing_blob_is_counted(git_repo: GitRepo, options: Options) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n" * 9, "b.py": "y = 1\n"})
    oid = git_repo.git("rev-parse", "HEAD:a.py")
    (git_repo.path / ".git" / "objects" / oid[:2] / oid[2:]).unlink()
    store = stored(git_repo.path, options)
    assert [Cause(k) for k in store.ledger[:, 1]] == [Cause.MISSING]
    assert {store.table.paths[p] for p in store.table.path} == {"b.py"}


def test_no_python(git_repo: GitRepo, options: Options) -> None:
    git_repo.commit("first", {"a.txt": "x\n"})
    store = stored(git_repo.path, options)
    assert (len(store.table), len(store.table.commits), len(store.ledger)) == (0, 1, 0)
    git_repo.commit("second", {"a.py": "x = 1\n"})
    assert run(git_repo.path, options).how == "appended"


def test_no_commits(git_repo: GitRepo, options: Options) -> None:
    with pytest.raises(UserError, match="no commits"):
        run(git_repo.path, options)


def test_an_import_of_many_files(git_repo: GitRepo, options: Options) -> None:
    git_repo.commit("import", {f"p{i % 20}/m{i}.py": f"def f{i}():\n    return {i}\n" for i in range(1500)})
    store = stored(git_repo.path, options)
    assert len(store.table) == 1500
    assert sums(store.table, Ledger(store.ledger))["non-merge"].with_edits == 1500


def test_a_damaged_blob_is_counted(git_repo: GitRepo, options: Options) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n" * 50, "b.py": "y = 1\n"})
    oid = git_repo.git("rev-parse", "HEAD:a.py")
    blob = git_repo.path / ".git" / "objects" / oid[:2] / oid[2:]
    blob.chmod(0o644)
    blob.write_bytes(b"not deflate")
    store = stored(git_repo.path, options)
    assert [Cause(k).name for k in store.ledger[:, 1]] == ["DAMAGED"]
    assert len(store.table) == 1


def test_ten_increments_and_any_jobs(history: Path, options: Options, tmp_path: Path) -> None:
    line = git(history, "rev-list", "--first-parent", "--reverse", "main").split()
    for scope in ({}, {"paths": ("pkg",)}, {"merges": "skip"}):
        scoped = replace(options, **scope)
        out = tmp_path / "steps.h5"
        for i, end in enumerate(np.linspace(1, len(line), 10).astype(int)):
            git(history, "update-ref", "refs/heads/main", line[end - 1])
            run(history, replace(scoped, jobs=1 + i % 3), out)
        expected = run(history, replace(scoped, jobs=4), tmp_path / "once.h5").path.read_bytes()
        assert out.read_bytes() == expected
        out.unlink()
        (tmp_path / "once.h5").unlink()


def test_no_trace_of_when_and_who(history: Path, options: Options, tmp_path: Path) -> None:
    first = run(history, options, tmp_path / "a.h5").path.read_bytes()
    subprocess.run(["sleep", "1.1"], check=True)
    second = tmp_path / "b.h5"
    words = [sys.executable, "-m", "codewm.cli", "harvest", "-q", "--out", str(second), str(history)]
    subprocess.run(words, check=True, capture_output=True)
    assert second.read_bytes() == first


def _cut(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def _flip(place: int) -> Callable[[bytes], bytes]:
    def flip(whole: bytes) -> bytes:
        return whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :]

    return flip


@pytest.mark.parametrize("grown", [False, True])
@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        _flip(3),
        _flip(200),
        _flip(9000),
        lambda whole: b"",
        lambda whole: bytes(len(whole)),
        lambda w: b"?",
    ],
)
def test_a_damaged_store_is_rebuilt(
    history: Path, options: Options, damage: Callable[[bytes], bytes], grown: bool
) -> None:
    whole = run(history, options).path.read_bytes()
    tip = git(history, "rev-parse", "main")
    if grown:
        git(history, "update-ref", "refs/heads/main", "main~2")
    path = run(history, options).path
    git(history, "update-ref", "refs/heads/main", tip)
    path.write_bytes(damage(path.read_bytes()))
    result = run(history, options)
    assert result.how == "rebuilt"
    assert re.search(r"damaged|not a store", result.why)
    assert run(history, options).how == "unchanged"
    assert path.read_bytes() == whole


def test_a_store_with_a_false_structure_is_rebuilt(history: Path, options: Options) -> None:
    """The checksum is right and the content is not: only reading it all shows that, before anything is appended."""
    tip = git(history, "rev-parse", "main")
    git(history, "update-ref", "refs/heads/main", "main~2")
    path = run(history, options).path
    header = store_module.read_header(path)
    with h5py.File(path, "r+") as file:
        file["edits/after"][-1] = 1 << 30
    with path.open("r+b") as raw:
        raw.write(store_module._head(header, *store_module._digest(raw)))
    git(history, "update-ref", "refs/heads/main", tip)
    result = run(history, options)
    assert (result.how, "points outside" in result.why) == ("rebuilt", True)


def _with_header(path: Path, key: str, value: object) -> None:
    whole = path.read_bytes()
    magic, rest = whole[:4096].rstrip(b"\0").split(b"\n", 1)
    values = json.loads(rest) | {key: value}
    del values["header_sha256"]
    values["header_sha256"] = header_module._own_checksum(values)
    path.write_bytes((magic + b"\n" + json.dumps(values).encode()).ljust(4096, b"\0") + whole[4096:])


def test_an_older_schema_is_redone_and_a_newer_one_kept(history: Path, options: Options) -> None:
    path = run(history, options).path
    _with_header(path, "schema", 1)
    result = run(history, options)
    assert (result.how, "schema 1" in result.why) == ("rebuilt", True)
    _with_header(path, "schema", SCHEMA + 1)
    newer = path.read_bytes()
    with pytest.raises(UserError, match=f"schema {SCHEMA + 1}") as caught:
        run(history, options)
    assert "update codewm" in caught.value.hint
    assert path.read_bytes() == newer
    assert run(history, replace(options, rebuild=True)).how == "rebuilt"


def test_a_file_that_is_no_store_is_not_overwritten(history: Path, options: Options, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.h5"
    with h5py.File(thesis, "w") as file:
        file["chapter"] = np.arange(5000)
    before = thesis.read_bytes()
    with pytest.raises(UserError, match="not a store") as caught:
        run(history, options, thesis)
    assert "--out" in caught.value.hint
    assert thesis.read_bytes() == before
    with pytest.raises(UserError, match="cannot"):
        run(history, options, tmp_path)
    empty = tmp_path / "empty.h5"
    empty.touch()
    assert run(history, options, empty).how == "rebuilt"


def test_the_salt(history: Path, options: Options, clone: Callable[..., Path]) -> None:
    first = run(history, options)
    salt = first.path.with_name("salt")
    secret = salt.read_text()
    assert len(bytes.fromhex(secret)) == 32
    assert salt.stat().st_mode & 0o077 == 0
    assert secret not in first.path.read_bytes().decode("latin-1")
    other = run(clone(history, name="other.git"), options)
    assert read_store(other.path).table.commits.author != read_store(first.path).table.commits.author
    before = first.path.read_bytes()
    for broken in ("", secret[:10], "x" * 64):
        salt.write_text(broken)
        again = run(history, options)
        assert (again.how, "salt" in again.why) == ("rebuilt", True)
        assert len(bytes.fromhex(salt.read_text())) == 32
    salt.write_text(secret)
    assert "salt" in run(history, options).why
    assert first.path.read_bytes() == before
    assert sorted(p.name for p in salt.parent.iterdir()) == ["chains.h5", "salt"]


def test_what_follows_the_last_common_commit_alone_is_read(
    git_repo: GitRepo, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(12):
        git_repo.commit(f"c{i}", {"a.py": f"def f():\n    return {i}\n"})
    run(git_repo.path, options)
    git_repo.git("reset", "-q", "--hard", "HEAD~3")
    new = [git_repo.commit(f"n{i}", {"a.py": f"def f():\n    return -{i}\n"}) for i in range(4)]
    seen: list[str] = []
    walk = Repository.commits

    def noted(self: Repository, *args: Any, **words: Any) -> Iterator[Any]:
        for record in walk(self, *args, **words):
            seen.append(record.oid)
            yield record

    monkeypatch.setattr(Repository, "commits", noted)
    result = run(git_repo.path, options)
    assert (result.how, seen) == ("rewritten", new)
    mended = result.path.read_bytes()
    assert run(git_repo.path, replace(options, rebuild=True)).path.read_bytes() == mended


def test_a_limited_harvest_goes_on_where_it_was_stopped(
    git_repo: GitRepo, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(12):
        git_repo.commit(f"c{i}", {"a.py": f"def f():\n    return {i}\n"})
    few = replace(options, max_commits=8)
    expected = run(git_repo.path, few).path.read_bytes()
    written: list[int] = []
    write = store_module.write

    def write_once(path: Path, table: Any, *rest: Any) -> Any:
        written.append(len(table.commits))
        if len(written) > 1:
            raise KeyboardInterrupt
        return write(path, table, *rest)

    monkeypatch.setattr(edits, "BATCH_BYTES", 1)
    monkeypatch.setattr(harvest_module, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(store_module, "write", write_once)
    with pytest.raises(KeyboardInterrupt):
        run(git_repo.path, replace(few, rebuild=True))
    monkeypatch.undo()
    result = run(git_repo.path, few)
    assert (result.how, result.new_commits) == ("appended", 8 - written[0])
    assert result.path.read_bytes() == expected
