"""A first-parent line in, the line diffs of its Python files out: one `git log -p`, read as a stream.

Differences in white space alone are no differences, and files of other kinds are not compared at all. Hunks have
no context, and the text of added lines is dropped where it is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from codewm.corpus.blobs import BLOB_LIMIT
from codewm.corpus.git import Repository

_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_INDEX = re.compile(rb"index ([0-9a-f]+)\.\.([0-9a-f]+)")
_DIFF = (
    "-p", "-U0", "-w", "--full-index", "--diff-algorithm=myers", "--indent-heuristic", "--inter-hunk-context=0",
    "-M50%", "-l1000", "--no-ext-diff", "--no-textconv", "--no-color", "--no-relative", "-O/dev/null",
    "--src-prefix=a/", "--dst-prefix=b/", "--ignore-submodules=none", "--submodule=short",
)  # fmt: skip
_LOG = (
    "--first-parent", "-m", "--root", "--reverse", "--format=commit %H",
    "--no-decorate", "--no-notes", "--no-show-signature",
)  # fmt: skip


@dataclass(frozen=True)
class Hunk:
    """Lines `start` to `start + len(removed)` (from 0) of the old side give way to `added` new ones."""

    start: int
    removed: tuple[bytes, ...]
    added: int


@dataclass(frozen=True)
class Patch:
    """How one version of a file becomes another."""

    hunks: tuple[Hunk, ...]
    binary: bool = False
    """Git would not compare them, so that nothing is known of the lines."""


Patches = dict[tuple[str | None, str | None], Patch]
"""By the ids of the two versions, None for a side that does not exist. Versions that differ in nothing but
white space have no patch.
"""


def patches(repo: Repository, tip: str, without: Sequence[bytes] = ()) -> Iterator[tuple[str, Patches]]:
    """Walk the first-parent line that ends in `tip`, oldest first: (commit, its patches against its first parent).

    Commits that change no Python file are left out, and so are the paths `without`. What came from another kind of
    file, or from one of those, has a patch from nothing. Raises `UserError` where Git cannot read a version.
    """
    # Nothing but Python files is compared, and looked at as what a file was renamed from.
    git = replace(
        repo._fetching if repo.may_fetch else repo._objects,
        settings=(f"core.bigFileThreshold={2 * BLOB_LIMIT}",),
        pathspecs=(),
    )
    excluded = [f":(exclude,literal){os.fsdecode(path)}" for path in without]
    asked = ("log", *_DIFF, *_LOG, "--end-of-options", repo.resolve(tip), "--", "*.py", *excluded)
    yield from parse(_lines(repo._stream(git, *asked)))


def unreadable(repo: Repository, tip: str) -> list[bytes]:
    """Paths of Python files of which a version is not here, or is damaged: reads all versions."""
    paths: dict[str, set[bytes]] = {}
    for record in repo.commits(tip, suffix=b".py"):
        for change in record.changes:
            for oid, path in ((change.old_oid, change.old_path), (change.new_oid, change.new_path)):
                if oid is not None and path is not None and path.endswith(b".py"):
                    paths.setdefault(oid, set()).add(path)
    lost = (oid for oid, content, size in repo.read_objects(paths) if content is None and size < 0)
    return sorted({path for oid in lost for path in paths[oid]})


def parse(lines: Iterator[bytes]) -> Iterator[tuple[str, Patches]]:
    """Turn the lines of `git log -p -U0` into patches, commit by commit."""
    commit: str | None = None
    found: Patches = {}
    key: tuple[str | None, str | None] | None = None
    for line in lines:
        if line.startswith(b"@@ ") and key is not None:
            hunk = _hunk(line, lines)
            known = found[key]
            # Two files may change from and to the same versions; one patch is enough for both.
            if not known.hunks or hunk.start > known.hunks[-1].start:
                found[key] = replace(known, hunks=(*known.hunks, hunk))
        elif line.startswith(b"index "):
            matched = _INDEX.match(line)
            assert matched is not None
            key = _oid(matched[1]), _oid(matched[2])
            found.setdefault(key, Patch(()))
        elif line.startswith(b"Binary files ") and key is not None:
            found[key] = Patch((), binary=True)
        elif line.startswith(b"diff --git "):
            key = None
        elif line.startswith(b"commit "):
            if commit is not None:
                yield commit, found
            commit, found, key = line[7:].decode("ascii"), {}, None
    if commit is not None:
        yield commit, found


def _hunk(header: bytes, lines: Iterator[bytes]) -> Hunk:
    matched = _HUNK.match(header)
    assert matched is not None
    start, count, _, new = matched.groups()
    old_count = 1 if count is None else int(count)
    left_new = new_count = 1 if new is None else int(new)
    removed: list[bytes] = []
    # The text may look like anything: it is told by the counts.
    while len(removed) < old_count or left_new:
        line = next(lines)
        if line.startswith(b"-"):
            removed.append(line[1:])
        elif line.startswith(b"+"):
            left_new -= 1
    # Where nothing is removed, Git names the line before.
    return Hunk(int(start) - (old_count > 0), tuple(removed), new_count)


def _oid(text: bytes) -> str | None:
    return text.decode("ascii") if text.strip(b"0") else None


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        parts = (rest + chunk).split(b"\n")
        rest = parts.pop()
        yield from parts
    if rest:
        yield rest
