"""A model and edits in, where the edits went, where it said they would go, and where its nulls say so out.

    d      t(s') - t(s)
    d_hat  g(x(s), r(s, a), a)  named '' among the predictions; the others are the nulls of `nulls`

The shuffled action comes from an edit of the same kind (created, deleted, modified): telling a modification that it
was a creation would be too easy a null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.model.evaluation import nulls
from codewm.model.evaluation.held_out import GROUPS, Edits, HeldOut
from codewm.model.evaluation.subject import columns

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
ENOUGH = 20  # edits of a kind that a null is fitted on


@dataclass(frozen=True)
class Readings:
    """Of N edits; everything lives in the one target space."""

    states: F32
    """[U, K] t of every state."""
    z: F32
    """[N, K] t(s)"""
    d: F32
    """[N, K]"""
    predictions: dict[str, F32]
    """name -> [N, K]; '' is the model's."""
    doubt: F32
    """[N] the critic's log odds that something is wrong."""
    doubt_of_action: F32
    """[N] the same where everything but the action is another edit's: what the critic makes of the action alone."""
    fitted: Nulls


@dataclass(frozen=True)
class Nulls:
    """What the fitted nulls need to predict other edits as well."""

    z: F32
    action: F32
    d: F32
    group: I64
    watched: NDArray[np.bool_]
    tokens: F32
    """[F, V] the `bag` of s."""


class Reader:
    """An engine, told of edits by the columns of their stored action that it knows."""

    def __init__(self, engine: core.Engine, stored_action: str, threads: int = 0) -> None:
        self.engine, self.threads = engine, threads
        self.columns = columns(str(engine.config["action"]), stored_action)

    def told(self, edits: Edits) -> F32:
        """The action [N, A] as the model knows it."""
        return np.ascontiguousarray(edits.action[:, self.columns])

    def latents(self, edits: Edits) -> F32:
        """f of every state: [U, W]."""
        return self.engine.encode(edits.tokens, edits.offsets, threads=self.threads)

    def foresee(self, edits: Edits, told: Mapping[str, F32]) -> tuple[F32, dict[str, F32]]:
        """f of every state [U, W], and g(x(s), r(s, a), a) for each telling of actions a [N, A]: [N, K]."""

        def read(edited: I64, action: F32) -> tuple[F32, F32]:
            action = np.ascontiguousarray(action)
            return self.engine.read(edits.tokens, edits.offsets, edited, action, threads=self.threads)

        f, at = nulls.read_told(read, edits.before, told)
        was = np.ascontiguousarray(f[edits.before])
        return f, {
            name: self.engine.predict(was, at[name], np.ascontiguousarray(a)) for name, a in told.items()
        }


def read(reader: Reader, held_out: HeldOut) -> Readings:
    """Everything that a suite asks a model about held-out edits."""
    fit = held_out.fit
    t = reader.engine.target(reader.latents(fit))
    z, d = t[fit.before], t[fit.after] - t[fit.before]
    known = Nulls(z, reader.told(fit), d, fit.group, held_out.watched, bag(fit))
    return readings(reader, held_out.edits, known)


def readings(reader: Reader, edits: Edits, known: Nulls) -> Readings:
    """The same of any edits, with nulls that were fitted before."""
    action = reader.told(edits)
    latents, told = reader.foresee(edits, nulls.told(action, shuffled(action, edits.group)))
    states = reader.engine.target(latents)
    z = states[edits.before]
    d = states[edits.after] - z
    f = latents[edits.before]
    predictions = {
        "": told[""],
        "copy": nulls.copy(d),
        "constant_mean": constant_mean(known, edits.group),
        "zero_action": told["zero_action"],
        "shuffled_action": told["shuffled_action"],
        "linear_map": linear_map(known, known.z, z, action, edits.group),
        "bag_of_tokens": linear_map(known, known.tokens, bag(edits), action, edits.group),
    }
    after, missed = latents[edits.after], d - predictions[""]
    doubt = reader.engine.doubt(f, after, missed, action)
    other = np.random.default_rng(5).permutation(len(edits))
    of_action = reader.engine.doubt(f[other], after[other], missed[other], action)
    return Readings(states, z, d, predictions, doubt, of_action, known)


def constant_mean(known: Nulls, group: I64) -> F32:
    """The mean fitted displacement of each edit's kind: [N, D]. Of a kind hardly seen, nothing moves."""
    out = np.zeros((len(group), known.d.shape[1]), np.float32)
    for g in range(len(GROUPS)):
        of_kind = known.group == g
        if of_kind.sum() >= ENOUGH:
            out[group == g] = known.d[of_kind].mean(0, dtype=np.float64)
    return out


def shuffled(action: F32, group: I64) -> F32:
    """Actions [N, A] passed around among the edits of a kind; nobody keeps its own row."""
    given = action.copy()
    for g in range(len(GROUPS)):
        rows = np.flatnonzero(group == g)
        if len(rows) > 1:
            given[rows] = nulls.shuffled(action[rows])
    return given


def bag(edits: Edits) -> F32:
    """How often each token occurs in s, as square roots of shares: rows of length 1 [N, V]."""
    states, place = np.unique(edits.before, return_inverse=True)
    out = np.zeros((len(states), core.VOCAB_SIZE), np.float32)
    for i, state in enumerate(states.tolist()):
        tokens = edits.tokens[edits.offsets[state] : edits.offsets[state + 1]]
        out[i] = np.bincount(tokens, minlength=core.VOCAB_SIZE) / max(len(tokens), 1)
    return np.sqrt(out)[place.ravel()]


def linear_map(known: Nulls, fitted: F32, held: F32, action: F32, group: I64) -> F32:
    """Ridge from [features, a] to d, one map for each kind: [N, D]. Of a kind hardly seen, nothing moves.

    `fitted` [F, V] and `held` [N, V] are the features of the fitted edits and of those at hand: t(s), or a bag.
    """
    seen = [g for g in range(len(GROUPS)) if (known.group == g).sum() >= ENOUGH]
    fit = np.isin(known.group, seen) & ~known.watched
    if not fit.any():
        return np.zeros((len(held), known.d.shape[1]), np.float32)

    def part(mask: NDArray[np.bool_]) -> tuple[F32, F32, F32, I64]:
        return fitted[mask], known.action[mask], known.d[mask], known.group[mask]

    return nulls.linear_map(part(fit), part(known.watched), (held, action, group))
