"""What Git is surrounded with: an environment, settings, and a Git folder of our own.

Nothing that a repository says may run, or change what is read from it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from codewm.corpus.errors import UserError

PROTOCOLS = "file:git:http:https:ssh"
"""What may be fetched by, where fetching is allowed."""
# Overrides for what a repository's or a user's configuration could run or could change in our output.
NEUTRAL = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.alternateRefsCommand=",
    "core.sshCommand=false",
    "core.askPass=",
    "credential.helper=",
    "log.showSignature=false",
    "diff.relative=false",
    "submodule.recurse=false",
    "gc.auto=0",
    "maintenance.auto=false",
)
_PREFIX = "codewm-git-"
_SETTLED = 60.0
"""Seconds."""
# The configuration of our own Git folder. Its objects are somebody else's and it has no refs to them, so
# a clean-up here would delete them all: switched off for good.
_SCRATCH_CONFIG = """\
[core]
\trepositoryFormatVersion = 1
\tbare = true
\thooksPath = /dev/null
[extensions]
\tobjectFormat = {object_format}
[gc]
\tauto = 0
[maintenance]
\tauto = false
[fetch]
\twriteCommitGraph = false
\tnegotiationAlgorithm = noop
"""


class ScratchFolder:
    """A Git folder of our own, empty but for the ends of a shallow clone (commits without parents).

    With GIT_OBJECT_DIRECTORY it shows another repository's objects, and nothing else of that repository.
    """

    def __init__(self, object_format: str, boundaries: Iterable[str]) -> None:
        try:
            _sweep()
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self.remove = weakref.finalize(self, _remove, self.path, _locked(self.path))
            """Remove it; done at the end of the process in any case."""
            (self.path / "refs").mkdir()
            (self.path / "HEAD").write_text("ref: refs/heads/none\n", "ascii")
            (self.path / "config").write_text(_SCRATCH_CONFIG.format(object_format=object_format), "ascii")
            ends = "".join(f"{oid}\n" for oid in sorted(boundaries))
            if ends:
                (self.path / "shallow").write_text(ends, "utf-8")
        except OSError as e:
            raise _no_room(e) from e


def _locked(folder: Path) -> int | None:
    """Lock a folder for as long as this process lives; None if somebody else has, or nobody can."""
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(folder: Path, descriptor: int | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if descriptor is not None:
        os.close(descriptor)


def _sweep() -> None:
    """Remove the folders of processes that were killed."""
    with os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if not entry.name.startswith(_PREFIX):
                continue
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                # A new one may not be locked yet.
                old = time.time() - status.st_mtime > _SETTLED
                if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and old:
                    descriptor = _locked(Path(entry.path))
                    if descriptor is not None:
                        _remove(Path(entry.path), descriptor)


def scratch_file() -> IO[bytes]:
    """Make a file without a name, gone when it is closed."""
    try:
        return tempfile.TemporaryFile()
    except OSError as e:
        raise _no_room(e) from e


def _no_room(error: OSError) -> UserError:
    return UserError(f"cannot write to the temporary folder: {error}", "make room, or set TMPDIR")


def environment() -> dict[str, str]:
    """The environment without what steers Git; then what keeps it from asking, locking and fetching."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"):
        # Which configuration is the user's own is for the user to say; a repository cannot set these.
        if name in os.environ:
            kept[name] = os.environ[name]
    return kept | {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_GRAFT_FILE": os.devnull,
        # Git before 2.45 knows no GIT_NO_LAZY_FETCH; every transport refused comes to the same.
        "GIT_ALLOW_PROTOCOL": "none",
        # Set but empty: no program of the configuration is asked for a connection.
        "GIT_PROXY_COMMAND": "",
        "GIT_PAGER": "cat",
    }


@contextlib.contextmanager
def without_git_variables() -> Iterator[None]:
    """GitPython obeys GIT_WORK_TREE and friends, which a hook inherits from `git commit`."""
    taken = {k: os.environ.pop(k) for k in list(os.environ) if k.startswith("GIT_")}
    try:
        os.environ["GIT_PYTHON_REFRESH"] = "quiet"
        yield
    finally:
        os.environ.pop("GIT_PYTHON_REFRESH", None)
        os.environ.update(taken)


def fetching_environment(addresses: Iterable[str]) -> dict[str, str]:
    """`environment`, with remotes promisor0, promisor1 ... at `addresses` that Git may fetch from on demand.

    Nothing else that a repository says about its remotes is passed on: it may be a program to run.
    """
    settings = []
    for number, address in enumerate(addresses):
        name = f"remote.promisor{number}"
        settings += [
            (f"{name}.url", address),
            (f"{name}.promisor", "true"),
            (f"{name}.partialCloneFilter", "blob:none"),
        ]
        if ":" not in address.removeprefix("file://"):
            # The other side runs here, under its own configuration: nothing is fetched for it in turn.
            settings.append((f"{name}.uploadpack", "GIT_ALLOW_PROTOCOL=none git-upload-pack"))
    variables = environment() | {"GIT_CONFIG_COUNT": str(len(settings)), "GIT_ALLOW_PROTOCOL": PROTOCOLS}
    # Left out, not 0: that would let the other side fetch in turn.
    del variables["GIT_NO_LAZY_FETCH"]
    for number, (key, value) in enumerate(settings):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    # Where the certificates of this machine are.
    return variables | {k: v for k, v in os.environ.items() if k in ("GIT_SSL_CAINFO", "GIT_SSL_CAPATH")}
