"""Claims about combining:

1. A channel that is undefined contributes nothing, and one at p = 1 next to nothing.
2. Evidence grows when any p-value falls, by the channel's weight; one loud channel is enough. A channel at large p is
   a little evidence against.
3. The score of a commit is its most surprising unit, corrected for their number: with uniform p-values it
   does not grow with the number of units.
4. A commit without scored units has no score; a tiny p-value is not lost in the correction.
"""

from __future__ import annotations

import numpy as np

from codewm.model.scoring.channels import CHANNELS
from codewm.model.scoring.combine import evidence, per_commit, posterior, surprise
from codewm.model.scoring.settings import CombineSettings

SETTINGS = CombineSettings()
UNKNOWN = np.array([np.nan])


def test_an_undefined_channel_contributes_nothing() -> None:
    p = np.array([0.001, 0.2, 1.0])
    alone = evidence({"doubt": p}, SETTINGS)
    np.testing.assert_array_equal(evidence({"doubt": p, "shape": np.full(3, np.nan)}, SETTINGS), alone)
    assert np.isnan(evidence({"doubt": UNKNOWN, "shape": UNKNOWN}, SETTINGS)[0])
    assert posterior(evidence({"doubt": np.array([1.0])}, SETTINGS))[0] < SETTINGS.prior


def test_either_channel_is_enough() -> None:
    def both_of(a: float, b: float) -> float:
        p = {"new_identifiers": np.array([a]), "doubt": np.array([b])}
        return float(posterior(evidence(p, SETTINGS))[0])

    quiet, one, other, both = both_of(0.5, 0.5), both_of(1e-6, 0.5), both_of(0.5, 1e-6), both_of(1e-6, 1e-6)
    assert quiet < 0.1 < 0.7 < other < one < both < 1  # names weigh more than doubt
    assert both_of(0.5, 1.0) < quiet
    # Beyond the floor of the tail nothing is gained.
    assert both_of(1e-30, 0.5) == one


def test_every_channel_has_a_weight() -> None:
    assert [name for name, _ in SETTINGS.weights] == list(CHANNELS)
    assert all(0 < weight < 1 for _, weight in SETTINGS.weights)


def test_many_ordinary_units_are_ordinary() -> None:
    rng = np.random.default_rng(0)
    units = np.repeat([1, 5, 50], 400)
    commit = np.repeat(np.arange(len(units)), units)
    score = per_commit(rng.uniform(size=len(commit)), commit, len(units), SETTINGS)
    medians = [np.median(score[units == m]) for m in (1, 5, 50)]
    assert max(medians) < 1.3 * min(medians)
    strange = per_commit(np.array([1e-9, *np.full(49, 0.5)]), np.zeros(50, int), 1, SETTINGS)
    assert surprise(strange)[0] > 0.9


def test_no_units_no_score_and_no_underflow() -> None:
    score = per_commit(np.array([1e-200, 1e-100, np.nan]), np.array([0, 2, 3]), 4, SETTINGS)
    assert np.isnan(score[1])
    assert np.isnan(score[3])
    assert score[0] > score[2] > 30
    assert surprise(score)[2] == 1
