"""Commit records and file changes in, rows of the commit table out: numbered, labelled, with the author hashed.

Needs no numpy, so that a history can be read before that is there. Everything is numbered by first appearance.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from codewm.corpus import labels
from codewm.corpus.records import CommitRecord, FileChange

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable

COMMIT_MERGE = 1
COMMIT_ROOT = 2
COMMIT_BOUNDARY = 4
"""The parents were left out of a shallow clone, so the commit has no edits."""
COLUMNS = (
    "oid", "parent", "author", "time", "committer_time", "subject", "flags", "file_changes", "reverts", "fixes",
)  # fmt: skip
"""Those of the commit table that a record alone tells; lines are for who has read the files."""


class Fresh(NamedTuple):
    """What is new since it was last taken."""

    commits: list[tuple[Any, ...]]
    """A value for each of `COLUMNS`."""
    paths: list[bytes]
    renames: list[tuple[int, int, int]]
    """Commit, path before, path after; of every renamed Python file, edited or not."""


class CommitRows:
    """Numbers commits and paths, after those of `base`, if there is one."""

    def __init__(
        self, *, base: EditTable | None = None, salt: bytes = b"", with_authors: bool = False
    ) -> None:
        """Hash authors with `salt` unless `with_authors`."""
        self._salt = salt[:64]
        self._with_authors = with_authors
        self._authors: dict[tuple[str, str], str] = {}
        self._rows: dict[str, int] = {}
        self._subjects: list[str] = []
        self._paths: dict[bytes, int] = {}
        if base is not None:
            self._rows = {oid: i for i, oid in enumerate(base.commits.oid) if oid}
            self._subjects = list(base.commits.subject)
            self._paths = {p.encode("utf-8", "surrogateescape"): i for i, p in enumerate(base.paths)}
        self._fresh = Fresh([], [], [])

    def take(self) -> Fresh:
        """Return what is new since the last call."""
        fresh, self._fresh = self._fresh, Fresh([], [], [])
        return fresh

    def add_commit(self, record: CommitRecord, file_changes: int) -> None:
        """Append a commit with so many Python file changes; those that follow are its."""
        subject, is_merge = record.subject, record.is_merge
        flags = (
            COMMIT_MERGE * is_merge
            | COMMIT_ROOT * (not record.parents and not record.boundary)
            | COMMIT_BOUNDARY * record.boundary
        )
        self._fresh.commits.append(
            (
                record.oid,
                record.parents[0] if record.parents else "",
                self._author(record.author_name, record.author_email),
                record.author_time,
                record.committer_time,
                subject,
                flags,
                file_changes,
                labels.reverted(record, self._rows, self._subjects),
                labels.is_fix(record),
            )
        )
        if record.oid:
            self._rows[record.oid] = len(self._subjects)
        self._subjects.append(subject)

    def add_change(self, change: FileChange) -> tuple[int, int]:
        """Number a Python file change of the last commit: the commit's row, and the path after it."""
        commit = len(self._subjects) - 1
        old, new = change.old_path, change.new_path
        if old is None or old == new:
            return commit, self._path(change.path)
        before = self._path(old)
        path = self._path(change.path)
        if before != path and old.endswith(b".py") and new is not None and new.endswith(b".py"):
            self._fresh.renames.append((commit, before, path))
        return commit, path

    def _path(self, path: bytes) -> int:
        number = self._paths.get(path)
        if number is None:
            number = self._paths[path] = len(self._paths)
            self._fresh.paths.append(path)
        return number

    def _author(self, name: str, email: str) -> str:
        known = self._authors.get((name, email))
        if known is None:
            known = f"{name} <{email}>"
            if not self._with_authors:
                whole = known.encode("utf-8", "replace")
                known = hashlib.blake2b(whole, key=self._salt, digest_size=8).hexdigest()
            self._authors[name, email] = known
        return known
