"""P-values of channels in, the surprise of a unit and of a commit out.

unit:    log odds that the edit is unusual, a sum over its channels: given a channel's p-value, ordinary edits have
         uniform p and unusual ones Beta(a, 1) [Sellke, Bayarri, Berger 2001, sec. 2], so its evidence is
         log a + (a - 1) log p, for it where p is small, a little against it where p is large. `1 - a` is the
         channel's weight: fitted, because some channels say more. A channel that is undefined says nothing.
         (Noisy-or, which has evidence for it only, ranks injected edits worse: docs/lab-log.md.)
commit:  the most surprising of its m units, p = 1 - (1 - min_i p_i)^m [Sidak 1967]: one strange function is
         enough, a hundred ordinary ones are not, although the highest of a hundred is high. What is left of
         size (units of one commit are alike) is taken out by comparing with past commits of its size.
         The score is the posterior of that p, so that it reads like a unit's surprise.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from codewm.model.scoring.settings import CombineSettings

Floats = NDArray[np.float64]


def strength(p: Floats, settings: CombineSettings) -> Floats:
    """[N] p-values (NaN: undefined) -> [N] -log(1 - q) >= 0, which unlike q never runs out of digits."""
    a, w = settings.alternative, settings.prior
    odds = w * a * np.power(np.where(np.isnan(p), 1.0, p), a - 1.0) / (1.0 - w)
    return np.asarray(np.where(np.isnan(p), 0.0, np.log1p(odds)), dtype=np.float64)


def evidence(channels: Mapping[str, Floats], settings: CombineSettings) -> Floats:
    """Channel name -> [N] p-values (NaN: undefined); log odds [N] of the edit being unusual, NaN where all are
    undefined. Raises `KeyError` for a channel without a weight.
    """
    if not channels:
        raise ValueError("no channels to combine")
    weights = dict(settings.weights)
    total = np.full(len(next(iter(channels.values()))), np.log(settings.prior / (1.0 - settings.prior)))
    silent = np.ones(len(total), dtype=np.bool_)
    for name, p in channels.items():
        w, known = weights[name], ~np.isnan(p)
        small = np.maximum(np.where(known, p, 1.0), settings.floor)
        total += np.where(known, np.log1p(-w) - w * np.log(small), 0.0)
        silent &= ~known
    return np.where(silent, np.nan, total)


def posterior(log_odds: Floats) -> Floats:
    """Log odds [N] -> probabilities in (0, 1), for people."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -700.0, 700.0))), dtype=np.float64)


def surprise(strength: Floats) -> Floats:
    """Return the probability 1 - exp(-strength), in [0, 1], for people."""
    return np.asarray(-np.expm1(-strength), dtype=np.float64)


def per_commit(p: Floats, commit: NDArray[np.integer], commits: int, settings: CombineSettings) -> Floats:
    """[N] p-values of units and their commit index -> [C] strength; NaN without scored units."""
    known = ~np.isnan(p)
    lowest = np.full(commits, np.nan)
    units = np.bincount(commit[known], minlength=commits)
    np.fmin.at(lowest, commit[known], p[known])
    # -expm1(m log1p(-p)) is 1 - (1 - p)^m without losing a tiny p; p = 1 stays 1.
    corrected = -np.expm1(units * np.log1p(-np.minimum(lowest, 1.0 - 1e-12)))
    return np.where(units > 0, strength(np.maximum(corrected, 1e-300), settings), np.nan)
