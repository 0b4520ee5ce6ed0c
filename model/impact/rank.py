"""A view and what is known of a change in, every other file and unit with its score and chance out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codewm.model.impact.signals import F64, SIGNALS, Known, View, signals, thinness
from codewm.model.impact.unit_signals import UNIT_SIGNALS, UnitView, unit_signals
from codewm.model.impact.weights import chances, score_files, score_units

_TOGETHER, _SUPPORT = SIGNALS.index("together"), SIGNALS.index("support")
_UNIT_SUPPORT = UNIT_SIGNALS.index("support")


@dataclass(frozen=True)
class Ranked:
    """Files [F] or units [H], whether candidates or not."""

    rows: F64
    """[n, signals]"""
    thin: float
    scores: F64
    """[n] -inf for what is no candidate."""
    candidates: NDArray[np.bool_]
    shown: int
    """Files of the change."""

    @property
    def order(self) -> NDArray[np.int64]:
        """Candidates, best first."""
        found: NDArray[np.int64] = np.argsort(-self.scores, kind="stable")[: int(self.candidates.sum())]
        return found

    @cached_property
    def chances(self) -> F64:
        """[n] that each is among what is missing, if anything is."""
        return chances(self.scores, self.shown)


def rank_files(view: View, known: Known, among: NDArray[np.bool_] | None = None) -> Ranked:
    """Rank the Python files that exist and are not part of the change; `among` [F] narrows them down."""
    rows = signals(view, known)
    candidates = view.candidates.copy()
    candidates[known.files] = False
    if among is not None:
        candidates &= among
    thin = thinness(rows)
    return Ranked(
        rows, thin, np.where(candidates, score_files(rows, thin), -np.inf), candidates, len(known.files)
    )


def rank_units(view: UnitView, known: Known, files: Ranked) -> Ranked:
    """Rank the units that exist and are not part of the change; `files` is the ranking for the same change."""
    scores = score_files(files.rows, files.thin)
    rows = unit_signals(view, known, scores, files.rows[:, _TOGETHER])
    candidates = view.exists.copy()
    candidates[known.units] = False
    thin = float(np.exp(-rows[:, _UNIT_SUPPORT].max(initial=0.0)))
    return Ranked(
        rows, thin, np.where(candidates, score_units(rows, thin), -np.inf), candidates, len(known.files)
    )
