"""Claims: the project's torch modules, through its export, agree with the engine and so with the oracle of
`test_parity.py`; what int8 export rounds is what the format says; the shipped base model computes in the engine
what its weights say.
"""

from __future__ import annotations

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
from tests.engine.real_units import Unit, ragged, units_of_every_length

F32 = NDArray[np.float32]
SHAPE = oracle.Shape()


@pytest.fixture(scope="module")
def units() -> list[Unit]:
    """Real units; many lengths."""
    return units_of_every_length()[::8]


@pytest.fixture(scope="module")
def actions(units: list[Unit]) -> F32:
    """An action per unit, in the range that edits have."""
    return np.random.default_rng(3).random((len(units), SHAPE.action_dim)).astype(np.float32)


def assert_agree(got: F32, want: torch.Tensor, what: str) -> None:
    """The project's bar for f32."""
    difference = float((torch.from_numpy(got) - want).abs().max())
    assert got.shape == want.shape
    assert difference < 5e-5, f"{what}: largest difference {difference}"


def test_the_projects_torch_modules_agree_through_export(
    units: list[Unit], weights: oracle.Weights, actions: F32, tmp_path: Path
) -> None:
    model = JEPA(ModelConfig(**vars(SHAPE)))
    model.load_state_dict(weights)
    model.eval()
    exporting.export(tmp_path / "f32", model.state_dict(), model.config, quant="f32")
    engine = codewm_core.Engine.from_file(tmp_path / "f32")
    # Mixed lengths in one padded batch: the mask of the torch modules is part of the claim.
    lengths = torch.tensor([len(u) for u in units])
    tokens = torch.zeros(len(units), SHAPE.window, dtype=torch.long)
    for row, unit in zip(tokens, units, strict=True):
        row[: len(unit)] = torch.from_numpy(unit.astype(np.int64))
    a = torch.from_numpy(actions)
    with torch.no_grad():
        f = model.encoder(tokens, lengths)
        ranges = codewm_core.places(lengths.numpy(), actions, SHAPE.action, SHAPE.window)
        r = model.read(model.encoder.at(tokens, lengths, torch.from_numpy(ranges)))
        t, d_hat = model.target(f), model(f, r, a)
        residual = t.roll(1, 0) - t - d_hat
        doubt = model.doubt(f, f.roll(1, 0), residual, a)
    got_f, got_r = engine.read(*ragged(units), np.arange(len(units)), actions)
    assert_agree(got_f, f, "f")
    assert_agree(got_r, r, "r")
    assert_agree(engine.target(f.numpy()), t, "t")
    assert_agree(engine.predict(f.numpy(), r.numpy(), actions), d_hat, "g")
    assert_agree(engine.doubt(f.numpy(), f.roll(1, 0).numpy(), residual.numpy(), actions), doubt, "c")


def test_int8_export_rounds_what_the_format_says(weights: oracle.Weights, tmp_path: Path) -> None:
    exporting.export(tmp_path / "int8", weights, ModelConfig(**vars(SHAPE)), quant="int8")
    assert codewm_core.Engine.from_file(tmp_path / "int8").metadata["quant"] == "int8"
    dequantised, _, _ = exporting.load(tmp_path / "int8")
    _, meant = oracle.rounded(weights)
    assert dequantised.keys() == meant.keys()
    for name, value in meant.items():
        assert torch.allclose(dequantised[name], value, atol=1e-7), name


def test_the_shipped_base_model_agrees(units: list[Unit], actions: F32) -> None:
    path = resources.files("codewm.model.base") / "base.safetensors"
    with resources.as_file(path) as file:
        engine = codewm_core.Engine.from_file(file)
        weights, config, _ = exporting.load(file)
    shape = oracle.Shape(**vars(config))
    assert engine.config == vars(shape)
    f = oracle.encode(weights, shape, units)
    t = oracle.target(weights, f)
    every = np.arange(len(units))
    r = oracle.read(weights, shape, units, every, actions)
    got_f, got_r = engine.read(*ragged(units), every, actions)
    assert_agree(got_f, f, "f")
    assert_agree(got_r, r, "r")
    assert_agree(engine.target(f.numpy()), t, "t")
    a = torch.from_numpy(actions)
    d_hat = oracle.predict(weights, f, r, a)
    assert_agree(engine.predict(f.numpy(), r.numpy(), actions), d_hat, "g")
    edits = f, f.roll(1, 0), t.roll(1, 0) - t - d_hat, a
    want = oracle.doubt(weights, *edits)
    # Neighbours in this list are no edits of each other: their log odds run to tens, where f32 has steps of 4e-6.
    size = want.abs().max()
    assert_agree(engine.doubt(*(e.numpy() for e in edits)) / size.numpy(), want / size, "c, of its size")
