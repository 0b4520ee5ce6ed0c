"""The NUL-separated text of `git log --raw -z` in, one record per commit out. Pure parsing, no process.

Paths stay bytes, because Git's are. Names and messages become text with U+FFFD for what is not UTF-8: they
are shown and searched, never used to find anything again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

REGULAR_MODES = frozenset({"100644", "100755", "100664"})
# A field of the log format per token; the message comes last and may hold anything but NUL.
LOG_FORMAT = "%H%x00%P%x00%an%x00%ae%x00%at%x00%ct%x00%B%x00"
_LOG_FIELDS = 7


class Source(Enum):
    """Where the new side of a record lives."""

    COMMIT = "commit"
    INDEX = "index"
    WORKTREE = "worktree"


@dataclass(frozen=True)
class FileChange:
    """One line of a raw diff. An object id is None where the side does not exist."""

    status: str
    """A, M, D, R or T (what else Git says is passed through)."""
    old_path: bytes | None
    new_path: bytes | None
    old_oid: str | None
    new_oid: str | None
    old_mode: str
    new_mode: str
    content: bytes | None = None
    """The new side itself, where it is in no object yet (work tree)."""

    @property
    def path(self) -> bytes:
        """The path after the change, or before it if the file is gone."""
        path = self.new_path if self.new_path is not None else self.old_path
        assert path is not None
        return path

    @property
    def is_python(self) -> bool:
        """A side of the change is called `*.py`."""
        return any(p is not None and p.endswith(b".py") for p in (self.old_path, self.new_path))


@dataclass(frozen=True)
class CommitRecord:
    """One commit and what it changed against its first parent; times in unix seconds."""

    oid: str
    """'' for the index and the work tree."""
    parents: tuple[str, ...]
    author_name: str
    author_email: str
    author_time: int
    committer_time: int
    message: str
    changes: tuple[FileChange, ...]
    boundary: bool = False
    """A shallow clone ends here: the parent exists but is missing, so `changes` are not what was changed."""
    source: Source = Source.COMMIT

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.partition("\n")[0].rstrip("\r")

    @property
    def is_merge(self) -> bool:
        """It has more than one parent."""
        return len(self.parents) > 1


@dataclass(frozen=True)
class RevSpec:
    """A piece of first-parent history by object ids."""

    tip: str
    since: str | None = None
    """Leave out what is reachable from here."""
    only: bool = False
    """The tip alone, whatever came before."""


def split_nul(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a stream of chunks at NUL; what follows the last NUL is a token unless it is empty."""
    rest = b""
    for chunk in chunks:
        parts = (rest + chunk).split(b"\0")
        rest = parts.pop()
        yield from parts
    if rest:
        yield rest


def parse_log(tokens: Iterator[bytes], boundaries: frozenset[str] = frozenset()) -> Iterator[CommitRecord]:
    """Turn the tokens of `git log --raw -z --format=LOG_FORMAT` into records, in the order of the log."""
    fields: list[str] | None = None
    changes: list[FileChange] = []
    for token in tokens:
        # Git separates message and diff by a newline, and commits without a diff by an empty token.
        head = token.lstrip(b"\n")
        if not head:
            continue
        if head.startswith(b":"):
            changes.append(_change(head, tokens))
            continue
        if fields is not None:
            yield _record(fields, changes, boundaries)
        fields = [head.decode("ascii"), *(_text(next(tokens)) for _ in range(_LOG_FIELDS - 1))]
        changes = []
    if fields is not None:
        yield _record(fields, changes, boundaries)


def parse_raw(tokens: Iterator[bytes]) -> tuple[FileChange, ...]:
    """Turn the tokens of `git diff-index --raw -z` into changes."""
    return tuple(_change(token, tokens) for token in tokens)


def _change(meta: bytes, tokens: Iterator[bytes]) -> FileChange:
    old_mode, new_mode, old_oid, new_oid, status = meta[1:].decode("ascii").split(" ")
    first = next(tokens)
    kind = status[0]
    old: bytes | None = first
    new: bytes | None = first
    if kind in "RC":
        new = next(tokens)
    if kind == "A":
        old = None
    elif kind == "D":
        new = None
    return FileChange(kind, old, new, _oid(old_oid), _oid(new_oid), old_mode, new_mode)


def _record(fields: list[str], changes: list[FileChange], boundaries: frozenset[str]) -> CommitRecord:
    oid, parents, name, email, author_time, committer_time, message = fields
    return CommitRecord(
        oid,
        tuple(parents.split()),
        name,
        email,
        _time(author_time),
        _time(committer_time),
        message,
        tuple(changes),
        oid in boundaries,
    )


def _oid(text: str) -> str | None:
    return text if text.strip("0") else None


def _time(text: str) -> int:
    # A damaged commit may have no date; the int64 column of the store bounds the others.
    return min(int(text), 2**62) if text.isdecimal() else 0


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
