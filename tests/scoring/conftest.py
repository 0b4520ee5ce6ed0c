"""A repository with enough history to calibrate on, and a model to score it with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers import GitRepo
from tests.scoring.random_model import write_random_model

COMMITS = 90


def module(version: int) -> str:
    """A module whose functions change a little with every version."""
    body = "\n".join(
        f"def f{i}(items):\n    total = {version if version % 6 == i else i}\n"
        f"    for item in items:\n        total += item * {i}\n"
        f"    return total{' + len(items)' if version % 6 < i else ''}\n\n"
        for i in range(6)
    )
    return f"import os\n\nLIMIT = {version}\n\n\n{body}"


@pytest.fixture(scope="session")
def _long_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = GitRepo(tmp_path_factory.mktemp("history") / "repo")
    other = "import json\n\n\ndef load(path):\n    with open(path) as f:\n        return json.load(f)\n"
    repo.commit("start", {"a.py": module(0), "b.py": other, "README": "x\n"})
    for version in range(1, COMMITS):
        repo.commit(f"version {version}", {"a.py": module(version)})
    return repo.path


@pytest.fixture
def long_history(_long_history: Path, tmp_path: Path) -> GitRepo:
    """Ninety small commits of one module; a copy to play with."""
    shutil.copytree(_long_history, tmp_path / "long")
    return GitRepo(tmp_path / "long")


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights."""
    return write_random_model(tmp_path_factory.mktemp("model") / "model.safetensors")
