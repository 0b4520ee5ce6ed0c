"""A model and states in, their latents out.

On a CPU by the engine, which is half again as fast there as torch in bf16, exact to f32, and does not mind what a state
is encoded with; elsewhere by torch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

import codewm_core
from codewm.model.batches import Index, encode
from codewm.model.export import packed
from codewm.model.jepa import JEPA
from codewm.model.session import Session

F32 = NDArray[np.float32]


def latents_of(session: Session, model: JEPA) -> Callable[[NDArray[np.uint16], Index], F32]:
    """A function from states, flat tokens and offsets [n + 1], to f [n, W] of the model as it is now."""
    config = session.config
    if torch.device(config.device).type == "cpu":
        engine = codewm_core.Engine.from_bytes(packed(model.state_dict(), model.config, "f32"))
        return lambda tokens, offsets: engine.encode(tokens, offsets, threads=config.threads)

    def by_torch(tokens: NDArray[np.uint16], offsets: Index) -> F32:
        with session.mixed():
            return encode(model.encoder, tokens, offsets, np.arange(len(offsets) - 1), device=config.device)

    return by_torch
