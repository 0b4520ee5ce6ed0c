"""Claims about what is read of a unit where an edit happens:

1. The engine reads the tokens that the definition names, `places` says which, and so does the oracle, for actions like
   those of edits and for any others; every range lies in the state.
2. On real units of every length the readings are the oracle's in f32 (cosine >= 0.99999, largest difference < 5e-5),
   and those of the rounded weights in int8.
3. Several edits of a unit, units without any, and any order; other edits, other units and threads change no bit; the
   latents are those of `encode`.
4. An empty range reads as the map's bias: before the only token of EMPTY nothing stands.
5. Where a real edit begins, and all that it takes away if it does nothing else, is what the ranges hold.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import codewm_core
from codewm_core import InvalidInput
from tests.engine import oracle
from tests.engine.real_units import Unit, ragged, source_files, units_of_every_length
from tests.engine.test_parity import assert_agree

F32 = NDArray[np.float32]
SHAPE = oracle.Shape()
NAMES = codewm_core.ACTIONS["v15"]
LOCATION, SIZE = NAMES.index("location"), NAMES.index("size_delta")


@pytest.fixture(scope="module")
def units() -> list[Unit]:
    """Real units; all lengths, EMPTY first."""
    return units_of_every_length(per_length=1)


@pytest.fixture(scope="module")
def edits(units: list[Unit]) -> tuple[NDArray[np.int64], F32]:
    """Two edits of most units and none of every seventh, in no order; the last have actions at their bounds."""
    rng = np.random.default_rng(4)
    edited = rng.permutation(np.repeat(np.flatnonzero(np.arange(len(units)) % 7 != 3), 2))
    actions = rng.random((len(edited), len(NAMES))).astype(np.float32)
    for i, (location, size) in enumerate([(x, y) for x in (0, 0.5, 1) for y in (0, 0.5, 1)], start=1):
        actions[-i, [LOCATION, SIZE]] = location, size
    actions[edited == 0, LOCATION] = [0, 1]
    return edited, actions


@pytest.fixture(scope="module")
def engine(weights: oracle.Weights) -> codewm_core.Engine:
    return codewm_core.Engine.from_bytes(oracle.model_file(weights, SHAPE))


@pytest.fixture(scope="module")
def r(units: list[Unit], edits: tuple[NDArray[np.int64], F32], weights: oracle.Weights) -> torch.Tensor:
    """r(s, a) by the oracle."""
    return oracle.read(weights, SHAPE, units, *edits)


@pytest.mark.parametrize("action", ["v7", "v15"])
def test_places_are_those_of_the_definition(action: str) -> None:
    shape, dim = oracle.Shape(action=action), len(codewm_core.ACTIONS[action])
    lengths = np.tile(np.arange(0, 260), 20)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.2, 1.2, (len(lengths), dim)).astype(np.float32)
    actions[::3] = rng.choice(np.array([0, 0.25, 0.5, 0.75, 1], np.float32), (len(actions[::3]), dim))
    actions[::11, LOCATION] = rng.choice([np.nan, np.inf, -np.inf, 9], len(actions[::11]))
    found = codewm_core.places(lengths, actions, action, shape.window)
    assert found.shape == (len(lengths), codewm_core.RANGES, 2)
    assert found.dtype == np.int64
    want = [oracle.ranges(shape, n, a) for n, a in zip(lengths.tolist(), actions, strict=True)]
    np.testing.assert_array_equal(found, np.array(want))
    assert (found[..., 0] >= 0).all()
    assert (found[..., 0] <= found[..., 1]).all()
    assert (found[..., 1] <= lengths[:, None]).all()
    spans = found[..., 1] - found[..., 0]
    assert (spans.max(0) > [7, 0, 20 if action == "v15" else 0, 5, 19]).all(), "each range is there"


def test_bad_places_are_named() -> None:
    action = np.zeros((2, 15), np.float32)
    with pytest.raises(InvalidInput, match="length -1 is negative"):
        codewm_core.places(np.array([3, -1]), action, "v15", 256)
    with pytest.raises(InvalidInput, match="30 values are no 3 actions of 15"):
        codewm_core.places(np.array([3, 1, 1]), action, "v15", 256)
    with pytest.raises(InvalidInput, match="30 values are no 2 actions of 7"):
        codewm_core.places(np.array([3, 1]), action, "v7", 256)
    with pytest.raises(InvalidInput, match="v16"):
        codewm_core.places(np.array([3, 1]), action, "v16", 256)
    assert codewm_core.places(np.zeros(0, np.int64), action[:0], "v15", 256).shape == (0, 5, 2)


def test_readings_agree(
    units: list[Unit], edits: tuple[NDArray[np.int64], F32], engine: codewm_core.Engine, r: torch.Tensor
) -> None:
    assert {len(units[i]) for i in edits[0]} > set(range(220)) - {0, *range(2, 220, 7), *range(3, 220, 7)}
    f, got = engine.read(*ragged(units), *edits)
    assert_agree(got, r, "r")
    assert np.array_equal(f, engine.encode(*ragged(units)))
    assert 0.5 < float(r.std()) < 2, "the map is fitted to units like these"
    elsewhere = edits[1].copy()
    elsewhere[:, LOCATION] = 1 - elsewhere[:, LOCATION]
    moved = np.abs(engine.read(*ragged(units), edits[0], elsewhere)[1] - got).max(1)
    lengths = np.array([len(units[i]) for i in edits[0]])
    here, there = (codewm_core.places(lengths, a, "v15", 256) for a in (edits[1], elsewhere))
    differ = (here != there).any((1, 2))
    assert 0.5 < differ.mean() < 1
    assert (moved[~differ] == 0).all(), "nothing but the place is read out of an action"
    assert (moved[differ] > 0.1).mean() > 0.95


def test_int8_readings_are_those_of_the_rounded_weights(
    units: list[Unit], edits: tuple[NDArray[np.int64], F32], weights: oracle.Weights, r: torch.Tensor
) -> None:
    stored, meant = oracle.rounded(weights)
    assert stored["reading.weight"].dtype == torch.float16, "it whitens: its least directions count"
    rounded = codewm_core.Engine.from_bytes(oracle.model_file(stored, SHAPE, quant="int8"))
    got = rounded.read(*ragged(units), *edits)[1]
    assert_agree(got, oracle.read(meant, SHAPE, units, *edits), "r, int8")
    assert not np.allclose(got, r.numpy(), atol=1e-4), "the encoder is rounded"


def test_neither_order_nor_others_nor_threads_change_a_bit(
    units: list[Unit], edits: tuple[NDArray[np.int64], F32], engine: codewm_core.Engine
) -> None:
    edited, actions = edits
    f, got = engine.read(*ragged(units), *edits)
    for threads in (1, 2, 3):
        again = engine.read(*ragged(units), *edits, threads=threads)
        assert np.array_equal(again[0], f)
        assert np.array_equal(again[1], got)
    # Units and edits backwards.
    backwards = engine.read(*ragged(units[::-1]), len(units) - 1 - edited[::-1], actions[::-1])
    assert np.array_equal(backwards[0][::-1], f)
    assert np.array_equal(backwards[1][::-1], got)
    # One edit of one unit.
    for i in range(0, len(edited), 29):
        alone = engine.read(*ragged([units[edited[i]]]), np.zeros(1, np.int64), actions[i : i + 1])
        assert np.array_equal(alone[1][0], got[i])
    # All edits of one unit, which is what all creations are.
    whole = engine.read(*ragged(units[:1]), np.zeros(len(edited), np.int64), actions)[1]
    for i in np.flatnonzero(edited == 0):
        assert np.array_equal(whole[i], got[i])


def test_an_empty_range_reads_as_the_bias(weights: oracle.Weights, engine: codewm_core.Engine) -> None:
    empty = np.array([codewm_core.EMPTY], np.uint16)
    action = np.zeros((1, 15), np.float32)
    read = engine.read(empty, np.array([0, 1]), np.zeros(1, np.int64), action)[1].reshape(5, -1)
    np.testing.assert_array_equal(read[0], weights["reading.bias"].numpy())
    assert np.abs(read[1:] - read[0]).max(1).min() > 0.1
    assert np.array_equal(read[1:], np.repeat(read[1:2], 4, 0)), "all others hold the one token"


def test_ranges_hold_what_real_edits_change() -> None:
    """Real files with a line cut out, put in twice or changed, as the differ describes it."""
    rng = np.random.default_rng(5)
    pairs: list[tuple[bytes | None, bytes | None]] = []
    for file in source_files(seed=3)[:150]:
        lines = file.read_bytes().splitlines(keepends=True)
        for i in rng.integers(0, max(len(lines), 1), 4).tolist():
            line = lines[i : i + 1]
            new = [[], line * 2, [b"".join(line).replace(b"(", b"(0, ")]][i % 3]
            pairs.append((b"".join(lines), b"".join([*lines[:i], *new, *lines[i + 1 :]])))
    told = codewm_core.diff_units(pairs, window=256, action="v15", threads=1)
    before = np.split(told.before_tokens, told.before_offsets[1:-1])
    after = np.split(told.after_tokens, told.after_offsets[1:-1])
    lengths = np.array([len(tokens) for tokens in before])
    places = codewm_core.places(lengths, told.action, "v15", 256).tolist()
    seen = {"modified": 0, "only taken away": 0}
    for b, a, place, flags in zip(before, after, places, told.flags, strict=True):
        if (
            flags & (codewm_core.FLAG_NOOP | codewm_core.FLAG_WINDOWED | codewm_core.FLAG_CREATED)
            or len(b) < 2
        ):
            continue
        both = min(len(a), len(b))
        differs = np.flatnonzero(a[:both] != b[:both])
        first = min(int(differs[0]) if len(differs) else both, len(b) - 1)
        if flags & codewm_core.FLAG_DELETED:
            first = 0
        assert place[1] == [first, first + 1]
        seen["modified"] += 1
        gone = len(b) - len(a)
        if gone > 0 and np.array_equal(np.delete(b, slice(first, first + gone)), a):
            assert place[2] == [first, first + gone]
            seen["only taken away"] += 1
    assert seen["modified"] > 200, seen
    assert seen["only taken away"] > 40, seen
