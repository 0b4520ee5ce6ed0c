"""A state, the place of an edit in it and an action in, a displacement out; a residual in, a doubt out.

Both are perceptrons of two hidden layers. The papers' predictor, a transformer over two tokens, took twelve times as
long per edit and foresaw no more (docs/lab-log.md).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codewm.model.config import ModelConfig


class Perceptron(nn.Module):
    """Two hidden layers of one width; `dropout` is a share of hidden values, while training."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.dropout = 0.0
        self.up = nn.Linear(inputs, width)
        self.middle = nn.Linear(width, width)
        self.out = nn.Linear(width, outputs)

    def through(self, *parts: Tensor) -> Tensor:
        """What is given, side by side [B, ...] -> [B, outputs]."""
        hidden = self._drop(F.gelu(self.up(torch.cat(parts, -1))))
        out: Tensor = self.out(self._drop(F.gelu(self.middle(hidden))))
        return out

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class Predictor(Perceptron):
    """g: state x(s) [B, D], what stands where the edit happens r(s, a) [B, R], action [B, A] -> displacement [B, K].

    A mean over the tokens of a unit hardly tells which statement an edit is about to take away; r does.

    Its read-out starts at zero: untrained, it predicts the copy, and everything it says beyond that it has learned.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config.dim + config.read + config.action_dim, config.predictor, config.latent)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, state: Tensor, read: Tensor, action: Tensor) -> Tensor:
        """State [B, D], reading [B, R], action [B, A] -> d_hat [B, K]."""
        return self.through(state, read, action)


class Critic(Perceptron):
    """What a residual looks like: like a real edit's (below 0), or like that of one with something wrong (above).

    A residual of the same length may be ordinary for one edit and strange for another, and most of its directions
    are just what nobody can foresee. The critic is told where the edit starts, where it goes, what it is said to be,
    and how far from the prediction it lands.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(2 * config.dim + config.latent + config.action_dim, config.critic, 1)

    def forward(self, state: Tensor, after: Tensor, residual: Tensor, action: Tensor) -> Tensor:
        """Whitened latents of s and s' [B, D], d - d_hat [B, K] and actions [B, A] -> log odds [B]."""
        return self.through(state, after - state, residual, action)[..., 0]
