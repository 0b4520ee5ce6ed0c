"""Weights by name in, latents, displacements and doubts out: the model's equations once more, in plain torch.

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
    loops: int = 3
    latent: int = 64
    predictor: int = 512
    critic: int = 128
    action: str = "v15"
    action_dim: int = 15

    @property
    def width(self) -> int:
        """Length of f(s)."""
        return 2 * self.dim


def names_and_shapes(s: Shape) -> dict[str, tuple[int, ...]]:
    """Every tensor of a model file."""

    def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}

    def norm(name: str) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (s.dim,), f"{name}.bias": (s.dim,)}

    def perceptron(name: str, inputs: int, hidden: int, outputs: int) -> dict[str, tuple[int, ...]]:
        return (
            linear(f"{name}.up", inputs, hidden)
            | linear(f"{name}.middle", hidden, hidden)
            | linear(f"{name}.out", hidden, outputs)
        )

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
    out["encoder.embedding.weight"] = (s.vocab_size, s.dim)
    out["encoder.position.weight"] = (s.window, s.dim)
    out |= block("encoder.block") | norm("encoder.norm")
    out |= linear("target", s.width, s.latent) | linear("state", s.width, s.dim)
    out |= perceptron("predictor", s.dim + s.action_dim, s.predictor, s.latent)
    return out | perceptron("critic", 2 * s.dim + s.latent + s.action_dim, s.critic, 1)


def random_weights(s: Shape, seed: int) -> Weights:
    """Weights of the size training leaves them at: norms near one, products that keep a row's size."""
    g = torch.Generator().manual_seed(seed)
    out: Weights = {}
    for name, shape in names_and_shapes(s).items():
        noise = torch.randn(shape, generator=g)
        leaf = name.split(".")[-2]
        if leaf in ("ln1", "ln2", "norm"):
            out[name] = 1 + 0.2 * noise if name.endswith("weight") else 0.1 * noise
        elif leaf in ("embedding", "position"):
            out[name] = 0.3 * noise if leaf == "embedding" else 0.1 * noise
        elif name.endswith("bias"):
            out[name] = 0.05 * noise
        else:
            out[name] = noise * shape[1] ** -0.5 * (1.5 if leaf == "qkv" else 1.0)
    return out


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    """x [..., I] -> [..., O]."""
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    """x [..., D] -> [..., D]."""
    return torch.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)


def gelu(x: Tensor) -> Tensor:
    """The exact one."""
    return x * 0.5 * (1 + torch.erf(x * 0.5**0.5))


def block(w: Weights, name: str, x: Tensor, heads: int) -> Tensor:
    """x [n, S, D] -> [n, S, D]; pre-norm attention, then pre-norm perceptron."""
    n, S, D = x.shape
    qkv = linear(w, f"{name}.attn.qkv", layer_norm(w, f"{name}.ln1", x))
    q, k, v = (part.reshape(n, S, heads, D // heads) for part in qkv.chunk(3, dim=-1))
    weight = torch.einsum("nihc,njhc->nhij", q, k).mul((D // heads) ** -0.5).softmax(-1)
    attended = torch.einsum("nhij,njhc->nihc", weight, v).reshape(n, S, D)
    x = x + linear(w, f"{name}.attn.out", attended)
    hidden = gelu(linear(w, f"{name}.mlp.up", layer_norm(w, f"{name}.ln2", x)))
    return x + linear(w, f"{name}.mlp.down", hidden)


def both_means(w: Weights, s: Shape, tokens: Tensor) -> Tensor:
    """Tokens [n, S] of n units of the same length -> [n, 2 D]: of what goes into the loops and of what comes out."""
    placed = w["encoder.embedding.weight"][tokens] + w["encoder.position.weight"][: tokens.shape[1]]
    x = placed
    for _ in range(s.loops):
        x = block(w, "encoder.block", x, s.heads)
    return torch.cat([placed.mean(1), layer_norm(w, "encoder.norm", x).mean(1)], 1)


def encode(w: Weights, s: Shape, units: list[NDArray[np.uint16]]) -> Tensor:
    """Units in any order -> f(s) [n, W]."""
    out = torch.empty(len(units), s.width, dtype=w["target.weight"].dtype)
    by_length: dict[int, list[int]] = {}
    for i, unit in enumerate(units):
        by_length.setdefault(len(unit), []).append(i)
    for rows in by_length.values():
        tokens = torch.from_numpy(np.stack([units[i] for i in rows]).astype(np.int64))
        out[rows] = both_means(w, s, tokens)
    return out


def target(w: Weights, f: Tensor) -> Tensor:
    """f(s) [n, W] -> t(s) [n, K]."""
    return linear(w, "target", f)


def perceptron(w: Weights, name: str, x: Tensor) -> Tensor:
    """x [n, I] -> [n, O], through two hidden layers."""
    hidden = gelu(linear(w, f"{name}.middle", gelu(linear(w, f"{name}.up", x))))
    return linear(w, f"{name}.out", hidden)


def predict(w: Weights, f: Tensor, actions: Tensor) -> Tensor:
    """f(s) [n, W], actions [n, A] -> d_hat [n, K]."""
    return perceptron(w, "predictor", torch.cat([linear(w, "state", f), actions], dim=1))


def doubt(w: Weights, f: Tensor, f_after: Tensor, residual: Tensor, actions: Tensor) -> Tensor:
    """f(s), f(s') [n, W], d - d_hat [n, K], actions [n, A] -> [n]."""
    x, x_after = linear(w, "state", f), linear(w, "state", f_after)
    return perceptron(w, "critic", torch.cat([x, x_after - x, residual, actions], dim=1))[:, 0]


def fit_maps(w: Weights, s: Shape, units: list[NDArray[np.uint16]], floor: float = 1e-2) -> None:
    """Sets state and target so that x(s) and t(s) of these units have unit covariance, as training does: the largest
    principal components."""
    f = encode(w, s, units).double()
    centre = f.mean(0)
    values, vectors = torch.linalg.eigh((f - centre).T @ (f - centre) / (len(f) - 1))
    scale = values.clamp_min(float(values[-1]) * floor).rsqrt()
    components = (vectors * scale).T
    for name, weight in (("state", components[-s.dim :]), ("target", components[-s.latent :])):
        w[f"{name}.weight"] = weight.float().contiguous()
        w[f"{name}.bias"] = (-weight @ centre).float()


def rounded(w: Weights) -> tuple[Weights, Weights]:
    """The tensors of an int8 file, and the weights they stand for."""
    stored, meant = dict(w), dict(w)
    for name, value in w.items():
        if value.ndim == 2 and name not in ("target.weight", "state.weight"):
            scale = value.abs().amax(1) / 127
            whole = (value / scale[:, None]).round()
            stored[name], stored[f"{name}.scale"] = whole.to(torch.int8), scale
            meant[name] = whole * scale[:, None]
    return stored, meant


def model_file(w: Weights, s: Shape, **metadata: str) -> bytes:
    """A "codewm.model/2" file; f32, unless `quant` says otherwise and the weights are `rounded`."""
    header = {
        "format": "codewm.model/2",
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
