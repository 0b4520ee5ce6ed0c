"""Claims about `codewm.model.evaluation.stratified`:

1. The AUROC is the share of won pairs within strata, and under a resample that of the drawn rows with repetitions.
2. A score that follows from the stratum has 0.5; time and size strata are cut within repositories.
3. Average precision, catch rates and rank correlations are what their definitions say, resamples included.
4. What a score adds to lines added is positive for one that knows more, and near nothing for noise.
"""

from __future__ import annotations

import numpy as np
import pytest

from codewm.model.evaluation import stratified

pytest.importorskip("sklearn")
RNG = np.random.default_rng(4)


def _pairs(score: np.ndarray, up: np.ndarray, stratum: np.ndarray, weight: np.ndarray) -> float:
    """By its definition, pair by pair."""
    won = total = 0.0
    for i in np.flatnonzero(up):
        for j in np.flatnonzero(~up & (stratum == stratum[i])):
            pair = weight[i] * weight[j]
            won += pair * (1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0)
            total += pair
    return won / total if total else float("nan")


def test_auroc_is_the_share_of_won_pairs_of_a_stratum() -> None:
    n = 80
    score = RNG.integers(0, 12, n).astype(float)  # with ties
    up, stratum = RNG.random(n) < 0.3, RNG.integers(0, 5, n)
    weights = RNG.multinomial(n, np.full(n, 1 / n), size=6).astype(float)
    value, drawn = stratified.auroc(score, up, stratum, weights)
    assert value == pytest.approx(_pairs(score, up, stratum, np.ones(n)))
    assert drawn == pytest.approx([_pairs(score, up, stratum, w) for w in weights])
    of_stratum, _ = stratified.auroc(stratum.astype(float), up, stratum, weights)
    assert of_stratum == 0.5


def test_nothing_to_compare_is_no_number() -> None:
    up = np.array([True, True, False])
    value, drawn = stratified.auroc(np.arange(3.0), up, np.array([0, 0, 1]), np.ones((2, 3)))
    assert np.isnan(value)
    assert np.isnan(drawn).all()


def test_strata_are_of_a_repository() -> None:
    n = 400
    repository = np.repeat([0, 1], n // 2)
    time = np.concatenate([np.arange(n // 2), 10**6 + np.arange(n // 2)])
    up = RNG.random(n) < 0.2
    when = stratified.time_strata(time, repository, up)
    assert len(np.unique(when[repository == 0])) == len(np.unique(when[repository == 1])) == 5
    assert not set(when[repository == 0]) & set(when[repository == 1])
    # What happens late is told by the time alone, but for what is left of it inside a fifth.
    late = RNG.random(n) < np.where(np.tile(np.arange(n // 2), 2) >= 100, 0.4, 0.05)
    when = stratified.time_strata(time, repository, late)
    nothing = np.ones((0, n))
    assert stratified.auroc(time.astype(float), late, repository, nothing)[0] > 0.7
    assert abs(stratified.auroc(time.astype(float), late, when, nothing)[0] - 0.5) < 0.15
    size = stratified.size_strata(np.arange(n), repository, up)
    both = stratified.crossed(size, when)
    assert len(np.unique(both)) <= len(np.unique(size)) * 5
    for stratum in np.unique(both):
        rows = both == stratum
        assert len(np.unique(size[rows])) == len(np.unique(when[rows])) == 1


def test_closely_matched_is_what_it_says() -> None:
    lines, repository = RNG.integers(0, 3_000, 4_000), RNG.integers(0, 3, 4_000)
    lines[:300] = np.arange(300) % 12
    stratum = stratified.close_strata(lines, repository)
    for s in np.unique(stratum):
        rows = stratum == s
        assert len(np.unique(repository[rows])) == 1
        low, high = lines[rows].min(), lines[rows].max()
        assert low == high or (low > 5 and high < low * 1.25 + 1e-6)


def test_average_precision_and_catch_rates() -> None:
    score = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    up = np.array([True, False, True, False, False, False])
    value, drawn = stratified.auprc(score, up, np.array([[1.0, 1, 1, 1, 1, 1], [2, 0, 0, 1, 1, 1]]))
    assert value == pytest.approx((1 + 2 / 3) / 2)
    assert drawn == pytest.approx([value, 1.0])
    tied, _ = stratified.auprc(np.zeros(6), up, np.ones((0, 6)))
    assert tied == pytest.approx(2 / 6)
    rank = stratified.ranks_within(score, np.array([0, 0, 0, 1, 1, 1]))
    assert rank.tolist() == pytest.approx([1 / 6, 3 / 6, 5 / 6, 1 / 6, 3 / 6, 5 / 6])
    share, drawn = stratified.caught(rank, up, 0.5, np.array([[1.0, 1, 3, 1, 1, 1]]))
    assert (share, drawn.tolist()) == (0.5, [0.25])


def test_rank_correlation_within_repositories() -> None:
    n = 300
    repository = np.repeat([0, 1, 2], n // 3)
    lines = RNG.random(n)
    weights = RNG.multinomial(n, np.full(n, 1 / n), size=50).astype(float)
    same, drawn = stratified.spearman(lines * 3 + 10 * repository, lines, repository, weights)
    assert same == pytest.approx(1.0)
    assert drawn == pytest.approx(np.ones(50))
    assert stratified.spearman(-lines, lines, repository, weights)[0] == pytest.approx(-1.0)
    other, drawn = stratified.spearman(RNG.random(n), lines, repository, weights)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert low < other < high
    assert high - low < 0.4
    # Between repositories nothing is compared.
    assert abs(stratified.spearman(repository.astype(float), lines, repository, weights)[0]) < 1e-9


def test_what_a_score_adds_to_lines() -> None:
    n = 900
    repository = np.repeat([0, 1, 2], n // 3)
    lines = np.exp(RNG.normal(3, 1, n))
    hidden = RNG.normal(size=n)
    up = np.log(lines) + hidden + RNG.normal(size=n) > 4.5
    weights = RNG.multinomial(n, np.full(n, 1 / n), size=100).astype(float)
    found = stratified.added_value(lines, hidden, up, repository, weights)
    assert found is not None
    both, gain, drawn = found
    assert both > 0.8
    assert gain > 0.08
    assert np.quantile(drawn, 0.025) > 0
    noise = stratified.added_value(lines, RNG.normal(size=n), up, repository, weights)
    assert noise is not None
    assert abs(noise[1]) < 0.02
    assert stratified.added_value(lines, hidden, up, np.zeros(n, int), weights) is None
