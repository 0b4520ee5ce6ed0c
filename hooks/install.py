"""A repository in, a pre-commit hook in its hooks folder out; and back, leaving what was there before.

A hook that somebody else put there is renamed, never rewritten: it runs first, its refusal stands, and
uninstalling renames it back, so its bytes and its mode are those it had. Our own file is known by a marker
and by a digest of its contents, so a file that was edited by hand is never replaced or deleted silently.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository

HOOK = "pre-commit"
LEGACY = "pre-commit.codewm-legacy"
TEMPLATE_VERSION = "1"
MODE = 0o755
_MARKER = re.compile(rb"^# codewm-hook: (\S+) sha256:([0-9a-f]{64})$", re.MULTILINE)

State = Literal["absent", "ours", "ours, edited", "foreign"]


@dataclass(frozen=True)
class HooksFolder:
    """Where Git looks for hooks, and why there.

    `redirected` says that `core.hooksPath` is set, `inside` that the folder belongs to this repository alone.
    """

    path: Path
    redirected: bool
    inside: bool


@dataclass(frozen=True)
class Status:
    """What stands in the hooks folder: `state` of the hook, the kept foreign hook, the script it calls."""

    folder: HooksFolder
    state: State
    legacy: bool
    script: Path | None


@dataclass(frozen=True)
class Change:
    """What was done: whether anything changed, where, and what became of a foreign hook."""

    changed: bool
    hook: Path
    legacy: Literal["none", "kept", "restored"]
    folder: HooksFolder


def locate(repo: Repository) -> HooksFolder:
    """Find where Git looks for the hooks of `repo` (linked work trees share the folder of the main one)."""
    work_tree = repo.work_tree
    if work_tree is None:
        raise UserError(
            "a bare repository has no staged changes to check", "install the hook in a clone of it"
        )
    redirected = repo.config("core").get("core.hookspath", "")
    if not redirected:
        return HooksFolder(repo.common_dir / "hooks", redirected=False, inside=True)
    # Git reads `~` here, and a relative path from the folder that hooks run in: the top of the work tree.
    path = Path(os.path.normpath(work_tree / Path(redirected).expanduser()))
    return HooksFolder(
        path, redirected=True, inside=_within(path, work_tree) or _within(path, repo.common_dir)
    )


def status(repo: Repository) -> Status:
    """Say what stands in the hooks folder."""
    folder = locate(repo)
    hook = folder.path / HOOK
    state = _state(hook)
    return Status(
        folder, state, os.path.lexists(folder.path / LEGACY), _script_in(hook) if state != "foreign" else None
    )


def install(repo: Repository, *, force: bool = False, script: Path | None = None) -> Change:
    """Write the hook, keeping a foreign one; doing it twice changes nothing.

    `script` is the `codewm` to call (default: the one of this installation). `force` allows a hooks folder
    that other repositories share, and replaces our own hook when it was edited by hand.
    """
    folder = locate(repo)
    if not folder.inside and not force:
        raise UserError(
            f"core.hooksPath points outside this repository, to {folder.path}",
            "use 'codewm hook install --force' to install there, for every repository that uses that folder",
        )
    hook, legacy = folder.path / HOOK, folder.path / LEGACY
    wanted = rendered(script or console_script())
    state = _state(hook)
    if state == "ours" and hook.read_bytes() == wanted:
        return Change(False, hook, "kept" if os.path.lexists(legacy) else "none", folder)
    if state == "ours, edited" and not force:
        raise UserError(
            f"the codewm hook {hook} was edited by hand", "move your lines away, or replace it with --force"
        )
    if state == "foreign" and os.path.lexists(legacy):
        raise UserError(
            f"both {hook} and {legacy} are there, and neither is ours",
            "another tool took the hook's place after codewm kept one; remove or merge one of the two first",
        )
    folder.path.mkdir(parents=True, exist_ok=True)
    fresh = _written(folder.path, wanted)
    try:
        if state == "foreign":
            hook.rename(legacy)
        fresh.replace(hook)
    except OSError:
        fresh.unlink(missing_ok=True)
        if state == "foreign" and not os.path.lexists(hook):
            legacy.rename(hook)
        raise
    return Change(True, hook, "kept" if os.path.lexists(legacy) else "none", folder)


def uninstall(repo: Repository, *, force: bool = False) -> Change:
    """Remove our hook and put a kept foreign one back as it was; do nothing where ours is not."""
    folder = locate(repo)
    hook, legacy = folder.path / HOOK, folder.path / LEGACY
    state = _state(hook)
    if state in ("absent", "foreign"):
        # A kept hook whose keeper is gone is put back rather than forgotten.
        if state == "absent" and os.path.lexists(legacy):
            legacy.rename(hook)
            return Change(True, hook, "restored", folder)
        return Change(False, hook, "none", folder)
    if state == "ours, edited" and not force:
        raise UserError(
            f"the codewm hook {hook} was edited by hand", "move your lines away, or remove it with --force"
        )
    if os.path.lexists(legacy):
        legacy.replace(hook)
        return Change(True, hook, "restored", folder)
    hook.unlink()
    return Change(True, hook, "none", folder)


def rendered(script: Path) -> bytes:
    """Return the hook file that calls `script`, with its version and digest filled in."""
    text = files("codewm.hooks").joinpath("pre-commit.sh").read_text(encoding="utf-8")
    text = text.replace("@VERSION@", TEMPLATE_VERSION).replace("@LEGACY@", LEGACY)
    body = text.replace("@SCRIPT@", _shell_quoted(script.as_posix())).encode("utf-8", "surrogateescape")
    return body.replace(b"@DIGEST@", _digest(body, b"@DIGEST@").encode())


def console_script() -> Path:
    """Find the `codewm` script of this installation: never `python -m`, which a repository could shadow."""
    name = "codewm.exe" if os.name == "nt" else "codewm"
    beside = Path(sys.executable).parent / name
    if beside.is_file():
        return beside
    # A user installation (pip --user, pipx) puts scripts elsewhere; argv[0] is the one that is running.
    running = Path(sys.argv[0])
    if running.name.startswith("codewm") and running.is_file():
        return running.resolve()
    found = shutil.which("codewm")
    if found is None:
        raise UserError(
            "the codewm script is not on PATH", "install codewm with pip, so that its script exists"
        )
    return Path(found).resolve()


def _state(hook: Path) -> State:
    if not os.path.lexists(hook):
        return "absent"
    try:
        content = b"" if hook.is_symlink() else hook.read_bytes()
    except OSError as e:
        raise UserError(f"cannot read {hook}: {e.strerror}", "check what stands there") from e
    found = _MARKER.search(content)
    if found is None:
        return "foreign"
    return "ours" if _digest(content, found[2]).encode() == found[2] else "ours, edited"


def _digest(content: bytes, field: bytes) -> str:
    """Hash `content` as it was before `field` was filled in."""
    return hashlib.sha256(content.replace(field, b"", 1)).hexdigest()


def _script_in(hook: Path) -> Path | None:
    found = re.search(rb"^codewm='(.*)'$", hook.read_bytes(), re.MULTILINE) if hook.is_file() else None
    return Path(os.fsdecode(found[1].replace(b"'\\''", b"'"))) if found else None


def _shell_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _written(folder: Path, content: bytes) -> Path:
    """Write `content` as an executable file of its own in `folder`, to be renamed into place."""
    handle, name = tempfile.mkstemp(prefix=".codewm-", dir=folder)
    with os.fdopen(handle, "wb") as f:
        f.write(content)
    path = Path(name)
    path.chmod(MODE)
    return path


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
