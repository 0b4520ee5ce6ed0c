"""What `--model` says in, a world to ask out: where states are, where edits take them, what each loop makes of them.

A world is asked the same things whether it is ours or one of the papers'. The papers start from an online encoder and
land in the space of another, the target encoder's; ours starts from f(s) and lands in t(s), a linear map of it.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.errors import UserError
from codewm.model.evaluation import subject as subjects
from codewm.model.evaluation.subject import Subject, columns
from codewm.model.scoring.engine_model import BASE_NAME

if TYPE_CHECKING:
    from codewm.model.jepa import JEPA

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
TOKENS_PER_BATCH = 16_384  # padded, of the pass that looks into every loop


class World(Protocol):
    """States and actions in, latents out; n states are flat tokens and offsets [n + 1]."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def kind(self) -> str:
        """What models are alike in that differ in their seed alone."""

    @property
    def action(self) -> str:
        """Which action it is told: 'v7' or 'v15'."""

    @property
    def one_space(self) -> bool:
        """Whether online and target latents share a space, so that one may be subtracted from the other."""

    def online(self, tokens: U16, offsets: I64) -> F32:
        """Latents [n, F] that the predictor starts from."""

    def target(self, tokens: U16, offsets: I64) -> F32:
        """Latents [n, K] in the space that predictions land in."""

    def target_of_online(self, online: F32) -> F32 | None:
        """The same from online latents [n, F], where a map gives it: [n, K]; None where another encoder does."""

    def foresee(self, tokens: U16, offsets: I64, edited: I64, action: F32) -> tuple[F32, F32]:
        """Edits, described by actions [N, A], of the states `edited` [N] -> the predicted next states [N, K], and the
        latents [N, F] to go on from in a rollout.
        """

    def step(self, online: F32, action: F32) -> tuple[F32, F32]:
        """The same from latents [n, F] alone, of states that were themselves predicted."""

    def loops(self, tokens: U16, offsets: I64) -> list[F32]:
        """Pooled latents [n, D] of the embeddings first, then after each loop of the encoder."""


class EngineWorld:
    """Our model by the engine.

    online   f(s)
    target   t(s) = target(f(s))
    foresee  t(s) + d_hat, and f(s) + d_hat @ pinv(W).T to go on from, W [K, F] the weight of the map t
    step     the same without a state to read where the edit happens

    The latent is the least-norm lift: of all latents that t takes to t(s) + d_hat it is the one nearest to f(s), so
    what t does not see of f is held to stay as it was. That is an assumption, not something that was learned.
    """

    one_space = False

    def __init__(self, subject: Subject, engine: core.Engine | None = None, threads: int = 0) -> None:
        """`engine` is the one to ask, where it is not the subject's own: the int8 copy."""
        self.subject, self.engine, self.threads = subject, engine or subject.engine, threads
        self.name, self.action = subject.name, subject.action
        self.lift = np.linalg.pinv(subject.whiten).T.astype(np.float32)  # [K, F]

    @property
    def about(self) -> dict[str, Any]:
        """Which model it is, as JSON."""
        return self.subject.as_json()

    @property
    def kind(self) -> str:
        """The shape."""
        return json.dumps(self.engine.config, sort_keys=True, default=str)

    def online(self, tokens: U16, offsets: I64) -> F32:
        """f of n states: [n, F]."""
        return self.engine.encode(tokens, offsets, threads=self.threads)

    def target(self, tokens: U16, offsets: I64) -> F32:
        """t of n states: [n, K]."""
        return self.engine.target(self.online(tokens, offsets))

    def target_of_online(self, online: F32) -> F32:
        """f(s) [n, F] -> t(s) [n, K]."""
        return self.engine.target(np.ascontiguousarray(online))

    def foresee(self, tokens: U16, offsets: I64, edited: I64, action: F32) -> tuple[F32, F32]:
        """t(s) + d_hat [N, K], and f(s) lifted by as much [N, F]."""
        action = np.ascontiguousarray(action)
        f, read = self.engine.read(tokens, offsets, edited, action, threads=self.threads)
        return self._land(np.ascontiguousarray(f[edited]), read, action)

    def step(self, online: F32, action: F32) -> tuple[F32, F32]:
        """The same from f(s) [n, F] alone: nothing is read, as for some edits in training."""
        read = np.zeros((len(online), core.RANGES * int(self.engine.config["reading"])), np.float32)
        return self._land(np.ascontiguousarray(online), read, np.ascontiguousarray(action))

    def _land(self, f: F32, read: F32, action: F32) -> tuple[F32, F32]:
        d_hat = self.engine.predict(f, read, action)
        return self.engine.target(f) + d_hat, f + d_hat @ self.lift

    def loops(self, tokens: U16, offsets: I64) -> list[F32]:
        """Means over tokens [n, D]: of the embeddings with their positions, then of the normed features after each
        loop. The first and the last are the two halves of f(s). By torch, from the same weights.
        """
        import torch

        from codewm.model.batches import length_batches, pad

        encoder = self.jepa.encoder
        count = encoder.loops + 1
        out = [np.zeros((len(offsets) - 1, encoder.width // 2), np.float32) for _ in range(count)]
        with torch.inference_mode():
            for batch in length_batches(np.diff(offsets), TOKENS_PER_BATCH, 512):
                ids, lengths = pad(tokens, offsets, batch)
                x = encoder.placed(encoder.embedding(ids))
                real = torch.arange(x.shape[1]) < lengths[:, None]
                bias = torch.zeros(real.shape).masked_fill(~real, float("-inf"))[:, None, None, :]
                weight = (real / lengths[:, None]).float()[:, None]  # [B, 1, S]
                for i in range(count):
                    if i:
                        x = encoder.block(x, bias)
                    out[i][batch] = (weight @ (encoder.norm(x) if i else x))[:, 0].numpy()
        return out

    @cached_property
    def jepa(self) -> JEPA:
        """The same weights in torch."""
        from codewm.model.jepa import JEPA

        weights, config = self.subject.weights()
        model = JEPA(config)
        model.load_state_dict(weights)
        return model.eval()


def load(choice: str = BASE_NAME, threads: int = 0) -> World:
    """The world that `choice` means: 'base', a model file or a run's folder, of ours or of the papers' recipes.

    Raises `UserError` for what is none of them.
    """
    if _is_recipe(Path(choice)):
        if find_spec("torch") is None:
            raise UserError("the papers' models need torch", "pip install 'codewm[train]'")
        world = importlib.import_module("codewm.model.papers.world")
        loaded: World = world.load(Path(choice))
        if getattr(loaded, "tokenizer", "codewm") != "codewm":
            raise UserError(
                f"'{choice}' reads the papers' tokens, and these suites read codewm's",
                "train the recipe without --tokenizer paper",
            )
        return loaded
    return EngineWorld(subjects.load(choice, compare_int8=False), threads=threads)


def load_all(choices: Sequence[str], threads: int = 0) -> list[World]:
    """One world for each choice, the shipped model without any. Raises `UserError`."""
    if len(set(choices)) < len(choices):
        raise UserError("the same model is named twice", "name each model once")
    return [load(choice, threads) for choice in choices or [BASE_NAME]]


def names(worlds: Sequence[World], choices: Sequence[str]) -> list[str]:
    """What to call each world: by its own name, or where two share one by its folder as well."""
    own = [w.name for w in worlds]
    if len(set(own)) == len(own):
        return own
    return [
        f"{name} ({Path(choice).parent.name}/{Path(choice).name})" if own.count(name) > 1 else name
        for name, choice in zip(own, choices, strict=True)
    ]


def told(world: World, action: F32, stored: str) -> F32:
    """The stored actions [n, A'] of kind `stored` as this world is told them: [n, A]. Raises `UserError`."""
    return np.ascontiguousarray(action[:, columns(world.action, stored)])


def as_json(world: World) -> dict[str, Any]:
    """Which model it is, for people who read the JSON."""
    about: dict[str, Any] = dict(getattr(world, "about", {}))
    return {"name": world.name, "action": world.action, **about}


def _is_recipe(folder: Path) -> bool:
    """Whether this is a run of one of the papers' recipes: its config.json names one."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "recipe" in config
