"""Settings in, tiny recipes and data that train in a second out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import codewm_core
from codewm.model.papers.config import Recipe, resolve
from codewm.model.papers.data import PaperData, gather
from codewm.model.papers.networks import Networks
from codewm.model.papers.objective import Batch
from tests.model.synthetic import edit_table

SMALL = {
    "dim": 16, "heads": 2, "mlp": 32, "projector_hidden": 16, "window": 64, "steps": 6, "batch": 16, "watch": 3,
    "watched": 16, "precision": "f32",
}  # fmt: skip


def recipe(name: str = "encoder-collapse", mode: str = "text", **values: Any) -> Recipe:
    """A recipe small enough for tests."""
    return resolve(name, mode, codewm_core.VOCAB_SIZE, {**SMALL, **values})


def data(of: Recipe, edits: int = 300) -> PaperData:
    """Synthetic edits for it."""
    return gather([edit_table(edits)], of)


def networks(of: Recipe, seed: int = 0) -> Networks:
    """Fresh networks."""
    torch.manual_seed(seed)
    return Networks(of.network)


def some_batch(of: Recipe) -> Batch:
    """The first windows."""
    held = data(of)
    return held.batch(held.windows[: of.run.batch], of.network)


def off() -> torch.autocast:
    """No mixed precision."""
    return torch.autocast("cpu", torch.bfloat16, enabled=False)


def flat(states: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """States as flat tokens and offsets."""
    return np.concatenate(states), np.concatenate([[0], np.cumsum([len(s) for s in states])]).astype(np.int64)
