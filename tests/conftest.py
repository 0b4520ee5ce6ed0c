"""Fixtures for every test: a hermetic process and real repositories."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers import GitRepo, hermetic_env


@pytest.fixture(autouse=True, scope="session")
def _hermetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Replace what the machine would say about Git, colours and homes, for in-process runs too."""
    saved = dict(os.environ)
    wanted = hermetic_env(tmp_path_factory.mktemp("home"))
    for key in [k for k in os.environ if k.startswith("GIT_") or k in {"FORCE_COLOR", "COLUMNS", "CI"}]:
        del os.environ[key]
    os.environ.update(wanted)
    yield
    os.environ.clear()
    os.environ.update(saved)


@pytest.fixture
def git_repo(tmp_path: Path) -> GitRepo:
    """Give an empty repository."""
    return GitRepo(tmp_path / "repo")


@pytest.fixture
def make_git_repo(tmp_path: Path) -> Callable[[str], GitRepo]:
    """Give a maker of further repositories by name."""
    return lambda name: GitRepo(tmp_path / name)
