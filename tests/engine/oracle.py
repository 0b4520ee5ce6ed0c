"""Weights by name in, latents, readings, displacements and doubts out: the model's equations once more, in plain torch.

Written from the file format's definition, not from `model/` and not from the Rust engine, so that it can
judge both. Nothing is padded; the dtype follows the weights, so f64 weights give f64.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
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
    reading: int = 48
    predictor: int = 512
    critic: int = 128
    action: str = "v15"
    action_dim: int = 15

    @property
    def width(self) -> int:
        """Length of f(s)."""
        return 2 * self.dim

    @property
    def read(self) -> int:
        """Length of r(s, a)."""
        return 5 * self.reading


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
    out |= linear("reading", s.width, s.reading)
    out |= perceptron("predictor", s.dim + s.read + s.action_dim, s.predictor, s.latent)
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


def run(w: Weights, s: Shape, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens [n, S] of n units of the same length -> their embeddings, what goes into the loops, what comes out: each
    [n, S, D]."""
    embedded = w["encoder.embedding.weight"][tokens]
    placed = embedded + w["encoder.position.weight"][: tokens.shape[1]]
    x = placed
    for _ in range(s.loops):
        x = block(w, "encoder.block", x, s.heads)
    return embedded, placed, layer_norm(w, "encoder.norm", x)


def by_length(units: list[NDArray[np.uint16]]) -> Iterator[tuple[list[int], Tensor]]:
    """Which units have the same length, and their tokens [n, S]."""
    found: dict[int, list[int]] = {}
    for i, unit in enumerate(units):
        found.setdefault(len(unit), []).append(i)
    for rows in found.values():
        yield rows, torch.from_numpy(np.stack([units[i] for i in rows]).astype(np.int64))


def encode(w: Weights, s: Shape, units: list[NDArray[np.uint16]]) -> Tensor:
    """Units in any order -> f(s) [n, W]: the means of what goes into the loops and of what comes out."""
    out = torch.empty(len(units), s.width, dtype=w["target.weight"].dtype)
    for rows, tokens in by_length(units):
        _, placed, features = run(w, s, tokens)
        out[rows] = torch.cat([placed.mean(1), features.mean(1)], 1)
    return out


def ranges(s: Shape, tokens: int, action: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Which tokens, of a state of so many, are read for an edit: five half-open ranges.

    The action tells the first changed token as a share of the longer side, and (v15) how much longer the unit gets, as
    a share of that too. A state that fills the window was cut a quarter of it before its change, so it is no later.
    """
    told = dict(zip(codewm_core.ACTIONS[s.action], action.tolist(), strict=True))
    known = {name: min(max(v, 0.0), 1.0) if math.isfinite(v) else 0.0 for name, v in told.items()}
    longer = 2 * known["size_delta"] - 1 if "size_delta" in known else 0.0
    # (after - before) / after = longer, so after = before / (1 - longer)
    longest = tokens / max(1 - longer, 1e-3) if longer > 0 else float(tokens)

    def whole(x: float) -> int:
        return math.floor(x + 0.5)

    first = whole(known["location"] * longest)
    if tokens >= s.window:
        first = min(first, s.window // 4)
    first = max(min(first, tokens - 1), 0)
    taken = whole(tokens * max(-longer, 0.0))
    ends = [min(first + n, tokens) for n in (1, max(taken, 1), 6, 20)]
    return [(max(first - 8, 0), first), *((first, end) for end in ends)]


def standing(
    w: Weights,
    s: Shape,
    units: list[NDArray[np.uint16]],
    edited: NDArray[np.int64],
    actions: NDArray[np.float32],
) -> Tensor:
    """What stands where edits happen [n, 5, W]: the means over each range of the embeddings and of what comes out of
    the loops, 0 of an empty one."""
    out = torch.zeros(len(edited), 5, s.width, dtype=w["target.weight"].dtype)
    for rows, tokens in by_length(units):
        embedded, _, features = run(w, s, tokens)
        here = dict(zip(rows, torch.cat([embedded, features], 2), strict=True))
        for i, unit in enumerate(edited.tolist()):
            if unit not in here:
                continue
            for k, (start, end) in enumerate(ranges(s, tokens.shape[1], actions[i])):
                if end > start:
                    out[i, k] = here[unit][start:end].mean(0)
    return out


def read(
    w: Weights,
    s: Shape,
    units: list[NDArray[np.uint16]],
    edited: NDArray[np.int64],
    actions: NDArray[np.float32],
) -> Tensor:
    """Units, and edits of units `edited` [n] with actions [n, A] -> r(s, a) [n, R]: of one range after the other."""
    return linear(w, "reading", standing(w, s, units, edited, actions)).flatten(1)


def target(w: Weights, f: Tensor) -> Tensor:
    """f(s) [n, W] -> t(s) [n, K]."""
    return linear(w, "target", f)


def perceptron(w: Weights, name: str, x: Tensor) -> Tensor:
    """x [n, I] -> [n, O], through two hidden layers."""
    hidden = gelu(linear(w, f"{name}.middle", gelu(linear(w, f"{name}.up", x))))
    return linear(w, f"{name}.out", hidden)


def predict(w: Weights, f: Tensor, r: Tensor, actions: Tensor) -> Tensor:
    """f(s) [n, W], r(s, a) [n, R], actions [n, A] -> d_hat [n, K]."""
    return perceptron(w, "predictor", torch.cat([linear(w, "state", f), r, actions], dim=1))


def doubt(w: Weights, f: Tensor, f_after: Tensor, residual: Tensor, actions: Tensor) -> Tensor:
    """f(s), f(s') [n, W], d - d_hat [n, K], actions [n, A] -> [n]."""
    x, x_after = linear(w, "state", f), linear(w, "state", f_after)
    return perceptron(w, "critic", torch.cat([x, x_after - x, residual, actions], dim=1))[:, 0]


def principal(x: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Rows [n, I] -> their components [I, I], of variance 1 (but for the floor) and the largest last; their mean."""
    centre = x.mean(0)
    values, vectors = torch.linalg.eigh((x - centre).T @ (x - centre) / (len(x) - 1))
    return (vectors * values.clamp_min(float(values[-1]) * floor).rsqrt()).T, centre


def fit_maps(w: Weights, s: Shape, units: list[NDArray[np.uint16]], floor: float = 1e-2) -> None:
    """Sets state and target so that x(s) and t(s) of these units have unit covariance, as training does: the largest
    principal components. The same of r, for edits anywhere in the first of them; there each value is scaled before."""
    components, centre = principal(encode(w, s, units).double(), floor)
    some = units[:200]
    actions = np.random.default_rng(0).random((len(some), s.action_dim)).astype(np.float32)
    at = standing(w, s, some, np.arange(len(some)), actions).double().flatten(0, 1)
    at = at[at.abs().sum(1) > 0]
    scale = at.std(0)
    read, of_read = principal(at / scale, floor)
    for name, weight, mean in (
        ("state", components[-s.dim :], centre),
        ("target", components[-s.latent :], centre),
        ("reading", read[-s.reading :] / scale, of_read * scale),
    ):
        w[f"{name}.weight"] = weight.float().contiguous()
        w[f"{name}.bias"] = (-weight @ mean).float()


def rounded(w: Weights) -> tuple[Weights, Weights]:
    """The tensors of an int8 file, and the weights they stand for."""
    stored, meant = dict(w), dict(w)
    for name, value in w.items():
        if value.ndim != 2:
            continue
        whitens = name in ("target.weight", "state.weight", "reading.weight")
        scale = value.abs().amax(1) / (1 if whitens else 127)
        shares = value / scale[:, None]
        whole = shares.half() if whitens else shares.round().to(torch.int8)
        stored[name], stored[f"{name}.scale"] = whole, scale
        meant[name] = whole.float() * scale[:, None]
    return stored, meant


def model_file(w: Weights, s: Shape, **metadata: str) -> bytes:
    """A "codewm.model/4" file; f32, unless `quant` says otherwise and the weights are `rounded`."""
    header = {
        "format": "codewm.model/4",
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
