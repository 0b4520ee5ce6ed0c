"""States in, vectors out, by whatever is to be compared: models, pretrained encoders, counts of tokens, chance.

An edit is then its displacement, the vector after less the vector before, unless its name says otherwise. Everything
sees the same states: flat tokens, or the source text that they were made from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.errors import UserError
from codewm.model.evaluation.held_out import Edits
from codewm.model.evaluation.world import EngineWorld, World, told

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
BAG, TF_IDF, UNTRAINED = "bag of tokens", "TF-IDF", "untrained"
RANDOM, RANDOM_STATES = "random", "random states"
COPY, ACTION, SIZE, TIME = "copy", "action", "size", "time"


@dataclass(frozen=True)
class States:
    """U states: flat tokens and offsets [U + 1], and their texts [U], or () where nobody asked for them."""

    tokens: U16
    offsets: I64
    texts: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True)
class Encoder:
    """A name, and what it makes of states: vectors [U, W]."""

    name: str
    encode: Callable[[States], F32]


@dataclass(frozen=True)
class Features:
    """What stands for each of N edits when two are compared: by cosine, or, of one number each, by their difference."""

    name: str
    vectors: F32
    """[N, W]"""
    turns: bool = True
    """Undoing the edit would turn the vectors around."""
    by_difference: bool = False

    def similarity(self, queries: I64, gallery: I64, sign: int = 1) -> F32:
        """How alike edits `queries` [Q] are to edits `gallery` [G], or, with sign -1, to what undoes them: [Q, G]."""
        if self.by_difference:
            gap: F32 = -np.abs(self.vectors[queries] - self.vectors[gallery].T)
            return gap
        a, b = self._unit(queries), self._unit(gallery)
        similar: F32 = (a if sign > 0 or not self.turns else -a) @ b.T
        return similar

    def _unit(self, rows: I64) -> F32:
        x = self.vectors[rows].astype(np.float64)
        length = np.linalg.norm(x, axis=1, keepdims=True)
        unit: F32 = (x / np.maximum(length, 1e-12)).astype(np.float32)
        return unit


def of_world(world: World) -> list[Encoder]:
    """Its two encoders: online, f of ours, and target, t of ours."""
    return [
        Encoder(f"{world.name} target", lambda s: world.target(s.tokens, s.offsets)),
        Encoder(f"{world.name} online", lambda s: world.online(s.tokens, s.offsets)),
    ]


def untrained(world: World, seed: int = 0) -> Encoder | None:
    """An online encoder of the same shape with the weights that training starts from; None without torch, or where
    the world is not ours.
    """
    if not isinstance(world, EngineWorld) or find_spec("torch") is None:
        return None
    import torch

    from codewm.model import export
    from codewm.model.config import ModelConfig, from_mapping
    from codewm.model.jepa import JEPA

    config = from_mapping(ModelConfig, world.engine.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = JEPA(config).state_dict()
    engine = core.Engine.from_bytes(export.packed(weights, config, "f32"))
    return Encoder(UNTRAINED, lambda s: engine.encode(s.tokens, s.offsets, threads=world.threads))


def counts(states: States) -> F32:
    """How often each token occurs: [U, V]."""
    width = core.VOCAB_SIZE
    owner = np.repeat(np.arange(len(states)), np.diff(states.offsets))
    flat = np.bincount(owner * width + states.tokens, minlength=len(states) * width)
    return flat.reshape(len(states), width).astype(np.float32)


def tf_idf(fit: States) -> Encoder:
    """Counts weighted by how few of the fitted states hold the token, by scikit-learn's definition, not normalised:
    a displacement then is the weighted count of what came and went.
    """
    from sklearn.feature_extraction.text import TfidfTransformer

    model = TfidfTransformer(norm=None).fit(counts(fit))
    return Encoder(TF_IDF, lambda s: (counts(s) * model.idf_).astype(np.float32))


def gaussian(count: int, seed: int = 4, width: int = 64) -> F32:
    """Unrelated vectors: [count, width]."""
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def pretrained(folders: Sequence[Path], say: Callable[[str], None]) -> list[Encoder]:
    """An encoder for each folder with a Hugging Face model. Raises `UserError`."""
    if folders and (find_spec("transformers") is None or find_spec("torch") is None):
        raise UserError(
            "an encoder of others needs transformers and torch", "pip install 'codewm[train,encoders]'"
        )
    out = []
    for folder in folders:
        from codewm.model.evaluation.pretrained import load

        model = load(folder, say)
        out.append(Encoder(model.name, lambda s, model=model: model.encode(s.texts)))  # type: ignore[misc]
    names = [e.name for e in out]
    if len(set(names)) < len(names):
        raise UserError("two encoders are called alike", "name each folder once")
    return out


def require(worlds: Sequence[World]) -> None:
    """Raise `UserError` where scikit-learn is missing, or a model reads other tokens than stores hold."""
    if find_spec("sklearn") is None:
        raise UserError("this suite needs scikit-learn", "pip install 'codewm[evaluation]'")
    for world in worlds:
        if getattr(world, "tokenizer", "codewm") != "codewm":
            raise UserError(
                f"{world.name} reads other tokens than the store holds", "train it with --tokenizer codewm"
            )


def simple(fit: States) -> list[Encoder]:
    """Those without a network: counts of tokens, weighted counts, and an unrelated vector for each different state.

    The last still knows which states are the same, and so which edits begin or end with nothing.
    """
    return [
        Encoder(BAG, counts),
        tf_idf(fit),
        Encoder(RANDOM_STATES, lambda s: gaussian(len(s))),
    ]


def features_of(encoder: Encoder, edits: Edits, states: States) -> Features:
    """The displacement of each edit."""
    z = encoder.encode(states)
    return Features(encoder.name, z[edits.after] - z[edits.before])


def of_edits(
    world: World, edits: Edits, states: States, stored_action: str, *, with_copy: bool
) -> list[Features]:
    """A world's displacements, in both of its spaces, and the ones that it predicts, which it is told the action for.

    As CodeWM-2's text has it, also target(s') - online(s), of two encoders, where their latents are as wide. With the
    copy, as a null: t(s), where the edit begins and nothing of where it goes.
    """
    target = world.target(states.tokens, states.offsets)
    online = world.online(states.tokens, states.offsets)
    z = target[edits.before]
    out = [
        Features(f"{world.name} target", target[edits.after] - z),
        Features(f"{world.name} online", online[edits.after] - online[edits.before]),
    ]
    if online.shape == target.shape:
        out.append(Features(f"{world.name} mixed", target[edits.after] - online[edits.before]))
    predicted, _ = world.foresee(
        states.tokens, states.offsets, edits.before, told(world, edits.action, stored_action)
    )
    out.append(Features(f"{world.name} predicted", predicted - z))
    if with_copy:
        out.append(Features(COPY, z, turns=False))
    return out


def plain(action: F32, size: I64, time: I64) -> list[Features]:
    """What is known of edits without reading them: nothing, the action itself, how large, and when."""
    log = np.log1p(size.astype(np.float64))[:, None].astype(np.float32)
    hours = ((time - time.min(initial=0)) / 3600.0)[:, None].astype(np.float64)
    return [
        Features(RANDOM, gaussian(len(action), seed=3), turns=False),
        Features(ACTION, action, turns=False),
        Features(SIZE, log, by_difference=True),
        Features(TIME, hours, by_difference=True),  # type: ignore[arg-type]
    ]
