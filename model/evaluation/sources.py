"""Edits and clones in, the source text of each unit before and after its edit out.

A store holds tokens, not text. The text is cut from the blobs of the commit by the same core that made the edit, and
counts only if its tokens are those of the stored state: a text that belongs to another version would be worse than
none. Of a class, what its methods are is left out, as in its state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.git import Repository
from codewm.corpus.records import FileChange
from codewm.corpus.table import EditTable
from codewm.model.evaluation.held_out import Source
from codewm.model.evaluation.injected import changes_of

I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
EMPTY = ""
"""The text of a unit that does not exist."""


class Texts(NamedTuple):
    """Of one edit; None where the text cannot be had."""

    before: str | None
    after: str | None


class Cut(NamedTuple):
    """A unit of one source."""

    tokens: U16
    text: str


def texts_of(source: Source, rows: I64) -> list[Texts]:
    """The texts of those rows of one source, in the order of the rows; of repositories without a clone, none."""
    table = source.table
    repository = table.commits.repository[table.commit[rows]]
    out = [Texts(None, None)] * len(rows)
    for r in np.unique(repository).tolist():
        name = source.repositories[r]
        if name not in source.clones:
            continue
        mine = np.flatnonzero(repository == r)
        with Repository.open(source.clones[name]) as repo:
            for i, found in zip(mine.tolist(), _texts(repo, table, rows[mine]), strict=True):
                out[i] = found
    return out


def _texts(repo: Repository, table: EditTable, rows: I64) -> list[Texts]:
    changes = changes_of(repo, table, rows)
    wanted: dict[str, None] = {}
    for change in changes:
        if change is not None:
            wanted |= dict.fromkeys(oid for oid in (change.old_oid, change.new_oid) if oid is not None)
    cuts: dict[str, dict[str, list[Cut]]] = {}
    for oid, content in repo.read_blobs(wanted):
        # Cut as they come: the units of a blob are far less than all of the blobs.
        cuts[oid] = {} if content is None else cut(content)
    return [_text(table, row, change, cuts) for row, change in zip(rows.tolist(), changes, strict=True)]


def _text(
    table: EditTable, row: int, change: FileChange | None, cuts: dict[str, dict[str, list[Cut]]]
) -> Texts:
    if change is None:
        return Texts(None, None)
    flags = int(table.flags[row])
    sides: list[str | None] = []
    for oid, names, column, absent in (
        (change.old_oid, table.unit_before, table.before, core.FLAG_CREATED),
        (change.new_oid, table.unit, table.after, core.FLAG_DELETED),
    ):
        if flags & absent:
            sides.append(EMPTY)
            continue
        tokens = table.state(column[row])
        found = cuts.get(oid or "", {}).get(table.units[int(names[row])], [])
        sides.append(_matching(found, tokens, bool(flags & core.FLAG_WINDOWED)))
    return Texts(*sides)


def _matching(found: Sequence[Cut], tokens: U16, windowed: bool) -> str | None:
    """The text of the unit with these tokens; of an edit whose states are pieces, that of the only one of its name."""
    for one in found:
        if np.array_equal(one.tokens, tokens):
            return one.text
    return found[0].text if windowed and len(found) == 1 else None


def cut(content: bytes) -> dict[str, list[Cut]]:
    """The units of one source by name, each with its own text; none of a source that is not UTF-8.

    A text begins at the start of its line, so that its indentation is whole.
    """
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return {}
    content = content.removeprefix(b"\xef\xbb\xbf")
    units = core.units(content)
    out: dict[str, list[Cut]] = {}
    for unit in units:
        inner = [
            (u.start_byte, u.end_byte)
            for u in units
            if u is not unit and unit.start_byte <= u.start_byte and u.end_byte <= unit.end_byte
        ]
        start = content.rfind(b"\n", 0, unit.start_byte) + 1
        if content[start : unit.start_byte].strip():
            start = unit.start_byte
        pieces, at = [], start
        for first, last in sorted(inner):
            if first >= at:
                pieces.append(content[at:first])
                at = last
        pieces.append(content[at : unit.end_byte])
        text = b"".join(pieces).decode("utf-8", "replace")
        out.setdefault(unit.name, []).append(Cut(unit.tokens, text))
    return out
