"""Claims about `codewm harvest` and `codewm info`:

1. The table of a harvest shows both sums; JSON holds the same numbers; stdout is data and stderr is talk.
2. Names from a repository are shown inert.
3. On a terminal, progress has a rate and the time left; elsewhere there is none.
4. Bad input is exit 2 with a hint; a store that cannot be used does not stop `info`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import GitRepo, run_cli


def test_the_ledger_is_printed(history: Path) -> None:
    ran = run_cli("harvest", str(history))
    assert ran.status == 0
    rows = {
        line.rsplit(maxsplit=2)[0].strip(): line.split()[-2:] for line in ran.out.splitlines() if line.strip()
    }
    assert rows["sum of the above"] == rows["file changes in the history"]
    assert int(rows["sum of the above"][0]) > 15
    assert rows["skipped: symbolic link or submodule"] == ["2", "0"]
    assert "commits read in" in ran.err


def test_json(history: Path) -> None:
    ran = run_cli("harvest", "--json", str(history))
    first = json.loads(ran.out)
    assert (first["schema"], first["how"]) == ("codewm.harvest/1", "new")
    for kind in first["file_changes"].values():
        assert kind["balanced"]
        assert kind["file_changes"] == kind["with_edits"] + sum(kind["skipped"].values())
    again = json.loads(run_cli("harvest", "--json", "--quiet", str(history)).out)
    assert [{**row, "repositories": [row]} for row in again["repositories"]] == [again]
    assert again["how"] == "unchanged"
    assert again["file_changes"] == first["file_changes"]


def test_info(history: Path, tmp_path: Path) -> None:
    assert "there are no chains" in run_cli("info", str(history)).out
    run_cli("harvest", str(history))
    found = json.loads(run_cli("info", "--json", str(history)).out)
    assert found["chains"]["behind"] == 0
    assert found["settings"]["harvest.window"] == {"value": 256, "from": "default"}
    assert found["repository"]["branch"] == "main"
    assert "window" in run_cli("info", str(history)).out


def test_settings_from_git_config(git_repo: GitRepo) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n"})
    git_repo.git("config", "codewm.harvest.window", "32")
    assert json.loads(run_cli("harvest", "--json", str(git_repo.path)).out)["header"]["window"] == 32
    found = json.loads(run_cli("info", "--json", str(git_repo.path)).out)
    assert found["settings"]["harvest.window"] == {"value": 32, "from": "git config"}


def test_a_hostile_folder_name_is_inert(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "[red]\x1b[31mx")
    repo.commit("first", {"a.py": "x = 1\n"})
    for args in (["harvest"], ["harvest", "--json"], ["info"], ["info", "--json"]):
        ran = run_cli(*args, str(repo.path))
        assert ran.status == 0
        assert "\x1b[31m" not in ran.out + ran.err
        assert "[red]" in ran.out + ran.err


@pytest.mark.parametrize(
    "args", [["--merges", "octopus"], ["--max-commits", "-1"], ["--jobs", "many"], ["/nowhere"]]
)
@pytest.mark.parametrize("verb", ["harvest"])
def test_bad_input(git_repo: GitRepo, verb: str, args: list[str]) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n"})
    ran = run_cli(verb, *args, cwd=git_repo.path)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error: ")


def test_no_commits_no_repository_and_no_store(git_repo: GitRepo, tmp_path: Path) -> None:
    assert run_cli("harvest", cwd=git_repo.path).status == 2
    found = json.loads(run_cli("info", "--json", cwd=git_repo.path).out)
    assert found["repository"]["tip"] is None
    for verb in ("harvest", "info"):
        ran = run_cli(verb, cwd=tmp_path)
        assert (ran.status, "hint: " in ran.err) == (2, True)


def test_a_damaged_store_is_rebuilt_by_harvest_alone(git_repo: GitRepo) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n"})
    assert run_cli("harvest", "-q", cwd=git_repo.path).status == 0
    path = git_repo.path / ".git" / "codewm" / "chains.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert "damaged" in run_cli("info", cwd=git_repo.path).out
    ran = run_cli("harvest", cwd=git_repo.path)
    assert (ran.status, "started over: " in ran.err, "damaged" in ran.err) == (0, True, True)
    assert path.read_bytes() == whole


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
def test_progress_on_a_terminal(history: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    code = "import sys; from codewm.cli.main import main; sys.exit(main(['harvest', *sys.argv[1:]]))"
    command = [sys.executable, "-c", code, str(history)]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux says that the other side is gone by an error
        while got := os.read(ours, 1 << 16):
            shown += got
    os.close(ours)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert b"commits/s" in shown
    assert re.search(rb"\d:\d\d:\d\d", shown)
    assert out.startswith(b"Python file changes")
    plain = run_cli("harvest", "--rebuild", str(history))
    assert "commits/s" not in plain.err
