"""A world whose every answer is known: states are bags of tokens, maps are linear, actions add what they say."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

import codewm_core
from codewm.model.evaluation.held_out import Edits, HeldOut


@dataclass
class LinearWorld:
    """online = bag @ A, target = online + offset; a step adds `share` of what `moves` says about the action.

    With `offset` 0 online and target are one space. Every loop keeps `keeps` of what the one before it had.
    """

    dim: int = 8
    offset: float = 0.0
    share: float = 1.0
    keeps: float = 0.5
    name: str = "made"
    action: str = "v15"
    one_space: bool = True
    map: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(3)
        self.map = rng.normal(size=(codewm_core.VOCAB_SIZE, self.dim)).astype(np.float32)
        self.shift = np.full(self.dim, self.offset, np.float32)

    def online(self, tokens: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        out = np.zeros((len(offsets) - 1, self.dim), np.float32)
        for i in range(len(out)):
            out[i] = self.map[tokens[offsets[i] : offsets[i + 1]]].sum(0)
        return out

    def target(self, tokens: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        return self.online(tokens, offsets) + self.shift

    def target_of_online(self, online: np.ndarray) -> np.ndarray | None:
        return None

    def foresee(
        self, tokens: np.ndarray, offsets: np.ndarray, edited: np.ndarray, action: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return self.step(self.online(tokens, offsets)[edited], action)

    def step(self, online: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moved = online + self.share * action[:, : self.dim]
        return moved + self.shift, moved

    def loops(self, tokens: np.ndarray, offsets: np.ndarray) -> list[np.ndarray]:
        first = self.online(tokens, offsets)
        return [first, first * self.keeps, first * self.keeps**2, first * self.keeps**3]


def chained(world: LinearWorld, chains: int, steps: int = 3, seed: int = 0) -> tuple[HeldOut, np.ndarray]:
    """Chains of `steps` modified edits whose stored action is the true displacement, and which edits they are."""
    rng = np.random.default_rng(seed)
    low, high = codewm_core.IDENT_FIRST, codewm_core.IDENT_LAST
    states = [
        rng.integers(low, high, size=rng.integers(4, 12)).astype(np.uint16)
        for _ in range(chains * (steps + 1))
    ]
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in states])]).astype(np.int64)
    tokens = np.concatenate(states)
    first = np.arange(chains)[:, None] * (steps + 1) + np.arange(steps)
    before, after = first.ravel(), first.ravel() + 1
    n = len(before)
    online = world.online(tokens, offsets)
    action = np.zeros((n, 15), np.float32)
    action[:, : world.dim] = online[after] - online[before]
    edits = Edits(
        tokens=tokens, offsets=offsets, before=before, after=after, action=action, group=np.zeros(n, np.int64),
        commit=np.arange(n) // 2, repository=(np.arange(n) // steps) % 2,
    )  # fmt: skip
    follows = np.where(np.arange(n) % steps == steps - 1, -1, np.arange(n) + 1)
    held_out = HeldOut(
        edits=edits, label=np.zeros(n, np.int64), alternatives=np.full((n, 0), -1), siblings=np.full((n, 0), -1),
        fit=edits, watched=np.arange(n) % 5 == 0, repositories=["a", "b"], action_id="v15", window=256, about={},
        following=follows,
    )  # fmt: skip
    return held_out, np.arange(n).reshape(chains, steps)
