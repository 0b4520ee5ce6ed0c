"""Claims about `codewm similar`, on a real repository:

1. Of an edit that was made before, that one comes first, with its subject and unit; of units, the largest. What an
   edit takes back is named.
2. What a later commit reverts is said; nothing after the change is searched in.
3. stdout is text or codewm.similar/1, stderr is talk; what is staged can be asked for. Subjects are shown inert.
4. What cannot be answered is refused with a hint, exit 2; neither torch nor h5py is imported.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.helpers import GitRepo, hermetic_env, run_cli
from tests.scoring.random_model import write_random_model

HOSTILE = "\x1b[31mred\x1b[0m [bold]loud[/bold]"


def module(first: str, second: str) -> str:
    return f"def f(a):\n    {first}\n    return a\n\n\ndef g(a, b):\n    {second}\n    return a + b\n"


@pytest.fixture
def repo(git_repo: GitRepo) -> tuple[GitRepo, dict[str, str]]:
    done = {
        "start": git_repo.commit(
            "start", {"a.py": module("a += 1", "b = 2"), "b.py": module("a = 3", "b = 4")}
        )
    }
    done["log"] = git_repo.commit(f"log it {HOSTILE}", {"a.py": module("log(a, level=3)", "b = 2")})
    done["undo"] = git_repo.commit(
        f"no\n\nThis reverts commit {done['log']}.", {"a.py": module("a += 1", "b = 2")}
    )
    done["loop"] = git_repo.commit("loop", {"b.py": module("a = 3", "b = [c for c in a if c]")})
    done["again"] = git_repo.commit("log it again", {"a.py": module("log(a, level=3)", "b = 2")})
    done["both"] = git_repo.commit(
        "both", {"b.py": module("log(a)", "for b in a:\n        b.update(a, f(b))")}
    )
    write_random_model(git_repo.path / ".git" / "codewm" / "model.safetensors")
    return git_repo, done


def test_the_same_edit_comes_first(repo: tuple[GitRepo, dict[str, str]]) -> None:
    git, done = repo
    ran = run_cli("similar", done["again"], "--format", "json", cwd=git.path)
    assert ran.status == 0, ran.err
    found = json.loads(ran.out)
    assert (found["schema"], found["oid"], found["subject"]) == (
        "codewm.similar/1",
        done["again"],
        "log it again",
    )
    (unit,) = found["units"]
    assert (unit["path"], unit["unit"], unit["change"]) == ("a.py", "f", "modified")
    first = unit["edits"][0]
    assert (first["oid"], first["unit"], first["reverted_by"]) == (done["log"], "f", done["undo"])
    assert first["similarity"] == pytest.approx(1, abs=1e-3)
    values = [e["similarity"] for e in unit["edits"]]
    assert values == sorted(values, reverse=True)
    assert {e["oid"] for e in unit["edits"]} == {done["log"], done["undo"], done["loop"]}
    assert unit["undoes"]["oid"] == done["undo"]
    assert unit["undoes"]["similarity"] == pytest.approx(-1, abs=1e-3)
    assert "3 past commits" in ran.err


def test_text_and_limits(repo: tuple[GitRepo, dict[str, str]]) -> None:
    git, done = repo
    ran = run_cli("similar", "--units", "1", "-n", "2", cwd=git.path)
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert lines[0] == f"{done['both'][:8]} both"
    assert sum(not line.startswith(" ") and "::" in line for line in lines) == 1
    assert "b.py::g (modified" in ran.out  # the larger of the two
    assert sum("  " + oid[:8] in ran.out for oid in done.values()) == 2
    assert "1 smaller units" in ran.err
    (undo,) = json.loads(run_cli("similar", done["undo"], "--format", "json", cwd=git.path).out)["units"]
    assert undo["undoes"]["oid"] == done["log"]
    whole = run_cli("similar", done["again"], "-q", cwd=git.path)
    assert whole.err == ""
    assert f"[reverted by {done['undo'][:8]}]" in whole.out
    assert "\\x1b[31mred" in whole.out
    assert "\x1b" not in whole.out


def test_what_is_staged(repo: tuple[GitRepo, dict[str, str]]) -> None:
    git, done = repo
    git.stage({"b.py": module("log(a, level=3)", "for b in a:\n        b.update(a, f(b))")})
    ran = run_cli("similar", "--staged", "--format", "json", cwd=git.path)
    found = json.loads(ran.out)
    assert (found["oid"], found["units"][0]["unit"]) == ("", "f")
    assert done["both"] in {e["oid"] for e in found["units"][0]["edits"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start",), "start"),
        (("HEAD~2..HEAD",), "one commit"),
        (("--staged", "--worktree"), "exclude each other"),
        (("--format", "xml"), "no format"),
        (("--staged",), "nothing is staged"),
    ],
)
def test_what_is_refused(repo: tuple[GitRepo, dict[str, str]], words: tuple[str, ...], said: str) -> None:
    ran = run_cli("similar", *words, cwd=repo[0].path)
    assert ran.status == 2
    assert said in ran.err
    assert "hint: " in ran.err
    assert ran.out == ""


def test_before_there_is_a_past(repo: tuple[GitRepo, dict[str, str]]) -> None:
    git, done = repo
    ran = run_cli("similar", done["start"], cwd=git.path)
    assert ran.status == 2
    assert "no past edits" in ran.err


def test_no_torch_and_no_h5py(repo: tuple[GitRepo, dict[str, str]]) -> None:
    code = (
        "import sys\nfrom codewm.cli.main import main\nassert main(['similar', '-q']) == 0\n"
        "assert not {'torch', 'h5py', 'sklearn'} & set(sys.modules)\n"
    )
    env = hermetic_env(repo[0].path.parent / "home")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo[0].path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
