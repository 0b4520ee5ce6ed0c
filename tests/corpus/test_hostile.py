"""Claim: whatever a repository's configuration, attributes and hooks name, none of it runs.

Each trap is one that git itself falls into, which the first test shows, or the others would prove nothing.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest
from tests.corpus.conftest import build
from tests.helpers import run_cli


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    folder = build("hostile.sh", tmp_path / "repo")
    _sprung(folder)
    return folder


def _sprung(folder: Path) -> list[str]:
    """Return the traps that went off since the last time."""
    log = folder.parent / "trap.log"
    lines = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def test_the_traps_work(hostile: Path) -> None:
    for args in (
        ["status"],
        ["diff"],
        ["diff", "--ext-diff"],
        ["log", "-1", "-p", "--textconv"],
        ["add", "a.py"],
    ):
        subprocess.run(["git", *args], cwd=hostile, capture_output=True, check=False, timeout=20)
    expected = {"fsmonitor", "hook-post-index-change", "process", "driver", "textconv"}
    assert expected <= set(_sprung(hostile))


def test_nothing_runs(hostile: Path, options: Options, tmp_path: Path) -> None:
    with Repository.open(hostile) as repo:
        assert repo.config("core")["core.fsmonitor"].endswith("fsmonitor")
        records = list(repo.commits("HEAD"))
        assert [r.subject for r in records] == ["first", "second"]
        assert [c.content for c in repo.worktree().changes] == [b"def f():\n    return 3\n"]
        assert repo.staged().changes == ()
        assert len(repo.tree_python_blobs("HEAD")) == 1
        assert harvest(repo, options).header.edits == 2
    assert run_cli("harvest", "--rebuild", str(hostile)).status == 0
    assert run_cli("info", str(hostile)).status == 0
    assert _sprung(hostile) == []


def test_inherited_variables_do_not_steer_git(
    hostile: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trap = hostile.parent / "trap"
    for name in (
        "GIT_EXTERNAL_DIFF",
        "GIT_SSH_COMMAND",
        "GIT_PAGER",
        "GIT_ASKPASS",
        "GIT_EDITOR",
        "GIT_PROXY_COMMAND",
    ):
        monkeypatch.setenv(name, f"{trap} {name}")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.bare")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "nonsense")
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    with Repository.open(hostile) as repo:
        assert len(list(repo.commits("HEAD"))) == 2
        assert repo.config("user")["user.name"] == "Eve"
    assert _sprung(hostile) == []
    assert not (tmp_path / "trace").exists()
