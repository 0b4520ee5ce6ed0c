"""Claims: on real Python units of every length from 1 to 256 tokens, each stage of the Rust engine agrees
with torch in f32 (cosine >= 0.99999, largest difference < 5e-5): embedding, attention, perceptron, looped
encoder, target, predictor, critic, the whole chain (readings: `test_reading.py`). int8 files compute exactly what
their rounded weights say; each stage stays within cosine 0.99 of f32, and the whole chain to the prediction within
0.95 (0.99 for 95 of 100 units). Neither other rows nor threads change a bit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import codewm_core
from tests.engine import oracle
from tests.engine.real_units import Unit, ragged, units_of_every_length

F32 = NDArray[np.float32]
SHAPE = oracle.Shape()


@pytest.fixture(scope="module")
def units() -> list[Unit]:
    """Real units; all lengths."""
    return units_of_every_length()


@pytest.fixture(scope="module")
def actions() -> F32:
    """Actions [600, 15] in the range that edits have."""
    return np.random.default_rng(3).normal(0, 1, (600, SHAPE.action_dim)).astype(np.float32)


@pytest.fixture(scope="module")
def engine(weights: oracle.Weights) -> codewm_core.Engine:
    return load(weights)


@pytest.fixture(scope="module")
def f(units: list[Unit], weights: oracle.Weights) -> torch.Tensor:
    """f(s) by the oracle."""
    return oracle.encode(weights, SHAPE, units)


@pytest.fixture(scope="module")
def r(units: list[Unit], weights: oracle.Weights, actions: F32) -> torch.Tensor:
    """r(s, a) by the oracle, of each unit and its action."""
    return oracle.read(weights, SHAPE, units, np.arange(len(units)), actions)


def edits_of(w: oracle.Weights, f: torch.Tensor, r: torch.Tensor, actions: F32) -> tuple[torch.Tensor, ...]:
    """Arguments of `doubt`, all by the oracle: each state goes to that of the next unit."""
    a = torch.from_numpy(actions[: len(f)])
    after = f.roll(-1, 0)
    d_hat = oracle.predict(w, f, r, a)
    return f, after, oracle.target(w, after) - oracle.target(w, f) - d_hat, a


def assert_agree(got: F32, want: torch.Tensor, what: str) -> None:
    """The project's bar for f32."""
    a, b = torch.from_numpy(got).double(), want.double()
    assert a.shape == b.shape
    if a.ndim == 1:  # values: together they are one row
        a, b = a[None], b[None]
    cosine = float(torch.nn.functional.cosine_similarity(a, b).min())
    difference = float((a - b).abs().max())
    assert cosine >= 0.99999, f"{what}: cosine {cosine}"
    assert difference < 5e-5, f"{what}: largest difference {difference}"


def cosines(a: F32, b: F32) -> torch.Tensor:
    """Of each row with the other's."""
    return torch.nn.functional.cosine_similarity(torch.from_numpy(a).double(), torch.from_numpy(b).double())


def load(w: oracle.Weights, shape: oracle.Shape = SHAPE) -> codewm_core.Engine:
    return codewm_core.Engine.from_bytes(oracle.model_file(w, shape))


def test_the_units_are_real_and_of_all_lengths(units: list[Unit]) -> None:
    lengths = [len(u) for u in units]
    assert len(units) >= 500
    assert set(lengths) == set(range(1, 257))
    assert len(np.unique(np.concatenate(units))) > 500


@pytest.mark.parametrize(
    ("stage", "silenced"),
    [
        ("embedding and norm", ("attn.out", "mlp.down")),
        ("attention", ("mlp.down",)),
        ("perceptron", ("attn.out",)),
        ("block", ()),
    ],
)
def test_one_block_agrees(
    stage: str, silenced: tuple[str, ...], units: list[Unit], weights: oracle.Weights
) -> None:
    """A part whose last layer is zero adds nothing to the row: what is left is the other part alone."""
    shape = replace(SHAPE, loops=1)
    w = {k: v * 0 if any(f"encoder.block.{s}." in k for s in silenced) else v for k, v in weights.items()}
    got = load(w, shape).encode(*ragged(units))
    assert_agree(got, oracle.encode(w, shape, units), stage)


def test_encoder_and_target_agree(
    units: list[Unit], weights: oracle.Weights, engine: codewm_core.Engine, f: torch.Tensor
) -> None:
    got = engine.encode(*ragged(units))
    assert_agree(got, f, "f")
    t = oracle.target(weights, f)
    assert 0.5 < float(t.std()) < 2, "the target is fitted to units like these"
    assert_agree(engine.target(f.numpy()), t, "t")
    assert_agree(engine.target(got), t, "t(f)")


def test_predictor_agrees(
    units: list[Unit],
    weights: oracle.Weights,
    engine: codewm_core.Engine,
    f: torch.Tensor,
    r: torch.Tensor,
    actions: F32,
) -> None:
    a = torch.from_numpy(actions[: len(units)])
    predicted = oracle.predict(weights, f, r, a)
    assert_agree(engine.predict(f.numpy(), r.numpy(), a.numpy()), predicted, "g")
    by_engine = engine.read(*ragged(units), np.arange(len(units)), a.numpy())
    assert_agree(engine.predict(*by_engine, a.numpy()), predicted, "g(x(f), r, a)")
    told = [f, r, a]
    for i in range(3):
        other = oracle.predict(weights, *(x.roll(1, 0) if k == i else x for k, x in enumerate(told)))
        assert float((other - predicted).abs().max()) > 0.1, "all three matter"


def test_critic_agrees(
    units: list[Unit],
    weights: oracle.Weights,
    engine: codewm_core.Engine,
    f: torch.Tensor,
    r: torch.Tensor,
    actions: F32,
) -> None:
    edits = edits_of(weights, f, r, actions)
    want = oracle.doubt(weights, *edits)
    assert float(want.std()) > 0.1, "the edits differ"
    assert_agree(engine.doubt(*(e.numpy() for e in edits)), want, "c")
    for i, name in enumerate(("f", "f_after", "residual", "actions")):
        other = [e.roll(1, 0) if i == k else e for k, e in enumerate(edits)]
        assert float((oracle.doubt(weights, *other) - want).abs().max()) > 0.01, f"{name} matters"
    a = edits[3].numpy()
    before, read = engine.read(*ragged(units), np.arange(len(units)), a)
    after = np.roll(before, -1, 0)
    residual = engine.target(after) - engine.target(before) - engine.predict(before, read, a)
    assert_agree(engine.doubt(before, after, residual, a), want, "c of the whole chain")


def test_displacements_of_neighbouring_states_agree(
    units: list[Unit], weights: oracle.Weights, engine: codewm_core.Engine, f: torch.Tensor
) -> None:
    """The difference of two near states is what everything is measured in: it must survive too."""
    some = [i for i, u in enumerate(units) if len(u) >= 8][::4]
    before = [units[i] for i in some]
    after = [np.delete(u, len(u) // 2) for u in before]
    got = engine.target(engine.encode(*ragged(after))) - engine.target(engine.encode(*ragged(before)))
    want = oracle.target(weights, oracle.encode(weights, SHAPE, after)) - oracle.target(weights, f[some])
    assert float((torch.from_numpy(got) - want).abs().max()) < 1e-4
    assert float(cosines(got, want.numpy()).min()) > 0.9999


def test_batch_order_and_threads_do_not_change_a_bit(
    units: list[Unit],
    weights: oracle.Weights,
    engine: codewm_core.Engine,
    f: torch.Tensor,
    r: torch.Tensor,
    actions: F32,
) -> None:
    every = units[::5]
    rows = engine.encode(*ragged(every))
    assert np.array_equal(rows, engine.encode(*ragged(every), threads=1))
    assert np.array_equal(rows[::-1], engine.encode(*ragged(every[::-1]), threads=2))
    assert np.array_equal(rows[7:8], engine.encode(*ragged(every[7:8])))
    edits = [e.numpy() for e in edits_of(weights, f, r, actions)]
    for function, arguments in (
        (engine.target, edits[:1]),
        (engine.predict, [edits[0], r.numpy(), edits[3]]),
        (engine.doubt, edits),
    ):
        whole = function(*arguments)
        assert np.array_equal(whole, function(*arguments))
        assert np.array_equal(whole[::-1], function(*(x[::-1] for x in arguments)))
        for part in (slice(0, 1), slice(190, 194), slice(len(whole) - 1, None)):
            assert np.array_equal(whole[part], function(*(x[part] for x in arguments)))


@pytest.mark.parametrize(("latent", "hidden"), [(1, 1), (31, 33), (32, 64), (128, 7)])
def test_widths_that_are_no_whole_tiles_agree(
    latent: int, hidden: int, f: torch.Tensor, r: torch.Tensor, actions: F32
) -> None:
    reading = min(hidden, SHAPE.reading)
    shape = replace(SHAPE, latent=latent, reading=reading, predictor=hidden, critic=hidden)
    w = oracle.random_weights(shape, seed=7)
    engine = load(w, shape)
    for n in (1, 13, 200):
        a = torch.from_numpy(actions[:n])
        edits = f[:n], f[n : 2 * n], a.repeat(1, 9)[:, :latent], a.flip(0)
        assert_agree(engine.target(f[:n].numpy()), oracle.target(w, f[:n]), f"t, {n} rows")
        told = f[:n], r[:n, : 5 * reading].contiguous(), a
        predicted = engine.predict(*(x.numpy() for x in told))
        assert_agree(predicted, oracle.predict(w, *told), f"g, {n} rows")
        assert_agree(engine.doubt(*(e.numpy() for e in edits)), oracle.doubt(w, *edits), f"c, {n} rows")


def test_int8_is_its_rounded_weights_and_stays_near_f32(
    units: list[Unit],
    weights: oracle.Weights,
    engine: codewm_core.Engine,
    f: torch.Tensor,
    r: torch.Tensor,
    actions: F32,
) -> None:
    stored, meant = oracle.rounded(weights)
    rounded = codewm_core.Engine.from_bytes(oracle.model_file(stored, SHAPE, quant="int8"))
    assert rounded.metadata["quant"] == "int8"
    got = rounded.encode(*ragged(units))
    assert_agree(got, oracle.encode(meant, SHAPE, units), "f, int8")
    assert_agree(rounded.target(f.numpy()), oracle.target(meant, f), "t, int8")
    edits = edits_of(weights, f, r, actions)
    a = edits[3]
    every, told = np.arange(len(units)), (f.numpy(), r.numpy(), a.numpy())
    got_r, exact_r = (e.read(*ragged(units), every, a.numpy())[1] for e in (rounded, engine))
    assert_agree(got_r, oracle.read(meant, SHAPE, units, every, a.numpy()), "r, int8")
    assert_agree(rounded.predict(*told), oracle.predict(meant, f, r, a), "g, int8")
    arguments = [e.numpy() for e in edits]
    doubts = rounded.doubt(*arguments)
    assert_agree(doubts, oracle.doubt(meant, *edits), "c, int8")
    exact = engine.encode(*ragged(units))
    stages = {
        "f": (got, exact),
        "t": (rounded.target(got), engine.target(exact)),
        "r": (got_r, exact_r),
        "g": (rounded.predict(*told), engine.predict(*told)),
        "c": (doubts[None], engine.doubt(*arguments)[None]),
    }
    fidelity = {name: float(cosines(a, b).min()) for name, (a, b) in stages.items()}
    assert min(fidelity.values()) >= 0.99, fidelity
    # The predictor reads whitened states: what rounding does to f's smallest directions is up to ten times as
    # large there, and a predictor of random weights passes it on.
    chain = cosines(rounded.predict(got, got_r, a.numpy()), engine.predict(exact, exact_r, a.numpy()))
    assert float(chain.min()) >= 0.95
    assert float(chain.quantile(0.05)) >= 0.99
