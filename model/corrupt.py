"""True next states in, wrong ones out: the negatives that make a prediction mean more than 'code moved'.

Works on tokens alone, by the statement-depth markers and identifier ranges of the tokeniser, so a hundred
thousand of them cost seconds. Families: a statement dropped, a statement swapped for one from elsewhere, an
operator / identifier / number mutated, two identifiers of a statement exchanged, a foreign block pasted in.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import codewm_core
from codewm.model.config import CORRUPTIONS

Tokens = NDArray[np.uint16]


def statements(tokens: Tokens) -> NDArray[np.int64]:
    """Rows (start, end, depth) of every statement with its nested ones: [n, 3], in order of start."""
    starts = np.flatnonzero((tokens >= codewm_core.DEPTH_FIRST) & (tokens <= codewm_core.DEPTH_LAST))
    depths = tokens[starts].astype(np.int64) - codewm_core.DEPTH_FIRST
    ends = np.full(len(starts), len(tokens), np.int64)
    open_: list[int] = []
    for i, depth in enumerate(depths):
        while open_ and depths[open_[-1]] >= depth:
            ends[open_.pop()] = starts[i]
        open_.append(i)
    return np.stack([starts.astype(np.int64), ends, depths], 1)


def at_depth(block: Tokens, depth: int) -> Tokens:
    """A block of statements moved so that its first marker has this depth; markers stay in their range."""
    marker = (block >= codewm_core.DEPTH_FIRST) & (block <= codewm_core.DEPTH_LAST)
    if not marker.any():
        return block
    shift = depth + codewm_core.DEPTH_FIRST - int(block[np.argmax(marker)])
    moved = np.clip(block.astype(np.int64) + shift, codewm_core.DEPTH_FIRST, codewm_core.DEPTH_LAST)
    return np.where(marker, moved, block).astype(np.uint16)


def foreign_block(donor: Tokens, depth: int, rng: np.random.Generator) -> Tokens | None:
    """One to four consecutive statements of another unit, moved to this depth."""
    rows = statements(donor)
    if len(rows) < 2:
        return None
    first = int(rng.integers(1, len(rows)))
    last = min(first + int(rng.integers(0, 4)), len(rows) - 1)
    return at_depth(donor[rows[first, 0] : rows[last, 1]], depth)


def drop(tokens: Tokens, donor: Tokens, rng: np.random.Generator) -> Tokens | None:
    """Without one statement (never the unit's own header)."""
    rows = statements(tokens)
    if len(rows) < 2:
        return None
    start, end, _ = rows[int(rng.integers(1, len(rows)))]
    return np.concatenate([tokens[:start], tokens[end:]])


def swap(tokens: Tokens, donor: Tokens, rng: np.random.Generator) -> Tokens | None:
    """One statement replaced by statements from elsewhere."""
    rows = statements(tokens)
    if len(rows) < 2:
        return None
    start, end, depth = rows[int(rng.integers(1, len(rows)))]
    block = foreign_block(donor, int(depth), rng)
    return None if block is None else np.concatenate([tokens[:start], block, tokens[end:]])


def paste(tokens: Tokens, donor: Tokens, rng: np.random.Generator) -> Tokens | None:
    """A foreign block inserted before a statement or at the end."""
    rows = statements(tokens)
    if len(rows) < 2:
        return None
    at = int(rng.integers(1, len(rows) + 1))
    place = len(tokens) if at == len(rows) else int(rows[at, 0])
    block = foreign_block(donor, int(rows[min(at, len(rows) - 1), 2]), rng)
    return None if block is None else np.concatenate([tokens[:place], block, tokens[place:]])


RANGES = (
    (codewm_core.OP_FIRST, codewm_core.OP_LAST),
    (codewm_core.IDENT_FIRST, codewm_core.IDENT_LAST),
    (codewm_core.NUMBER_FIRST, codewm_core.NUMBER_LAST),
)


def mutate(tokens: Tokens, donor: Tokens, rng: np.random.Generator) -> Tokens | None:
    """One operator, identifier or number become another; identifiers half the time one of the unit's own."""
    for which in rng.permutation(len(RANGES)):
        first, last = RANGES[which]
        places = np.flatnonzero((tokens >= first) & (tokens <= last))
        if not len(places) or last == first:
            continue
        place = int(places[rng.integers(len(places))])
        own = np.setdiff1d(tokens[places], tokens[place : place + 1])
        if which == 1 and len(own) and rng.random() < 0.5:
            value = int(own[rng.integers(len(own))])
        else:
            value = int(rng.integers(first, last))
            value += value >= tokens[place]
        out = tokens.copy()
        out[place] = value
        return out
    return None


def argument(tokens: Tokens, donor: Tokens, rng: np.random.Generator) -> Tokens | None:
    """Two different identifiers at most eight tokens apart change places."""
    places = np.flatnonzero((tokens >= codewm_core.IDENT_FIRST) & (tokens <= codewm_core.IDENT_LAST))
    near = [
        (i, j)
        for i, j in zip(places[:-1].tolist(), places[1:].tolist(), strict=True)
        if j - i <= 8 and tokens[i] != tokens[j]
    ]
    if not near:
        return None
    i, j = near[int(rng.integers(len(near)))]
    out = tokens.copy()
    out[i], out[j] = tokens[j], tokens[i]
    return out


FAMILIES: dict[str, Callable[[Tokens, Tokens, np.random.Generator], Tokens | None]] = {
    "drop": drop,
    "swap": swap,
    "mutate": mutate,
    "argument": argument,
    "paste": paste,
}
assert tuple(FAMILIES) == CORRUPTIONS


def corrupt(tokens: Tokens, donor: Tokens, rng: np.random.Generator, window: int) -> Tokens:
    """One wrong version of a state, at most `window` tokens and never equal to it.

    The families are tried in random order; a state with no statements to spoil becomes the donor.
    """
    for name in rng.permutation(CORRUPTIONS):
        out = FAMILIES[str(name)](tokens, donor, rng)
        if out is not None and len(out):
            out = out[:window]
            if not np.array_equal(out, tokens):
                return out
    return donor[:window]


def corrupt_many(
    tokens: Tokens,
    offsets: NDArray[np.int64],
    after: NDArray[np.int64],
    donors: NDArray[np.int64],
    *,
    window: int,
    seed: int,
) -> tuple[Tokens, NDArray[np.int64]]:
    """Wrong versions of the states `after` [N], with statements from the states `donors`: (tokens, offsets [N+1])."""
    rng = np.random.default_rng([seed, 0xC0])
    other = donors[rng.integers(len(donors), size=len(after))]
    parts = [
        corrupt(tokens[offsets[a] : offsets[a + 1]], tokens[offsets[b] : offsets[b + 1]], rng, window)
        for a, b in zip(after.tolist(), other.tolist(), strict=True)
    ]
    lengths = np.array([0] + [len(p) for p in parts], np.int64)
    flat = np.concatenate(parts) if parts else np.zeros(0, np.uint16)
    return flat, np.cumsum(lengths)
