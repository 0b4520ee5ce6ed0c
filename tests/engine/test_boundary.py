"""Claims: the Python face of the engine names what is wrong with an argument or a file, in one exception
family, and never crashes; computing releases the GIL; arrays of any memory layout mean what they say.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import codewm_core
from codewm_core import CoreError, Engine, InvalidInput, ModelFormatError, TokenizerMismatch
from tests.engine import oracle

SHAPE = oracle.Shape(dim=16, heads=2, mlp=32, window=20, predictor_loops=2)


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
    for encode in (engine.encode_target, engine.encode_online):
        with pytest.raises(InvalidInput, match=needle):
            encode(np.array(tokens, np.uint16), np.array(offsets, np.int64))


def test_bad_rows_are_named(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match=r"actions has shape \[2, 16\]"):
        engine.encode_action(np.zeros((2, 16), np.float32))
    with pytest.raises(InvalidInput, match="row 1"):
        engine.encode_action(np.array([[0] * 15, [np.nan] * 15], np.float32))
    with pytest.raises(InvalidInput, match="2 states for 3"):
        engine.predict(np.zeros((2, 16), np.float32), np.zeros((3, 16), np.float32))
    with pytest.raises(TypeError):
        engine.encode_action(np.zeros((2, 15), np.float64))
    with pytest.raises(InvalidInput, match="threads"):
        engine.encode_target(np.ones(400, np.uint16), np.arange(401), threads=10**9)


def test_nothing_in_gives_no_rows(engine: Engine) -> None:
    none = np.zeros(0, np.uint16)
    assert engine.encode_target(none, np.zeros(1, np.int64)).shape == (0, 16)
    assert engine.encode_action(np.zeros((0, 15), np.float32)).shape == (0, 16)
    assert engine.predict(np.zeros((0, 16), np.float32), np.zeros((0, 16), np.float32)).shape == (0, 16)


def test_any_memory_layout_means_what_it_says(engine: Engine) -> None:
    a = np.random.default_rng(0).normal(size=(6, 15)).astype(np.float32)
    assert np.array_equal(engine.encode_action(np.asfortranarray(a)), engine.encode_action(a))
    assert np.array_equal(engine.encode_action(a[::-2]), engine.encode_action(np.ascontiguousarray(a[::-2])))
    assert np.array_equal(
        engine.encode_action(np.zeros((4, 15), np.float32)[:, ::-1])[0], engine.encode_action(a * 0)[0]
    )
    tokens, offsets = np.arange(8, 28, dtype=np.uint16), np.array([0, 4, 10], np.int64)
    strided = engine.encode_online(tokens[::2], offsets)
    assert np.array_equal(strided, engine.encode_online(tokens[::2].copy(), offsets))


def test_damaged_and_foreign_files_are_refused(file: bytes) -> None:
    for bad in (b"", b"{}", file[:-1], file[:1000], file + b"\0", b"\xff" * 64):
        with pytest.raises(ModelFormatError):
            Engine.from_bytes(bad)
    w = oracle.random_weights(SHAPE, seed=5)
    with pytest.raises(TokenizerMismatch, match="python-v0"):
        Engine.from_bytes(oracle.model_file(w, SHAPE, tokenizer_id="python-v0"))
    with pytest.raises(ModelFormatError, match=r"target\.norm\.bias is missing"):
        Engine.from_bytes(oracle.model_file({k: v for k, v in w.items() if k != "target.norm.bias"}, SHAPE))
    with pytest.raises(ModelFormatError, match=r"action\.up\.weight has NaN"):
        Engine.from_bytes(
            oracle.model_file(w | {"action.up.weight": w["action.up.weight"] * torch.nan}, SHAPE)
        )
    assert issubclass(TokenizerMismatch, ModelFormatError)
    assert issubclass(ModelFormatError, CoreError)
    assert issubclass(InvalidInput, CoreError)


def test_the_gil_is_released() -> None:
    big = oracle.Shape(target_loops=12)
    engine = Engine.from_bytes(oracle.model_file(oracle.random_weights(big, seed=6), big))
    tokens, offsets = np.full(256 * 40, 9, np.uint16), np.arange(0, 256 * 40 + 1, 256)
    started, done, ticks = threading.Event(), threading.Event(), 0

    def work() -> None:
        started.set()
        engine.encode_target(tokens, offsets, threads=1)
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
