"""Rows of evidence in, scores out: what each signal is worth, fitted on training repositories alone.

By benches/impact_weights.py:

    score(g) = sum_i x_i(g) * (w_i + thin * v_i)

where thin is 1 when nothing is known of what the change's files change with, and falls to 0 as their past grows
(`signals.thinness`): names and paths count for more there. exp(score) is proportional to the chance that g is
what is missing (a conditional logit; McFadden 1974), so that a difference of 0.7 is a factor of two.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from codewm.model.impact.signals import F64, SIGNALS
from codewm.model.impact.unit_signals import UNIT_SIGNALS

FILES: Mapping[str, tuple[float, float]] = {
    "together": (2.143, -3.034),
    "confidence": (0.133, 0.476),
    "support": (-0.338, -1.359),
    "reverse": (0.824, 0.871),
    "lately": (0.736, -0.119),
    "alike": (0.246, -1.818),
    "units": (1.697, -3.395),
    "sibling": (0.233, 2.041),
    "active": (0.290, 0.077),
    "recency": (0.117, -0.069),
    "uses_changed": (0.415, -0.452),
    "defines_added": (0.852, -0.686),
    "uses_added": (1.965, -3.209),
    "imports_it": (0.331, 0.619),
    "is_imported": (0.328, 0.843),
    "vocabulary": (2.804, 2.190),
    "like_commits": (0.570, 1.657),
    "same_folder": (0.089, -0.569),
    "same_stem": (0.543, -1.178),
    "stem_words": (0.435, 2.865),
    "test_of": (-0.257, 2.263),
    "both_tests": (-0.646, 0.470),
    "is_test": (0.300, -0.505),
}
UNITS: Mapping[str, tuple[float, float]] = {
    "together": (2.867, -5.301),
    "confidence": (0.095, 0.024),
    "support": (-0.007, 0.714),
    "lately": (0.727, 0.103),
    "active": (-0.048, 0.052),
    "recency": (0.076, 0.011),
    "file": (0.203, 0.104),
    "same_file": (1.442, 1.342),
    "same_class": (-0.013, 0.059),
    "same_file_active": (0.061, 0.005),
    "uses_changed": (0.254, 0.257),
    "changed_uses": (-0.280, 1.371),
    "defines_added": (-0.184, 0.691),
    "like_commits": (-0.284, 2.280),
    "same_name": (0.595, -1.061),
    "words": (0.274, 0.993),
    "is_test": (-0.118, -0.346),
    "both_tests": (0.259, -0.885),
    "is_module": (0.266, 0.715),
    "file_together": (0.172, 1.251),
}


def score(rows: F64, thin: float, weights: Mapping[str, tuple[float, float]], names: tuple[str, ...]) -> F64:
    """Evidence [n, len(names)] -> scores [n]."""
    scores: F64 = rows @ np.array([weights[name][0] + thin * weights[name][1] for name in names])
    return scores


def score_files(rows: F64, thin: float) -> F64:
    """Evidence [F, len(SIGNALS)] -> scores [F]."""
    return score(rows, thin, FILES, SIGNALS)


def score_units(rows: F64, thin: float) -> F64:
    """Evidence [H, len(UNIT_SIGNALS)] -> scores [H]."""
    return score(rows, thin, UNITS, UNIT_SIGNALS)


CALIBRATION = (1.06, 0.72, -0.66)
"""Log odds that one of the first of a list is right, if anything is missing: intercept, and what they gain with the
log odds of its share of exp(score), and with the log of the number of files shown.
"""


def chances(scores: F64, shown: int) -> F64:
    """Scores [n] -> the calibrated chance [n] that each is among what is missing, if anything is; -inf gives 0.

    `shown` is the number of files of the change.
    """
    if not len(scores) or not np.isfinite(scores).any():
        return np.zeros(len(scores))
    odds = np.exp(scores - scores.max())
    share = np.clip(odds / odds.sum(), 1e-9, 1 - 1e-9)
    intercept, slope, more = CALIBRATION
    log_odds = intercept + slope * np.log(share / (1 - share)) + more * np.log(max(shown, 1))
    return np.where(np.isfinite(scores), 1 / (1 + np.exp(-log_odds)), 0.0)
