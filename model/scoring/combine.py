"""P-values of channels in, the surprise of a unit and of a commit out.

unit:    noisy-or over its channels, 1 - prod_c (1 - q_c), where q_c is the posterior that the edit is unusual
         given that channel's p-value: ordinary edits have uniform p, unusual ones Beta(a, 1), so
         q = w a p^(a-1) / (w a p^(a-1) + 1 - w) with prior w. [Sellke, Bayarri, Berger 2001, sec. 2]
         It is kept as its strength, -log(1 - q), which adds up and tells 1 - 1e-20 from 1 - 1e-30.
         Several channels can each speak; a channel that is undefined has q = 0 and says nothing.
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


def noisy_or(channels: Mapping[str, Floats], settings: CombineSettings) -> Floats:
    """Channel name -> [N] p-values (NaN: undefined); combined strength [N], NaN where all are undefined."""
    if not channels:
        raise ValueError("no channels to combine")
    silent = np.all([np.isnan(p) for p in channels.values()], axis=0)
    total = np.sum([strength(p, settings) for p in channels.values()], axis=0)
    return np.where(silent, np.nan, total)


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
