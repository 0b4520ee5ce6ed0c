"""Files of a work tree as they are on disk, read without Git, which would run a repository's filters."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from codewm.corpus.blobs import BLOB_LIMIT

# A file of the work tree is never read through a link, and a named pipe must not make us wait.
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def read_file(work_tree: Path, path: bytes) -> bytes | None:
    """Read a regular file of the work tree, never through a link, never more than the limit and a bit."""
    place = os.path.join(os.fsencode(work_tree), path)  # noqa: PTH118 - bytes
    if os.path.realpath(os.path.dirname(place)) != os.path.dirname(place):  # noqa: PTH120
        return None
    try:
        descriptor = os.open(place, os.O_RDONLY | _NO_LINKS)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(BLOB_LIMIT + 1)


def is_same(content: bytes, oid: str) -> bool:
    """The file is the blob, or would be after the line-ending conversion that Git itself may do."""
    return any(_blob_oid(c, oid) == oid for c in (content, content.replace(b"\r\n", b"\n")))


def _blob_oid(content: bytes, like: str) -> str:
    algorithm = "sha256" if len(like) == 64 else "sha1"
    header = f"blob {len(content)}\0".encode()
    return hashlib.new(algorithm, header + content, usedforsecurity=False).hexdigest()
