"""A repository in, the commits that fixes blame out: whose lines each fix deleted, and since when that is known.

    with Repository.open(path) as repo:
        labels = find(repo)                      # the whole first-parent line of HEAD, seconds
    labels.links                                 # every (inducing commit, fix, date at which it became known)
    labels.inducing                              # {inducing commit: date of its first fix}
    labels.known_at(time).inducing               # as it was known at that unix time: train on this, no more

The algorithm of Sliwerski, Zimmermann and Zeller (2005, "When do changes induce fixes?", MSR): a fix is a commit
whose title says so (`labels.is_fix`, the claim of its author); the commits that last touched the lines it deletes
or replaces are said to have induced it. Of those lines count: not blank, not a comment of its own line, not in a
test file, changed in more than white space. Text inside docstrings does count. Files that a fix deletes, and fixes
that touch many files, blame nobody.

Lines are followed through the diffs of the first-parent history in one walk (`hunks.patches`), renames included; no
file is annotated. A merge owns what it brings to its first parent. Lines from before a shallow clone's end belong to
nobody, and so do those of a file that Git would not compare, or of which a version is not here. Held in memory is an
int32 for each line of the Python files at one time.

These labels are noisy in both directions: a line that a fix deletes need not have caused what is fixed, most bugs are
never fixed in a commit that says so, and the youngest commits have had no time to be blamed at all.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from codewm.corpus.divide import is_test
from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.hunks import Hunk, Patch, Patches, patches, unreadable
from codewm.corpus.labels import is_fix
from codewm.corpus.records import CommitRecord, FileChange

DAY = 86_400
_NOBODY = -1
_SUBMODULE = "160000"
Owners = array
"""Of int32, one per line: row of the commit that last changed it, or `_NOBODY`."""


@dataclass(frozen=True)
class SzzOptions:
    """What counts."""

    max_age_days: float = 730.0
    """A line older than this when it is fixed was hardly a mistake: its commit is not blamed."""
    max_files: int = 10
    """A fix that touches more Python files, without tests, than this blames nobody: it also does other things."""


class Link(NamedTuple):
    """One commit blamed by one fix."""

    inducing: str
    """Object id of the commit that last changed the lines."""
    fix: str
    """Object id of the fix that deleted them."""
    known: int
    """Unix seconds: when the fix had reached this line of history, and the label could be known."""
    introduced: int
    """Unix seconds: likewise for the inducing commit."""
    lines: int
    """How many lines it is blamed for."""
    paths: tuple[bytes, ...]
    """Where those lines were when they were fixed."""


@dataclass(frozen=True)
class Labels:
    """Who is blamed, by whom, and since when."""

    links: tuple[Link, ...]
    """In the order in which they became known."""
    counts: dict[str, int] = field(default_factory=dict)
    """`commits` walked, `fixes` among them, fixes that blame nobody: `too many files`, `nothing deleted` (or nothing
    that counts), `too old` (all of it) and `nobody known`.
    """

    @cached_property
    def inducing(self) -> dict[str, int]:
        """Each blamed commit with the time of the first fix that blames it."""
        first: dict[str, int] = {}
        for link in self.links:
            first.setdefault(link.inducing, link.known)
        return first

    @cached_property
    def fixes(self) -> dict[str, tuple[Link, ...]]:
        """Each blamed commit with all that is held against it."""
        found: dict[str, list[Link]] = {}
        for link in self.links:
            found.setdefault(link.inducing, []).append(link)
        return {oid: tuple(links) for oid, links in found.items()}

    def known_at(self, time: float) -> Labels:
        """What was known at a time (unix seconds), that second included. The counts are those of the whole."""
        return Labels(tuple(link for link in self.links if link.known <= time), self.counts)


def find(repo: Repository, tip: str = "HEAD", options: SzzOptions | None = None) -> Labels:
    """Blame along the first-parent line that ends in `tip`. Raises `UserError` where Git cannot read the history."""
    options = options or SzzOptions()
    oid = repo.resolve(tip)
    try:
        return blame(repo.commits(oid, suffix=b".py"), patches(repo, oid), options)
    except UserError:
        lost = unreadable(repo, oid)
        if not lost:
            raise
    return blame(repo.commits(oid, suffix=b".py"), patches(repo, oid, lost), options, frozenset(lost))


def blame(
    records: Iterable[CommitRecord],
    diffs: Iterable[tuple[str, Patches]],
    options: SzzOptions,
    lost: frozenset[bytes] = frozenset(),
) -> Labels:
    """Follow lines through commits and their patches, both oldest first; commits without patches may be left out.

    Nothing is known of the lines of the paths `lost`.
    """
    walk = _Walk(options, lost)
    following = iter(diffs)
    ahead = next(following, None)
    for record in records:
        found: Patches = {}
        if ahead is not None and ahead[0] == record.oid:
            found, ahead = ahead[1], next(following, None)
        walk.take(record, found)
    if ahead is not None:
        raise ValueError("records and patches are of different commits")
    return Labels(tuple(walk.links), walk.counts)


class _Walk:
    """What is known of every line on the way."""

    def __init__(self, options: SzzOptions, lost: frozenset[bytes]) -> None:
        self._options = options
        self._lost = lost
        self._files: dict[bytes, Owners[int] | None] = {}
        self._oids: list[str] = []
        self._reached: list[int] = []
        self.links: list[Link] = []
        self.counts = dict.fromkeys(
            ("commits", "fixes", "too many files", "nothing deleted", "too old", "nobody known"), 0
        )

    def take(self, record: CommitRecord, found: Patches) -> None:
        """Go on by one commit: blame, if it is a fix, then let its lines be its own."""
        row = len(self._oids)
        self._oids.append(record.oid)
        # The clock of a committer may be wrong: what is known stays known.
        self._reached.append(max([record.committer_time, *self._reached[-1:]]))
        self.counts["commits"] += 1
        changes = _renamed([c for c in record.changes if _SUBMODULE not in (c.old_mode, c.new_mode)], found)
        if is_fix(record) and record.parents and not record.boundary:
            self._blame(changes, found)
        owner = _NOBODY if record.boundary else row
        # A file may take the name of one that left.
        before = {c.old_path: self._files.pop(c.old_path, None) for c in changes if c.old_path is not None}
        for change in changes:
            if change.new_path is not None and change.new_path in self._lost:
                self._files[change.new_path] = None
            elif change.new_path is not None and change.new_path.endswith(b".py"):
                old = before.get(change.old_path) if change.old_path is not None else array("i")
                self._files[change.new_path] = _rewritten(old, change, found, owner)

    def _blame(self, changes: Sequence[FileChange], found: Patches) -> None:
        self.counts["fixes"] += 1
        wanted = [c for c in changes if _counts(c)]
        if len(wanted) > self._options.max_files:
            self.counts["too many files"] += 1
            return
        lines: dict[int, int] = {}
        paths: dict[int, dict[bytes, None]] = {}
        for change in wanted:
            patch = found.get((change.old_oid, change.new_oid), Patch(()))
            assert change.old_path is not None
            for owner in _owners(self._files.get(change.old_path), patch.hunks):
                lines[owner] = lines.get(owner, 0) + 1
                paths.setdefault(owner, {})[change.old_path] = None
        fix, known = self._oids[-1], self._reached[-1]
        blamed = 0
        for owner in sorted(lines):
            if owner == _NOBODY or known - self._reached[owner] > self._options.max_age_days * DAY:
                continue
            blamed += 1
            introduced = self._reached[owner]
            where = tuple(paths[owner])
            self.links.append(Link(self._oids[owner], fix, known, introduced, lines[owner], where))
        if not blamed:
            why = "nothing deleted" if not lines else "nobody known" if set(lines) == {_NOBODY} else "too old"
            self.counts[why] += 1


def _renamed(changes: list[FileChange], found: Patches) -> list[FileChange]:
    """Changes with the renames that the patches know of, too: a walk over all files tells fewer where one is lost."""
    gone = [c for c in changes if c.status == "D"]
    out = list(gone)
    for change in (c for c in changes if c.status != "D"):
        if change.status == "A" and (None, change.new_oid) not in found:
            of = next((c for c in gone if (c.old_oid, change.new_oid) in found), None)
            if of is not None:
                out.remove(of)
                gone.remove(of)
                change = change._replace(status="R", old_path=of.old_path, old_oid=of.old_oid)
        out.append(change)
    return out


def _counts(change: FileChange) -> bool:
    """A change of a Python file that is no test and lives on."""
    if change.old_path is None or change.new_path is None or not change.old_path.endswith(b".py"):
        return False
    return not is_test(change.old_path.decode("utf-8", "surrogateescape"))


def _owners(owners: Owners[int] | None, hunks: Sequence[Hunk]) -> Iterable[int]:
    """Whose lines the hunks remove; a line that was lost track of is nobody's."""
    for hunk in hunks:
        for at, text in enumerate(hunk.removed, hunk.start):
            line = text.strip()
            if line and not line.startswith(b"#"):
                yield owners[at] if owners is not None and at < len(owners) else _NOBODY


def _rewritten(old: Owners[int] | None, change: FileChange, found: Patches, owner: int) -> Owners[int] | None:
    """The owners after a change; None where that cannot be told."""
    if change.old_oid == change.new_oid:
        return old
    patch = found.get((change.old_oid, change.new_oid))
    if patch is None and (None, change.new_oid) in found:
        # It comes from a file that is not compared.
        patch, old = found[None, change.new_oid], array("i")
    if patch is None:
        # Nothing but white space, or a file that became a link.
        return old if change.status in ("M", "R") else array("i") if change.status == "A" else None
    if patch.binary or old is None:
        return None
    new = array("i")
    at = 0
    for hunk in patch.hunks:
        if hunk.start < at or hunk.start + len(hunk.removed) > len(old):
            return None
        new += old[at : hunk.start]
        new += array("i", [owner]) * hunk.added
        at = hunk.start + len(hunk.removed)
    new += old[at:]
    return new
