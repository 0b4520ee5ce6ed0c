"""A repository's recent history in, what scoring compares with out: channels, sizes, names, displacements.

`Past` covers a run of first-parent commits. It can be cut back to any of its commits (`until`) and extended
by later ones (`plus`), so one stored copy serves the hook (base HEAD) and a range (base further back)
alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.distinct import distinct
from codewm.corpus.history import NO_NAMES, HistoryLimit, Names
from codewm.model.scoring.channels import CHANNELS, Edits, Seen, take as take
from codewm.model.scoring.ngrams import NO_LORE, Lore
from codewm.model.scoring.syntax import SYNTAX_SIZE

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable


@dataclass(frozen=True)
class Past:
    """C commits, oldest first, and their N edits, in the order of the commits."""

    oids: list[str]
    """[C]"""
    subjects: list[str]
    """[C]"""
    lines_added: NDArray[np.int32]
    """[C] lines added to Python files."""
    edits: Edits
    """`edits.commit` indexes `oids`; `edits.row` means nothing here."""
    path: NDArray[np.int32]
    """[N] index into `paths`."""
    unit: NDArray[np.int32]
    paths: list[str]
    units: list[str]
    start: Names
    """Names known before the first commit."""
    gained: NDArray[np.uint64]
    """[G] names that files gained, in the order of the commits."""
    gained_in: NDArray[np.int32]
    """[G] commit index."""
    words: Lore
    """N-grams of tokens."""
    syntax: Lore
    """N-grams of tokens without names and values."""
    from_root: bool
    """The first commit is the first of the repository: there is no more past than this."""
    source: str
    """'chains' or 'live': where the edits came from."""

    def __len__(self) -> int:
        return len(self.oids)

    @cached_property
    def position(self) -> dict[str, int]:
        """Index of each commit."""
        return {oid: i for i, oid in enumerate(self.oids)}

    @property
    def names(self) -> Names:
        """Names known after the last commit."""
        return self.start.plus(self.gained)

    def until(self, last: int) -> Past:
        """Return the past that ends with commit `last`, as it was then."""
        if last == len(self) - 1:
            return self
        kept = np.flatnonzero(self.edits.commit <= last)
        known = self.gained_in <= last
        return replace(
            self,
            oids=self.oids[: last + 1],
            subjects=self.subjects[: last + 1],
            lines_added=self.lines_added[: last + 1],
            edits=take(self.edits, kept),
            path=self.path[kept],
            unit=self.unit[kept],
            gained=self.gained[known],
            gained_in=self.gained_in[known],
            words=self.words.until(last),
            syntax=self.syntax.until(last),
        )

    def plus(self, table: EditTable, edits: Edits, known: Seen) -> Past:
        """Return the past with the commits of a table added, measured with `self.names`."""
        c = len(self)
        paths, path_ids = _joined(self.paths, table.paths)
        units, unit_ids = _joined(self.units, table.units)
        return replace(
            self,
            oids=self.oids + list(table.commits.oid),
            subjects=self.subjects + list(table.commits.subject),
            lines_added=np.concatenate([self.lines_added, table.commits.lines_added]),
            edits=concatenate(self.edits, replace(edits, commit=edits.commit + np.int32(c))),
            path=np.concatenate([self.path, path_ids[table.path[edits.row]]]),
            unit=np.concatenate([self.unit, unit_ids[table.unit[edits.row]]]),
            paths=paths,
            units=units,
            gained=np.concatenate([self.gained, known.gained]),
            gained_in=np.concatenate([self.gained_in, known.gained_in + np.int32(c)]),
            words=self.words.plus(known.words, c),
            syntax=self.syntax.plus(known.syntax, c),
        )

    def trimmed(self, limit: HistoryLimit) -> Past:
        """Drop the oldest commits beyond the limit; what they taught stays known."""
        scored = distinct(self.edits.commit)
        first = max(0, len(self) - limit.walk)
        if len(scored) > limit.commits:
            first = max(first, int(scored[-limit.commits]))
        if len(self.edits) > limit.edits:
            # The commit of the first edit that must go is not kept in part.
            first = max(first, int(self.edits.commit[len(self.edits) - limit.edits - 1]) + 1)
        if first == 0:
            return self
        first = min(first, len(self) - 1)
        kept = np.flatnonzero(self.edits.commit >= first)
        known = self.gained_in >= first
        edits = take(self.edits, kept)
        return replace(
            self,
            oids=self.oids[first:],
            subjects=self.subjects[first:],
            lines_added=self.lines_added[first:],
            edits=replace(edits, commit=edits.commit - np.int32(first)),
            path=self.path[kept],
            unit=self.unit[kept],
            start=self.start.plus(self.gained[~known]),
            gained=self.gained[known],
            gained_in=self.gained_in[known] - np.int32(first),
            words=self.words.since(first),
            syntax=self.syntax.since(first),
            from_root=False,
        )


def empty_past(
    names: Names = NO_NAMES,
    *,
    from_root: bool = True,
    source: str = "live",
    lores: tuple[Lore, Lore] = (NO_LORE, NO_LORE),
) -> Past:
    """Return a past without commits, in which `names` and the n-grams of words and of syntax are known."""
    no_index = np.empty(0, np.int32)
    return Past(
        oids=[],
        subjects=[],
        lines_added=no_index,
        edits=no_edits(0),
        path=no_index,
        unit=no_index,
        paths=[],
        units=[],
        start=names,
        gained=np.empty(0, np.uint64),
        gained_in=no_index,
        words=lores[0],
        syntax=lores[1],
        from_root=from_root,
        source=source,
    )


def no_edits(dim: int) -> Edits:
    """Return zero edits whose displacements have `dim` numbers."""
    return Edits(
        row=np.empty(0, np.int64),
        commit=np.empty(0, np.int32),
        size=np.empty(0, np.int32),
        change=np.empty(0, np.uint8),
        kind=np.empty(0, np.uint8),
        test=np.empty(0, np.bool_),
        channels=np.empty((0, len(CHANNELS))),
        displacement=np.empty((0, dim), np.float16),
        length=np.empty(0, np.float32),
        predicted=np.empty(0, np.float32),
        net=np.empty((0, SYNTAX_SIZE), np.int8),
        action=np.empty((0, 0), np.float32),
    )


def concatenate(first: Edits, second: Edits) -> Edits:
    """Return one after the other."""
    if len(first) == 0:
        return second
    return Edits(**{k: np.concatenate([v, vars(second)[k]]) for k, v in vars(first).items()})


def _joined(known: list[str], more: list[str]) -> tuple[list[str], NDArray[np.int32]]:
    """Return the union of two string tables and where each entry of the second one is in it."""
    at = {s: i for i, s in enumerate(known)}
    where = np.array([at.setdefault(s, len(at)) for s in more], dtype=np.int32)
    return list(at), where
