"""Calibrated channel values in, short sentences for people out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.model.scoring.sinks import sink_of
from codewm.model.scoring.substitution import NOTHING, SHARE, TURNED

if TYPE_CHECKING:
    from codewm.corpus.history import Replay
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.loose import LooseEnds
    from codewm.model.scoring.substitution import Substitutions

NAMES_SHOWN = 4
# Channels as people read them.
TITLES = {
    "displacement": "displacement",
    "new_identifiers": "new identifiers",
    "doubt": "doubt",
    "bits_added": "added code",
    "bits_removed": "removed code",
    "syntax": "syntax",
    "novelty": "novelty",
    "shape": "shape",
    "repetition": "repetition",
    "substitution": "substitution",
    "loose_ends": "loose ends",
    "message": "message",
    "transposition": "transposition",
}


def displacement(raw: float, median: float, change: str) -> str:
    """Say how far from the prediction an edit landed, in units of what is usual for its like."""
    ratio = raw / median if median > 0 else float("inf")
    article = {"created": "a created unit", "deleted": "a deleted unit"}.get(change, "an edit")
    far = "about" if ratio < 1.05 else f"{ratio:.1f}x"
    return f"displacement: landed {far} as far from the prediction as {article} of its size usually does here"


def doubt(percentile: float) -> str:
    """Say how much an edit looks like one that something is wrong with, among its like."""
    return (
        "doubt: looks more like code that was spoilt (a line lost, swapped or turned around) than "
        f"{min(percentile, 99.0):.0f}% of edits of its size here"
    )


def added_bits(raw: float, percentile: float, shown: list[str]) -> str:
    """Say how unlike this repository's code the added tokens are, and which."""
    text = f"added code: a token costs {raw:.1f} bits by what this repository wrote before"
    return _rare(text, percentile, shown)


def removed_bits(raw: float, percentile: float, shown: list[str]) -> str:
    """Say how unique here the removed tokens were, and which."""
    text = f"removed code: {raw:.0f} bits that stand nowhere else in this repository"
    return _rare(text, percentile, shown)


def syntax(raw: float, percentile: float, shown: list[str]) -> str:
    """Say how unusual the order of constructs is here, names aside, and which."""
    return _rare(f"syntax: a token costs {raw:.1f} bits, names and values aside", percentile, shown)


def novelty(raw: float, still: bool) -> str:
    """Say how near the nearest earlier edit comes in what it changes; `still` edits change no structure."""
    if still:
        return "novelty: changes order, names or values only, which few edits of its size here do"
    return f"novelty: no earlier edit here changes structure this way; the nearest is {1 - raw:.0%} alike"


def shape(percentile: float) -> str:
    """Say that the kind, place and amount of change are unlike earlier ones."""
    return (
        "shape: what it changes, where in the unit and how much is further from earlier edits than in "
        f"{min(percentile, 99.0):.0f}% of edits of its size here"
    )


def repetition(raw: float) -> str:
    """Say how much of what was added stands beside it already."""
    return f"repetition: {raw:.0f} of the added tokens repeat what stands right beside them"


def substitution(found: Substitutions, k: int, percentile: float, gone: str, come: str) -> str:
    """Say which token took the place of which, in how many edits such a thing happens, and how much rarer it is there.

    `k` is the row of the strangest one, -1 where there is none.
    """
    if k < 0:
        return "substitution: no single thing took the place of another one"
    kind, bits = int(found.kind[k]), float(found.bits[k])
    gone, come = gone or "a name", come or "another name"
    come = f"another {come.removeprefix('a ')}" if come == gone else come
    what = f"{come} where {gone} stood"
    if found.gone[k] == NOTHING:
        what = "a 'not' came in by itself"
    elif found.come[k] == NOTHING:
        what = "a 'not' went by itself"
    done = "turned around" if kind == TURNED else "replaced"
    rare = f"{what} ({done} so in {SHARE[kind]:.1%} of edits elsewhere)"
    dear = (
        f", {abs(bits):.1f} bits {'dearer' if bits > 0 else 'cheaper'} by what this repository wrote before"
    )
    return _rare(f"substitution: {rare}{dear if bits else ''}", percentile, [])


def transposition(raw: float) -> str:
    """Say how much changed places with its neighbour."""
    if raw < 1:
        return "transposition: nothing changed places with what stood beside it"
    runs = "piece of code" if raw == 1 else "pieces of code"
    return f"transposition: {raw:.0f} {runs} changed places with what stood beside, otherwise as before"


def loose_ends(found: LooseEnds) -> str:
    """Say what the edit leaves dangling."""
    parts = (
        (found.unreached, "behind a return, raise, break or continue"),
        (found.unset, "used and no longer set"),
        (found.early, "used before it is set"),
        (found.unused, "set and no longer used"),
    )
    said = [f"{n} {'statement' if i == 0 else 'name'}{'s' if n > 1 else ''} {what}" for i, (n, what) in
            enumerate(parts) if n]  # fmt: skip
    return f"loose ends: {', '.join(said) or 'none'}"


def message(percentile: float, strange: list[str]) -> str:
    """Say that the message is about something else, and which of its words are."""
    text = "message: its words go with other files, functions and kinds of edit here"
    return _rare(text, percentile, strange)


def _rare(text: str, percentile: float, shown: list[str]) -> str:
    more = f": {', '.join(shown)}" if shown else ""
    return f"{text}, more than {min(percentile, 99.0):.0f}% of edits of its size here{more}"


def new_identifiers(table: EditTable, known: Replay, nothing_defines: NDArray[np.bool_], row: int) -> str:
    """Say how many of an edit's added names came from nowhere, and name the worst."""
    part = slice(int(table.name_offsets[row]), int(table.name_offsets[row + 1]))
    flags, before, ids = table.name_flags[part], known.before[part], table.name_ids[part]
    kind = core.KINDS[table.kind[row]]
    created = bool(table.flags[row] & core.FLAG_CREATED)
    new = (flags & core.NAME_IN_UNIT) == 0
    nowhere = new & ((flags & core.NAME_IN_MODULE) == 0) & (before == 0)
    sinks = [sink_of(table.names[i], int(f)) for i, f in zip(ids, flags, strict=True)]
    # Dangerous ones first, then by how unknown they are; names bound here last, because inventing those is
    # normal.
    bound = (flags & core.NAME_BOUND) != 0
    weight = np.array([s.weight if s else 0.0 for s in sinks])
    module = (flags & core.NAME_IN_MODULE) != 0
    order = np.lexsort((np.arange(len(ids)), before, module, bound, -weight))
    shown = [table.names[ids[k]] for k in order if new[k]][:NAMES_SHOWN]
    counted = f"{int(new.sum())} of {len(ids)} added names {'are' if new.sum() != 1 else 'is'} new"
    where = f"to this {kind}"
    if created:
        counted = f"{int((new & ~module).sum())} of {len(ids)} names are new"
        where = "to the module"
    text = f"new identifiers: {counted} {where}, {int(nowhere.sum())} to the repository"
    if shown:
        text += f": {', '.join(shown)}"
    worst = sinks[order[0]] if len(order) else None
    if worst:
        text += f" ({table.names[ids[order[0]]]} {worst.reason})"
    strangers = [table.names[i] for i in ids[nothing_defines[part]]][:NAMES_SHOWN]
    return f"{text}; nothing in this file defines {', '.join(strangers)}" if strangers else text
