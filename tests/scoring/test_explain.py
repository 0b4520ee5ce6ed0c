"""Claims about `codewm explain`:

1. It names the most surprising unit, the channel that fired, and the names it rests on with their source lines.
2. Each of the five nearest past edits has a fate, as known now; one that a later fix changed is said to be fixed.
3. What would have been usual are edits of the past, of the same sort of change, one of each commit.
4. `--staged` and `--worktree` explain the change at hand; a range is refused; what changes no code says so.
5. With too little history it abstains in words, and exits 0; without any, it compares with nothing.
6. The JSON is schema codewm.explain/1; hostile text is inert in both formats.
7. Neither torch nor sklearn is imported.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import GitRepo, run_cli
from tests.scoring.conftest import module
from tests.scoring.random_model import write_random_model

PAYLOAD = "\n\ndef load(path):\n    import subprocess\n    return subprocess.Popen(exec(path))\n"


@pytest.fixture
def repo(long_history: GitRepo) -> GitRepo:
    """Ninety commits with a local model."""
    write_random_model(long_history.path / ".git" / "codewm" / "model.safetensors")
    return long_history


def explained(repo: GitRepo, *words: str) -> dict[str, Any]:
    ran = run_cli("explain", *words, "--format", "json", cwd=repo.path)
    assert ran.status == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    assert found["schema"] == "codewm.explain/1"
    return found


def test_the_channel_and_the_names_it_rests_on(repo: GitRepo) -> None:
    repo.commit("add a loader", {"b.py": "import json\n\n\ndef load(path):\n    return path\n" + PAYLOAD})
    found = explained(repo, "HEAD")
    unit = found["units"][0]
    names = next(f for f in unit["fired"] if f["channel"] == "new_identifiers")
    assert names["fired"]
    assert names["percentile_size_matched"] > 90
    tokens = {t["text"]: t for t in names["tokens"]}
    assert tokens["Popen"]["note"] == "runs other programs"
    source = (repo.path / "b.py").read_text().splitlines()
    assert all(t["text"] in source[t["line"] - 1] for t in names["tokens"])
    assert sum(t["share"] for t in names["tokens"]) <= 1.0001
    assert [t["share"] for t in names["tokens"]] == sorted(
        (t["share"] for t in names["tokens"]), reverse=True
    )
    text = run_cli("explain", cwd=repo.path).out
    assert "Popen" in text
    assert "runs other programs" in text
    assert f"b.py:{unit['first_changed_line']}" in text


def test_the_past_edits_and_their_fate(repo: GitRepo) -> None:
    found = explained(repo, "HEAD~1")
    unit = found["units"][0]
    assert len(unit["nearest"]) == 5
    known = repo.git("rev-list", "HEAD~2").split()
    assert all(e["oid"] in known for e in unit["nearest"] + unit["usual"])
    assert all(e["fate"]["what"] != "unknown" for e in unit["nearest"])
    assert len(unit["usual"]) == 3
    assert len({e["oid"] for e in unit["usual"]}) == 3
    assert {e["change"] for e in unit["usual"]} == {unit["change"]}
    assert unit["movement"]["agreement"] <= 1
    assert "as expected" in unit["movement"]["sentence"]


def test_a_fix_that_came_later_is_known(repo: GitRepo) -> None:
    # The same edit as the one explained, a little earlier, with a fix after it.
    repo.commit("careful", {"a.py": module(90).replace("items):\n", "items):\n    check = items\n")})
    first = repo.git("rev-parse", "HEAD")
    repo.commit("fix the crash", {"a.py": module(90)})
    fix = repo.git("rev-parse", "HEAD")
    repo.commit("careful again", {"a.py": module(90).replace("items):\n", "items):\n    check = items\n")})
    units = explained(repo, "HEAD", "--units", "6")["units"]
    fates = [e["fate"] for u in units for e in u["nearest"] if e["oid"] == first]
    assert fates
    assert all((f["what"], f["by"]) == ("fixed", fix) for f in fates)


def test_the_change_at_hand(repo: GitRepo) -> None:
    repo.stage({"a.py": module(3)})
    assert explained(repo, "--staged")["commit"]["oid"] == ""
    assert explained(repo, "--worktree")["units"]
    assert run_cli("explain", "HEAD", "--staged", cwd=repo.path).status == 2
    refused = run_cli("explain", "HEAD~3..HEAD", cwd=repo.path)
    assert refused.status == 2
    assert "is a range" in refused.err


def test_no_code_is_said(repo: GitRepo) -> None:
    repo.commit("text", {"README": "other\n"})
    assert explained(repo)["verdict"] == "No Python file changed: nothing to say."
    repo.commit("comment", {"a.py": module(89) + "# a remark\n"})
    assert "nothing to say" in explained(repo)["verdict"]


def test_too_little_history(git_repo: GitRepo) -> None:
    write_random_model(git_repo.path / ".git" / "codewm" / "model.safetensors")
    git_repo.commit("start", {"a.py": module(0)})
    assert "no history before" in explained(git_repo)["abstains"]
    git_repo.commit("next", {"a.py": module(1)})
    git_repo.commit("last", {"a.py": module(2)})
    found = explained(git_repo)
    assert found["abstains"].startswith("Too little history")
    assert found["verdict"].startswith("No verdict") or found["verdict"].startswith("Nothing can be said")
    assert "Too little history" in run_cli("explain", cwd=git_repo.path).out


def test_hostile_text_is_inert(repo: GitRepo) -> None:
    path = b"pkg/\xff\x1b[2J[red].py".decode("utf-8", "surrogateescape")
    repo.commit("\x1b[31mred [bold]loud[/bold] \u202eevil", {path: "def f():\n    exec(input())\n"})
    for form in ("text", "json"):
        ran = run_cli("explain", "--format", form, cwd=repo.path)
        assert ran.status == 0, ran.err
        assert "\x1b" not in ran.out
        assert "\u202e" not in ran.out


def test_nothing_heavy_is_imported(repo: GitRepo) -> None:
    code = (
        "import sys\nfrom codewm.cli.main import main\nstatus = main(['explain', '-q'])\n"
        "assert status == 0, status\n"
        "assert not {'torch', 'sklearn', 'scipy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repo.path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_outside_a_repository(tmp_path: Path) -> None:
    assert run_cli("explain", "--repo", str(tmp_path)).status == 2
