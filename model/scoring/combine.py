"""P-values of channels in, the surprise of a unit and of a commit out.

unit:    noisy-or over its channels, 1 - prod_c (1 - q_c), where q_c is the posterior that the edit is unusual
         given that channel's p-value: ordinary edits have uniform p, unusual ones Beta(a, 1), so
         q = w a p^(a-1) / (w a p^(a-1) + 1 - w) with prior w. [Sellke, Bayarri, Berger 2001, sec. 2]
         Several channels can each speak; a channel that is undefined has q = 0 and says nothing.
commit:  the highest surprise of its units. One strange function is enough, and a hundred ordinary ones are
not;
         that more units have a higher maximum is taken out afterwards, by comparing the commit with past
         commits of its size (`calibrate`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from codewm.model.scoring.settings import CombineSettings

Floats = NDArray[np.float64]


def posterior(p: Floats, settings: CombineSettings) -> Floats:
    """[N] p-values (NaN: undefined) -> [N] probability of 'unusual', 0 where undefined."""
    a, w = settings.alternative, settings.prior
    likelihood = w * a * np.power(np.where(np.isnan(p), 1.0, p), a - 1.0)
    return np.where(np.isnan(p), 0.0, likelihood / (likelihood + 1.0 - w))


def noisy_or(channels: Mapping[str, Floats], settings: CombineSettings) -> Floats:
    """Channel name -> [N] p-values (NaN: undefined), combined to [N] surprise in [0, 1)."""
    quiet: Floats | None = None
    for p in channels.values():
        q = 1.0 - posterior(p, settings)
        quiet = q if quiet is None else quiet * q
    if quiet is None:
        raise ValueError("no channels to combine")
    return np.asarray(1.0 - quiet, dtype=np.float64)


def per_commit(surprise: Floats, commit: NDArray[np.integer], commits: int) -> Floats:
    """[N] unit surprises and their commit index -> [C] highest per commit; NaN without scored units."""
    out = np.full(commits, -np.inf)
    known = ~np.isnan(surprise)
    np.maximum.at(out, commit[known], surprise[known])
    return np.where(np.isinf(out), np.nan, out)
