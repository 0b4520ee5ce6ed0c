"""Repositories that the scripts of tests/fixtures build with real git, and what a harvest of one stores."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codewm.corpus.git import Repository
from codewm.corpus.harvest import Harvest, Options, harvest
from codewm.corpus.store import Store, read_store

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


def build(script: str, folder: Path) -> Path:
    """Run a script in `folder`, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["bash", str(FIXTURES / script), str(folder)], check=True, capture_output=True)
    return folder


def run(folder: Path, options: Options, out: Path | None = None) -> Harvest:
    """Harvest the repository of a folder."""
    with Repository.open(folder) as repo:
        return harvest(repo, options, out)


def stored(folder: Path, options: Options) -> Store:
    """Harvest the repository of a folder and read what was stored."""
    return read_store(run(folder, options).path)


def by_subject(store: Store, subject: str) -> list[tuple[str, str, int]]:
    """(path, unit, flags) of every edit of the one commit of this subject."""
    t = store.table
    row = t.commits.subject.index(subject)
    return [
        (t.paths[t.path[i]], t.units[t.unit[i]], int(t.flags[i])) for i in np.flatnonzero(t.commit == row)
    ]


@pytest.fixture(scope="session")
def _history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("history.sh", tmp_path_factory.mktemp("history") / "repo")


@pytest.fixture
def history(_history: Path, clone: Callable[[Path], Path]) -> Path:
    """Give a copy of the history that has everything in it."""
    return clone(_history)


@pytest.fixture
def clone(tmp_path: Path) -> Callable[..., Path]:
    """Give a maker of bare clones; further words go to `git clone`."""

    def make(source: Path, *words: str, name: str = "clone.git") -> Path:
        place = tmp_path / name
        command = ["git", "clone", "-q", "--bare", *words, f"file://{source}", str(place)]
        subprocess.run(command, check=True, capture_output=True)
        return place

    return make


@pytest.fixture
def options() -> Options:
    """Give the default options."""
    return Options(window=256, action="v15", merges="first-parent", jobs=1)
