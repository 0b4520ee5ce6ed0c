"""Claims: on real Python units of every length from 1 to 256 tokens, each stage of the Rust engine agrees
with torch in f32 (cosine >= 0.99999, largest difference < 5e-5): embedding, attention, perceptron, looped
encoder, whitened target, action encoder, predictor, the whole chain. int8 files compute exactly what their
rounded weights say, and stay within cosine 0.99 of f32. The project's torch modules and its export agree with
the same oracle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import codewm_core
from codewm.model import export as exporting
from codewm.model.config import ModelConfig
from codewm.model.jepa import JEPA
from tests.engine import oracle
from tests.engine.real_units import Unit, natural_units, ragged, units_of_every_length

F32 = NDArray[np.float32]
SHAPE = oracle.Shape()


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Products this small are slower on many threads, and far slower on busy ones."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def units() -> list[Unit]:
    """Real units; all lengths."""
    return units_of_every_length()


@pytest.fixture(scope="module")
def weights() -> oracle.Weights:
    """Random weights of realistic size, with a whitening fitted to real units."""
    w = oracle.random_weights(SHAPE, seed=1)
    oracle.fit_whitening(w, SHAPE, natural_units(1_000, seed=2))
    return w


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
    return oracle.encode(weights, SHAPE, "online", units)


@pytest.fixture(scope="module")
def t(units: list[Unit], weights: oracle.Weights) -> torch.Tensor:
    """t(s) by the oracle, whitened."""
    return oracle.encode(weights, SHAPE, "target", units)


def assert_agree(got: F32, want: torch.Tensor, what: str) -> None:
    """The project's bar for f32."""
    a, b = torch.from_numpy(got).double(), want.double()
    assert a.shape == b.shape
    cosine = float(torch.nn.functional.cosine_similarity(a, b).min())
    difference = float((a - b).abs().max())
    assert cosine >= 0.99999, f"{what}: cosine {cosine}"
    assert difference < 5e-5, f"{what}: largest difference {difference}"


def lowest_cosine(a: F32, b: F32) -> float:
    """Over rows."""
    cosine = torch.nn.functional.cosine_similarity(torch.from_numpy(a).double(), torch.from_numpy(b).double())
    return float(cosine.min())


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
    shape = replace(SHAPE, online_loops=1)
    w = {k: v * 0 if any(f"online.block.{s}." in k for s in silenced) else v for k, v in weights.items()}
    got = load(w, shape).encode_online(*ragged(units))
    assert_agree(got, oracle.encode(w, shape, "online", units), stage)


def test_encoders_agree(
    units: list[Unit], weights: oracle.Weights, engine: codewm_core.Engine, f: torch.Tensor, t: torch.Tensor
) -> None:
    assert_agree(engine.encode_online(*ragged(units)), f, "f")
    eye, zero = torch.eye(SHAPE.dim), torch.zeros(SHAPE.dim)
    plain = weights | {"target.whiten.weight": eye, "target.whiten.bias": zero}
    unmapped = torch.linalg.solve(
        weights["target.whiten.weight"].double(), (t - weights["target.whiten.bias"]).T.double()
    )
    assert_agree(load(plain).encode_target(*ragged(units)), unmapped.T, "t, not whitened")
    whitened = engine.encode_target(*ragged(units))
    assert 0.5 < float(whitened.std()) < 2, "the whitening is fitted to units like these"
    assert_agree(whitened, t, "t")


def test_action_and_predictor_agree(
    units: list[Unit], weights: oracle.Weights, engine: codewm_core.Engine, f: torch.Tensor, actions: F32
) -> None:
    a = torch.from_numpy(actions[: len(units)])
    action = oracle.encode_action(weights, a)
    predicted = oracle.predict(weights, SHAPE, f, action)
    assert_agree(engine.encode_action(a.numpy()), action, "h")
    assert_agree(engine.predict(f.numpy(), action.numpy()), predicted, "g")
    chained = engine.predict(engine.encode_online(*ragged(units)), engine.encode_action(a.numpy()))
    assert_agree(chained, predicted, "g(f, h)")


def test_displacements_of_neighbouring_states_agree(
    units: list[Unit], weights: oracle.Weights, engine: codewm_core.Engine, t: torch.Tensor
) -> None:
    """The difference of two near states is what everything is measured in: it must survive too."""
    some = [i for i, u in enumerate(units) if len(u) >= 8][::4]
    before = [units[i] for i in some]
    after = [np.delete(u, len(u) // 2) for u in before]
    got = engine.encode_target(*ragged(after)) - engine.encode_target(*ragged(before))
    want = oracle.encode(weights, SHAPE, "target", after) - t[some]
    assert float((torch.from_numpy(got) - want).abs().max()) < 1e-4
    assert lowest_cosine(got, want.numpy()) > 0.9999


def test_batch_order_and_threads_do_not_change_a_bit(units: list[Unit], engine: codewm_core.Engine) -> None:
    every = units[::5]
    rows = engine.encode_target(*ragged(every))
    assert np.array_equal(rows, engine.encode_target(*ragged(every), threads=1))
    assert np.array_equal(rows[::-1], engine.encode_target(*ragged(every[::-1]), threads=2))
    assert np.array_equal(rows[7:8], engine.encode_target(*ragged(every[7:8])))


def project_model(weights: oracle.Weights) -> JEPA:
    """The project's torch modules, holding these weights."""

    model = JEPA(ModelConfig(**vars(SHAPE)))
    model.load_state_dict(weights)
    model.eval()
    return model


def test_the_projects_torch_modules_agree_through_export(
    units: list[Unit], weights: oracle.Weights, actions: F32, tmp_path: Path
) -> None:

    model = project_model(weights)
    exporting.export(
        tmp_path / "f32.safetensors", model.state_dict(), ModelConfig(**vars(SHAPE)), quant="f32"
    )
    engine = codewm_core.Engine.from_file(tmp_path / "f32.safetensors")
    # Mixed lengths in one padded batch: the mask of the torch modules is part of the claim.
    some = units[::8]
    lengths = torch.tensor([len(u) for u in some])
    tokens = torch.zeros(len(some), SHAPE.window, dtype=torch.long)
    for row, unit in zip(tokens, some, strict=True):
        row[: len(unit)] = torch.from_numpy(unit.astype(np.int64))
    action = torch.from_numpy(actions[: len(some)])
    with torch.no_grad():
        assert_agree(engine.encode_target(*ragged(some)), model.target(tokens, lengths), "t")
        state = model.online(tokens, lengths)
        assert_agree(engine.encode_online(*ragged(some)), state, "f")
        assert_agree(engine.encode_action(action.numpy()), model.action(action), "h")
        predicted = model.predictor(state, model.action(action))
        assert_agree(engine.predict(state.numpy(), engine.encode_action(action.numpy())), predicted, "g")


def test_int8_is_its_rounded_weights_and_stays_near_f32(
    units: list[Unit], weights: oracle.Weights, engine: codewm_core.Engine, actions: F32, tmp_path: Path
) -> None:

    path = tmp_path / "int8.safetensors"
    exporting.export(path, weights, ModelConfig(**vars(SHAPE)), quant="int8")
    exact, rounded = engine, codewm_core.Engine.from_file(path)
    dequantised, _, metadata = exporting.load(path)
    assert metadata["quant"] == rounded.metadata["quant"] == "int8"
    got = rounded.encode_online(*ragged(units))
    assert_agree(got, oracle.encode(dequantised, SHAPE, "online", units), "f, int8")
    whitened = rounded.encode_target(*ragged(units))
    assert_agree(whitened, oracle.encode(dequantised, SHAPE, "target", units), "t, int8")
    a = actions[: len(units)]
    fidelity = {
        "f": lowest_cosine(got, exact.encode_online(*ragged(units))),
        "t": lowest_cosine(whitened, exact.encode_target(*ragged(units))),
        "g": lowest_cosine(
            rounded.predict(got, rounded.encode_action(a)),
            exact.predict(exact.encode_online(*ragged(units)), exact.encode_action(a)),
        ),
    }
    assert min(fidelity.values()) >= 0.99, fidelity


def test_the_shipped_base_model_agrees(units: list[Unit], actions: F32) -> None:

    path = resources.files("codewm.model.base") / "base.safetensors"
    with resources.as_file(path) as file:
        engine = codewm_core.Engine.from_file(file)
        weights, config, _ = exporting.load(file)
    shape = oracle.Shape(**vars(config))
    assert engine.config == vars(shape)
    assert_agree(engine.encode_target(*ragged(units)), oracle.encode(weights, shape, "target", units), "t")
    state = oracle.encode(weights, shape, "online", units)
    assert_agree(engine.encode_online(*ragged(units)), state, "f")
    a = torch.from_numpy(actions[: len(units)])
    action = oracle.encode_action(weights, a)
    assert_agree(engine.encode_action(a.numpy()), action, "h")
    assert_agree(
        engine.predict(state.numpy(), action.numpy()), oracle.predict(weights, shape, state, action), "g"
    )
