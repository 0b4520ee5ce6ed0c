"""An encoder, three linear maps and two perceptrons in, one world model out: the constructor is the diagram,
the methods are the equations.

latent                  f(s)                           what the encoder makes of a unit, W values
state                   x(s)  = state(f(s))            D values, white at first: what predictor and critic read
target                  t(s)  = target(f(s))           K whitened values: the only space anything is measured in
actual displacement     d     = t(s') - t(s)
reading                 r(s, a)                        what stands in s where a says that the edit happens, R values
predicted displacement  d_hat = g(x(s), r(s, a), a)
predicted next state    z'    = t(s) + d_hat           so copying is the zero displacement
doubt                   c(x(s), x(s'), d - d_hat, a)   how much the residual looks like that of a spoilt edit
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codewm.model.config import ModelConfig
from codewm.model.encoder import Encoder
from codewm.model.transition import Critic, Predictor

RULER = ("encoder.", "state.", "target.", "reading.")
"""Names of the parameters that are fixed once the target space is."""


class JEPA(nn.Module):
    """A joint-embedding world model of code edits."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)  # f
        self.state = nn.Linear(config.width, config.dim)  # x
        self.target = nn.Linear(config.width, config.latent)  # t
        self.reading = nn.Linear(config.width, config.reading)  # r, of each range
        self.predictor = Predictor(config)  # g
        self.critic = Critic(config)  # c

    def forward(self, latent: Tensor, read: Tensor, action: Tensor) -> Tensor:
        """f(s) [B, W], r(s, a) [B, R] and actions [B, A] -> d_hat [B, K]."""
        out: Tensor = self.predictor(self.state(latent), read, action)
        return out

    def read(self, at: Tensor) -> Tensor:
        """What stands in the ranges that an edit is about [B, RANGES, W] -> r(s, a) [B, R]."""
        out: Tensor = self.reading(at).flatten(1)
        return out

    def doubt(self, latent: Tensor, after: Tensor, residual: Tensor, action: Tensor) -> Tensor:
        """f(s) and f(s') [B, W], d - d_hat [B, K], actions [B, A] -> log odds [B] that something is wrong."""
        out: Tensor = self.critic(self.state(latent), self.state(after), residual, action)
        return out

    def freeze_ruler(self) -> None:
        """Fix the space that everything is measured in: no gradient, ever."""
        for name, parameter in self.named_parameters():
            if name.startswith(RULER):
                parameter.requires_grad_(False)


class MaskedTokenHead(nn.Module):
    """Stage 1's read-out: features of masked positions [M, D] -> vocabulary logits [M, V], tied to the embedding."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.dim, config.dim)
        self.norm = nn.LayerNorm(config.dim)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        """features [M, D], embedding [V, D] -> [M, V]."""
        x: Tensor = self.norm(nn.functional.gelu(self.dense(features)))
        return x @ embedding.to(x.dtype).T + self.bias
