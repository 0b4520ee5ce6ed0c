"""A file name in, the only writer of it out: two harvests of one repository never mix.

Who holds the lock may also remove what writers that were killed left behind.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from codewm.corpus.errors import UserError


@contextmanager
def exclusive(target: Path) -> Iterator[None]:
    """Hold `<target>.lock` while the block runs. Raises `UserError` at once if another process holds it.

    The system releases the lock when a process dies, however it dies, so it never has to be cleaned up.
    """
    place = lock_path(target)
    descriptor = _acquire(place)
    try:
        yield
    finally:
        # Unlinked while it is held: whoever opened the old file finds that its name is gone and opens again.
        place.unlink(missing_ok=True)
        os.close(descriptor)


def clean(path: Path) -> None:
    """Remove what killed writers of `path` left beside it; for the holder of the lock only."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):
            left.unlink(missing_ok=True)


def sweep(target: Path) -> None:
    """Remove what a writer of `target` that was killed left behind, unless another is at work."""
    if lock_path(target).exists():
        with suppress(UserError), exclusive(target):
            clean(target)


def lock_path(target: Path) -> Path:
    """The file that whoever writes `target` holds."""
    return target.with_name(target.name + ".lock")


def _acquire(place: Path) -> int:
    while True:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as e:
            raise UserError(
                f"cannot write to '{place.parent}': {e.strerror}", "name another place with --out"
            ) from e
        if not _try(descriptor):
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise UserError(
                f"another harvest of this repository is running (process {holder})", "wait until it is done"
            )
        if _is_current(descriptor, place):
            # For the message to others alone; a full disk will be reported by what needs the room.
            with suppress(OSError):
                os.truncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode())
            return descriptor
        os.close(descriptor)


def _is_current(descriptor: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), place.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _try(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
