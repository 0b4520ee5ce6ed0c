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
    "no contrast": Variation("the displacement error alone", {"contrast": 0.0}),
    "no corrupted negatives": Variation("contrast with the copy and other edits", {"corruptions": 0}),
    "no whitening": Variation(
        "targets as pooled: every eigenvalue is raised to the largest, so the space is only scaled",
        {"whiten_floor": 1.0},
    ),
    "action v7": Variation("told the papers' seven numbers", action="v7"),
    "no teacher": Variation("a target with random weights: one step of stage 1", {"teacher_share": 1e-9}),
    "f frozen": Variation("f stays t: the predictor alone is trained in stage 3", {"online_lr_scale": 0.0}),
    "no first stage of h and g": Variation("all three networks from the start", {"dynamics_share": 1e-9}),
    "variance floor": Variation("with the floor under the spread of predictions", {"variance": 1.0}),
    "hidden tokens": Variation("with a tenth of the tokens before hidden", {"token_dropout": 0.1}),
    "one loop": Variation(
        "encoders and predictor apply their blocks once",
        shape={"target_loops": 1, "online_loops": 1, "predictor_loops": 1},
    ),
}
