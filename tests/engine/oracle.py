"""Weights by name in, latents and displacements out: the model's equations once more, in plain torch.

Written from the file format's definition, not from `model/` and not from the Rust engine, so that it can
judge both. Nothing is padded; the dtype follows the weights, so f64 weights give f64.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

import codewm_core

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """The file's `config`."""

    vocab_size: int = codewm_core.VOCAB_SIZE
    window: int = 256
    dim: int = 128
    heads: int = 4
    mlp: int = 512
    target_loops: int = 3
    online_loops: int = 3
    predictor_blocks: int = 2
    predictor_loops: int = 6
    action: str = "v15"
    action_dim: int = 15


def names_and_shapes(s: Shape) -> dict[str, tuple[int, ...]]:
    """Every tensor of a model file."""

    def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}

    def norm(name: str) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (s.dim,), f"{name}.bias": (s.dim,)}

    def block(name: str) -> dict[str, tuple[int, ...]]:
        return (
            norm(f"{name}.ln1")
            | norm(f"{name}.ln2")
            | linear(f"{name}.attn.qkv", s.dim, 3 * s.dim)
            | linear(f"{name}.attn.out", s.dim, s.dim)
            | linear(f"{name}.mlp.up", s.dim, s.mlp)
            | linear(f"{name}.mlp.down", s.mlp, s.dim)
        )

    out: dict[str, tuple[int, ...]] = {}
    for side in ("target", "online"):
        out[f"{side}.embedding.weight"] = (s.vocab_size, s.dim)
        out[f"{side}.position.weight"] = (s.window, s.dim)
        out |= block(f"{side}.block") | norm(f"{side}.norm")
    out |= linear("target.whiten", s.dim, s.dim)
    out |= linear("action.up", s.action_dim, s.dim) | linear("action.down", s.dim, s.dim)
    out["predictor.type"] = (2, s.dim)
    for i in range(s.predictor_blocks):
        out |= block(f"predictor.blocks.{i}")
    return out | norm("predictor.norm") | linear("predictor.out", s.dim, s.dim)


def random_weights(s: Shape, seed: int) -> Weights:
    """Weights of the size training leaves them at: norms near one, products that keep a row's size."""
    g = torch.Generator().manual_seed(seed)
    out: Weights = {}
    for name, shape in names_and_shapes(s).items():
        noise = torch.randn(shape, generator=g)
        leaf = name.split(".")[-2]
        if leaf in ("ln1", "ln2", "norm"):
            out[name] = 1 + 0.2 * noise if name.endswith("weight") else 0.1 * noise
        elif leaf in ("embedding", "position") or name == "predictor.type":
            out[name] = 0.3 * noise if leaf == "embedding" else 0.1 * noise
        elif name.endswith("bias"):
            out[name] = 0.05 * noise
        else:
            out[name] = noise * shape[1] ** -0.5 * (1.5 if leaf == "qkv" else 1.0)
    return out


def block(w: Weights, name: str, x: Tensor, heads: int) -> Tensor:
    """x [n, S, D] -> [n, S, D]; pre-norm attention, then pre-norm perceptron."""
    n, S, D = x.shape
    y = torch.layer_norm(x, (D,), w[f"{name}.ln1.weight"], w[f"{name}.ln1.bias"], 1e-5)
    qkv = y @ w[f"{name}.attn.qkv.weight"].T + w[f"{name}.attn.qkv.bias"]
    q, k, v = (part.reshape(n, S, heads, D // heads) for part in qkv.chunk(3, dim=-1))
    weight = torch.einsum("nihc,njhc->nhij", q, k).mul((D // heads) ** -0.5).softmax(-1)
    attended = torch.einsum("nhij,njhc->nihc", weight, v).reshape(n, S, D)
    x = x + attended @ w[f"{name}.attn.out.weight"].T + w[f"{name}.attn.out.bias"]
    y = torch.layer_norm(x, (D,), w[f"{name}.ln2.weight"], w[f"{name}.ln2.bias"], 1e-5)
    hidden = y @ w[f"{name}.mlp.up.weight"].T + w[f"{name}.mlp.up.bias"]
    hidden = hidden * 0.5 * (1 + torch.erf(hidden * 0.5**0.5))
    return x + hidden @ w[f"{name}.mlp.down.weight"].T + w[f"{name}.mlp.down.bias"]


def mean_features(w: Weights, s: Shape, side: str, tokens: Tensor) -> Tensor:
    """Tokens [n, S] of n units of the same length -> [n, D], not whitened."""
    x = w[f"{side}.embedding.weight"][tokens] + w[f"{side}.position.weight"][: tokens.shape[1]]
    for _ in range(s.target_loops if side == "target" else s.online_loops):
        x = block(w, f"{side}.block", x, s.heads)
    x = torch.layer_norm(x, (s.dim,), w[f"{side}.norm.weight"], w[f"{side}.norm.bias"], 1e-5)
    return x.mean(1)


def encode(w: Weights, s: Shape, side: str, units: list[NDArray[np.uint16]]) -> Tensor:
    """Units in any order -> latents [n, D]; the target's are whitened."""
    dtype = w["predictor.type"].dtype
    out = torch.empty(len(units), s.dim, dtype=dtype)
    by_length: dict[int, list[int]] = {}
    for i, unit in enumerate(units):
        by_length.setdefault(len(unit), []).append(i)
    for rows in by_length.values():
        tokens = torch.from_numpy(np.stack([units[i] for i in rows]).astype(np.int64))
        out[rows] = mean_features(w, s, side, tokens)
    if side == "target":
        out = out @ w["target.whiten.weight"].T + w["target.whiten.bias"]
    return out


def encode_action(w: Weights, actions: Tensor) -> Tensor:
    """Actions [n, A] -> [n, D]."""
    hidden = actions @ w["action.up.weight"].T + w["action.up.bias"]
    hidden = hidden * 0.5 * (1 + torch.erf(hidden * 0.5**0.5))
    return hidden @ w["action.down.weight"].T + w["action.down.bias"]


def predict(w: Weights, s: Shape, state: Tensor, action: Tensor) -> Tensor:
    """f(s) [n, D], h(a) [n, D] -> d_hat [n, D]."""
    x = torch.stack([state, action], dim=1) + w["predictor.type"]
    for i in range(s.predictor_blocks):
        for _ in range(s.predictor_loops):
            x = block(w, f"predictor.blocks.{i}", x, s.heads)
    x = torch.layer_norm(x, (s.dim,), w["predictor.norm.weight"], w["predictor.norm.bias"], 1e-5)
    return x[:, 0] @ w["predictor.out.weight"].T + w["predictor.out.bias"]


def fit_whitening(w: Weights, s: Shape, units: list[NDArray[np.uint16]], floor: float = 1e-2) -> None:
    """Sets the whitening map so that these units' target latents have unit covariance, as training does."""
    eye = w | {"target.whiten.weight": torch.eye(s.dim), "target.whiten.bias": torch.zeros(s.dim)}
    z = encode(eye, s, "target", units).double()
    centre = z.mean(0)
    values, vectors = torch.linalg.eigh((z - centre).T @ (z - centre) / (len(z) - 1))
    values = values.clamp_min(float(values[-1]) * floor)
    weight = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    w["target.whiten.weight"] = weight.float().contiguous()
    w["target.whiten.bias"] = (-weight @ centre).float()


def model_file(w: Weights, s: Shape, **metadata: str) -> bytes:
    """An f32 "codewm.model/1" file."""
    header = {
        "format": "codewm.model/1",
        "config": json.dumps(vars(s)),
        "tokenizer_id": codewm_core.TOKENIZER_ID,
        "action": s.action,
        "action_names": json.dumps(list(codewm_core.ACTIONS[s.action])),
        "quant": "f32",
        "provenance": "{}",
        "metrics": "{}",
        "calibration": "{}",
    }
    return save(w, metadata=header | metadata)
