"""A path and bytes in, the file replaced in one step out: a reader sees the old or the new one, never half.

What a killed process leaves behind is called `.NAME.PID.tmp`; `codewm.corpus.lock` and `codewm doctor` know it by that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Open a file beside `path` that takes its place at the end of the block; nothing is left behind if that fails.

    `durable` waits until the content is on disk. Raises `OSError` where the place is not writable.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_file(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Replace the file by `data`. Raises `OSError` where the place is not writable."""
    with replacing(path, durable=durable) as file:
        file.write(data)


def replace_file(path: Path, data: bytes) -> bool:
    """The same; False where the place is not writable."""
    try:
        write_file(path, data)
    except OSError:
        return False
    return True
