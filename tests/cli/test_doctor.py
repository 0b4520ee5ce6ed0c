"""Claims about `codewm doctor`, each on a real repository in the state it names:

1. A sound repository has no problem; every check is there, as a row and in JSON, with a status of three.
2. Each broken state gives its row the right status, and says how to mend it; the other rows are still there.
3. A problem alone exits 0, with `--strict` 1; a path that is no repository exits 2, with the rows so far.
4. Nothing is changed: every file of the repository has the bytes and dates it had.
5. What a repository says is printed inert; no traceback is shown, whatever breaks.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from codewm.cli.checks import installation, repository
from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.lock import exclusive
from tests.helpers import ROOT, GitRepo, codewm_script, hermetic_env, run_cli, run_codewm

EVERYWHERE = {"python", "packages", "core", "torch", "git", "repository"}
IN_A_REPOSITORY = EVERYWHERE | {
    "commits", "shallow", "partial", "replacements", "alternates", "lfs", "submodules", "python files", "settings",
    "store", "lock", "room", "folder", "model", "base model", "hook", "pre-commit",
}  # fmt: skip
SOURCE = "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a - b\n"


@dataclass(frozen=True)
class Rows:
    """What one run said: its exit status and its rows by name."""

    status: int
    of: dict[str, dict[str, str]]

    def __getitem__(self, name: str) -> dict[str, str]:
        return self.of[name]

    def problems(self) -> set[str]:
        """Names of the rows that are problems."""
        return {name for name, row in self.of.items() if row["status"] == "problem"}


def look(path: Path, *words: str) -> Rows:
    """Run `codewm doctor --json` in this process."""
    ran = run_cli("doctor", str(path), "--json", *words)
    return rows(ran.status, ran.out)


def rows(status: int, out: str) -> Rows:
    """Read the JSON of a run."""
    found = json.loads(out)
    assert found["schema"] == "codewm.doctor/1"
    for row in found["checks"]:
        assert set(row) == {"name", "status", "found", "fix"}
        assert row["status"] in {"ok", "note", "problem"}
        assert row["found"]
        assert row["fix"] or row["status"] == "ok", f"{row['name']} does not say what to do"
    return Rows(status, {row["name"]: row for row in found["checks"]})


@pytest.fixture
def sound(git_repo: GitRepo) -> GitRepo:
    """Give a repository with two commits and a store that is up to date."""
    git_repo.commit("first", {"a.py": SOURCE})
    git_repo.commit("second", {"a.py": SOURCE.replace("a + b", "b + a")})
    assert run_cli("harvest", "-q", str(git_repo.path)).status == 0
    return git_repo


@pytest.fixture
def store(sound: GitRepo) -> Path:
    """Give the path of the sound repository's store."""
    return sound.path / ".git" / "codewm" / "chains.h5"


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder, with its bytes and the time of its last change."""
    return {
        str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file()
    }


# ---- claims 1, 3, 4 ----------------------------------------------------------------------------------------------


def test_a_sound_repository(sound: GitRepo) -> None:
    before = snapshot(sound.path)
    found = look(sound.path, "--strict")
    assert found.status == 0
    assert found.problems() == set()
    assert set(found.of) == IN_A_REPOSITORY | {"store age"}
    assert (found["store"]["status"], found["store age"]["found"]) == ("ok", "up to HEAD")
    assert snapshot(sound.path) == before


def test_the_table_has_every_row(sound: GitRepo) -> None:
    ran = run_cli("doctor", str(sound.path))
    assert ran.status == 0
    for name in IN_A_REPOSITORY:
        assert any(line.startswith(f"{name} ") for line in ran.out.splitlines())
    assert "0 problems" in ran.err


def test_no_repository_exits_two_and_still_shows_the_installation(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert found.status == 2
    assert set(found.of) == EVERYWHERE
    assert found["repository"]["status"] == "problem"
    ran = run_cli("doctor", cwd=tmp_path)
    assert (ran.status, "error: " in ran.err, "hint: " in ran.err) == (2, True, True)
    assert look(tmp_path / "nowhere").status == 2


def test_problems_exit_zero_unless_strict(git_repo: GitRepo) -> None:
    assert look(git_repo.path).problems() == {"commits"}
    assert look(git_repo.path).status == 0
    assert look(git_repo.path, "--strict").status == 1


def test_importing_it_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, codewm.cli.commands.doctor;"
        "sys.exit(str({'torch', 'h5py', 'numpy', 'rich', 'git', 'codewm_core'} & set(sys.modules) or ''))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=hermetic_env(tmp_path / "h"),
        capture_output=True,
        check=False,
    )
    assert done.stderr.decode().strip() == ""


def test_a_run_never_loads_torch(sound: GitRepo) -> None:
    code = "import sys; from codewm.cli.main import main; main(['doctor']); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=sound.path,
        env=sound.env,
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "False"


# ---- claim 2: the repository ---------------------------------------------------------------------------------------


def test_unborn(git_repo: GitRepo) -> None:
    found = look(git_repo.path)
    assert found["commits"]["found"] == "none yet"
    assert set(found.of) == IN_A_REPOSITORY - {"python files"}


def test_head_that_cannot_be_read(sound: GitRepo) -> None:
    oid = sound.git("rev-parse", "HEAD")
    (sound.path / ".git" / "objects" / oid[:2] / oid[2:]).unlink()
    found = look(sound.path)
    assert "commits" in found.problems()
    assert "none yet" not in found["commits"]["found"]
    assert set(found.of) >= IN_A_REPOSITORY - {"python files"}


def test_shallow(sound: GitRepo, tmp_path: Path) -> None:
    for depth, status in ((1, "problem"), (2, "ok")):
        sound.commit("more")
        place = tmp_path / f"depth{depth}"
        sound.git("clone", "-q", f"--depth={depth}", f"file://{sound.path}", str(place))
        found = look(place)
        assert (found["shallow"]["status"], found["commits"]["status"]) == ("note", status)
        assert "git fetch --unshallow" in found["shallow"]["fix"]


def test_partial(sound: GitRepo, tmp_path: Path) -> None:
    sound.git("config", "uploadpack.allowFilter", "true")
    place = tmp_path / "partial"
    sound.git("clone", "-q", "--bare", "--filter=blob:none", f"file://{sound.path}", str(place))
    before = snapshot(place)
    found = look(place)
    assert (found["partial"]["status"], found["commits"]["status"]) == ("note", "ok")
    # Nothing was fetched.
    assert snapshot(place) == before


def test_bare_detached_linked_and_submodule(sound: GitRepo, tmp_path: Path) -> None:
    sound.git("clone", "-q", "--bare", str(sound.path), str(tmp_path / "bare.git"))
    found = look(tmp_path / "bare.git")
    assert found["repository"]["found"].startswith("bare")
    assert (found["hook"]["status"], found.problems()) == ("ok", set())
    sound.git("worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    found = look(tmp_path / "linked")
    assert found["repository"]["found"].startswith("linked work tree")
    assert (found["repository"]["status"], "detached" in found["repository"]["found"]) == ("note", True)
    assert found["store age"]["status"] == "ok"
    outer = GitRepo(tmp_path / "outer")
    outer.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(sound.path), "part")
    outer.commit("with a submodule", {"b.py": SOURCE})
    assert look(outer.path)["submodules"]["status"] == "note"
    assert look(outer.path / "part")["repository"]["found"].startswith("submodule")


def test_replace_refs_and_grafts(sound: GitRepo) -> None:
    old, new = sound.git("rev-parse", "HEAD^"), sound.git("rev-parse", "HEAD")
    sound.git("replace", new, old)
    (sound.path / ".git" / "info" / "grafts").write_text(f"{new}\n")
    found = look(sound.path)["replacements"]
    assert (found["status"], found["found"].startswith("1 replace ref and 1 graft")) == ("note", True)
    sound.git("pack-refs", "--all")
    assert look(sound.path)["replacements"]["found"].startswith("1 replace ref and 1 graft")


def test_alternates(sound: GitRepo, tmp_path: Path) -> None:
    lender, place = tmp_path / "lender", tmp_path / "borrower"
    shutil.copytree(sound.path, lender)
    sound.git("clone", "-q", "--bare", "--shared", str(lender), str(place))
    found = look(place)
    assert (found["alternates"]["status"], str(lender) in found["alternates"]["found"]) == ("ok", True)
    shutil.rmtree(lender)
    found = look(place)
    assert {"alternates", "commits"} <= found.problems()
    assert str(lender) in found["alternates"]["found"]
    assert "none yet" not in found["commits"]["found"]


def test_lfs_and_no_python(git_repo: GitRepo) -> None:
    git_repo.commit(
        "first", {"a.txt": "x\n", ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}
    )
    found = look(git_repo.path)
    assert (found["lfs"]["status"], found["python files"]["status"]) == ("note", "note")


def test_a_git_folder_that_git_refuses_is_a_problem_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "broken" / ".git").mkdir(parents=True)
    found = look(tmp_path / "broken")
    assert (found.status, found.problems()) == (0, {"repository"})


def test_a_repository_of_somebody_else(sound: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    # Only root can give a repository away, so what Git says of one is passed through as `open` words it.
    def refuse(*args: object, **words: object) -> None:
        raise UserError(
            "Git refuses 'x': it belongs to somebody else", "git config --global --add safe.directory 'x'"
        )

    monkeypatch.setattr(Repository, "open", refuse)
    found = look(sound.path)
    assert (found.status, found.problems()) == (0, {"repository"})
    assert "safe.directory" in found["repository"]["fix"]


# ---- claim 2: settings, store, model, hook -------------------------------------------------------------------------


def test_bad_settings_are_all_named(sound: GitRepo) -> None:
    sound.write("pyproject.toml", "[tool.codewm.score]\nrnage = 'HEAD~3..'\n")
    sound.git("config", "codewm.harvest.window", "many")
    sound.git("config", "codewm.hook.warnabove", "3")
    ran = run_cli("doctor", "--json", str(sound.path))
    said = [row["found"] for row in json.loads(ran.out)["checks"] if row["name"] == "settings"]
    assert len(said) == 3
    for word in ("score.rnage", "harvest.window", "hook.warnabove"):
        assert any(word in text for text in said)


def test_settings_that_are_set_are_named(git_repo: GitRepo) -> None:
    git_repo.git("config", "codewm.harvest.window", "32")
    assert "harvest.window (git config)" in look(git_repo.path)["settings"]["found"]


@pytest.mark.parametrize("where", [0.01, 0.5, -1])
def test_damaged_store(sound: GitRepo, store: Path, where: float) -> None:
    content = bytearray(store.read_bytes())
    content[-1 if where < 0 else int(len(content) * where)] ^= 0x10
    store.write_bytes(content)
    before = snapshot(sound.path)
    found = look(sound.path)
    assert (found.status, found.problems()) == (0, {"store"})
    assert "--rebuild" in found["store"]["fix"]
    assert set(found.of) == IN_A_REPOSITORY
    assert snapshot(sound.path) == before


def test_truncated_and_empty_store(sound: GitRepo, store: Path) -> None:
    for length in (5000, 100, 0):
        store.write_bytes(store.read_bytes()[:length])
        assert look(sound.path).problems() == {"store"}


def test_store_of_another_tokeniser(sound: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("codewm.corpus.store", "codewm.corpus.harvest"):
        module = sys.modules[name]
        monkeypatch.setattr(module, "TOKENIZER_ID", "python-v0-0000", raising=False)
    found = look(sound.path)
    assert found.problems() == {"store"}
    assert "tokeniser" in found["store"]["found"]


def test_stale_rewritten_and_foreign_store(sound: GitRepo, store: Path, tmp_path: Path) -> None:
    sound.commit("third", {"a.py": SOURCE})
    sound.commit("fourth")
    found = look(sound.path)["store age"]
    assert (found["status"], found["found"]) == ("note", "HEAD is 2 commits ahead")
    sound.git("reset", "-q", "--hard", "HEAD~3")
    sound.commit("another second")
    assert "not on HEAD's line" in look(sound.path)["store age"]["found"]
    other = GitRepo(tmp_path / "other")
    other.commit("first", {"b.py": SOURCE})
    shutil.copytree(store.parent, other.path / ".git" / "codewm")
    assert "another repository" in look(other.path)["store age"]["found"]


def test_store_made_with_other_settings(sound: GitRepo) -> None:
    sound.git("config", "codewm.harvest.window", "64")
    assert "window 256 instead of 64" in look(sound.path)["store age"]["found"]


def test_a_limited_store_and_a_corpus_in_its_place(sound: GitRepo, store: Path, tmp_path: Path) -> None:
    assert run_cli("harvest", "-q", "--path", "a.py", str(sound.path)).status == 0
    assert "limited to a.py" in look(sound.path)["store"]["found"]
    other = GitRepo(tmp_path / "other")
    other.commit("first", {"b.py": SOURCE})
    corpus = tmp_path / "corpus.h5"
    assert run_cli("harvest", "-q", str(sound.path), str(other.path), "--out", str(corpus)).status == 0
    corpus.replace(store)
    found = look(sound.path)
    assert (found.problems(), found["store"]["status"]) == (set(), "note")
    assert "a corpus of 2 repositories" in found["store"]["found"]


def test_locked(sound: GitRepo, store: Path) -> None:
    with exclusive(store):
        found = look(sound.path)["lock"]
        assert (found["status"], str(os.getpid()) in found["found"]) == ("note", True)
        # Asking did not take it away.
        with pytest.raises(UserError), exclusive(store):
            pass
    assert look(sound.path)["lock"]["status"] == "ok"


def test_leftovers_of_a_killed_run(sound: GitRepo, store: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    lock = store.with_name("chains.h5.lock")
    lock.write_text(f"{dead.pid}\n")
    assert look(sound.path)["lock"]["status"] == "ok"
    left = store.with_name(f".chains.h5.{dead.pid}.tmp")
    left.write_bytes(bytes(1000))
    found = look(sound.path)["lock"]
    assert (found["status"], left.name in found["found"]) == ("note", True)
    assert lock.exists()
    assert left.exists()
    left.unlink()
    store.with_name(f".model.safetensors.{dead.pid}.tmp").write_bytes(b"")
    assert look(sound.path)["lock"]["fix"] == "delete them"


def test_little_room(sound: GitRepo, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = store.stat().st_size
    for free, status in ((size - 1, "problem"), (size + 1, "note"), (10**12, "ok")):
        usage = shutil.disk_usage(sound.path)._replace(free=free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        assert look(sound.path)["room"]["status"] == status


def test_folder_that_cannot_be_written(git_repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    git_repo.commit("first", {"a.py": SOURCE})
    place = git_repo.path / ".git" / "codewm"
    place.write_text("in the way")
    assert "folder" in look(git_repo.path).problems()
    place.unlink()
    place.mkdir()
    # Root may write anywhere, so the system's answer is given for it.
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p) != place)
    assert look(git_repo.path)["folder"]["status"] == "problem"


def test_damaged_model(sound: GitRepo) -> None:
    model = sound.path / ".git" / "codewm" / "model.safetensors"
    model.write_bytes(b"not a model")
    found = look(sound.path)
    assert (found.problems(), found["base model"]["status"]) == ({"model"}, "ok")


@pytest.mark.parametrize(
    ("back", "said"),
    [(0, "trained on all"), (1, "1 commit more"), (None, "not trained on the history")],
)
def test_own_model_and_its_age(sound: GitRepo, back: int | None, said: str) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    base = ROOT / "model" / "base" / "base.safetensors"
    with safe_open(base, framework="numpy") as file:
        about = file.metadata()
    root, tip = sound.git("rev-list", "--max-parents=0", "HEAD"), sound.git("rev-parse", f"HEAD~{back or 0}")
    sources = [{"name": "x", "root": root if back is not None else "0" * 40, "tip": tip, "edits": 1}]
    own = sound.path / ".git" / "codewm" / "model.safetensors"
    save_file(load_file(base), own, metadata={**about, "provenance": json.dumps({"sources": sources})})
    found = look(sound.path)
    assert "trained on this repository" in found["model"]["found"]
    assert said in found["model age"]["found"]


def test_hook(sound: GitRepo, tmp_path: Path) -> None:
    hook = sound.path / ".git" / "hooks" / "pre-commit"
    assert look(sound.path)["hook"]["status"] == "note"
    script = codewm_script()
    assert run_codewm("hook", "install", cwd=sound.path).status == 0
    assert look(sound.path)["hook"]["status"] == "ok"
    whole = hook.read_bytes()
    hook.write_bytes(whole + b"echo mine\n")
    assert "edited by hand" in look(sound.path)["hook"]["found"]
    hook.write_bytes(whole)
    hook.chmod(0o644)
    assert look(sound.path)["hook"]["status"] == "problem"
    hook.chmod(0o755)
    hook.write_bytes(_signed(whole.replace(b"# Written by", b"# Once written by")))
    assert "another version" in look(sound.path)["hook"]["found"]
    hook.write_bytes(_signed(whole.replace(str(script).encode(), b"/gone/codewm")))
    assert "gone" in look(sound.path)["hook"]["found"]
    hook.write_bytes(b"#!/bin/sh\n")
    assert "another tool" in look(sound.path)["hook"]["found"]
    sound.git("config", "core.hooksPath", str(tmp_path / "shared"))
    assert "--force" in look(sound.path)["hook"]["fix"]


def _signed(content: bytes) -> bytes:
    """Give a hook that says what `content` says the digest of that."""
    import hashlib
    import re

    found = re.search(rb"sha256:([0-9a-f]{64})", content)
    assert found is not None
    digest = hashlib.sha256(content.replace(found[1], b"", 1)).hexdigest().encode()
    return content.replace(found[1], digest, 1)


def test_framework(sound: GitRepo) -> None:
    assert look(sound.path)["pre-commit"]["status"] == "ok"
    place = sound.write(".pre-commit-config.yaml", "repos:\n  - repo: x\n    hooks:\n      - id: ruff\n")
    assert "without codewm" in look(sound.path)["pre-commit"]["found"]
    place.write_text("repos:\n  - repo: x\n    hooks:\n      - id: codewm\n")
    assert look(sound.path)["pre-commit"]["fix"] == "'pre-commit install'"
    sound.write(".git/hooks/pre-commit", "#!/bin/sh\nexec pre-commit run\n").chmod(0o755)
    assert look(sound.path)["pre-commit"]["status"] == "ok"
    assert run_codewm("hook", "install", cwd=sound.path).status == 0
    assert "both" in look(sound.path)["pre-commit"]["found"]


# ---- claim 2: the installation -------------------------------------------------------------------------------------


@pytest.fixture
def fake_git(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Give an environment whose git says it has another version."""

    def make(version: str) -> dict[str, str]:
        real, folder = shutil.which("git"), tmp_path / f"git-{version}"
        folder.mkdir()
        script = folder / "git"
        script.write_text(
            f'#!/bin/sh\n[ "$1" = version ] && echo git version {version} && exit\nexec {real} "$@"\n'
        )
        script.chmod(0o755)
        env = hermetic_env(tmp_path / "home")
        return env | {"PATH": f"{folder}{os.pathsep}{env['PATH']}"}

    return make


@pytest.mark.parametrize(("version", "status"), [("2.30.9", "problem"), ("2.31.0", "note"), ("2.47.1", "ok")])
def test_old_git(
    sound: GitRepo, fake_git: Callable[[str], dict[str, str]], version: str, status: str
) -> None:
    ran = run_codewm("doctor", "--json", cwd=sound.path, env=fake_git(version))
    found = rows(ran.status, ran.out)
    assert (found.status, found["git"]["status"]) == (0, status)
    assert found["git"]["found"].startswith(version)


def test_no_git(sound: GitRepo, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    env = sound.env | {"PATH": str(tmp_path / "bin")}
    ran = run_codewm("doctor", "--json", cwd=sound.path, env=env)
    found = rows(ran.status, ran.out)
    assert (found.status, found.problems()) == (0, {"git", "repository"})


def test_versions_that_do_not_fit(sound: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version
    others = {"codewm-core": "0.0.9", "h5py": "3.1.0"}
    monkeypatch.setattr(metadata, "version", lambda name: others.get(name) or real(name))
    monkeypatch.setattr(installation, "find_spec", lambda name: None)
    found = look(sound.path)
    assert {"core", "packages"} <= found.problems()
    assert "h5py 3.1.0 is older" in found["packages"]["found"]
    assert (found["torch"]["status"], "train" in found["torch"]["fix"]) == ("note", True)


# ---- claim 5 -------------------------------------------------------------------------------------------------------


def test_hostile_names_are_inert(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "[red]\x1b[31mx\u202e")
    repo.commit("first", {"a.py": SOURCE})
    repo.git("config", "codewm.\x1b[31m.x", "y")
    for words in ([], ["--json"]):
        ran = run_cli("doctor", *words, str(repo.path))
        assert ran.status == 0
        assert "\x1b[31m" not in ran.out + ran.err
        assert "\u202e" not in ran.out + ran.err
        assert "[red]" in ran.out


def test_a_check_that_breaks_is_a_row(sound: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*args: object) -> None:
        raise RuntimeError("it\x1b[31m broke")

    monkeypatch.setattr(repository, "_borrowed", burst)
    monkeypatch.setattr(Repository, "tree_python_blobs", burst)
    found = look(sound.path)
    assert (found.status, found.problems()) == (0, {"alternates", "python files"})
    assert set(found.of) == IN_A_REPOSITORY | {"store age"}
    ran = run_cli("doctor", str(sound.path))
    assert "Traceback" not in ran.out + ran.err
    assert "\x1b" not in ran.out + ran.err
