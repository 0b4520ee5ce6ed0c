"""Every default of the model and its training, once; JSON in, validated frozen dataclasses out.

Unknown keys are errors: a misspelt setting must not silently train something else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

import codewm_core
from codewm.corpus.errors import UserError

CONFIG_SCHEMA = "codewm.train-config/3"
PRECISIONS = ("auto", "f32", "bf16")
SPACES = ("foreseen", "principal")
CORRUPTIONS = ("drop", "swap", "mutate", "argument", "paste")


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the networks: what the engine needs to run the exported weights."""

    vocab_size: int
    window: int = 256  # tokens of a state, at most
    dim: int = 128  # D
    heads: int = 4
    mlp: int = 512
    loops: int = 3  # applications of the encoder's one shared block
    latent: int = 64  # K, dimensions of the target space
    reading: int = 48  # values read of each range of tokens where an edit happens
    predictor: int = 368  # hidden width of the predictor: what fits into 1 MB, in int8
    critic: int = 128  # hidden width of the critic
    action: str = "v15"
    action_dim: int = 15  # A

    @property
    def width(self) -> int:
        """W, the length of a latent f(s)."""
        return 2 * self.dim

    @property
    def read(self) -> int:
        """R, the length of what is read of a state where an edit happens."""
        return codewm_core.RANGES * self.reading

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built."""
        for name in (
            "vocab_size",
            "window",
            "dim",
            "heads",
            "mlp",
            "loops",
            "latent",
            "reading",
            "predictor",
            "critic",
            "action_dim",
        ):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise UserError(f"model config: {name} must be a positive whole number")
        if self.dim % self.heads:
            raise UserError(f"model config: dim {self.dim} is not a multiple of heads {self.heads}")
        for name in ("latent", "reading"):
            if getattr(self, name) > self.width:
                raise UserError(
                    f"model config: {name} {getattr(self, name)} is more than twice dim {self.dim}"
                )


@dataclass(frozen=True)
class TrainConfig:
    """How to train; `minutes` or `steps` bounds the whole run, stage 1 included."""

    minutes: float | None = 10.0  # wall clock, evaluation included
    steps: int | None = None  # optimiser steps over all stages; exact and reproducible
    start: str = "auto"  # auto | base | scratch | a model file
    seed: int = 0  # weights, order, masks, corruptions; never the split
    device: str = "cpu"
    threads: int = 0  # 0 for one per core
    precision: str = "auto"  # arithmetic inside the networks; weights and evaluation stay f32
    holdout: float = 0.2  # latest share of edits by commit time, never trained on by any stage
    validation: float = 0.1  # latest share of the training edits, kept for early stopping
    max_edits: int = 200_000  # training edits drawn (seeded) when there are more
    edits_per_minute: int = 12_000  # no more training edits than there is time to see
    max_validation: int = 2_000  # edits looked at during training
    max_evaluation: int = 20_000  # held-out edits in the final table, drawn by whole commits
    evaluations_per_minute: int = 2_000  # and no more than a short run has time to look at
    tokens_per_batch: int = 8_192  # padded tokens of a batch
    edits_per_batch: int = 256
    # stage 1: the encoder learns code, by masked tokens
    teacher_share: float = 0.4  # of the minutes or steps
    teacher_lr: float = 2e-3
    mask_share: float = 0.2  # of the tokens
    # stage 2: the directions in which edits can be foreseen become the target space
    space: str = "foreseen"  # or principal: the directions in which states differ most
    space_share: float = 0.06  # of the minutes or steps; what stages 1 and 2 leave over is stage 3's
    space_floor: float = 1e-3  # smallest eigenvalue of the latents' covariance kept, relative to the largest
    target_floor: float = (
        0.05  # the same, of the target space: lower is whiter, has more ranks and is foreseen less
    )
    whiten_floor: float = 1e-2  # the same, of what predictor and critic read
    whiten_states: int = 20_000
    read_edits: int = 4_000  # whose places the principal components of r are of
    # stage 3: g and the critic on cached latents
    edits_per_step: int = 768
    lr: float = 3e-3  # of stages 2 and 3: a third of it had not learned in 8,000 steps what this has in 3,000
    tuning_lr_scale: float = (
        0.03  # where a model is started from: its own history is small, and soon learned by heart
    )
    dropout: float = 0.2  # share of the hidden values of g and of the critic
    unread: float = 0.1  # share of edits whose place is hidden from g: further steps have no state to read
    small_edits: float = 0.65  # 0: errors count by their size, so large edits decide; 1: by what is expected
    contrast: float = 0.1  # weight of InfoNCE
    corruptions: int = 1  # corrupted next states per edit, made once
    critic: float = 1.0  # weight of the critic's cross-entropy, which trains nothing but the critic
    critic_lr: float = 1e-3
    untold: float = (
        0.5  # share of edits whose residual is hidden from the critic: g has learned the edits it learns from
    )
    # all stages
    temperature: float = 0.1
    weight_decay: float = 0.05
    warmup: float = 0.05  # of each stage
    clip: float = 1.0
    # watching
    evaluations: int = 8  # validation passes per stage, evenly spaced
    patience: int = 4  # validation passes without a better R2 before a stage stops
    bootstrap: int = 1_000

    def __post_init__(self) -> None:
        """Refuse settings that cannot be run."""
        if (self.minutes is None) == (self.steps is None):
            raise UserError("give either minutes or steps", "for example --minutes 5")
        if self.minutes is not None and not self.minutes > 0:
            raise UserError("minutes must be above 0")
        if self.steps is not None and self.steps < 3:
            raise UserError("steps must be at least 3")
        if self.precision not in PRECISIONS:
            raise UserError(f"unknown precision {self.precision!r}", f"one of {', '.join(PRECISIONS)}")
        if self.space not in SPACES:
            raise UserError(f"unknown space {self.space!r}", f"one of {', '.join(SPACES)}")
        for name in ("holdout", "validation", "teacher_share", "space_share", "mask_share"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"train config: {name} must lie between 0 and 1")
        if self.teacher_share + self.space_share >= 1:
            raise UserError("train config: teacher_share + space_share must leave time for stage 3")
        if not 0 <= self.small_edits <= 1:
            raise UserError("train config: small_edits must lie in [0, 1]")
        for name in ("dropout", "unread", "untold"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"train config: {name} must lie in [0, 1)")
        if self.threads < 0 or self.corruptions < 0 or self.patience < 1 or self.evaluations < 1:
            raise UserError("train config: threads and corruptions >= 0, patience >= 1 and evaluations >= 1")
        for name in ("whiten_floor", "space_floor", "target_floor"):
            if not 0 < getattr(self, name) <= 1:
                raise UserError(f"train config: {name} must lie in (0, 1]")


C = TypeVar("C", ModelConfig, TrainConfig)


def from_mapping(kind: type[C], values: Mapping[str, Any]) -> C:
    """A config from plain values; an unknown or missing key is a UserError."""
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise UserError(
            f"unknown {kind.__name__} key: {', '.join(unknown)}", "known: " + ", ".join(sorted(known))
        )
    try:
        return kind(**values)
    except TypeError as error:
        raise UserError(f"incomplete {kind.__name__}: {error}") from error


def to_json(model: ModelConfig, train: TrainConfig) -> str:
    """Both configs as one JSON document, the `config.json` of a run."""
    body = {"schema": CONFIG_SCHEMA, "model": asdict(model), "train": asdict(train)}
    return json.dumps(body, indent=2) + "\n"


def from_json(text: str) -> tuple[ModelConfig, TrainConfig]:
    """The inverse of to_json."""
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"config is not JSON: {error}") from error
    if not isinstance(body, dict) or body.get("schema") != CONFIG_SCHEMA:
        raise UserError(f"config is not a {CONFIG_SCHEMA} document")
    unknown = sorted(set(body) - {"schema", "model", "train"})
    if unknown:
        raise UserError(f"unknown config key: {', '.join(unknown)}")
    return from_mapping(ModelConfig, body["model"]), from_mapping(TrainConfig, body["train"])
