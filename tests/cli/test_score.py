"""Claims about `codewm score`:

1. The JSON is schema codewm.score/1 of DESIGN 8: these fields, with these meanings; JSON lines hold the same.
2. stdout holds data alone, stderr says which model and calibration were used and what the model was told.
3. The default range is clipped to what exists; staged, work tree, one commit and ranges can be named.
4. Subjects and paths with escapes, markup and undecodable bytes are shown inert.
5. Gates hold back only when asked for: exit 1; bad input is exit 2 with a hint.
6. Neither torch nor h5py is imported; a damaged chains.h5 is refused with a hint, exit 2.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from codewm.model.scoring.channels import CHANNELS
from tests.helpers import GitRepo, hermetic_env, run_cli
from tests.scoring.random_model import write_random_model

COMMIT_FIELDS = {
    "oid", "subject", "author_time", "score", "percentile", "percentile_size_matched", "p_value", "alert",
    "lines_added", "lines_deleted", "reasons", "units",
}  # fmt: skip
UNIT_FIELDS = {
    "path", "unit", "kind", "action", "surprise", "percentile", "displacement", "predicted_displacement",
    "neighbours",
}  # fmt: skip
HOSTILE = "\x1b[31mred\x1b[0m [bold]loud[/bold] \u202eevil"


def source(version: int) -> str:
    first = (
        f"import os\n\n\ndef f(a):\n    b = a + {version}\n    return {('b', 'len(b)', 'a')[version % 3]}\n"
    )
    return f"{first}\n\ndef g(a):\n    return a - {version % 3}\n"


@pytest.fixture
def repo(git_repo: GitRepo) -> GitRepo:
    """Seventy commits, with a local model."""
    for version in range(70):
        git_repo.commit(f"version {version}", {"pkg/a.py": source(version)})
    write_random_model(git_repo.path / ".git" / "codewm" / "model.safetensors")
    return git_repo


def test_the_json_is_the_schema(repo: GitRepo) -> None:
    ran = run_cli("score", "--format", "json", cwd=repo.path)
    assert ran.status == 0
    report = json.loads(ran.out)
    assert report["schema"] == "codewm.score/1"
    assert {"repo", "model", "commits"} <= report.keys()
    assert report["model"]["source"] == "local"
    assert len(report["commits"]) == 20
    commit = report["commits"][0]
    assert commit.keys() >= COMMIT_FIELDS
    assert commit["oid"] == repo.git("rev-parse", "HEAD")
    assert commit["subject"] == "version 69"
    assert (commit["lines_added"], commit["lines_deleted"]) == (3, 3)
    assert 0 <= commit["score"] <= 1
    assert 0 <= commit["percentile_size_matched"] <= 100
    assert 0 < commit["p_value"] <= 1
    assert commit["alert"] is False
    unit = commit["units"][0]
    assert unit.keys() >= UNIT_FIELDS
    assert (unit["path"], unit["kind"]) == ("pkg/a.py", "function")
    assert len(unit["action"]) == 15
    assert unit["action"]["type_modify"] == 1
    assert {"oid", "path", "unit", "similarity", "subject"} <= unit["neighbours"][0].keys()
    assert unit["channels"].keys() == set(CHANNELS)
    lines = run_cli("score", "--format", "jsonl", cwd=repo.path).out.splitlines()
    assert [json.loads(line)["oid"] for line in lines] == [c["oid"] for c in report["commits"]]
    assert json.loads(lines[0])["schema"] == "codewm.score/1"


def test_data_on_stdout_and_talk_on_stderr(repo: GitRepo) -> None:
    ran = run_cli("score", cwd=repo.path)
    assert ran.status == 0
    assert "version 69" in ran.out
    assert "Model: the local model" in ran.err
    assert "49 past commits" in ran.err
    assert "type_modify" in ran.err
    assert run_cli("score", "--quiet", cwd=repo.path).err == ""


def test_what_is_scored(repo: GitRepo) -> None:
    def oids(*args: str) -> list[str]:
        ran = run_cli("score", *args, "--format", "json", cwd=repo.path)
        assert ran.status == 0, ran.err
        return [c["oid"] for c in json.loads(ran.out)["commits"]]

    line = repo.git("rev-list", "HEAD").split()
    assert oids() == line[:20]
    assert oids("HEAD~2") == [line[2]]
    assert oids("HEAD~5..HEAD~2") == line[2:5]
    repo.stage({"pkg/a.py": source(1)})
    assert oids("--staged") == [""]
    assert oids("--worktree") == [""]


def test_the_default_range_is_clipped(git_repo: GitRepo, tmp_path: Path) -> None:
    model = write_random_model(tmp_path / "model.safetensors")
    for version in range(3):
        git_repo.commit(f"version {version}", {"a.py": source(version)})
    ran = run_cli("score", "--model", str(model), cwd=git_repo.path)
    assert ran.status == 0
    assert all(f"version {v}" in ran.out for v in range(3))
    assert "no history before" in ran.err


def test_hostile_text_is_inert(repo: GitRepo) -> None:
    path = b"pkg/\xff\x1b[2J[red].py".decode("utf-8", "surrogateescape")
    repo.commit(HOSTILE, {path: "def f():\n    exec(input())\n"})
    ran = run_cli("score", "HEAD", cwd=repo.path)
    assert ran.status == 0
    for text in (ran.out, ran.err):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "[bold]" in ran.out  # markup is text
    ran = run_cli("score", "HEAD", "--format", "json", cwd=repo.path)
    assert ran.out.isascii()
    [commit] = json.loads(ran.out)["commits"]
    assert commit["subject"] == HOSTILE
    assert commit["units"][0]["path"] == "pkg/\\xff\x1b[2J[red].py"


def test_gates(repo: GitRepo) -> None:
    payload = source(69).replace("    return", "    exec(__import__('base64').b64decode(a))\n    return", 1)
    repo.stage({"pkg/a.py": payload})
    assert run_cli("score", "--staged", cwd=repo.path).status == 0
    held = run_cli("score", "--staged", "--alert-budget", "2/100", cwd=repo.path)
    assert held.status == 1
    assert "Held back" in held.err
    assert run_cli("score", "--staged", "--fail-above", "90", cwd=repo.path).status == 1
    assert run_cli("score", "HEAD", "--fail-above", "100", cwd=repo.path).status == 0


def test_bad_input(repo: GitRepo, make_git_repo: object, tmp_path: Path) -> None:
    empty = GitRepo(tmp_path / "empty")
    (tmp_path / "plain").mkdir()
    for where, *args in (
        (repo.path, "HEAD..HEAD"),
        (repo.path, "nowhere"),
        (repo.path, "HEAD", "--staged"),
        (repo.path, "--staged"),
        (repo.path, "--alert-budget", "200/100"),
        (repo.path, "--format", "xml"),
        (repo.path, "--merges", "all"),
        (repo.path, "--model", "absent"),
        (empty.path,),
        (tmp_path / "plain",),
    ):
        ran = run_cli("score", *map(str, args), cwd=Path(where))
        assert ran.status == 2, args
        assert ran.out == ""
        assert ran.err.count("error: ") == 1
        assert "hint: " in ran.err


def test_neither_torch_nor_h5py_is_imported(repo: GitRepo) -> None:
    code = (
        "import sys\n"
        "from codewm.cli.main import main\n"
        "assert main(['score', '--format', 'json']) == 0\n"
        "print(sorted({'torch', 'h5py', 'rich', 'scipy'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repo.path,
        env=hermetic_env(repo.home) | {"PYTHONPATH": ":".join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


def test_damaged_chains_are_refused_with_a_hint(repo: GitRepo) -> None:
    assert run_cli("score", "--format", "json", cwd=repo.path).status == 0
    data = repo.path / ".git" / "codewm"
    (data / "calibration.safetensors").unlink()
    (data / "chains.h5").write_bytes(b"not HDF5")
    ran = run_cli("score", "--format", "json", cwd=repo.path)
    assert ran.status == 2
    assert ran.out == ""
    assert "error: " in ran.err
    assert "hint: " in ran.err
    assert "codewm harvest" in ran.err


def test_all_that_scores_shares_what_is_kept(repo: GitRepo) -> None:
    """With the history configured, too: otherwise each of them would measure the past anew for itself."""
    repo.git("config", "codewm.score.history", "7")

    def key() -> str:
        from safetensors.numpy import load

        stored = load((repo.path / ".git" / "codewm" / "calibration.safetensors").read_bytes())
        return str(json.loads(stored["meta"].tobytes())["key"])

    assert run_cli("score", "HEAD", cwd=repo.path).status == 0
    configured = key()
    assert run_cli("similar", "HEAD", cwd=repo.path).status == 0
    repo.write("a.py", "def f():\n    return 'changed'\n")
    repo.git("add", "-A")
    assert run_cli("hook", "run", "--strict", cwd=repo.path).status == 0
    assert run_cli("explain", "HEAD", cwd=repo.path).status == 0
    assert key() == configured
    repo.git("config", "--unset", "codewm.score.history")
    assert run_cli("score", "HEAD", cwd=repo.path).status == 0
    assert key() != configured
