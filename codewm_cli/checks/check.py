"""What every check is made of: a function that yields rows in, its rows out, whatever stops it.

Beside that, what several checks need: counts and sizes to text, and the start of a file that may be anything.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from codewm.corpus.errors import UserError

OK: Literal["ok"] = "ok"
NOTE: Literal["note"] = "note"
PROBLEM: Literal["problem"] = "problem"
FILE_LIMIT = 1 << 20  # bytes; larger attribute files, ref lists and hook configurations are read no further


@dataclass(frozen=True)
class Check:
    """One row: what was looked at, whether it is well, what was found, and what to do ('' is nothing)."""

    name: str
    status: Literal["ok", "note", "problem"]
    found: str
    fix: str = ""


def guarded(name: str, check: Callable[..., Iterator[Check]], *args: Any) -> Iterator[Check]:
    """Pass on the rows of one check; turn whatever stops it into a row."""
    try:
        yield from check(*args)
    except UserError as e:
        yield Check(name, PROBLEM, e.message, e.hint)
    except Exception as e:
        # The rest must still be said, and this is the command that people run when something is broken.
        yield Check(
            name, PROBLEM, f"could not be checked: {type(e).__name__}: {e}", "if it stays, please report it"
        )


def many(n: int, word: str) -> str:
    """Return the count with its word, which gets an s unless it is one."""
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def size(n: float) -> str:
    """Return a number of bytes in the unit that fits."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:,.1f} TB"


def start_of(path: Path) -> bytes:
    """Read a regular file up to the limit, never through a link; b'' where there is none."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return file.read(FILE_LIMIT)
    return b""
