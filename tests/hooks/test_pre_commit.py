"""Claims about the check that the hook runs.

1. A change above the warning percentile gives at most so many lines, each naming a unit, a place, the reason
   of its loudest channel and a next step; a change below it, or with nothing to compare with, gives none.
2. It stops a commit only above a percentile that was set as a gate.
3. Through the installed hook and real `git commit`s: a pasted payload is named on stderr and committed all
   the same; with a gate it is not committed; `git commit -a`, which has an index of its own, is seen too;
   ordinary edits, changes without Python and empty commits are silent.
4. A failure of our own is one line and no obstacle, unless strict.
5. It needs no torch; names from the repository are printed inert.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from codewm.hooks.pre_commit import judged
from codewm.model.scoring.report import Calibration, Channel, CommitScore, Report, UnitScore
from tests.helpers import GitRepo, hermetic_env, run_cli
from tests.scoring.random_model import write_random_model

PAYLOAD = "    import base64\n    exec(base64.b64decode('cHJpbnQoMSk=').decode())\n"
PAST = 40


def unit(name: str, percentile: float | None, loud: str = "displacement") -> UnitScore:
    quiet, high = Channel(0.1, 10.0, 10.0, 0.9), Channel(9.0, 99.0, 99.0, 0.01)
    channels = {c: high if c == loud else quiet for c in ("displacement", "new_identifiers")}
    return UnitScore(
        path="a.py", unit=name, kind="function", change="modified", test=False, lines=(1, 9),
        first_changed_line=3, tokens_added=5, tokens_removed=2, action={}, surprise=0.9,
        percentile=percentile,
        percentile_size_matched=percentile, displacement=1.0, predicted_displacement=0.5, channels=channels,
        reasons=(f"{loud}: because",), neighbours=(),
    )  # fmt: skip


def report(percentile: float | None, *units: UnitScore) -> Report:
    change = CommitScore(
        oid="", subject="", author_time=0, merge=False, state="scored", score=0.9, percentile=percentile,
        percentile_size_matched=percentile, p_value=None, alert=False, lines_added=1, lines_deleted=1,
        reasons=(), units=units,
    )  # fmt: skip
    past = Calibration(100, 900, "live", 0, "")
    return Report("", "base", "", "", "", "v15", (), past, (2, 100), (change,))


def test_an_unusual_change_names_its_unusual_units_most_surprising_first() -> None:
    units = (unit("f", 99.9), unit("g", 98.5, "new_identifiers"), unit("h", 50.0))
    outcome = judged(report(99.0, *units), warn_above=97, max_warnings=3, fail_above=None)
    assert outcome.lines == (
        "codewm: unusual edit of f at a.py:3 (percentile 99.9 for its kind and size): displacement: because; "
        "check that this code belongs in this unit, 'codewm score --staged' says more",
        "codewm: unusual edit of g at a.py:3 (percentile 98.5 for its kind and size): new_identifiers: "
        "because; check where these names come from, 'codewm score --staged' says more",
    )
    assert not outcome.stop


def test_at_most_so_many_lines() -> None:
    units = [unit(f"f{i}", 99.0) for i in range(9)]
    assert len(judged(report(99.0, *units), warn_above=97, max_warnings=3, fail_above=None).lines) == 3
    assert judged(report(99.0, *units), warn_above=97, max_warnings=0, fail_above=None).lines == ()


def test_an_unusual_change_of_ordinary_units_names_the_first() -> None:
    outcome = judged(
        report(99.0, unit("f", 90.0), unit("g", 80.0)), warn_above=97, max_warnings=3, fail_above=None
    )
    assert len(outcome.lines) == 1
    assert "edit of f at" in outcome.lines[0]


@pytest.mark.parametrize("percentile", [None, 50.0, 97.0])
def test_an_ordinary_change_is_silent(percentile: float | None) -> None:
    outcome = judged(report(percentile, unit("f", 99.9)), warn_above=97, max_warnings=3, fail_above=99)
    assert (outcome.lines, outcome.stop) == ((), False)


@pytest.mark.parametrize(("percentile", "stop"), [(98.9, False), (99.0, False), (99.1, True)])
def test_the_gate(percentile: float, stop: bool) -> None:
    outcome = judged(report(percentile, unit("f", 99.9)), warn_above=97, max_warnings=1, fail_above=99)
    assert outcome.stop is stop
    assert len(outcome.lines) == 1 + stop
    assert ("--no-verify" in outcome.lines[-1]) is stop


def test_no_units_no_lines() -> None:
    assert judged(report(99.0), warn_above=97, max_warnings=3, fail_above=None).lines == ()


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """Build a repository with a past of small ordinary edits, a local model and the installed hook."""
    repo = GitRepo(tmp_path_factory.mktemp("hook") / "repo")
    body = {i: f"def work{i}(a, b):\n    total = a + b\n    return total\n" for i in range(4)}
    repo.commit("start", {f"mod{i}.py": text for i, text in body.items()})
    for n in range(PAST):
        body[n % 4] = body[n % 4].replace(
            "    return total", f"    total = total * {n} + a\n    return total"
        )
        repo.commit(f"step {n}", {f"mod{n % 4}.py": body[n % 4]})
    (repo.path / ".git" / "codewm").mkdir()
    write_random_model(repo.path / ".git" / "codewm" / "model.safetensors")
    assert run_cli("hook", "install", cwd=repo.path).status == 0
    return repo


@pytest.fixture
def repo(origin: GitRepo) -> GitRepo:
    """Give that repository as it was, whatever the test before did to it."""
    origin.git("reset", "-q", "--hard", "main")
    origin.git("checkout", "-q", "-B", "trial", "main")
    origin.git_result("config", "--local", "--remove-section", "codewm.hook")
    write_random_model(origin.path / ".git" / "codewm" / "model.safetensors")
    return origin


def paste(repo: GitRepo) -> None:
    path = repo.path / "mod1.py"
    path.write_text(path.read_text().replace("    return total", PAYLOAD + "    return total"))


def committed(repo: GitRepo, *args: str) -> subprocess.CompletedProcess[bytes]:
    return repo.git_result("commit", "-q", "-m", "change", *args)


def test_a_pasted_payload_is_named_and_committed(repo: GitRepo) -> None:
    paste(repo)
    repo.git("add", "-A")
    done = committed(repo)
    assert done.returncode == 0
    [line] = done.stderr.decode().splitlines()
    assert line.startswith("codewm: unusual edit of work1 at mod1.py:")
    assert "new identifiers" in line
    assert "exec" in line
    assert done.stdout == b""


@pytest.mark.parametrize("args", [["-a"], ["mod1.py"]])
def test_a_commit_with_an_index_of_its_own_is_seen(repo: GitRepo, args: list[str]) -> None:
    paste(repo)
    done = committed(repo, *args)
    assert done.returncode == 0
    assert b"unusual edit of work1" in done.stderr


def test_a_gate_stops_the_commit(repo: GitRepo) -> None:
    repo.git("config", "codewm.hook.fail-above", "98")
    paste(repo)
    head = repo.git("rev-parse", "HEAD")
    done = committed(repo, "-a")
    assert done.returncode == 1
    assert b"the commit is stopped" in done.stderr
    assert repo.git("rev-parse", "HEAD") == head


def test_an_ordinary_edit_is_silent(repo: GitRepo) -> None:
    path = repo.path / "mod2.py"
    path.write_text(
        path.read_text().replace("    return total", "    total = total * 99 + a\n    return total")
    )
    done = committed(repo, "-a")
    assert (done.returncode, done.stderr) == (0, b"")


def test_nothing_to_check_is_silent(repo: GitRepo) -> None:
    repo.write("README.md", "exec(base64)\n")
    repo.git("add", "-A")
    assert (committed(repo).returncode, committed(repo, "--allow-empty").stderr) == (0, b"")
    ran = run_cli("hook", "run", cwd=repo.path)
    assert (ran.status, ran.out, ran.err) == (0, "", "")


def test_our_own_failure_is_one_line_and_no_obstacle(repo: GitRepo) -> None:
    (repo.path / ".git" / "codewm" / "model.safetensors").write_bytes(b"damaged")
    paste(repo)
    done = committed(repo, "-a")
    assert done.returncode == 0
    [line] = done.stderr.decode().splitlines()
    assert line.startswith("codewm: the commit is not checked: ")


def test_strict_makes_our_own_failure_an_obstacle(repo: GitRepo) -> None:
    repo.git("config", "codewm.hook.strict", "true")
    (repo.path / ".git" / "codewm" / "model.safetensors").write_bytes(b"damaged")
    paste(repo)
    done = committed(repo, "-a")
    assert done.returncode != 0
    assert done.stderr.startswith(b"error: ")


def test_a_mistake_in_the_settings_is_no_obstacle(repo: GitRepo) -> None:
    repo.git("config", "codewm.hook.warn-abov", "5")
    paste(repo)
    done = committed(repo, "-a")
    assert done.returncode == 0
    assert b"unknown setting 'hook.warn-abov'" in done.stderr


def test_no_torch_is_needed(repo: GitRepo, tmp_path: Path) -> None:
    paste(repo)
    repo.git("add", "-A")
    code = (
        "import sys; sys.modules['torch'] = sys.modules['h5py'] = None\n"
        "from codewm.cli.main import main; sys.exit(main(['hook', 'run', '--strict']))"
    )
    command, env = [sys.executable, "-c", code], hermetic_env(tmp_path / "home")
    done = subprocess.run(command, cwd=repo.path, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"unusual edit of work1" in done.stderr


def test_names_are_printed_inert(repo: GitRepo) -> None:
    name = "evil\x1b[31m\nname.py"
    repo.write(name, "def work(a):\n" + PAYLOAD + "    return eval(a)\n")
    repo.git("add", "-A")
    done = committed(repo)
    assert done.returncode == 0
    [line] = done.stderr.splitlines()
    assert b"evil\\x1b[31m\\nname.py" in line
    assert b"\x1b" not in line
