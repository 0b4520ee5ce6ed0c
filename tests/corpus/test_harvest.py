"""Claims about harvesting, on a history in which everything occurs (tests/fixtures/history.sh):

1. Nothing is lost: every Python file change has edits or a line in the ledger, by the expected cause.
2. The table is right: units, chains across renames, created, deleted, moved, reverts, fixes, line counts.
3. The result is the same bytes for any number of threads, any batch size, and at once or in steps.
4. A second run does nothing; new commits are appended; rewritten history redoes only what follows.
5. Two at once: the second is refused. Interrupted: the old store stays, no litter is left.
6. Shallow clones, repositories without Python and large imports work or explain themselves.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import codewm_core as core
from codewm.corpus import builder, edits, store as store_module
from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.harvest import Harvest, Options, harvest, store_path
from codewm.corpus.ledger import Cause, Ledger, sums
from codewm.corpus.lock import exclusive
from codewm.corpus.store import Store, read_store
from tests.corpus.conftest import build
from tests.helpers import GitRepo


def run(folder: Path, options: Options, out: Path | None = None) -> Harvest:
    with Repository.open(folder) as repo:
        return harvest(repo, options, out)


def stored(folder: Path, options: Options) -> Store:
    return read_store(run(folder, options).path)


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def by_subject(store: Store, subject: str) -> list[tuple[str, str, int]]:
    """(path, unit, flags) of every edit of the one commit of this subject."""
    t = store.table
    row = t.commits.subject.index(subject)
    return [
        (t.paths[t.path[i]], t.units[t.unit[i]], int(t.flags[i])) for i in np.flatnonzero(t.commit == row)
    ]


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


def test_killed_at_any_moment(history: Path, options: Options, tmp_path: Path) -> None:
    """SIGKILL leaves either no store or a whole one; the next run makes what an undisturbed one makes."""
    expected = run(history, options, tmp_path / "calm.h5").path.read_bytes()
    out = tmp_path / "killed" / "chains.h5"
    out.parent.mkdir()
    code = "import sys; from codewm.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [
        sys.executable,
        "-c",
        code,
        "harvest",
        "--jobs",
        "1",
        "--rebuild",
        "--out",
        str(out),
        str(history),
    ]
    for i in range(6):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.25 + 0.06 * i)
        process.kill()
        process.wait()
        assert not out.exists() or out.read_bytes() == expected
    (out.parent / ".chains.h5.1.tmp").write_bytes(b"half")
    assert run(history, replace(options, rebuild=True), out).path.read_bytes() == expected
    assert [p.name for p in out.parent.iterdir()] == ["chains.h5"]


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
    assert [Cause(k).name for k in store.ledger[:, 1]] in (["MISSING"], ["DAMAGED"])
    assert len(store.table) == 1
