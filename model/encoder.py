"""Tokens of one unit in, one latent out: a pre-norm transformer block, applied in a loop, and two means over tokens.

As in CodeWM (paper 1, section 3), one block's weights serve every loop; unlike it, padding is masked out
everywhere, so a state's latent does not depend on what it was batched with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codewm.model.config import ModelConfig


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection; rows of `qkv` are ordered q, k, v."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x [B, S, D], bias [B, 1, 1, S] added to the scores (0 or -inf) -> [B, S, D]."""
        B, S, D = x.shape
        q, k, v = (
            self.qkv(x).view(B, S, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        )  # [B, H, S, d]
        scores = (q @ k.transpose(-1, -2)) * (D // self.heads) ** -0.5  # [B, H, S, S]
        if bias is not None:
            scores = scores + bias.to(scores.dtype)
        # Written out: on CPU the fused kernel's backward is 2x slower than this at our lengths (lab log).
        mixed = scores.softmax(-1) @ v  # [B, H, S, d]
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(B, S, D))
        return out


class MLP(nn.Module):
    """D -> mlp -> D with an exact (erf) GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] -> [..., D]."""
        out: Tensor = self.down(F.gelu(self.up(x)))
        return out


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.ln2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, hidden)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """x [B, S, D] -> [B, S, D]."""
        x = x + self.attn(self.ln1(x), bias)
        out: Tensor = x + self.mlp(self.ln2(x))
        return out


class Encoder(nn.Module):
    """f: token ids [B, S] and lengths [B] -> latents [B, W], W = 2 D.

    A latent is the mean of what goes into the loops, and of what comes out: which tokens there are and where, and what
    they mean together. The first half is what displacements are learned from quickest (lab log).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.loops, self.width = config.loops, config.width
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.position = nn.Embedding(config.window, config.dim)
        self.block = Block(config.dim, config.heads, config.mlp)
        self.norm = nn.LayerNorm(config.dim)
        nn.init.normal_(self.embedding.weight, std=0.05)
        nn.init.normal_(self.position.weight, std=0.02)

    def hidden(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Per-token features after the last loop and norm: [B, S, D]."""
        x = self.placed(self.embedding(tokens))
        return self.looped(x, _real(x, lengths))

    def placed(self, x: Tensor) -> Tensor:
        """Token embeddings with their positions: [B, S, D]."""
        return x + self.position.weight[: x.shape[1]]

    def looped(self, x: Tensor, real: Tensor) -> Tensor:
        """What goes into the loops [B, S, D], and which tokens are no padding [B, S], to features [B, S, D]."""
        bias = torch.zeros(real.shape, device=x.device).masked_fill(~real, float("-inf"))[:, None, None, :]
        for _ in range(self.loops):
            x = self.block(x, bias)
        out: Tensor = self.norm(x)
        return out

    def at(self, tokens: Tensor, lengths: Tensor, ranges: Tensor) -> Tensor:
        """What stands in ranges [B, R, 2] of the units' tokens, half-open: [B, R, W] in f32, 0 where one is empty.

        The means over its tokens of their embeddings, and of what comes out of the loops.
        """
        embedded = self.embedding(tokens)
        x = self.placed(embedded)
        features = self.looped(x, _real(x, lengths))
        with torch.autocast(x.device.type, enabled=False):
            column = torch.arange(x.shape[1], device=x.device)
            inside = (column >= ranges[..., :1]) & (column < ranges[..., 1:])  # [B, R, S]
            weight = inside / inside.sum(-1, keepdim=True).clamp_min(1)
            return torch.cat([weight @ embedded.float(), weight @ features.float()], -1)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Latents [B, W] in f32."""
        return self.embedded(self.embedding(tokens), lengths)

    def embedded(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Latents [B, W] in f32 of units that are given by their embeddings [B, S, D]."""
        x = self.placed(x)
        real = _real(x, lengths)
        features = self.looped(x, real)
        with torch.autocast(x.device.type, enabled=False):
            weight = (real / lengths[:, None]).float()[:, None]  # [B, 1, S]
            return torch.cat([weight @ x.float(), weight @ features.float()], -1)[:, 0]


def _real(x: Tensor, lengths: Tensor) -> Tensor:
    """Which tokens of [B, S, D] are no padding: [B, S]."""
    return torch.arange(x.shape[1], device=x.device) < lengths[:, None]


@torch.no_grad()
def set_map(linear: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    """Make a linear layer this map."""
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)


def principal(z: Tensor, count: int, floor: float) -> tuple[Tensor, Tensor]:
    """Weight [count, W] and bias [count] that take latents z [N, W] to their `count` largest principal components,
    each with variance 1.

    Eigenvalues under `floor` x the largest are raised to it, so directions that hardly vary are not blown up into
    noise (and f32 engines agree to 5e-5).
    """
    mean, values, vectors = _spectrum(z, floor)
    weight = vectors[:, :count].T * values[:count, None].rsqrt()
    return weight.float(), (-(weight @ mean)).float()


def whitening(z: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Weight [D, D] and bias [D] that centre latents z [N, D] and give their covariance the identity.

    Symmetric (ZCA), so that each dimension stays as near as it can to what it was; `floor` as in `principal`.
    """
    mean, values, vectors = _spectrum(z, floor)
    weight = (vectors * values.rsqrt()) @ vectors.T
    return weight.float(), (-(weight @ mean)).float()


def _spectrum(z: Tensor, floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [D], eigenvalues [D] of the covariance, largest first and not under the floor, and eigenvectors [D, D]."""
    z = z.double()
    mean = z.mean(0)
    centred = z - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / max(len(z) - 1, 1))
    values, vectors = values.flip(0), vectors.flip(1)
    return mean, values.clamp_min(float(values[0]) * floor).clamp_min(1e-12), vectors
