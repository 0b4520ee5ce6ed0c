"""Four networks in, one world model out: the constructor is the diagram, forward is the equation.

actual displacement     d     = t(s') - t(s)          t frozen, whitened: the only space anything is measured in
predicted displacement  d_hat = g(f(s), h(a))         f, h, g trained; the gradient of the prediction reaches f
predicted next state    z'    = t(s) + d_hat          so copying is the zero displacement
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from codewm.model.config import ModelConfig
from codewm.model.encoder import Encoder
from codewm.model.transition import ActionEncoder, Predictor


class JEPA(nn.Module):
    """A joint-embedding world model of code edits."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.target = Encoder(config, config.target_loops, whiten=True)  # t
        self.online = Encoder(config, config.online_loops, whiten=False)  # f
        self.action = ActionEncoder(config)  # h
        self.predictor = Predictor(config)  # g

    def forward(self, tokens: Tensor, lengths: Tensor, action: Tensor) -> Tensor:
        """Before-states [B, S], their lengths [B] and actions [B, A] -> d_hat [B, D]."""
        out: Tensor = self.predictor(self.online(tokens, lengths), self.action(action))
        return out

    @torch.no_grad()
    def displacement(self, before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> Tensor:
        """(tokens, lengths) of s and of s' -> d [B, D]; never carries a gradient."""
        d: Tensor = self.target(*after) - self.target(*before)
        return d

    def freeze_target(self) -> None:
        """Make t the fixed ruler of stage 2: no gradient, ever."""
        self.target.requires_grad_(False)
        self.target.eval()

    def start_online_from_target(self) -> None:
        """Copy t's weights into f where the shapes agree; the whitening is t's alone."""
        source = {k: v for k, v in self.target.state_dict().items() if not k.startswith("whiten.")}
        self.online.load_state_dict(source)

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The named parameters of f, h and g."""
        for name, parameter in self.named_parameters():
            if not name.startswith("target."):
                yield name, parameter


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
