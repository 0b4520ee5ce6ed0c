"""Claims about installing the hook.

1. Installing writes one executable file that calls this installation's script by absolute path; installing
   again changes no byte; uninstalling leaves the folder as it was.
2. A foreign hook is kept, runs first with the hook's arguments, its refusal stands, and it comes back with
   the same bytes and the same mode; a link stays a link. A kept hook that chains back to ours does not loop.
3. `core.hooksPath` inside the repository is obeyed; outside it nothing is written without --force.
4. Linked work trees share the hook of the main one; a bare repository is refused.
5. A codewm hook that was edited by hand is neither replaced nor removed without --force.
6. The hook exits 0 with one line when codewm is gone, and works in paths with spaces and quotes.
"""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from codewm.corpus.git import Repository
from codewm.hooks import install as hooks
from tests.helpers import GitRepo, codewm_script, run_cli

FOREIGN = b"#!/bin/sh\necho foreign ran >&2\nexit ${FOREIGN_EXIT:-0}\n"


def folder(repo: GitRepo) -> Path:
    return repo.path / ".git" / "hooks"


def listing(path: Path) -> dict[str, tuple[int, bytes]]:
    return {p.name: (stat.S_IMODE(p.lstat().st_mode), p.read_bytes()) for p in path.iterdir()}


def foreign(repo: GitRepo, content: bytes = FOREIGN, mode: int = 0o751) -> Path:
    hook = folder(repo) / "pre-commit"
    hook.write_bytes(content)
    hook.chmod(mode)
    return hook


def install(repo: GitRepo, *, script: Path | None = None, force: bool = False) -> hooks.Change:
    with Repository.open(repo.path) as repository:
        return hooks.install(repository, script=script, force=force)


def uninstall(repo: GitRepo, *, force: bool = False) -> hooks.Change:
    with Repository.open(repo.path) as repository:
        return hooks.uninstall(repository, force=force)


def stub(path: Path, status: int = 0) -> Path:
    """Write a stand-in for the console script that says what it was called with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "stub $*" >&2\nexit {status}\n')
    path.chmod(0o755)
    return path


def commit(repo: GitRepo, **env: str) -> subprocess.CompletedProcess[bytes]:
    repo.write("a.py", f"x = {os.urandom(4).hex()!r}\n")
    repo.git("add", "a.py")
    return repo.git_result("commit", "-q", "-m", "change", env=env)


def test_install_twice_then_uninstall(git_repo: GitRepo) -> None:
    before = listing(folder(git_repo))
    first = run_cli("hook", "install", cwd=git_repo.path)
    assert (first.status, first.out) == (0, "")
    assert first.err.startswith("Installed ")
    hook = folder(git_repo) / "pre-commit"
    assert str(codewm_script()) in hook.read_text()
    assert os.access(hook, os.X_OK)
    installed = listing(folder(git_repo))
    second = run_cli("hook", "install", cwd=git_repo.path)
    assert second.status == 0
    assert second.err.startswith("Already installed:")
    assert listing(folder(git_repo)) == installed
    assert run_cli("hook", "uninstall", cwd=git_repo.path).status == 0
    assert listing(folder(git_repo)) == before
    again = run_cli("hook", "uninstall", cwd=git_repo.path)
    assert again.status == 0
    assert "nothing was changed" in again.err


def test_the_script_moves_with_the_installation(git_repo: GitRepo, tmp_path: Path) -> None:
    install(git_repo, script=stub(tmp_path / "old"))
    assert install(git_repo, script=stub(tmp_path / "new")).changed
    assert [n for n in listing(folder(git_repo)) if not n.endswith(".sample")] == ["pre-commit"]
    assert b"stub hook run" in commit(git_repo).stderr


@pytest.mark.parametrize("mode", [0o751, 0o700, 0o644])
def test_foreign_hook_comes_back_byte_for_byte(git_repo: GitRepo, mode: int) -> None:
    foreign(git_repo, FOREIGN + b"\xff\x00 no newline at the end", mode)
    before = listing(folder(git_repo))
    change = install(git_repo)
    assert change.legacy == "kept"
    assert install(git_repo).changed is False
    assert uninstall(git_repo).legacy == "restored"
    assert listing(folder(git_repo)) == before


def test_foreign_link_stays_a_link(git_repo: GitRepo) -> None:
    target = git_repo.write("tools/hook.sh", FOREIGN)
    target.chmod(0o755)
    hook = folder(git_repo) / "pre-commit"
    hook.symlink_to("../../tools/hook.sh")
    install(git_repo)
    assert target.read_bytes() == FOREIGN
    assert b"foreign ran" in commit(git_repo).stderr
    uninstall(git_repo)
    assert hook.readlink() == Path("../../tools/hook.sh")


def test_foreign_hook_runs_first_and_its_refusal_stands(git_repo: GitRepo, tmp_path: Path) -> None:
    foreign(git_repo)
    install(git_repo, script=stub(tmp_path / "bin" / "codewm"))
    done = commit(git_repo)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [b"foreign ran", b"stub hook run"]
    refused = commit(git_repo, FOREIGN_EXIT="7")
    assert refused.returncode != 0
    assert b"stub" not in refused.stderr


def test_a_gate_of_ours_stops_the_commit(git_repo: GitRepo, tmp_path: Path) -> None:
    install(git_repo, script=stub(tmp_path / "codewm", status=1))
    assert commit(git_repo).returncode != 0


def test_two_tools_that_chain_each_other_do_not_loop(git_repo: GitRepo, tmp_path: Path) -> None:
    install(git_repo, script=stub(tmp_path / "codewm"))
    # Another tool does as we do and keeps our hook beside its own; then codewm is installed once more.
    (folder(git_repo) / "pre-commit").rename(folder(git_repo) / "pre-commit.legacy")
    foreign(git_repo, b'#!/bin/sh\necho other >&2\nexec "$(dirname "$0")/pre-commit.legacy"\n')
    install(git_repo, script=tmp_path / "codewm")
    done = commit(git_repo)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [b"other", b"stub hook run"]


def test_a_taken_place_beside_a_foreign_hook_is_refused(git_repo: GitRepo) -> None:
    foreign(git_repo)
    install(git_repo)
    foreign(git_repo, b"#!/bin/sh\n# took over\n")
    before = listing(folder(git_repo))
    ran = run_cli("hook", "install", cwd=git_repo.path)
    assert ran.status == 2
    assert "neither is ours" in ran.err
    assert listing(folder(git_repo)) == before


def test_a_kept_hook_is_restored_even_when_ours_is_gone(git_repo: GitRepo) -> None:
    foreign(git_repo)
    before = listing(folder(git_repo))
    install(git_repo)
    (folder(git_repo) / "pre-commit").unlink()
    assert uninstall(git_repo).legacy == "restored"
    assert listing(folder(git_repo)) == before


def test_hooks_path_inside_the_repository_is_obeyed(git_repo: GitRepo, tmp_path: Path) -> None:
    git_repo.git("config", "core.hooksPath", "tools/git hooks")
    ran = run_cli("hook", "install", cwd=git_repo.path)
    assert ran.status == 0
    assert "core.hooksPath is set." in ran.err
    assert (git_repo.path / "tools" / "git hooks" / "pre-commit").is_file()
    assert not (folder(git_repo) / "pre-commit").exists()
    install(git_repo, script=stub(tmp_path / "codewm"))
    assert b"stub hook run" in commit(git_repo).stderr


def test_shared_hooks_path_needs_force(
    git_repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, shared = tmp_path / "home", tmp_path / "shared"
    home.mkdir()
    shared.mkdir()
    (home / ".gitconfig").write_text(f"[core]\n\thooksPath = {shared}\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    ran = run_cli("hook", "install", cwd=git_repo.path)
    assert ran.status == 2
    assert str(shared) in ran.err
    assert "--force" in ran.err
    assert list(shared.iterdir()) == []
    assert run_cli("hook", "install", "--force", cwd=git_repo.path).status == 0
    assert [p.name for p in shared.iterdir()] == ["pre-commit"]
    assert "other repositories may share" in run_cli("hook", "status", cwd=git_repo.path).out


def test_a_link_out_of_the_repository_counts_as_outside(git_repo: GitRepo, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (git_repo.path / "hooks").symlink_to(tmp_path / "elsewhere")
    git_repo.git("config", "core.hooksPath", "hooks")
    assert run_cli("hook", "install", cwd=git_repo.path).status == 2


def test_linked_work_trees_share_the_hook(git_repo: GitRepo, tmp_path: Path) -> None:
    git_repo.commit("first", {"a.py": "x = 1\n"})
    other = tmp_path / "other tree"
    git_repo.git("worktree", "add", "-q", "-b", "side", str(other))
    assert run_cli("hook", "install", cwd=other).status == 0
    assert (folder(git_repo) / "pre-commit").is_file()
    assert "state: installed" in run_cli("hook", "status", cwd=git_repo.path).out


def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    ran = run_cli("hook", "install", cwd=GitRepo(tmp_path / "bare.git", bare=True).path)
    assert ran.status == 2
    assert "bare repository" in ran.err


def test_outside_a_repository(tmp_path: Path) -> None:
    ran = run_cli("hook", "install", cwd=tmp_path)
    assert ran.status == 2
    assert ran.err.startswith("error: ")


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_an_edited_hook_is_left_alone_without_force(git_repo: GitRepo, verb: str) -> None:
    install(git_repo)
    hook = folder(git_repo) / "pre-commit"
    with hook.open("ab") as f:
        f.write(b"echo mine\n")
    edited = hook.read_bytes()
    ran = run_cli("hook", verb, cwd=git_repo.path)
    assert ran.status == 2
    assert "edited by hand" in ran.err
    assert hook.read_bytes() == edited
    assert "edited by hand" in run_cli("hook", "status", cwd=git_repo.path).out
    assert run_cli("hook", verb, "--force", cwd=git_repo.path).status == 0


def test_codewm_gone_is_one_line_and_no_obstacle(git_repo: GitRepo, tmp_path: Path) -> None:
    install(git_repo, script=tmp_path / "uninstalled" / "codewm")
    done = commit(git_repo, PATH="/usr/bin:/bin")
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(b"codewm: not found, the commit is not checked")
    assert "missing" in run_cli("hook", "status", cwd=git_repo.path).out


def test_codewm_on_the_path_is_the_second_choice(git_repo: GitRepo, tmp_path: Path) -> None:
    stub(tmp_path / "bin" / "codewm")
    install(git_repo, script=tmp_path / "uninstalled" / "codewm")
    done = commit(git_repo, PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert done.stderr == b"stub hook run\n"


def test_spaces_and_quotes_in_every_path(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / 'it\'s a $HOME `repo` "here"')
    foreign(repo)
    install(repo, script=stub(tmp_path / "it's a bin" / "codewm"))
    assert commit(repo).stderr.splitlines() == [b"foreign ran", b"stub hook run"]
    assert f"calls: {tmp_path}/it's a bin/codewm\n" in run_cli("hook", "status", cwd=repo.path).out


def test_status_names_settings_and_their_origin(git_repo: GitRepo) -> None:
    git_repo.git("config", "codewm.hook.fail-above", "99")
    out = run_cli("hook", "status", cwd=git_repo.path).out
    assert "state: not installed\n" in out
    assert "hook.fail-above: 99.0 (git config)\n" in out
    assert "hook.max-warnings: 3 (default)\n" in out
