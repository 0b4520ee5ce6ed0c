"""Claims: states say of a modified unit what the diff said of it, where they are whole; units of one table go in any
order; what cannot be an edit is refused.
"""

from __future__ import annotations

import sysconfig
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import codewm_core as core

WINDOW = (1 << 16) - 1
States = tuple[NDArray[np.uint16], NDArray[np.int64]]


@pytest.fixture(scope="module")
def pairs() -> list[tuple[bytes | None, bytes | None]]:
    """Versions of real modules: some with lines taken out, some another module altogether."""
    library = Path(sysconfig.get_paths()["stdlib"])
    sources = [p.read_bytes() for p in sorted(library.glob("*.py"))[:30]]
    thinned = [b"".join(line for i, line in enumerate(s.splitlines(True)) if i % 23) for s in sources]
    return [*zip(sources, thinned, strict=True), *zip(thinned, sources, strict=True), *pairwise(sources)]


def modified(batch: core.EditBatch) -> NDArray[np.int64]:
    """Rows of units that are there on both sides and changed."""
    absent = core.FLAG_CREATED | core.FLAG_DELETED | core.FLAG_NOOP
    return np.flatnonzero((batch.flags & absent) == 0)


def states(tokens: NDArray[np.uint16], offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> States:
    parts = [tokens[offsets[i] : offsets[i + 1]] for i in rows]
    return np.concatenate(parts), np.cumsum([0, *(len(p) for p in parts)]).astype(np.int64)


def sides(batch: core.EditBatch, rows: NDArray[np.int64]) -> tuple[States, States]:
    return (
        states(batch.before_tokens, batch.before_offsets, rows),
        states(batch.after_tokens, batch.after_offsets, rows),
    )


@pytest.mark.parametrize("action", ["v7", "v15"])
def test_states_say_what_the_diff_said(pairs: list[tuple[bytes | None, bytes | None]], action: str) -> None:
    batch = core.diff_units(pairs, window=WINDOW, action=action)
    rows = modified(batch)
    assert len(rows) > 300
    assert set(batch.kind[rows]) == set(range(len(core.KINDS)))
    told = core.describe_states(*sides(batch, rows), batch.kind[rows], action)
    np.testing.assert_array_equal(told, batch.action[rows])
    back = core.describe_states(*sides(batch, rows[::-1]), batch.kind[rows[::-1]], action)
    np.testing.assert_array_equal(back, told[::-1])


def test_of_windowed_states_it_is_near(pairs: list[tuple[bytes | None, bytes | None]]) -> None:
    batch = core.diff_units(pairs, window=256)
    rows = modified(batch)
    before, after = sides(batch, rows)
    told = core.describe_states(before, after, batch.kind[rows])
    longest = np.maximum(np.diff(before[1]), np.diff(after[1]))
    whole = longest < 256
    assert 0 < whole.sum() < len(rows)
    np.testing.assert_array_equal(told[whole], batch.action[rows][whole])
    names = core.ACTIONS["v15"]
    scope_and_type = [i for i, n in enumerate(names) if n.startswith(("type_", "scope_"))]
    np.testing.assert_array_equal(told[:, scope_and_type], batch.action[rows][:, scope_and_type])
    assert np.isfinite(told).all()
    assert (told >= 0).all()
    assert (told <= 1).all()


def one(*lengths: int) -> States:
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    return np.full(offsets[-1], 9, np.uint16), offsets


def test_nothing_is_described_by_nothing() -> None:
    assert core.describe_states(one(), one(), np.zeros(0, np.uint8)).shape == (0, 15)
    assert core.describe_states(one(), one(), np.zeros(0, np.uint8), "v7").shape == (0, 7)


def test_what_is_refused() -> None:
    kinds = np.zeros(2, np.uint8)
    assert core.describe_states(one(3, 4), one(2, 2), kinds).shape == (2, 15)
    for before, after, given, words in (
        (one(3), one(2, 2), kinds, "1 states before, 2 after and 2 kinds"),
        (one(3, 4), one(2), kinds, "2 states before, 1 after and 2 kinds"),
        (one(3, 4), one(2, 2), kinds[:1], "2 states before, 2 after and 1 kinds"),
        (one(3, 4), one(2, 2), kinds + 4, "no kind 4"),
        ((one(3)[0], np.array([0, 4], np.int64)), one(2), kinds[:1], "end at 3"),
        ((one(3)[0], np.array([0, 2, 1, 3], np.int64)), one(2), kinds[:1], "backwards"),
        (one(3), (one(2)[0], np.zeros(0, np.int64)), kinds[:1], "start at 0"),
    ):
        with pytest.raises(core.InvalidInput, match=words):
            core.describe_states(before, after, given)
    with pytest.raises(core.InvalidInput, match="v99"):
        core.describe_states(one(3), one(2), kinds[:1], "v99")
    with pytest.raises(TypeError):
        core.describe_states(one(3), one(2), kinds[:1].astype(np.int64))  # type: ignore[arg-type]
