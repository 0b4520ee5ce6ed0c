"""A model and states in, their latents and what it reads of them out.

On a CPU by the engine, which is half again as fast there as torch in bf16, exact to f32, and does not mind what a state
is encoded with; elsewhere by torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import codewm_core
from codewm.model.batches import Index, length_batches, pad
from codewm.model.export import packed
from codewm.model.jepa import JEPA
from codewm.model.session import Session

F32 = NDArray[np.float32]
States = tuple[NDArray[np.uint16], Index]
"""Flat tokens, and offsets [U + 1]."""
BATCH_TOKENS, BATCH_ROWS = 16_384, 512


@dataclass(frozen=True)
class Latents:
    """A model as it is now."""

    session: Session
    model: JEPA
    _engine: codewm_core.Engine | None = field(init=False)

    def __post_init__(self) -> None:
        """Hand the weights to the engine, where it is used."""
        on_cpu = torch.device(self.session.config.device).type == "cpu"
        weights = packed(self.model.state_dict(), self.model.config, "f32") if on_cpu else b""
        engine = codewm_core.Engine.from_bytes(weights) if on_cpu else None
        object.__setattr__(self, "_engine", engine)

    def encode(self, states: States) -> F32:
        """f of every state: [U, W]."""
        config = self.session.config
        if self._engine is not None:
            return self._engine.encode(*states, threads=config.threads)
        tokens, offsets = states
        out = np.zeros((len(offsets) - 1, self.model.config.width), np.float32)
        with torch.no_grad(), self.session.mixed():
            for batch in length_batches(np.diff(offsets), BATCH_TOKENS, BATCH_ROWS):
                latents = self.model.encoder(*pad(tokens, offsets, batch, config.device))
                out[batch] = latents.float().cpu().numpy()
        return out

    def read(self, states: States, edited: Index, action: F32) -> tuple[F32, F32]:
        """f of every state [U, W], and r(s, a) [N, R] of those `edited` [N] where edits of actions [N, A] happen."""
        config, shape = self.session.config, self.model.config
        if self._engine is not None:
            return self._engine.read(*states, edited, np.ascontiguousarray(action), threads=config.threads)
        out = np.zeros((len(edited), shape.read), np.float32)
        with torch.no_grad():
            for batch, at in self.at(states, edited, action):
                out[batch] = self.model.read(at).cpu().numpy()
        return self.encode(states), out

    @torch.no_grad()
    def at(self, states: States, edited: Index, action: F32) -> Iterator[tuple[Index, Tensor]]:
        """By torch: batches of edits [B], and what stands where they happen [B, RANGES, W]."""
        config, shape = self.session.config, self.model.config
        tokens, offsets = states
        lengths = np.diff(offsets)[edited]
        ranges = codewm_core.places(lengths, np.ascontiguousarray(action), shape.action, shape.window)
        for batch in length_batches(lengths, BATCH_TOKENS, BATCH_ROWS):
            given, real = pad(tokens, offsets, edited[batch], config.device)
            with self.session.mixed():
                yield (
                    batch,
                    self.model.encoder.at(given, real, torch.from_numpy(ranges[batch]).to(config.device)),
                )
