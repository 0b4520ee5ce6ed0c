"""Claims about harvests that do not end by themselves, on a real history and in real processes:

1. Killed at any moment (SIGKILL, at random), the next run completes; its store is the one of a harvest that
   nobody disturbed, byte for byte, and beside it is nothing but the salt.
2. What a killed harvest stored is a whole store of the first commits, and the next run goes on from there.
3. Killed again and again, a harvest gets there all the same.
4. Ctrl-C is exit status 130 and says what is kept; a disk that is full is exit status 2, and the old store stays.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from codewm.corpus.git import Repository
from codewm.corpus.harvest import Harvest, Options, harvest
from codewm.corpus.store import read_store

KILLS = 12
"""Moments tried; more by hand when what saves is changed."""
COMMITS = 300
# A harvest that saves at every chance, and says when it begins.
HARVEST = """
import sys
from codewm.corpus import edits, harvest
from codewm.cli.main import main
import codewm.cli.commands.harvest, codewm.corpus.builder, h5py
harvest.SAVE_SECONDS = 0.0
edits.BATCH_BYTES = 4096
print("begins", flush=True)
sys.exit(main(["harvest", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def long_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a bare repository of several hundred commits, each of which changes a function of a file."""
    place = tmp_path_factory.mktemp("long") / "repo"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", place], check=True)
    stream = []
    draw = random.Random(3)
    for i in range(COMMITS):
        functions = (
            f"def f{j}(a, b):\n    return a * {j if j != i % 40 else i} + b  # {draw.random()}\n\n\n"
            for j in range(40)
        )
        text = "".join(functions)
        stream.append(
            f"commit refs/heads/main\ncommitter Ada <ada@example.com> {1_700_000_000 + i} +0000\n"
            f"data 2\nc\nM 100644 inline pkg/m{i % 7}.py\ndata {len(text)}\n{text}\n"
        )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=place, input="".join(stream).encode(), check=True)
    return place


@pytest.fixture
def place(long_history: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(long_history, tmp_path / "repo"))


def started(place: Path, *words: str) -> subprocess.Popen[bytes]:
    """A harvest in a process of its own, at its beginning."""
    command = [sys.executable, "-c", HARVEST, "--jobs", "1", *words, str(place)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begins\n"
    return process


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, err = process.communicate(timeout=60)
    return process.returncode, err.decode()


def run(place: Path, options: Options, out: Path | None = None) -> Harvest:
    with Repository.open(place) as repo:
        return harvest(repo, options, out)


def undisturbed(place: Path, options: Options) -> bytes:
    """What a harvest at once makes, with the salt that is there."""
    out = place.parent / "undisturbed.h5"
    return run(place, replace(options, rebuild=True), out).path.read_bytes()


def moments() -> Iterator[float]:
    draw = random.Random(17)
    return (draw.random() for _ in range(KILLS))


@pytest.mark.slow
def test_killed_at_random_moments(place: Path, options: Options) -> None:
    folder = place / "codewm"
    begun = time.perf_counter()
    assert ended(started(place))[0] == 0
    whole = time.perf_counter() - begun
    kept = []
    for moment in moments():
        shutil.rmtree(folder)
        process = started(place)
        time.sleep(moment * whole * 0.8)
        process.kill()
        process.communicate()
        store = folder / "chains.h5"
        kept.append(len(read_store(store).table.commits) if store.exists() else 0)
        result = run(place, options)
        assert result.how == ("new" if kept[-1] == 0 else "unchanged" if kept[-1] == COMMITS else "appended")
        assert result.new_commits == COMMITS - kept[-1]
        assert sorted(p.name for p in folder.iterdir()) == ["chains.h5", "salt"]
        assert store.read_bytes() == undisturbed(place, options)
    # The moments are random; that some of them fell into the work is not left to chance.
    assert any(0 < k < COMMITS for k in kept), kept


def test_killed_again_and_again(place: Path, options: Options) -> None:
    store = place / "codewm" / "chains.h5"
    draw = random.Random(5)
    before = 0
    for _ in range(40):
        process = started(place)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05 + draw.random() * 0.4)
        process.kill()
        process.communicate()
        if store.exists():
            now = read_store(store).header.commits
            assert now >= before
            before = now
        if before == COMMITS:
            break
    assert before == COMMITS
    assert store.read_bytes() == undisturbed(place, options)


def test_interrupted_by_the_keyboard(place: Path, options: Options) -> None:
    store = place / "codewm" / "chains.h5"
    # On a busy machine a whole harvest may fit between two looks at the store: then once more.
    for _ in range(20):
        process = started(place)
        for _ in range(2000):
            if store.exists():
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        status, err = ended(process)
        kept = read_store(store).header.commits
        if kept < COMMITS:
            break
        assert status == 0, err
        shutil.rmtree(store.parent)
    assert (status, 0 < kept < COMMITS) == (130, True), (kept, err)
    assert f"{kept} commits are stored; the next harvest goes on from there" in err
    assert sorted(p.name for p in store.parent.iterdir()) == ["chains.h5", "salt"]
    assert run(place, options).new_commits == COMMITS - kept
    assert store.read_bytes() == undisturbed(place, options)


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, 16 << 10))


def test_no_room_for_the_store(place: Path, options: Options) -> None:
    """The system refuses to let a file grow, in the middle of writing it: as on a disk that is full."""
    tip = subprocess.run(["git", "rev-parse", "main"], cwd=place, check=True, capture_output=True).stdout
    subprocess.run(["git", "update-ref", "refs/heads/main", "main~5"], cwd=place, check=True)
    path = run(place, options).path
    before = path.read_bytes()
    assert len(before) > 16 << 10
    subprocess.run(["git", "update-ref", "refs/heads/main", tip.decode().strip()], cwd=place, check=True)
    command = [sys.executable, "-c", HARVEST, str(place)]
    done = subprocess.run(command, capture_output=True, check=False, preexec_fn=_small_files)
    assert done.returncode == 2, done.stderr
    assert b"cannot write" in done.stderr
    assert b"--out" in done.stderr
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["chains.h5", "salt"]
    assert run(place, options).how == "appended"


def mounted(*words: str) -> bool:
    """Mount something, where that is possible: root, in a container that allows it."""
    command = ["mount", *words]
    return shutil.which("mount") is not None and not subprocess.run(command, capture_output=True).returncode


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)):
        pytest.skip("file systems cannot be mounted here; a file-size limit stands in above")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(place: Path, tiny_disk: Path) -> None:
    process = started(place, "--out", str(tiny_disk / "chains.h5"))
    status, err = ended(process)
    assert (status, "No space left on device" in err, "hint: make room" in err) == (2, True, True)
    # What there was room for is a whole store of the first commits, or nothing.
    left = list(tiny_disk.iterdir())
    assert left in ([], [tiny_disk / "chains.h5"])
    assert all(0 < len(read_store(path).table.commits) < COMMITS for path in left)


@pytest.fixture
def read_only(place: Path) -> Iterator[Path]:
    """Give the repository where nobody may write: root minds no permissions, but a read-only mount."""
    if os.geteuid() != 0:
        folders = [place, *(p for p in place.rglob("*") if p.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        yield place
        for folder in folders:
            folder.chmod(0o755)
        return
    if not mounted("--bind", str(place), str(place)):
        pytest.skip("root may write anywhere, and nothing can be mounted here")
    subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_repository_that_cannot_be_written(read_only: Path, tmp_path: Path) -> None:
    status, err = ended(started(read_only))
    assert (status, f"error: cannot write to '{read_only / 'codewm'}'" in err) == (2, True), err
    assert "hint: name another place with --out" in err
    out = tmp_path / "out" / "chains.h5"
    assert ended(started(read_only, "--out", str(out)))[0] == 0
    assert [p.name for p in out.parent.iterdir()] == ["chains.h5"]
    status, err = ended(started(read_only, "--out", str(out)))
    assert (status, "nothing new" in err) == (0, True)
