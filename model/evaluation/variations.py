"""The rows of `codewm eval ablation`: the recipe with one thing changed, as data.

A row is the recipe's configuration (`codewm.model.config`), with these settings instead of its own; whatever is set
by the user holds for all rows alike, unless a row is about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COMPARED = (
    "displacement_r2",
    "nearer_than_copy",
    "delta_cosine",
    "same_action_rank",
    "predictor_rank_squared",
    "injected_auroc_size_matched",
    "doubt_injected_auroc_size_matched",
)
"""The figures that variations are set side by side by, in tables and charts."""
FULL = "full"


@dataclass(frozen=True)
class Variation:
    """The recipe, but for something."""

    help: str
    train: Mapping[str, Any] = field(default_factory=dict)
    """Of `TrainConfig`."""
    shape: Mapping[str, Any] = field(default_factory=dict)
    """Of `ModelConfig`."""
    action: str | None = None
    """What the model is told, if not what the corpus stores."""


VARIATIONS: dict[str, Variation] = {
    FULL: Variation("the recipe as it is"),
    "no teacher": Variation("an encoder that never reconstructed tokens", {"teacher_share": 1e-9}),
    "first components": Variation(
        "the space is the latents' first principal components", {"space": "principal"}
    ),
    "no contrast": Variation("the displacement error alone", {"contrast": 0.0}),
    "no corrupted edits": Variation(
        "contrast with the copy and other edits; the critic learns nothing", {"corruptions": 0}
    ),
    "all directions": Variation("as many target dimensions as a latent has", shape={"latent": 256}),
    "action v7": Variation("told the papers' seven numbers", action="v7"),
    "one loop": Variation("the encoder applies its block once", shape={"loops": 1}),
}
