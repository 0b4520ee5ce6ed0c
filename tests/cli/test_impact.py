"""Claims about `codewm impact`:

1. What is staged, a work tree and a commit can be asked about; without a word, it is the first of these that there is.
2. What usually changes together is named with counts, and the gate holds only where it was asked for: exit 1.
3. The JSON is schema codewm.impact/1; stdout is data, stderr is talk.
4. Names of a repository are shown inert, in text and as JSON.
5. It works without a harvest, on an empty history, in a bare, a shallow and a rewritten repository; bad input is
   exit 2 with a hint.
6. Evidence from names is checked against the file: what no longer says so is not quoted.
7. Neither torch nor h5py is imported once the past is stored, and what is stored follows HEAD.
8. `--tests` and `--observe` are measured on this repository's past.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import GitRepo, hermetic_env, run_cli
from tests.impact.shop import checks, fill, module

HOSTILE = "tests/test_\x1b[31mprices\u202e.py"


@pytest.fixture
def repo(git_repo: GitRepo) -> GitRepo:
    return fill(git_repo)


def ask(repo: GitRepo, *args: str) -> dict[str, object]:
    ran = run_cli("impact", "--format", "json", *args, cwd=repo.path)
    assert ran.status == 0, ran.err
    found: dict[str, object] = json.loads(ran.out)
    return found


def paths(found: dict[str, object], part: str = "files") -> list[str]:
    listed = found[part]
    assert isinstance(listed, list)
    return [s["path"] for s in listed]


def test_what_usually_changes_together_is_named_with_counts(repo: GitRepo) -> None:
    repo.stage({"pkg/prices.py": module("prices", 50)})
    ran = run_cli("impact", "--staged", cwd=repo.path)
    assert ran.status == 0
    assert "usually changes together, but is missing here:" in ran.out
    assert "tests/test_prices.py" in ran.out
    assert "9 of the last 10 changes of pkg/prices.py also changed it" in ran.out
    assert "NOTES.txt" in ran.out
    assert "10 of the last 10" in ran.out
    assert "earlier commits" in ran.err
    assert run_cli("impact", "--staged", "--fail-on-missing", cwd=repo.path).status == 1
    assert run_cli("impact", "--staged", "-q", cwd=repo.path).err == ""


def test_nothing_is_missing_where_it_is_there(repo: GitRepo) -> None:
    repo.stage(
        {
            "pkg/prices.py": module("prices", 50),
            "tests/test_prices.py": checks("prices", 50),
            "NOTES.txt": "x",
        }
    )
    ran = run_cli("impact", "--fail-on-missing", cwd=repo.path)
    assert ran.status == 0
    assert "missing here" not in ran.out
    assert "NOTES.txt" not in ran.out


def test_the_json_is_the_schema(repo: GitRepo) -> None:
    found = ask(repo, "HEAD~1")
    assert found["schema"] == "codewm.impact/1"
    assert found["target"] == "commit"
    assert found["oid"] == repo.git("rev-parse", "HEAD~1")
    assert found["state"] == "answered"
    first = found["files"]
    assert isinstance(first, list)
    assert {"path", "unit", "chance", "missing", "test", "evidence"} == first[0].keys()
    assert found["commits"] == 23


def test_the_first_change_that_there_is(repo: GitRepo) -> None:
    assert ask(repo)["target"] == "commit"
    repo.write("pkg/carts.py", module("carts", 77, "prices"))
    assert ask(repo)["target"] == "worktree"
    assert ask(repo, "--worktree")["changed"] == ["pkg/carts.py"]
    repo.stage({"pkg/shelves.py": module("shelves", 5)})
    repo.git("reset", "-q", "pkg/carts.py")
    found = ask(repo)
    assert (found["target"], found["changed"]) == ("staged", ["pkg/shelves.py"])


def test_users_of_what_is_changed_are_named(repo: GitRepo) -> None:
    repo.stage({"pkg/prices.py": module("prices", 50)})
    files = ask(repo, "--staged")["files"]
    assert isinstance(files, list)
    carts = next(s for s in files if s["path"] == "pkg/carts.py")
    assert any(e["kind"] == "uses" and "prices_total" in e["names"] for e in carts["evidence"])


def test_what_no_longer_says_so_is_not_quoted(repo: GitRepo) -> None:
    repo.commit("carts forget prices", {"pkg/carts.py": module("carts", 60)})
    repo.stage({"pkg/prices.py": module("prices", 61)})
    files = ask(repo, "--staged")["files"]
    assert isinstance(files, list)
    carts = [s for s in files if s["path"] == "pkg/carts.py"]
    assert not any(e["kind"] in {"uses", "imports"} for s in carts for e in s["evidence"])


def test_names_are_shown_inert(git_repo: GitRepo) -> None:
    for version in range(6):
        git_repo.commit(
            "\x1b[31mred", {"pkg/prices.py": module("prices", version), HOSTILE: checks("prices", version)}
        )
    git_repo.commit("\x1b[31mred", {"pkg/prices.py": module("prices", 9)})
    ran = run_cli("impact", "HEAD", cwd=git_repo.path)
    assert ran.status == 0
    assert "\x1b" not in ran.out + ran.err
    assert "\u202e" not in ran.out
    assert "\\x1b[31mprices\\u202e.py" in ran.out
    assert ask(git_repo)["subject"] == "\x1b[31mred"


def test_bytes_that_are_no_text(git_repo: GitRepo) -> None:
    name = b"pkg/\xff\xfe.py".decode("utf-8", "surrogateescape")
    for version in range(5):
        git_repo.commit("both", {name: module("odd", version), "pkg/even.py": module("even", version)})
    git_repo.commit("one", {"pkg/even.py": module("even", 9)})
    assert "\\xff\\xfe.py" in run_cli("impact", "HEAD", cwd=git_repo.path).out
    assert paths(ask(git_repo)) == ["pkg/\\xff\\xfe.py"]


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (("--staged",), "git add"),
        (("--worktree",), "edit something"),
        (("HEAD~999",), "git log"),
        (("HEAD~3..HEAD",), "one commit"),
        (("HEAD", "--staged"), "name one"),
        (("--format", "xml"), "text, json"),
    ],
)
def test_bad_input_has_a_hint(repo: GitRepo, args: tuple[str, ...], hint: str) -> None:
    ran = run_cli("impact", *args, cwd=repo.path)
    assert ran.status == 2
    assert hint in ran.err
    assert ran.out == ""


def test_repositories_in_any_state(git_repo: GitRepo, tmp_path: Path) -> None:
    ran = run_cli("impact", cwd=git_repo.path)
    assert ran.status == 2
    assert "no commits" in ran.err
    git_repo.stage({"a.py": module("a", 1), "readme": "x"})
    assert ask(git_repo, "--staged")["state"] == "unsure"
    git_repo.commit("first")
    assert ask(git_repo, "HEAD")["state"] == "unsure"
    fill(git_repo)
    bare, shallow = tmp_path / "bare", tmp_path / "shallow"
    git_repo.git("clone", "-q", "--bare", str(git_repo.path), str(bare))
    found = run_cli("impact", "HEAD~1", "--format", "json", cwd=bare)
    assert json.loads(found.out)["state"] == "answered"
    git_repo.git("clone", "-q", "--depth", "8", git_repo.path.as_uri(), str(shallow))
    found = run_cli("impact", "HEAD~1", "--format", "json", cwd=shallow)
    assert json.loads(found.out)["commits"] == 6
    ran = run_cli("impact", "HEAD~7", cwd=shallow)
    assert (ran.status, "unshallow" in ran.err) == (2, True)
    git_repo.commit("text only", {"readme": "y"})
    assert ask(git_repo, "HEAD")["state"] == "no Python"
    git_repo.commit("sweep", {f"m{i}.py": module(f"m{i}", 1) for i in range(40)})
    assert ask(git_repo, "HEAD")["state"] == "sweep"


def test_what_is_stored_follows_head(repo: GitRepo) -> None:
    place = repo.path / ".git" / "codewm" / "impact.safetensors"
    assert ask(repo, "HEAD")["commits"] == 24
    stored = place.read_bytes()
    repo.commit("more", {"pkg/prices.py": module("prices", 70)})
    repo.stage({"pkg/carts.py": module("carts", 70)})
    longer = ask(repo, "--staged")
    assert longer["commits"] == 26
    assert place.read_bytes() != stored
    # A history that was rewritten, and one that lies beside.
    repo.git("reset", "-q", "--hard", "HEAD~3")
    repo.commit("other", {"pkg/shelves.py": module("shelves", 70)})
    assert ask(repo, "HEAD")["commits"] == 23
    place.write_bytes(b"damaged")
    ran = run_cli("impact", "HEAD", cwd=repo.path)
    assert ran.status == 0
    assert "damaged" in ran.err
    assert run_cli("harvest", "-q", cwd=repo.path).status == 0
    assert ask(repo, "HEAD")["source"] == "chains"
    place.unlink()
    place.mkdir()
    assert ask(repo, "HEAD")["commits"] == 23


def test_tests_are_named_with_a_curve(repo: GitRepo) -> None:
    repo.stage({"pkg/prices.py": module("prices", 50)})
    found = ask(repo, "--staged", "--tests")
    assert paths(found, "tests")[0] == "tests/test_prices.py"
    curve = found["curve"]
    assert isinstance(curve, dict)
    assert curve["commits"] == 11
    shares = [share for _, share in curve["recall"]]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_observation_says_what_would_have_been_missed(repo: GitRepo) -> None:
    ran = run_cli("impact", "--observe", cwd=repo.path)
    assert ran.status == 0
    assert "22 questions" in ran.out
    found = json.loads(run_cli("impact", "--observe", "--top", "1", "--format", "json", cwd=repo.path).out)
    assert found["schema"] == "codewm.impact-observed/1"
    assert found["selection"] == 1
    assert found["finished"] >= found["needless"]
    # At first nobody can tell which test it will be; later it is known.
    assert len(found["missed"]) <= 2


def test_no_heavy_imports_once_the_past_is_stored(repo: GitRepo) -> None:
    repo.stage({"pkg/prices.py": module("prices", 50)})
    assert run_cli("harvest", "-q", cwd=repo.path).status == 0
    ask(repo, "--staged")
    code = (
        "import sys; from codewm.cli.main import main; main(['impact', '--staged', '-q']);"
        "bad = [m for m in ('torch', 'h5py', 'sklearn', 'rich', 'git') if m in sys.modules]; assert not bad, bad"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repo.path,
        env=hermetic_env(repo.home),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
