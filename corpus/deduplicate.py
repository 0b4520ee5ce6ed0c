"""Edits in, which of them say again what another one says.

An edit is its two states. It repeats another if both states have the very same tokens. It is nearly another's
equal if, in two sets, the two have so much in common of what either has (Jaccard): the set of all its token
trigrams, each marked as removed, added or in both states, and the same without those in both. So both the code
and what was done to it must agree; one alone is ordinary: the same function is edited again and again, and the
same change is made to much code. What counts as nearly equal is looked for between repositories only.

So much is `SIMILARITY`, and less for edits of `LONG` tokens or more. Both were chosen by looking at pairs: short
ones are idioms below it and boilerplate above it, of long ones most are copies that were edited on the way
(docs/lab-log.md).

Of what is held out, no state of `STATE` tokens or more is left in any other edit, whatever the other state is.

Pairs are found by MinHash: edits that agree in two hashes of each set, in any of `BANDS` draws, are compared
exactly. That finds all but one in ten thousand pairs at 0.8, and 94% at 0.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.division import Reason
from codewm.corpus.table import EditTable

I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]
SIMILARITY = 0.8
STATE = 20
"""Tokens."""
LONG = 60
"""Tokens of both states together."""
LONG_SIMILARITY = 0.6
BANDS = 20
_ROWS = 2
"""Hashes of each of the two sets in a band."""
_REACH = 64
"""Edits that agree in a band are compared with so many of those before them."""
_CHUNK_TOKENS = 1_000_000
"""A state has a token at least, so the position of an edit in a chunk fits the 21 bits beside its hash."""
_REMOVED, _ADDED, _BOTH = range(3)
_HASH_BITS = 41
_SEED = 20_261_121
"""Of the hash functions; with another one, others are missed."""


def find_repetitions(table: EditTable, rank: NDArray[np.integer], usable: NDArray[np.bool_]) -> U8:
    """The `Reason` [N] for which an edit says nothing new, `KEPT` where it does.

    Of edits that say the same the one of the lowest `rank` [N] is kept, the first of its rank; rank 0 is for what
    is held out, where everything is kept. What is not `usable` [N] is neither compared nor given a reason.
    """
    reason = np.full(len(table), Reason.KEPT, np.uint8)
    rows = np.flatnonzero(usable)
    rows = rows[np.lexsort((rows, rank[rows]))]
    first = _mark_equal(table, rows, rank, reason)
    first = _mark_states(table, first, rank, reason)
    _mark_similar(table, first, rank, reason)
    return reason


def _mark_equal(table: EditTable, rows: I64, rank: NDArray[np.integer], reason: U8) -> I64:
    """Mark all but the first of `rows` with the same states; return the first ones, in their order."""
    repository = table.commits.repository[table.commit]
    pair = table.before[rows].astype(np.int64) * len(table.state_hash) + table.after[rows]
    _, first, group = np.unique(pair, return_index=True, return_inverse=True)
    original = rows[first[group]]
    again = (original != rows) & (rank[rows] > 0)
    inside = repository[original] == repository[rows]
    why = np.where(inside, Reason.REPEATED, Reason.COPIED)
    why[rank[original] == 0] = Reason.HELD_OUT_COPY
    reason[rows[again]] = why[again]
    kept: I64 = rows[np.sort(first)]
    return kept


def _mark_states(table: EditTable, rows: I64, rank: NDArray[np.integer], reason: U8) -> I64:
    """Mark those of `rows` that have a state of what is held out; return the others."""
    held_out = rows[rank[rows] == 0]
    known = np.zeros(len(table.state_hash), np.bool_)
    known[table.before[held_out]] = True
    known[table.after[held_out]] = True
    known &= np.diff(table.offsets) >= STATE
    marked = (rank[rows] > 0) & (known[table.before[rows]] | known[table.after[rows]])
    reason[rows[marked]] = Reason.HELD_OUT_STATE
    return rows[~marked]


def _mark_similar(table: EditTable, rows: I64, rank: NDArray[np.integer], reason: U8) -> None:
    """Mark each of `rows` that is nearly the same as one before it, of another repository, that is kept."""
    if len(rows) < 2:
        return
    pairs = _candidates(table, rows, rank)
    later_rows, earlier_rows = rows[pairs[:, 0]], rows[pairs[:, 1]]
    near = pairs[_similarity(table, later_rows, earlier_rows) >= _wanted(table, later_rows, earlier_rows)]
    # Whether the earlier one is kept is settled before the later one is looked at.
    kept = np.ones(len(rows), bool)
    for later, earlier in near[np.lexsort((near[:, 1], near[:, 0]))].tolist():
        if kept[later] and kept[earlier]:
            kept[later] = False
            held_out = rank[rows[earlier]] == 0
            reason[rows[later]] = Reason.HELD_OUT_SIMILAR if held_out else Reason.SIMILAR


def _candidates(table: EditTable, rows: I64, rank: NDArray[np.integer]) -> I64:
    """Positions [P, 2] in `rows` of edits that may be nearly equal, the later one first."""
    repository = table.commits.repository[table.commit][rows].astype(np.int64)
    held_out = rank[rows] == 0
    sketch = _sketches(table, rows)
    weights = np.random.default_rng(_SEED + 1).integers(1, 1 << 63, 2 * _ROWS, np.uint64) | np.uint64(1)
    found: list[I64] = []
    for band in range(BANDS):
        part = sketch[:, 2 * _ROWS * band : 2 * _ROWS * (band + 1)].astype(np.uint64)
        key = _mixed((_mixed(part) * weights).sum(1, dtype=np.uint64))
        # Stable: equal keys stay in the order of `rows`.
        order = np.argsort(key, kind="stable")
        key = key[order]
        for reach in range(1, _REACH + 1):
            same = np.flatnonzero(key[reach:] == key[:-reach])
            if not len(same):
                break
            later, earlier = order[same + reach], order[same]
            wanted = (repository[later] != repository[earlier]) & ~(held_out[later] & held_out[earlier])
            found.append(later[wanted] * len(rows) + earlier[wanted])
    flat = np.sort(np.concatenate([*found, np.zeros(0, np.int64)]))
    flat = flat[np.flatnonzero(np.diff(flat, prepend=-1))]
    later, earlier = flat // len(rows), flat % len(rows)
    # A look at the hashes alone, which costs nothing, leaves out what agrees by chance.
    hopeful = np.ones(len(flat), bool)
    for start in range(0, len(flat), 1 << 18):
        part_of = slice(start, start + (1 << 18))
        equal = sketch[later[part_of]] == sketch[earlier[part_of]]
        agreement = equal.reshape(len(equal), BANDS, 2, _ROWS).mean((1, 3)).min(1)
        wanted_here = _wanted(table, rows[later[part_of]], rows[earlier[part_of]])
        hopeful[part_of] = agreement >= wanted_here - 0.25
    return np.stack([later, earlier], 1)[hopeful]


def _wanted(table: EditTable, a: I64, b: I64) -> NDArray[np.float64]:
    """How similar each pair of edits has to be."""
    length = np.diff(table.offsets)
    shorter = np.minimum(length[table.before[a]] + length[table.after[a]],
                         length[table.before[b]] + length[table.after[b]])  # fmt: skip
    return np.where(shorter >= LONG, LONG_SIMILARITY, SIMILARITY)


def _sketches(table: EditTable, rows: I64) -> U32:
    """MinHash of both sets of each edit: [n, BANDS * 2 * _ROWS], for each band first all, then changed ones."""
    count = BANDS * _ROWS
    factors = np.random.default_rng(_SEED).integers(1, 1 << 31, 2 * count, np.uint32) | np.uint32(1)
    out = np.zeros((len(rows), BANDS, 2, _ROWS), np.uint32)
    for part in _chunks(table, rows):
        item = _trigrams(table, rows[part])
        owner = (item >> np.uint64(_HASH_BITS + 2)).astype(np.int64)
        # Half the bits: the least of a set is told by its upper ones, and is found several times faster.
        mixed = (_mixed(item & np.uint64((1 << (_HASH_BITS + 2)) - 1)) >> np.uint64(32)).astype(np.uint32)
        changed = (item & np.uint64(3)) != _BOTH
        for which, (whose, hashes) in enumerate(((owner, mixed), (owner[changed], mixed[changed]))):
            if not len(whose):
                continue
            starts = np.flatnonzero(np.diff(whose, prepend=-1))
            for i in range(count):
                least = np.minimum.reduceat(hashes * factors[which * count + i], starts)
                out[part.start + whose[starts], i // _ROWS, which, i % _ROWS] = least
    return out.reshape(len(rows), -1)


def _similarity(table: EditTable, a: I64, b: I64) -> NDArray[np.float64]:
    """The smaller of the two Jaccard indices of each pair of edits."""
    out = np.zeros(len(a))
    for part in _chunks(table, a, b):
        size = part.stop - part.start
        sets = [_trigrams(table, rows[part]) for rows in (a, b)]
        both = np.intersect1d(sets[0], sets[1], assume_unique=True)
        least = np.ones(size)
        for changed_only in (False, True):
            counts = []
            for items in (*sets, both):
                chosen = items[(items & np.uint64(3)) != _BOTH] if changed_only else items
                owner = (chosen >> np.uint64(_HASH_BITS + 2)).astype(np.int64)
                counts.append(np.bincount(owner, minlength=size))
            either = counts[0] + counts[1] - counts[2]
            # Two edits that change no trigram do the same: nothing that could be told apart.
            least = np.minimum(least, np.where(either > 0, counts[2] / np.maximum(either, 1), 1.0))
        out[part] = least
    return out


def _trigrams(table: EditTable, rows: I64) -> U64:
    """The trigrams of each of some edits, ascending and once each: position in `rows`, hash, mark."""
    sides = []
    for side, ids in enumerate((table.before[rows], table.after[rows])):
        tokens, offsets = table.states(ids)
        wide = np.zeros(len(tokens) + 2, np.uint64)
        wide[:-2] = tokens
        lengths = np.diff(offsets)
        left = np.repeat(offsets[1:], lengths) - np.arange(len(tokens))
        # A state of n tokens has n of them; the last two reach beyond its end, where there is 0.
        second = wide[1:-1] * (left > 1).astype(np.uint64)
        third = wide[2:] * (left > 2).astype(np.uint64)
        gram = (wide[:-2] << np.uint64(32)) | (second << np.uint64(16)) | third
        hashed = _mixed(gram) >> np.uint64(64 - _HASH_BITS)
        owner = np.repeat(np.arange(len(rows), dtype=np.uint64), lengths)
        sides.append((owner << np.uint64(_HASH_BITS + 2)) | (hashed << np.uint64(2)) | np.uint64(side))
    items = np.sort(np.concatenate(sides))
    # What numpy.unique does, which hashes before it sorts and takes several times as long.
    items = items[np.flatnonzero(np.diff(items, prepend=items[:1] ^ np.uint64(1)))]
    # One of each side with everything else alike: in both states.
    bare = items >> np.uint64(2)
    twin = np.flatnonzero(bare[1:] == bare[:-1])
    items[twin] += np.uint64(_BOTH - _REMOVED)
    return np.delete(items, twin + 1)


def _chunks(table: EditTable, *rows: I64) -> Iterator[slice]:
    """Slices of lists of edits, in step, whose states together have about `_CHUNK_TOKENS` tokens."""
    length = np.diff(table.offsets)
    tokens = sum(
        (length[table.before[r]] + length[table.after[r]] for r in rows), np.zeros(len(rows[0]), int)
    )
    last = np.cumsum(tokens) // _CHUNK_TOKENS
    ends = np.flatnonzero(np.diff(last)) + 1
    for start, end in pairwise([0, *ends.tolist(), len(tokens)]):
        if end > start:
            yield slice(start, end)


def _mixed(values: U64) -> U64:
    """Spread 64 bits over 64 (the end of SplitMix64)."""
    v = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    v = (v ^ (v >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return v ^ (v >> np.uint64(31))
