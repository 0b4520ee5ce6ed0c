"""The papers' recipes as data: a recipe's name, a mode and settings in, one resolved frozen config out.

Two recipes, each in two modes. *text* is what the equations say; *published* is what the code that made the
figures did (prior-art notes: the encoder's input to the predictor is detached, projectors stand before the
prediction loss and both are trained, displacements mix two spaces, padding is attended to, the target keeps its
dropout). Where the published mode departs from that code, `DEPARTURES` says so and why. Unknown keys are errors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from codewm.corpus.errors import UserError

SCHEMA = "codewm.papers-config/1"
RECIPES = ("encoder-collapse", "readout-repair")
MODES = ("published", "text")
POSITIONS = ("learned", "sinusoidal")
READOUTS = ("cls", "attention")
PREDICTIONS = ("cosine", "projected", "mse")
SPECTRA = ("log", "sketch")
FORECASTS = ("state", "delta")
DELTA_LOSSES = ("logcosh", "normalised")
TOKENIZERS = ("codewm", "paper", "paper-depth-first")

DEPARTURES = {
    "contrast": "the code's mask made the diagonal 0 x -inf, so that the term was NaN for every row and a guard "
    "replaced it by 0; here the diagonal is masked with a finite value and anything that is not finite stops the run",
    "padding": "the code padded every file to 512 tokens and attended to the padding; here states are units and "
    "are padded to the width of their length bucket, still attended to: 512 would cost ten times as much",
    "states": "the code read whole files cut at 512 tokens; here a state is a unit unless --tokenizer paper is given",
    "checkpoint": "the code kept the best of many single random batches of 128; here the last weights are kept, "
    "and what is watched is one fixed sample of later commits",
    "seed": "the code's seed did not reach the initial weights for most of the papers' runs; here it does",
    "warm-up": "at most a third of the steps, so that short runs reach their peak rate",
}
"""What published mode does otherwise than the published code, and why."""


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the networks; sizes as in paper 1, table 13."""

    vocab_size: int
    tokenizer: str = "codewm"
    window: int = 256  # tokens of a state at most; longer ones are cut, as in the papers
    dim: int = 128  # D
    heads: int = 4
    mlp: int = 512
    loops: int = 6  # applications of the encoder's one shared block
    positions: str = "learned"
    readout: str = "cls"
    mask_padding: bool = True
    dropout: float = 0.1
    predictor_blocks: int = 2
    predictor_loops: int = 6  # of each block
    forecast: str = "state"  # or delta: t(s') - t(s) itself, paper 2 section 6
    delta_loop: int = 0  # the loop after which the forecast states are read; 0 is the last (final-layer)
    residual: bool = False  # the predictor says what is added to its input
    projectors: bool = False
    projector_hidden: int = 256
    action: str = "v7"
    action_dim: int = 7  # A

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built."""
        for name in (
            "vocab_size", "window", "dim", "heads", "mlp", "loops", "predictor_blocks", "predictor_loops",
            "projector_hidden", "action_dim",
        ):  # fmt: skip
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise UserError(f"recipe: {name} must be a positive whole number")
        if self.dim % self.heads:
            raise UserError(f"recipe: dim {self.dim} is not a multiple of heads {self.heads}")
        _one_of("tokenizer", self.tokenizer, TOKENIZERS)
        _one_of("positions", self.positions, POSITIONS)
        _one_of("readout", self.readout, READOUTS)
        _one_of("forecast", self.forecast, FORECASTS)
        if not 0 <= self.delta_loop <= self.loops:
            raise UserError(f"recipe: the encoder has {self.loops} loops; delta_loop 0 is the last")
        if not 0 <= self.dropout < 1:
            raise UserError("recipe: dropout must lie in [0, 1)")


@dataclass(frozen=True)
class ObjectiveConfig:
    """Which terms there are, what they weigh, and whom their gradients reach."""

    delta_loss: str = "normalised"  # of a forecast delta
    detach: bool = False  # the predictor reads sg[z]; so do both displacements of the direction term
    prediction: str = "cosine"
    prediction_weight: float = 1.0
    direction_weight: float = 1.0
    direction_until: int = 0  # step from which the direction term is off; 0 is never
    magnitude_weight: float = 0.0
    spectral: str = "log"
    spectral_weight: float = 0.01
    covariance_weight: float = 0.0
    vicreg_weight: float = 0.0
    vicreg_covariance: float = 0.04  # of the covariance inside the VICReg term
    contrast_weight: float = 0.0
    contrast_temperature: float = 0.07
    contrast_threshold: float = 0.9  # cosine of actions from which two edits are a positive pair
    aux_weight: float = 0.0
    aux_loops: tuple[int, ...] = ()
    rollout_weight: float = 0.0  # self-fed steps from the second on
    rollout_decay: float = 0.9
    regularise_after: bool = False  # regularisers see the online states after the edit, too
    ema: float = 0.99999  # 1.0 never moves the target
    target_dropout: bool = False

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        _one_of("delta_loss", self.delta_loss, DELTA_LOSSES)
        _one_of("prediction", self.prediction, PREDICTIONS)
        _one_of("spectral", self.spectral, SPECTRA)
        object.__setattr__(self, "aux_loops", tuple(self.aux_loops))
        if not 0 <= self.ema <= 1:
            raise UserError("recipe: ema must lie in [0, 1]")
        for f in fields(self):
            if f.name.endswith("_weight") and getattr(self, f.name) < 0:
                raise UserError(f"recipe: {f.name} must not be negative")
        if self.direction_until < 0 or any(loop < 1 for loop in self.aux_loops):
            raise UserError("recipe: loops are counted from 1, and direction_until 0 is never")


@dataclass(frozen=True)
class RunConfig:
    """How to train."""

    steps: int = 15_000
    batch: int = 64  # windows of edits
    transitions: int = 1  # T, edits of a chain in one window
    lr: float = 1e-4
    lr_floor: float = 0.01  # share of the peak rate that warm-up starts at and the cosine ends at
    warmup: int = 500  # steps
    weight_decay: float = 0.01  # on everything
    clip: float = 1.0
    seed: int = 0  # weights, order, dropout; never the split
    device: str = "cpu"
    threads: int = 1
    precision: str = "auto"
    holdout: float = 0.2
    validation: float = 0.1
    max_edits: int = 200_000
    max_tokens: int = 256  # edits with a longer unit are not trained on
    diagnose: int = (
        1  # steps between diagnostics of the batch; gradients and losses are written at every step
    )
    watch: int = 50  # steps between looks at the fixed validation sample
    watched: int = 512  # its edits
    keep: int = 100  # steps between saved states

    def __post_init__(self) -> None:
        """Refuse settings that cannot be run."""
        for name in ("steps", "transitions", "max_edits", "max_tokens", "diagnose", "watch", "keep"):
            if getattr(self, name) < 1:
                raise UserError(f"recipe: {name} must be at least 1")
        if self.batch < 4 or self.watched < 4:
            raise UserError("recipe: batch and watched must be at least 4: the terms are over a batch")
        _one_of("precision", self.precision, ("auto", "f32", "bf16"))


@dataclass(frozen=True)
class Recipe:
    """One resolved config: what `config.json` holds."""

    recipe: str
    mode: str
    network: NetworkConfig
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        """Refuse parts that do not fit each other."""
        _one_of("recipe", self.recipe, RECIPES)
        _one_of("mode", self.mode, MODES)
        loops = self.network.loops
        if any(loop >= loops for loop in self.objective.aux_loops):
            raise UserError(f"recipe: the encoder has {loops} loops; auxiliary ones come before the last")
        if (self.objective.prediction == "projected") != self.network.projectors:
            raise UserError("recipe: prediction=projected and projectors=true belong together")

    def to_json(self) -> str:
        """The document of a run's `config.json`."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n"


# What the recipes set otherwise than the defaults above, which are paper 1's text.
_PUBLISHED: dict[str, Any] = {
    "positions": "sinusoidal", "readout": "attention", "mask_padding": False, "projectors": True,
    "prediction": "projected", "detach": True, "direction_weight": 0.5, "magnitude_weight": 0.1,
    "spectral": "sketch", "spectral_weight": 0.0, "covariance_weight": 0.01, "regularise_after": True,
    "target_dropout": True, "batch": 128, "warmup": 200,
}  # fmt: skip
_REPAIR: dict[str, Any] = {
    "loops": 3, "action": "v15", "aux_loops": (1, 2), "aux_weight": 0.3, "vicreg_weight": 0.1,
    "spectral_weight": 0.0, "steps": 28_000,
}  # fmt: skip
SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("encoder-collapse", "text"): {},
    ("encoder-collapse", "published"): _PUBLISHED,
    ("readout-repair", "text"): {**_REPAIR, "readout": "attention"},
    ("readout-repair", "published"): {**_PUBLISHED, **_REPAIR},
}
"""Recipe and mode -> what differs from the defaults; paper 2 calls its readout attention pooling, and uses projectors
in the code only."""


def resolve(recipe: str, mode: str, vocab_size: int, settings: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe with these settings over it. Raises `UserError` for unknown names, keys and values."""
    import codewm_core

    _one_of("recipe", recipe, RECIPES)
    _one_of("mode", mode, MODES)
    values: dict[str, Any] = {"vocab_size": vocab_size, **SETTINGS[recipe, mode], **(settings or {})}
    action = str(values.get("action", NetworkConfig.action))
    if action not in codewm_core.ACTIONS:
        raise UserError(f"unknown action '{action}'", f"one of {', '.join(codewm_core.ACTIONS)}")
    values.setdefault("action_dim", len(codewm_core.ACTIONS[action]))
    parts: dict[str, dict[str, Any]] = {}
    for name, kind in _PARTS.items():
        known = {f.name for f in fields(kind)}
        parts[name] = {key: values.pop(key) for key in sorted(known & set(values))}
    if values:
        every = sorted(f.name for kind in _PARTS.values() for f in fields(kind))
        raise UserError(f"unknown recipe key: {', '.join(sorted(values))}", "known: " + ", ".join(every))
    return _build({"recipe": recipe, "mode": mode, **parts})


def from_json(text: str) -> Recipe:
    """The inverse of `Recipe.to_json`. Raises `UserError`."""
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"config is not JSON: {error}") from error
    if not isinstance(body, dict) or body.pop("schema", None) != SCHEMA:
        raise UserError(f"config is not a {SCHEMA} document", "name the folder of a run of `train --recipe`")
    unknown = sorted(set(body) - {f.name for f in fields(Recipe)})
    if unknown:
        raise UserError(f"unknown config key: {', '.join(unknown)}")
    return _build(body)


_PARTS: dict[str, Any] = {"network": NetworkConfig, "objective": ObjectiveConfig, "run": RunConfig}


def _build(body: Mapping[str, Any]) -> Recipe:
    built: dict[str, Any] = {"recipe": body.get("recipe"), "mode": body.get("mode")}
    for name, kind in _PARTS.items():
        unknown = sorted(set(body.get(name, {})) - {f.name for f in fields(kind)})
        if unknown:
            raise UserError(f"unknown {name} key: {', '.join(unknown)}")
        try:
            built[name] = kind(**body.get(name, {}))
        except TypeError as error:
            raise UserError(f"recipe: {name}: {error}") from error
    return Recipe(**built)


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"recipe: there is no {name} {value!r}", f"one of {', '.join(known)}")
