"""What each signal is worth: a score out of a row of evidence. Fitted by `fit.py` on training repositories only.

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
    "together": (2.209, -3.321),
    "confidence": (0.154, 0.404),
    "support": (-0.313, -1.357),
    "reverse": (0.766, 1.450),
    "lately": (0.590, 0.024),
    "alike": (0.330, -2.228),
    "units": (1.525, -2.508),
    "sibling": (0.045, 2.358),
    "active": (0.263, 0.101),
    "recency": (0.124, -0.046),
    "uses_changed": (0.392, -0.423),
    "defines_added": (0.857, -0.733),
    "uses_added": (1.875, -3.509),
    "imports_it": (0.404, 0.869),
    "is_imported": (0.355, 0.962),
    "vocabulary": (2.932, 1.290),
    "like_commits": (0.395, 2.004),
    "same_folder": (0.079, -0.559),
    "same_stem": (0.487, -0.834),
    "stem_words": (0.504, 2.822),
    "test_of": (-0.257, 1.900),
    "both_tests": (-0.680, 0.808),
    "is_test": (0.305, -0.706),
}
UNITS: Mapping[str, tuple[float, float]] = {
    "together": (2, 0),
    "confidence": (0.0, 0.0),
    "support": (0.0, 0.0),
    "lately": (0.0, 0.0),
    "active": (0.2, 0),
    "recency": (0.0, 0.0),
    "file": (0.0, 0.0),
    "same_file": (1, 0),
    "same_class": (0.0, 0.0),
    "same_file_active": (0.0, 0.0),
    "uses_changed": (0.0, 0.0),
    "changed_uses": (0.0, 0.0),
    "defines_added": (0.0, 0.0),
    "like_commits": (0.0, 0.0),
    "same_name": (0.0, 0.0),
    "words": (0.0, 0.0),
    "is_test": (0.0, 0.0),
    "both_tests": (0.0, 0.0),
    "is_module": (0.0, 0.0),
    "file_together": (0.0, 0.0),
}


def score(rows: F64, thin: float, weights: Mapping[str, tuple[float, float]], names: tuple[str, ...]) -> F64:
    """Evidence [n, len(names)] -> scores [n]."""
    return rows @ np.array([weights[name][0] + thin * weights[name][1] for name in names])


def score_files(rows: F64, thin: float) -> F64:
    """Evidence [F, len(SIGNALS)] -> scores [F]."""
    return score(rows, thin, FILES, SIGNALS)


def score_units(rows: F64, thin: float) -> F64:
    """Evidence [H, len(UNIT_SIGNALS)] -> scores [H]."""
    return score(rows, thin, UNITS, UNIT_SIGNALS)


CALIBRATION = (0.66, 0.67)
"""log odds that the first of a list is right, if anything is missing, from those of its share of exp(score)."""


def chances(scores: F64) -> F64:
    """Scores [n] -> the calibrated chance [n] that each is among what is missing, if anything is; -inf gives 0."""
    if not len(scores) or not np.isfinite(scores).any():
        return np.zeros(len(scores))
    odds = np.exp(scores - scores.max())
    share = np.clip(odds / odds.sum(), 1e-9, 1 - 1e-9)
    intercept, slope = CALIBRATION
    chance: F64 = 1 / (1 + np.exp(-(intercept + slope * np.log(share / (1 - share)))))
    return np.where(np.isfinite(scores), chance, 0.0)
