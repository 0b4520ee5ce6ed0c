"""An open repository in; rows on Git's own hook and on the pre-commit framework out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from codewm.cli.checks.check import NOTE, OK, PROBLEM, Check, start_of

if TYPE_CHECKING:
    from codewm.corpus.git import Repository


def _hook(repository: Repository) -> Iterator[Check]:
    from codewm.hooks import install as hooks

    if repository.work_tree is None:
        yield Check("hook", OK, "a bare repository has no staged changes to check")
        return
    status = hooks.status(repository)
    hook = status.folder.path / hooks.HOOK
    where = f"{hook} (core.hooksPath)" if status.folder.redirected else str(hook)
    force = "" if status.folder.inside else " --force, for every repository that uses that folder"
    again = f"'codewm hook install'{force}"
    if status.state == "absent":
        yield Check(
            "hook", NOTE, f"not installed at {where}", f"{again} warns about unusual edits before a commit"
        )
    elif status.state == "foreign":
        found = f"another tool's hook is at {where}"
        yield Check("hook", NOTE, found, f"{again} keeps it and runs it first")
    elif status.state == "ours, edited":
        fix = "'codewm hook install --force' replaces it; move your lines away first"
        yield Check("hook", NOTE, f"{where} was edited by hand", fix)
    elif not os.access(hook, os.X_OK):
        yield Check(
            "hook", PROBLEM, f"{where} cannot be executed, so Git passes it over", f"chmod +x '{hook}'"
        )
    elif status.script is None or hook.read_bytes() != hooks.rendered(status.script):
        yield Check("hook", NOTE, f"{where} is of another version of codewm", again)
    elif not status.script.is_file():
        found = f"{where} calls {status.script}, which is gone; codewm on the PATH is used instead, if any"
        yield Check("hook", NOTE, found, again)
    else:
        kept = f", runs {hooks.LEGACY} first" if status.legacy else ""
        yield Check("hook", OK, f"installed at {where}{kept}")


def _framework(repository: Repository) -> Iterator[Check]:
    from codewm.hooks import install as hooks

    tree = repository.work_tree
    text = b"" if tree is None else start_of(tree / ".pre-commit-config.yaml")
    ours = re.search(rb"^[\s-]*id:\s*['\"]?codewm['\"]?\s*(#.*)?$", text, re.MULTILINE) is not None
    if not text:
        yield Check("pre-commit", OK, "the framework is not used here")
        return
    native = hooks.status(repository)
    called = b"pre-commit" in start_of(native.folder.path / hooks.HOOK) or b"pre-commit" in start_of(
        native.folder.path / hooks.LEGACY
    )
    installed = native.state in ("ours", "ours, edited")
    if ours and installed:
        yield Check(
            "pre-commit", NOTE, "both the framework and Git's own hook call codewm", "'codewm hook uninstall'"
        )
    elif ours and not called:
        yield Check(
            "pre-commit",
            NOTE,
            "codewm is configured, but the framework is not installed",
            "'pre-commit install'",
        )
    elif ours:
        yield Check("pre-commit", OK, "the framework calls codewm")
    elif installed:
        yield Check("pre-commit", OK, "the framework is used; codewm has a hook of its own")
    else:
        fix = "add the hook 'codewm' to .pre-commit-config.yaml, or 'codewm hook install'"
        yield Check("pre-commit", NOTE, "the framework is used, without codewm", fix)


CHECKS: tuple[tuple[str, Callable[[Repository], Iterator[Check]]], ...] = (
    ("hook", _hook), ("pre-commit", _framework),
)  # fmt: skip
