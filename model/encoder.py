"""Tokens of one unit in, one latent out: a pre-norm transformer block, applied in a loop, then a mean.

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
    """Token ids [B, S] and lengths [B] -> latents [B, D]."""

    def __init__(self, config: ModelConfig, loops: int, *, whiten: bool) -> None:
        super().__init__()
        self.loops = loops
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.position = nn.Embedding(config.window, config.dim)
        self.block = Block(config.dim, config.heads, config.mlp)
        self.norm = nn.LayerNorm(config.dim)
        if whiten:
            self.whiten = nn.Linear(config.dim, config.dim)
            nn.init.eye_(self.whiten.weight)
            nn.init.zeros_(self.whiten.bias)
        nn.init.normal_(self.embedding.weight, std=0.05)
        nn.init.normal_(self.position.weight, std=0.02)

    def hidden(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Per-token features after the last loop and norm: [B, S, D]."""
        return self.looped(self.embedding(tokens), lengths)

    def looped(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Token embeddings [B, S, D] -> per-token features [B, S, D]."""
        S = x.shape[1]
        real = torch.arange(S, device=x.device) < lengths[:, None]  # [B, S]
        bias = torch.zeros(real.shape, device=x.device).masked_fill(~real, float("-inf"))[:, None, None, :]
        x = x + self.position.weight[:S]
        for _ in range(self.loops):
            x = self.block(x, bias)
        out: Tensor = self.norm(x)
        return out

    def pooled(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Mean of the real tokens' features, before any whitening: [B, D] in f32."""
        features = self.hidden(tokens, lengths).float()
        real = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        return features.mul(real[:, :, None]).sum(1) / lengths[:, None]

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Tokens [B, S], lengths [B] -> latents [B, D]; whitened where this encoder whitens."""
        z = self.pooled(tokens, lengths)
        if hasattr(self, "whiten"):
            with torch.autocast(z.device.type, enabled=False):
                z = self.whiten(z)
        return z


def whitening(z: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Weight [D, D] and bias [D] that centre states z [N, D] and give their covariance the identity.

    Symmetric (ZCA). Eigenvalues under `floor` x the largest are raised to it, so directions that hardly vary
    are not blown up into noise (and f32 engines agree to 5e-5).
    """
    z = z.double()
    mean = z.mean(0)
    centred = z - mean
    covariance = centred.T @ centred / max(len(z) - 1, 1)
    values, vectors = torch.linalg.eigh(covariance)
    values = values.clamp_min(float(values[-1]) * floor).clamp_min(1e-12)
    weight = (vectors * values.rsqrt()) @ vectors.T
    return weight.float(), (-(weight @ mean)).float()
