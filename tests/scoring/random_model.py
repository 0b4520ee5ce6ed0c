"""An engine model with random weights, written by the format's own rules: scoring needs a model, not a good
one.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

import codewm_core as core

CONFIG = {
    "vocab_size": core.VOCAB_SIZE,
    "window": 256,
    "dim": 16,
    "heads": 4,
    "mlp": 32,
    "target_loops": 1,
    "online_loops": 1,
    "predictor_blocks": 1,
    "predictor_loops": 1,
    "action": "v15",
    "action_dim": 15,
}


def write_random_model(
    path: Path, *, seed: int = 0, tokenizer_id: str = core.TOKENIZER_ID, calibration: str = "{}"
) -> Path:
    """Write the model to `path` and return it."""
    rng = np.random.default_rng(seed)
    dim, mlp, vocab = CONFIG["dim"], CONFIG["mlp"], CONFIG["vocab_size"]
    assert isinstance(dim, int)
    assert isinstance(mlp, int)
    assert isinstance(vocab, int)
    tensors: dict[str, NDArray[np.float32]] = {}

    def weight(name: str, *shape: int) -> None:
        tensors[name] = (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    def linear(name: str, rows: int, columns: int) -> None:
        weight(f"{name}.weight", rows, columns)
        tensors[f"{name}.bias"] = np.zeros(rows, np.float32)

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = np.ones(dim, np.float32)
        tensors[f"{name}.bias"] = np.zeros(dim, np.float32)

    def block(name: str) -> None:
        norm(f"{name}.ln1")
        norm(f"{name}.ln2")
        linear(f"{name}.attn.qkv", 3 * dim, dim)
        linear(f"{name}.attn.out", dim, dim)
        linear(f"{name}.mlp.up", mlp, dim)
        linear(f"{name}.mlp.down", dim, mlp)

    for encoder in ("target", "online"):
        weight(f"{encoder}.embedding.weight", vocab, dim)
        weight(f"{encoder}.position.weight", 256, dim)
        block(f"{encoder}.block")
        norm(f"{encoder}.norm")
    linear("target.whiten", dim, dim)
    linear("action.up", dim, 15)
    linear("action.down", dim, dim)
    weight("predictor.type", 2, dim)
    block("predictor.blocks.0")
    norm("predictor.norm")
    linear("predictor.out", dim, dim)
    metadata = {
        "format": "codewm.model/1",
        "config": json.dumps(CONFIG),
        "tokenizer_id": tokenizer_id,
        "action": "v15",
        "action_names": json.dumps(list(core.ACTIONS["v15"])),
        "quant": "f32",
        "provenance": "{}",
        "metrics": "{}",
        "calibration": calibration,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=metadata)
    return path
