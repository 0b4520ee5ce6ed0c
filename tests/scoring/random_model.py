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

CONFIG: dict[str, int | str] = {
    "vocab_size": core.VOCAB_SIZE,
    "window": 256,
    "dim": 16,
    "heads": 4,
    "mlp": 32,
    "loops": 1,
    "latent": 12,
    "reading": 4,
    "predictor": 24,
    "critic": 8,
    "action": "v15",
    "action_dim": 15,
}


def write_random_model(
    path: Path, *, seed: int = 0, tokenizer_id: str = core.TOKENIZER_ID, calibration: str = "{}"
) -> Path:
    """Write the model to `path` and return it."""
    rng = np.random.default_rng(seed)
    dim, mlp, vocab, latent, reading, predictor, critic = (
        int(CONFIG[name]) for name in ("dim", "mlp", "vocab_size", "latent", "reading", "predictor", "critic")
    )
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

    weight("encoder.embedding.weight", vocab, dim)
    weight("encoder.position.weight", 256, dim)
    block("encoder.block")
    norm("encoder.norm")
    linear("target", latent, 2 * dim)
    linear("state", dim, 2 * dim)
    linear("reading", reading, 2 * dim)
    linear("predictor.up", predictor, dim + core.RANGES * reading + 15)
    linear("predictor.middle", predictor, predictor)
    linear("predictor.out", latent, predictor)
    linear("critic.up", critic, 2 * dim + latent + 15)
    linear("critic.middle", critic, critic)
    linear("critic.out", 1, critic)
    metadata = {
        "format": "codewm.model/4",
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
