"""A path and bytes in, the file replaced in one step out: a reader sees the old or the new one, never half."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(path: Path, data: bytes) -> bool:
    """Write beside the file, then rename; False where the place is not writable."""
    try:
        write_file(path, data)
    except OSError:
        return False
    return True


def write_file(path: Path, data: bytes) -> None:
    """The same. Raises `OSError` where the place is not writable, with nothing left behind."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as f:
            f.write(data)
        Path(temporary).replace(path)
    except OSError:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise
