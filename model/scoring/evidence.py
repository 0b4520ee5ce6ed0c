"""One unit's edit in, the tokens that a channel's value rests on out: text, source line and share.

A channel hands over its tokens by a row in `SOURCES`: a function of the scene and the row of the table. A channel
that is not there has none, and explains itself by its sentence alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

import codewm_core as core
from codewm.corpus.history import Replay
from codewm.model.scoring.channels import new_identifiers, unresolved
from codewm.model.scoring.sinks import sink_of

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.settings import NameSettings


@dataclass(frozen=True)
class Token:
    """One token of the source, and how much of a channel's value is its doing."""

    text: str
    line: int
    """In the file after the edit, from 1; 0 where it is not known."""
    share: float
    """Of the sum over the unit's tokens, 0-1."""
    note: str
    """What is strange about it, in words; may be ''."""


@dataclass(frozen=True)
class Scene:
    """The edits at hand and what was known before them."""

    table: EditTable
    known: Replay
    names: NameSettings


def new_names(scene: Scene, row: int) -> list[Token]:
    """Return the added names by their share in the new-identifiers channel, the largest first."""
    table = scene.table
    part = slice(int(table.name_offsets[row]), int(table.name_offsets[row + 1]))
    ids = table.name_ids[part]
    # A name weighs what it would weigh as an edit of its own: the channel's own weights, asked one by one.
    weights = _one_by_one(scene)[part]
    total = float(weights.sum())
    if not total > 0:
        return []
    nowhere = unresolved(table)[part]
    tokens: dict[str, Token] = {}
    for k in np.argsort(-weights, kind="stable"):
        flags, name = int(table.name_flags[part][k]), table.names[ids[k]]
        token = Token(
            name,
            int(table.name_lines[part][k]),
            float(weights[k]) / total,
            _note(name, flags, int(scene.known.before[part][k]), bool(nowhere[k])),
        )
        first = tokens.get(name)
        tokens[name] = token if first is None else replace(first, share=first.share + token.share)
    return sorted((t for t in tokens.values() if t.share > 0), key=lambda t: -t.share)


SOURCES: Mapping[str, Callable[[Scene, int], list[Token]]] = {"new_identifiers": new_names}
"""By the name of the channel."""


def _one_by_one(scene: Scene) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    table = scene.table
    edit = np.repeat(np.arange(len(table)), np.diff(table.name_offsets))
    single = replace(
        table,
        before=table.before[edit],
        commit=table.commit[edit],
        path=table.path[edit],
        name_offsets=np.arange(len(edit) + 1, dtype=np.int64),
    )
    return np.nan_to_num(new_identifiers(single, scene.known, scene.names))


def _note(name: str, flags: int, files: int, nowhere: bool) -> str:
    sink = sink_of(name, flags)
    if sink is not None:
        return sink.reason
    if nowhere:
        return "nothing in this file defines it"
    if flags & core.NAME_IN_UNIT:
        return ""
    if flags & core.NAME_BOUND:
        return "defined here"
    if flags & core.NAME_IN_MODULE:
        return "known in this file"
    return f"known in {files} file{'s' if files != 1 else ''}" if files else "never seen in this repository"
