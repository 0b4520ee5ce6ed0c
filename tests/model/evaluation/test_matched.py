"""Claims:

1. A score that is a function of lines added (up to the exact range), or of the stratum, has exactly 0.5, in every
   resample; raw, it would look good.
2. A score that separates has 1, its opposite 0, a constant 0.5.
3. Nothing is compared across repositories, strata, or within a commit; all else is.
4. Value and resamples equal a direct count.
"""

from __future__ import annotations

import numpy as np
import pytest

from codewm.model.evaluation.matched import EXACT, auroc, pairs, strata
from codewm.model.evaluation.metrics import Bootstrap


def some(n: int = 300, most: int = 60, seed: int = 0) -> dict[str, np.ndarray]:
    """Suspects add more lines than ordinary edits."""
    rng = np.random.default_rng(seed)
    suspect = rng.random(n) < 0.4
    lines = np.minimum(rng.geometric(0.2, n) - 1 + 2 * suspect, most)
    return {
        "suspect": suspect, "lines": lines, "repository": rng.integers(3, size=n), "commit": rng.integers(90, size=n),
    }  # fmt: skip


def measure(world: dict[str, np.ndarray], *scores: np.ndarray, resamples: int = 30) -> tuple:
    stratum = strata(world["lines"], world["repository"], ~world["suspect"])
    compared = pairs(
        np.flatnonzero(world["suspect"]), np.flatnonzero(~world["suspect"]), stratum, world["commit"]
    )
    bootstrap = Bootstrap(world["commit"], resamples)
    return (*auroc(np.stack(scores, 1).astype(float), compared, bootstrap, slice(None)), compared, stratum)


def test_size_cannot_win() -> None:
    few = some(most=EXACT)
    raw = np.mean(few["lines"][few["suspect"]][:, None] > few["lines"][~few["suspect"]][None])
    assert raw > 0.55
    value, drawn, *_ = measure(few, few["lines"], -few["lines"], few["lines"] ** 2)
    assert value.tolist() == [0.5] * 3
    assert np.allclose(drawn, 0.5)
    many = some(most=10_000)
    stratum = strata(many["lines"], many["repository"], ~many["suspect"])
    value, drawn, *_ = measure(many, np.sin(stratum))
    assert value.tolist() == [0.5]
    assert np.allclose(drawn, 0.5)


def test_what_separates() -> None:
    world = some()
    noise = np.random.default_rng(1).random(300)
    value, drawn, *_ = measure(world, world["suspect"] + noise, -(world["suspect"] + noise), 0 * noise)
    assert value.tolist() == [1, 0, 0.5]
    assert np.allclose(drawn, [1, 0, 0.5])


def test_who_is_compared() -> None:
    world = some()
    *_, compared, stratum = measure(world, world["lines"])
    made = set(zip(compared.suspect.tolist(), compared.ordinary.tolist(), strict=True))
    assert len(made) == len(compared)
    for i in range(300):
        for j in range(300):
            alike = (
                world["suspect"][i] and not world["suspect"][j] and world["commit"][i] != world["commit"][j]
                and world["repository"][i] == world["repository"][j] and stratum[i] == stratum[j]
            )  # fmt: skip
            assert ((i, j) in made) == alike
    small = (world["lines"][compared.suspect] <= EXACT) | (world["lines"][compared.ordinary] <= EXACT)
    assert (world["lines"][compared.suspect] == world["lines"][compared.ordinary])[small].all()


def test_it_is_a_plain_count() -> None:
    world = some(80)
    score = np.round(np.random.default_rng(3).random(80), 1)
    value, drawn, compared, _ = measure(world, score)
    bootstrap = Bootstrap(world["commit"], 30)
    won = [
        1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0
        for i, j in zip(compared.suspect, compared.ordinary, strict=True)
    ]
    assert value[0] == pytest.approx(np.mean(won))
    weight = bootstrap.weights[7][bootstrap.of]
    weights = weight[compared.suspect] * weight[compared.ordinary]
    assert drawn[7, 0] == pytest.approx(np.average(won, weights=weights))
