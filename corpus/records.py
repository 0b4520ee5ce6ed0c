"""The NUL-separated text of `git log --raw -z` in, one record per commit out. Pure parsing, no process.

Paths stay bytes, because Git's are. Names and messages become text with U+FFFD for what is not UTF-8: they
are shown and searched, never used to find anything again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import NamedTuple

REGULAR_MODES = frozenset({"100644", "100755", "100664"})
# A field of the log format per token; the message comes last and may hold anything but NUL.
LOG_FORMAT = "%H%x00%P%x00%an%x00%ae%x00%at%x00%ct%x00%B%x00"
_LOG_FIELDS = 7
LAST_TIME = 2**62
"""Unix seconds; later dates are taken for this one."""
_TIME_DIGITS = 19


def is_python(path: bytes | None) -> bool:
    """There is such a side, and it is called `*.py`."""
    return path is not None and path.endswith(b".py")


class Source(Enum):
    """Where the new side of a record lives."""

    COMMIT = "commit"
    INDEX = "index"
    WORKTREE = "worktree"


class FileChange(NamedTuple):
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
        return is_python(self.old_path) or is_python(self.new_path)

    def has_suffix(self, suffix: bytes) -> bool:
        """A side of the change has a path that ends so."""
        return any(p is not None and p.endswith(suffix) for p in (self.old_path, self.new_path))


class CommitRecord(NamedTuple):
    """One commit and what it changed against its first parent; times in unix seconds.

    A date that Git cannot read, as those before 1970, is 0.
    """

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


def parse_log(
    tokens: Iterator[bytes], boundaries: frozenset[str] = frozenset(), suffix: bytes = b""
) -> Iterator[CommitRecord]:
    """Turn the tokens of `git log --raw -z --format=LOG_FORMAT` into records, in the order of the log.

    Changes of which neither path ends in `suffix` are left out.
    """
    fields: list[bytes] | None = None
    changes: list[FileChange] = []
    for token in tokens:
        # Git separates message and diff by a newline, and commits without a diff by an empty token.
        head = token.lstrip(b"\n")
        if not head:
            continue
        if head.startswith(b":"):
            change = _change(head, tokens, suffix)
            if change is not None:
                changes.append(change)
            continue
        if fields is not None:
            yield _record(fields, changes, boundaries)
        fields = [head, *islice(tokens, _LOG_FIELDS - 1)]
        changes = []
    if fields is not None:
        yield _record(fields, changes, boundaries)


def parse_raw(tokens: Iterator[bytes], suffix: bytes = b"") -> tuple[FileChange, ...]:
    """Turn the tokens of `git diff-index --raw -z` into changes, of those with a path in `suffix`."""
    changes = (_change(token, tokens, suffix) for token in tokens)
    return tuple(change for change in changes if change is not None)


def _change(meta: bytes, tokens: Iterator[bytes], suffix: bytes) -> FileChange | None:
    first = second = next(tokens)
    if meta[meta.rindex(b" ") + 1] in b"RC":
        second = next(tokens)
    if suffix and not (first.endswith(suffix) or second.endswith(suffix)):
        return None
    old_mode, new_mode, old_oid, new_oid, status = meta[1:].decode("ascii").split(" ")
    kind = status[0]
    old = first if kind != "A" else None
    new = second if kind != "D" else None
    return FileChange(kind, old, new, _oid(old_oid), _oid(new_oid), old_mode, new_mode)


def _record(fields: list[bytes], changes: list[FileChange], boundaries: frozenset[str]) -> CommitRecord:
    oid, parents, name, email, author_time, committer_time, message = fields
    commit = oid.decode("ascii")
    return CommitRecord(
        commit,
        tuple(parents.decode("ascii").split()),
        name.decode("utf-8", "replace"),
        email.decode("utf-8", "replace"),
        _time(author_time),
        _time(committer_time),
        message.decode("utf-8", "replace"),
        tuple(changes),
        commit in boundaries,
    )


def _oid(text: str) -> str | None:
    return text if text.strip("0") else None


def _time(text: bytes) -> int:
    # Git shows no date where it cannot read one (a damaged commit, a year before 1970). The int64 column of
    # the store bounds the others, and Python refuses to read a number of thousands of digits.
    if not text.isdigit():
        return 0
    return min(int(text), LAST_TIME) if len(text) <= _TIME_DIGITS else LAST_TIME
