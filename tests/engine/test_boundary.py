"""Claims: the Python face of the engine names what is wrong with an argument or a file, in one exception
family, and never crashes; computing releases the GIL; arrays of any memory layout mean what they say.
"""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import codewm_core
from codewm_core import CoreError, Engine, InvalidInput, ModelFormatError, TokenizerMismatch
from tests.engine import oracle

SHAPE = oracle.Shape(dim=16, heads=2, mlp=32, window=20, latent=6, reading=2, predictor=12, critic=10)

F32 = NDArray[np.float32]
WIDTHS = {"f": 32, "f_after": 32, "residual": 6, "actions": 15}
"""Of the arguments of `doubt`."""


@pytest.fixture(scope="module")
def file() -> bytes:
    return oracle.model_file(oracle.random_weights(SHAPE, seed=5), SHAPE, provenance='{"who": "a test"}')


@pytest.fixture(scope="module")
def engine(file: bytes) -> Engine:
    return Engine.from_bytes(file)


def test_config_and_metadata_are_the_files(engine: Engine, file: bytes, tmp_path: Path) -> None:
    assert engine.config == vars(SHAPE)
    assert engine.metadata["provenance"] == '{"who": "a test"}'
    (tmp_path / "m").write_bytes(file)
    assert (
        Engine.from_file(tmp_path / "m").metadata
        == Engine.from_file(str(tmp_path / "m")).metadata
        == engine.metadata
    )
    with pytest.raises(FileNotFoundError):
        Engine.from_file(tmp_path / "absent")


@pytest.mark.parametrize(
    ("tokens", "offsets", "needle"),
    [
        ([7], [0], "end at 1"),
        ([7], [], "start at 0"),
        ([7], [1, 1], "start at 0"),
        ([7], [0, -1, 1], "negative"),
        ([7, 7], [0, 2, 1, 2], "backwards"),
        ([7, 7], [0, 9, 2], "backwards"),
        ([7], [0, 1, 1], "unit 1 has 0 tokens"),
        ([7] * 21, [0, 21], "21 tokens"),
        ([7, 65535], [0, 2], "token 65535"),
        ([7, codewm_core.PAD], [0, 2], "token 0"),
    ],
)
def test_bad_units_are_named(engine: Engine, tokens: list[int], offsets: list[int], needle: str) -> None:
    with pytest.raises(InvalidInput, match=needle):
        engine.encode(np.array(tokens, np.uint16), np.array(offsets, np.int64))


def test_bad_rows_are_named(engine: Engine) -> None:
    f = np.zeros((2, 32), np.float32)
    r = np.zeros((2, 10), np.float32)
    with pytest.raises(InvalidInput, match=r"actions has shape \[2, 16\], expected \[n, 15\]"):
        engine.predict(f, r, np.zeros((2, 16), np.float32))
    with pytest.raises(InvalidInput, match="actions have NaN in row 1"):
        engine.predict(f, r, np.array([[0] * 15, [np.nan] * 15], np.float32))
    with pytest.raises(InvalidInput, match="2 features for 3 actions"):
        engine.predict(f, r, np.zeros((3, 15), np.float32))
    a = np.zeros((2, 15), np.float32)
    with pytest.raises(InvalidInput, match=r"read has shape \[2, 2\], expected \[n, 10\]"):
        engine.predict(f, r[:, :2], a)
    with pytest.raises(InvalidInput, match="readings have inf in row 0"):
        engine.predict(f, r + np.float32(np.inf), a)
    with pytest.raises(InvalidInput, match="2 features for 1 readings"):
        engine.predict(f, r[:1], a)
    with pytest.raises(TypeError):
        engine.predict(f, r, np.zeros((2, 15), np.float64))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="threads"):
        engine.encode(np.ones(400, np.uint16), np.arange(401), threads=10**9)
    for function in (engine.target, lambda f: engine.predict(f, r, a)):
        with pytest.raises(InvalidInput, match=r"f has shape \[2, 6\], expected \[n, 32\]"):
            function(np.zeros((2, 6), np.float32))


@pytest.mark.parametrize(
    ("name", "rows"),
    [("f", "features"), ("f_after", "features after"), ("residual", "residuals"), ("actions", "actions")],
)
def test_bad_edits_are_named(engine: Engine, name: str, rows: str) -> None:
    def doubt(**change: F32) -> F32:
        edits = {n: np.zeros((3, width), np.float32) for n, width in WIDTHS.items()}
        return engine.doubt(**(edits | change))

    width = WIDTHS[name]
    spoilt = np.zeros((3, width), np.float32)
    spoilt[1] = np.nan
    assert doubt().shape == (3,)
    with pytest.raises(InvalidInput, match=rf": {name} has shape \[3, 1\], expected \[n, {width}\]"):
        doubt(**{name: np.zeros((3, 1), np.float32)})
    with pytest.raises(InvalidInput, match=f": {rows} have NaN in row 1"):
        doubt(**{name: spoilt})
    with pytest.raises(InvalidInput, match=r"\d features for \d"):
        doubt(**{name: np.zeros((2, width), np.float32)})
    with pytest.raises(TypeError):
        doubt(**{name: np.zeros((3, width))})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("edited", "rows", "width", "needle"),
    [
        ([2], 1, 15, "an edit is of unit 2, there are 2"),
        ([0, -1], 2, 15, "an edit is of unit -1"),
        ([0, 1], 3, 15, "2 edits for 3 actions"),
        ([0, 1], 0, 15, "2 edits for 0 actions"),
        ([0], 1, 7, r"actions has shape \[1, 7\], expected \[n, 15\]"),
    ],
)
def test_bad_edits_of_units_are_named(
    engine: Engine, edited: list[int], rows: int, width: int, needle: str
) -> None:
    units = np.array([7, 8, 9], np.uint16), np.array([0, 2, 3], np.int64)
    with pytest.raises(InvalidInput, match=needle):
        engine.read(*units, np.array(edited, np.int64), np.zeros((rows, width), np.float32))
    with pytest.raises(InvalidInput, match="actions have NaN in row 0"):
        engine.read(*units, np.array([1]), np.full((1, 15), np.nan, np.float32))
    with pytest.raises(InvalidInput, match="unit 0 has token 0"):
        engine.read(units[0] * 0, units[1], np.array([1]), np.zeros((1, 15), np.float32))
    with pytest.raises(TypeError):
        engine.read(*units, np.array([1.0]), np.zeros((1, 15), np.float32))  # type: ignore[arg-type]


def test_nothing_in_gives_no_rows(engine: Engine) -> None:
    none = np.zeros(0, np.uint16)
    assert engine.encode(none, np.zeros(1, np.int64)).shape == (0, 32)
    f, r, residual, actions = (np.zeros((0, width), np.float32) for width in (32, 10, 6, 15))
    no_edit = np.zeros(0, np.int64)
    for tokens, n in ((none, 0), (np.full(3, 7, np.uint16), 3)):
        latents, read = engine.read(tokens, np.arange(n + 1), no_edit, actions)
        assert (latents.shape, read.shape) == ((n, 32), (0, 10))
    assert engine.target(f).shape == (0, 6)
    assert engine.predict(f, r, actions).shape == (0, 6)
    assert engine.doubt(f, f, residual, actions).shape == (0,)


def test_any_memory_layout_means_what_it_says(engine: Engine) -> None:
    tokens, offsets = np.arange(8, 28, dtype=np.uint16), np.array([0, 4, 10], np.int64)
    strided = engine.encode(tokens[::2], offsets)
    assert np.array_equal(strided, engine.encode(tokens[::2].copy(), offsets))
    edits = [np.random.default_rng(1).normal(size=(6, n)).astype(np.float32) for n in WIDTHS.values()]
    plain = engine.doubt(*edits)
    assert np.array_equal(engine.doubt(*map(np.asfortranarray, edits)), plain)
    assert np.array_equal(engine.doubt(*(e[::-2] for e in edits)), plain[::-2])
    assert np.array_equal(engine.target(np.asfortranarray(edits[0])), engine.target(edits[0]))
    f, a = edits[0], edits[3]
    r = edits[1][:, :10]
    told = f, r.copy(), a
    plain = engine.predict(*told)
    assert np.array_equal(engine.predict(f, r, a), plain)
    assert np.array_equal(engine.predict(*map(np.asfortranarray, told)), plain)
    assert np.array_equal(engine.predict(*(x[::-2] for x in told)), plain[::-2])
    assert np.array_equal(engine.predict(f, r, a[:, ::-1]), engine.predict(f, r, a[:, ::-1].copy()))
    edited, units = np.array([1, 0, 0, 1, 1, 0]), (tokens[::2], offsets)
    read = engine.read(*units, edited, a)[1]
    assert np.array_equal(engine.read(*units, edited[::-2], np.asfortranarray(a)[::-2])[1], read[::-2])


def test_damaged_and_foreign_files_are_refused(file: bytes) -> None:
    for bad in (b"", b"{}", file[:-1], file[:1000], file + b"\0", b"\xff" * 64):
        with pytest.raises(ModelFormatError):
            Engine.from_bytes(bad)
    w = oracle.random_weights(SHAPE, seed=5)
    with pytest.raises(TokenizerMismatch, match="python-v0"):
        Engine.from_bytes(oracle.model_file(w, SHAPE, tokenizer_id="python-v0"))
    with pytest.raises(ModelFormatError, match=r'"codewm\.model/3", expected "codewm\.model/4"'):
        Engine.from_bytes(oracle.model_file(w, SHAPE, format="codewm.model/3"))
    for name in ("encoder.norm.bias", "target.weight", "reading.bias", "critic.middle.weight"):
        with pytest.raises(ModelFormatError, match=f"{re.escape(name)} is missing"):
            Engine.from_bytes(oracle.model_file({k: v for k, v in w.items() if k != name}, SHAPE))
    for name in (
        "target.weight",
        "state.weight",
        "reading.weight",
        "predictor.out.weight",
        "critic.up.weight",
        "critic.out.bias",
    ):
        with pytest.raises(ModelFormatError, match=f"{re.escape(name)} is F32"):
            Engine.from_bytes(oracle.model_file(w | {name: torch.zeros(7, 7)}, SHAPE))
    stored, _ = oracle.rounded(w)
    for name in ("encoder.position.weight", "critic.out.weight"):
        with pytest.raises(ModelFormatError, match=f"{re.escape(name)} is F32"):
            Engine.from_bytes(oracle.model_file(stored | {name: w[name]}, SHAPE, quant="int8"))
    with pytest.raises(ModelFormatError, match=r"predictor\.up\.weight has NaN"):
        Engine.from_bytes(
            oracle.model_file(w | {"predictor.up.weight": w["predictor.up.weight"] * torch.nan}, SHAPE)
        )
    assert issubclass(TokenizerMismatch, ModelFormatError)
    assert issubclass(ModelFormatError, CoreError)
    assert issubclass(InvalidInput, CoreError)


def test_the_gil_is_released() -> None:
    big = oracle.Shape(loops=12)
    engine = Engine.from_bytes(oracle.model_file(oracle.random_weights(big, seed=6), big))
    tokens, offsets = np.full(256 * 40, 9, np.uint16), np.arange(0, 256 * 40 + 1, 256)
    started, done, ticks = threading.Event(), threading.Event(), 0

    def work() -> None:
        started.set()
        engine.encode(tokens, offsets, threads=1)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    started.wait()
    while not done.is_set():
        time.sleep(0.001)
        ticks += 1
    worker.join()
    # With the GIL held throughout, this thread would wake up once or twice.
    assert ticks > 20
