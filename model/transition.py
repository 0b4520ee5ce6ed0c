"""An action in, its latent out; a state's and an action's latent in, a displacement out.

The predictor is the papers' two-token looped transformer, with a linear read-out that starts at zero: an
untrained model predicts the copy, and everything it says beyond that it has learned.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codewm.model.config import ModelConfig
from codewm.model.encoder import Block


class ActionEncoder(nn.Module):
    """h: actions [B, A] -> [B, D]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.action_dim, config.dim)
        self.down = nn.Linear(config.dim, config.dim)

    def forward(self, action: Tensor) -> Tensor:
        """Action [B, A] -> [B, D]."""
        out: Tensor = self.down(F.gelu(self.up(action)))
        return out


class Predictor(nn.Module):
    """g: state latent [B, D] and action latent [B, D] -> displacement [B, D]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.loops = config.predictor_loops
        # The file format names this `predictor.type`, which as an attribute would hide Module.type().
        self._parameters["type"] = nn.Parameter(torch.randn(2, config.dim) * 0.02)
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, config.mlp) for _ in range(config.predictor_blocks)
        )
        self.norm = nn.LayerNorm(config.dim)
        self.out = nn.Linear(config.dim, config.dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """State [B, D], action [B, D] -> d_hat [B, D]."""
        x = torch.stack([state, action], 1) + cast(Tensor, self._parameters["type"])  # [B, 2, D]
        for block in self.blocks:
            for _ in range(self.loops):
                x = block(x)
        out: Tensor = self.out(self.norm(x[:, 0]))
        return out
