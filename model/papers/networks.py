"""Tokens, actions and latents in, latents out: the papers' encoder, action encoder, predictor and projectors.

Sizes follow paper 1 section 3 and table 13; parameter counts agree with the published ones (tests). Positions and
readout are learned and CLS as in its text, or sinusoidal and attention-pooled as in the published code.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codewm.model.encoder import MLP
from codewm.model.papers.config import NetworkConfig


class Attention(nn.Module):
    """Multi-head attention of queries [B, Q, D] over [B, S, D], with dropout on its weights."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, query: Tensor, x: Tensor, bias: Tensor | None) -> Tensor:
        """query [B, Q, D], x [B, S, D], bias [B, 1, 1, S] added to the scores -> [B, Q, D]."""
        D = x.shape[-1]
        if query is x:
            q, k, v = self.qkv(x).chunk(3, -1)
        else:
            q = F.linear(query, self.qkv.weight[:D], self.qkv.bias[:D])
            k, v = F.linear(x, self.qkv.weight[D:], self.qkv.bias[D:]).chunk(2, -1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))  # [B, H, S, d]
        scores = (q @ k.transpose(-1, -2)) * (D // self.heads) ** -0.5
        if bias is not None:
            scores = scores + bias.to(scores.dtype)
        weights = F.dropout(scores.softmax(-1), self.dropout, self.training)
        out: Tensor = self.out((weights @ v).transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Pre-norm transformer block with dropout in both halves."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, dropout)
        self.ln2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """x [B, S, D] -> [B, S, D]."""
        y = self.ln1(x)
        x = x + self.attn(y, y, bias)
        out: Tensor = x + self.dropout(self.mlp(self.ln2(x)))
        return out


class Encoder(nn.Module):
    """f: token ids [B, S] and lengths [B] -> latents [B, D]; one block in a loop (paper 1, equation 8)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.loops, self.mask, self.readout = config.loops, config.mask_padding, config.readout
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.cls = nn.Parameter(0.02 * torch.randn(config.dim))
        if config.positions == "learned":
            self.position = nn.Parameter(0.02 * torch.randn(config.window + 1, config.dim))
        else:
            self.register_buffer("position", sinusoids(config.window + 1, config.dim), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.block = Block(config.dim, config.heads, config.mlp, config.dropout)
        if config.readout == "attention":
            self.query = nn.Parameter(0.02 * torch.randn(config.dim))
            self.pool = Attention(config.dim, 1, 0.0)
        self.norm = nn.LayerNorm(config.dim)

    def features(self, tokens: Tensor, lengths: Tensor) -> list[Tensor]:
        """X_0 to X_L, each [B, S + 1, D], CLS first."""
        x = self.embedding(tokens)
        x = torch.cat([self.cls.expand(len(x), 1, -1), x], 1)
        x = self.dropout(x + self.position[: x.shape[1]])
        bias = self._bias(tokens, lengths)
        out = [x]
        for _ in range(self.loops):
            x = self.block(x, bias)
            out.append(x)
        return out

    def read(self, x: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Features of one loop [B, S + 1, D] -> latents [B, D] in f32: CLS or attention pool, then LayerNorm."""
        if self.readout == "attention":
            query = self.query.expand(len(x), 1, -1)
            x = self.pool(query, x, self._bias(tokens, lengths))
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = self.norm(x[:, 0].float())
        return out

    def forward(self, tokens: Tensor, lengths: Tensor, loop: int = 0) -> Tensor:
        """Latents [B, D] after `loop`, 0 for the last."""
        return self.read(self.features(tokens, lengths)[loop or -1], tokens, lengths)

    def _bias(self, tokens: Tensor, lengths: Tensor) -> Tensor | None:
        """0 where there is a token and -inf where there is none [B, 1, 1, S + 1]; None if padding is read, too."""
        if not self.mask:
            return None
        column = torch.arange(tokens.shape[1] + 1, device=tokens.device)
        bias = torch.zeros(tokens.shape[0], len(column), device=tokens.device)
        return bias.masked_fill(column > lengths[:, None], float("-inf"))[:, None, None]


def sinusoids(length: int, dim: int) -> Tensor:
    """The fixed positions of Vaswani et al. 2017, section 3.5: [length, dim]."""
    at = torch.arange(length)[:, None] * torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))
    table = torch.zeros(length, dim)
    table[:, 0::2], table[:, 1::2] = at.sin(), at.cos()[:, : dim // 2]
    return table


class ActionEncoder(nn.Sequential):
    """h: actions [B, A] -> [B, D] (paper 1, equation 1)."""

    def __init__(self, actions: int, dim: int) -> None:
        super().__init__(nn.Linear(actions, dim), nn.GELU(), nn.Linear(dim, dim))


class Predictor(nn.Module):
    """g: latents and encoded actions [B, D] -> predicted next latents [B, D] (paper 1, equations 10 and 11).

    What is forecast as a displacement or added to its input cannot have LayerNorm's fixed length; a linear map stands
    in its place. With `residual`, a displacement is read from what the blocks changed in the state's token (the paper
    names a residual predictor without defining it; this is our reading).
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, config.mlp, config.dropout)
            for _ in range(config.predictor_blocks)
        )
        self.loops, self.residual, self.delta = (
            config.predictor_loops,
            config.residual,
            config.forecast == "delta",
        )
        free = self.residual or self.delta
        self.head = nn.Linear(config.dim, config.dim) if free else nn.LayerNorm(config.dim)

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        """z, action [B, D] -> next state, or displacement, [B, D] in f32."""
        x = torch.stack([z, action.to(z.dtype)], 1)
        for block in self.blocks:
            for _ in range(self.loops):
                x = block(x)
        with torch.autocast(x.device.type, enabled=False):
            state, z = x[:, 0].float(), z.float()
            if self.residual and self.delta:
                state = state - z
            out: Tensor = self.head(state)
            return out + z if self.residual and not self.delta else out


class Projector(nn.Sequential):
    """BYOL's two-layer projector with batch norm: [B, D] -> [B, D]."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(
            nn.Linear(dim, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim)
        )


class Networks(nn.Module):
    """Everything that is trained, and the target encoder, which follows."""

    PARTS = ("online", "action", "predictor", "projectors")
    """The trained networks; gradient norms are reported of each."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.online = Encoder(config)
        self.action = ActionEncoder(config.action_dim, config.dim)
        self.predictor = Predictor(config)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.projectors = nn.ModuleList(
            Projector(config.dim, config.projector_hidden) for _ in range(2 if config.projectors else 0)
        )

    def predict(self, z: Tensor, action: Tensor) -> Tensor:
        """g(z, h(a)): z [B, D], action [B, A] -> [B, D]."""
        out: Tensor = self.predictor(z, self.action(action))
        return out

    def trained(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters that the optimiser moves, by name."""
        return [(name, p) for name, p in self.named_parameters() if p.requires_grad]

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """theta_bar <- decay theta_bar + (1 - decay) theta (paper 1, section 2.4); 1.0 leaves the target alone."""
        if decay == 1.0:
            return
        for mine, theirs in zip(self.target.parameters(), self.online.parameters(), strict=True):
            mine.lerp_(theirs, 1 - decay)
