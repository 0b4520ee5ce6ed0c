"""A world and edits in, where they start, where they end and where they were said to end out, beside the nulls.

A displacement is measured in one of two spaces:

    one     target(s') - target(s)     everything in the space that predictions land in
    mixed   target(s') - online(s)     the papers' quantity: the difference of what two encoders say

The second is defined only where both have the same number of dimensions. It holds, besides the edit, the constant
offset between the two encoders, which is why the constant target stands beside everything here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.table import take_states
from codewm.model.evaluation import nulls, readings
from codewm.model.evaluation.held_out import Edits, HeldOut
from codewm.model.evaluation.world import World, told

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
ONE, MIXED = "one space", "mixed space"


@dataclass(frozen=True)
class Fitted:
    """Earlier edits, which nulls are fitted on; as `readings.Nulls`, and where they start online."""

    online: F32
    """[M, F] of the states before."""
    nulls: readings.Nulls

    @property
    def constant_target(self) -> F32:
        """[K] the mean of target(s')."""
        mean: F32 = (self.nulls.z + self.nulls.d).mean(0, dtype=np.float64).astype(np.float32)
        return mean

    def mean_delta(self, space: str) -> F32:
        """[K] the mean displacement."""
        d = self.nulls.d if space == ONE else self.nulls.z + self.nulls.d - self.online
        mean: F32 = d.mean(0, dtype=np.float64).astype(np.float32)
        return mean

    def linear(self, z: F32, action: F32, group: I64) -> F32:
        """Where the linear map of each kind of edit says that z [N, K] goes to: [N, K]."""
        return z + readings.linear_map(self.nulls, self.nulls.z, z, action, group)


@dataclass(frozen=True)
class Landings:
    """Of N edits over U states."""

    world: World
    tokens: NDArray[np.uint16]
    offsets: I64
    """[U + 1]"""
    online: F32
    """[U, F]"""
    target: F32
    """[U, K]"""
    before: I64
    """[N] state."""
    after: I64
    """[N] state."""
    action: F32
    """[N, A] as the world is told it."""
    group: I64
    """[N] created, deleted or modified."""
    said: dict[str, F32]
    """name -> [N, K] predicted next states; '' is the world's."""
    fitted: Fitted

    @property
    def spaces(self) -> tuple[str, ...]:
        """The spaces that are defined for this world."""
        return (ONE, MIXED) if self.online.shape[1] == self.target.shape[1] else (ONE,)

    def start(self, space: str, state: I64) -> F32:
        """Where displacements from these states [n] begin: [n, K]."""
        return (self.target if space == ONE else self.online)[state]

    def d(self, space: str) -> F32:
        """[N, K] true displacements."""
        return self.target[self.after] - self.start(space, self.before)

    def d_hat(self, space: str) -> dict[str, F32]:
        """name -> [N, K] predicted displacements."""
        start = self.start(space, self.before)
        return {name: said - start for name, said in self.said.items()}


def read(world: World, held_out: HeldOut, rows: I64 | None = None) -> Landings:
    """Ask a world about held-out edits, or those of them at `rows` [N], in that order."""
    edits, fit = held_out.edits, held_out.fit
    rows = np.arange(len(edits)) if rows is None else rows
    before, after, tokens, offsets = states_of(edits, rows)
    online, target = where(world, tokens, offsets)
    action = told(world, edits.action[rows], held_out.action_id)
    group = edits.group[rows]
    fitted = fit_nulls(world, held_out)
    z = target[before]
    landed, _ = foresee(world, tokens, offsets, before, action, group)
    said = {
        **landed,
        "copy": z,
        "constant_target": np.repeat(fitted.constant_target[None], len(rows), 0),
        "linear_map": fitted.linear(z, action, group),
    }
    assert len(fit) == len(fitted.online)
    return Landings(world, tokens, offsets, online, target, before, after, action, group, said, fitted)


def foresee(
    world: World, tokens: NDArray[np.uint16], offsets: I64, before: I64, action: F32, group: I64
) -> tuple[dict[str, F32], dict[str, F32]]:
    """Where edits [N] of states land, told their own action (under ''), none and another edit's: [N, K] each; and
    the latents to go on from [N, F].
    """
    told = nulls.told(action, readings.shuffled(action, group))
    landed, onward = nulls.read_told(
        lambda edited, actions: world.foresee(tokens, offsets, edited, actions), before, told
    )
    split = np.split(landed, len(told))
    return dict(zip(told, split, strict=True)), onward


def fit_nulls(world: World, held_out: HeldOut) -> Fitted:
    """Where the earlier edits start and end in this world."""
    fit = held_out.fit
    online, target = where(world, fit.tokens, fit.offsets)
    z = target[fit.before]
    known = readings.Nulls(
        z=z,
        action=told(world, fit.action, held_out.action_id),
        d=target[fit.after] - z,
        group=fit.group,
        watched=held_out.watched,
        tokens=np.zeros((len(fit), 0), np.float32),
    )
    return Fitted(online[fit.before], known)


def where(world: World, tokens: NDArray[np.uint16], offsets: I64) -> tuple[F32, F32]:
    """Online [n, F] and target [n, K] latents of states; encoded once where a map leads from one to the other."""
    online = world.online(tokens, offsets)
    target = world.target_of_online(online)
    return online, world.target(tokens, offsets) if target is None else target


def states_of(edits: Edits, rows: I64) -> tuple[I64, I64, NDArray[np.uint16], I64]:
    """Of the edits at `rows` [N]: their states before and after, numbered anew, and the tokens of these."""
    ids, place = np.unique(np.concatenate([edits.before[rows], edits.after[rows]]), return_inverse=True)
    tokens, offsets = take_states(edits.tokens, edits.offsets, ids)
    place = place.ravel()
    return place[: len(rows)], place[len(rows) :], tokens, offsets
