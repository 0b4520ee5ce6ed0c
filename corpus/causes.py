"""Why a file change gives no edit: a number for the store, a name for JSON, words for people."""

from __future__ import annotations

from enum import IntEnum


class Cause(IntEnum):
    """Why a Python file change gave no edit. The numbers are stored; never reuse one."""

    NO_UNIT_CHANGED = 0
    RENAMED_ONLY = 1
    MODE_ONLY = 2
    EMPTY_FILE = 3
    NOT_A_FILE = 4
    TOO_LARGE = 5
    MISSING = 6
    LFS_POINTER = 7
    SHALLOW_BOUNDARY = 8
    MERGE_SKIPPED = 9
    DAMAGED = 10

    @property
    def key(self) -> str:
        """Name in JSON."""
        return self.name.lower()

    @property
    def text(self) -> str:
        """What people are told."""
        return _TEXT[self]


_TEXT = {
    Cause.NO_UNIT_CHANGED: "no unit changed (comments or blank lines between units)",
    Cause.RENAMED_ONLY: "renamed without a change of content",
    Cause.MODE_ONLY: "mode changed, not the content",
    Cause.EMPTY_FILE: "empty on every side",
    Cause.NOT_A_FILE: "symbolic link or submodule",
    Cause.TOO_LARGE: "larger than 1 MiB",
    Cause.MISSING: "content missing from the repository",
    Cause.LFS_POINTER: "Git LFS pointer",
    Cause.SHALLOW_BOUNDARY: "parent left out of a shallow clone",
    Cause.MERGE_SKIPPED: "in a merge commit (--merges skip)",
    Cause.DAMAGED: "damaged in the repository",
}
