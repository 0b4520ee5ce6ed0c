"""Claims:

1. Each figure of a ranked list is what its definition says, worked out by hand.
2. What chance is said to get is what random orders get, and, of many candidates, the papers' class prior.
3. A scorer that cannot tell gets what chance gets, whatever the order of the gallery; who may not answer never does.
"""

from __future__ import annotations

import numpy as np
import pytest

from codewm.model.evaluation import retrieved
from codewm.model.evaluation.retrieved import DEPTH, METRICS, chance, measures, top


def test_figures_by_hand() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.1], [0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]])
    relevant = np.array([[False, True, False, True], [True, False, False, False], [False] * 4])
    found = top(scores, np.ones((3, 4), bool), np.random.default_rng(0))
    assert found[0, :4].tolist() == [0, 1, 2, 3]
    assert found[1, :4].tolist() == [3, 2, 1, 0]
    assert (found[:, 4:] == -1).all()
    got = measures(found, relevant)
    assert set(got) == set(METRICS)
    assert got["reciprocal_rank_at_10"][:2].tolist() == [1 / 2, 1 / 4]
    assert got["precision_at_1"][:2].tolist() == [0, 0]
    assert got["precision_at_10"][:2].tolist() == [0.2, 0.1]
    assert got["hit_at_10"][:2].tolist() == [1, 1]
    ideal = 1 + 1 / np.log2(3)
    assert got["ndcg_at_10"][0] == pytest.approx((1 / np.log2(3) + 1 / np.log2(5)) / ideal)
    assert got["ndcg_at_10"][1] == pytest.approx(1 / np.log2(5))
    assert all(np.isnan(values[2]) for values in got.values())


def test_the_eleventh_does_not_count() -> None:
    scores = -np.arange(20.0)[None]
    relevant = np.zeros((1, 20), bool)
    relevant[0, 10] = True
    got = measures(top(scores, np.ones((1, 20), bool), np.random.default_rng(0)), relevant)
    assert all(values[0] == 0 for values in got.values())


@pytest.mark.parametrize(("relevant", "candidates"), [(1, 10), (3, 12), (5, 7), (4, 4), (20, 60)])
def test_chance_is_what_random_orders_get(relevant: int, candidates: int) -> None:
    rng = np.random.default_rng(1)
    trials = 20_000
    mask = np.zeros((trials, candidates + 2), bool)
    mask[:, :relevant] = True
    allowed = np.ones(mask.shape, bool)
    allowed[:, candidates:] = False
    got = measures(top(rng.random(mask.shape), allowed, rng), mask)
    said = chance(np.array([relevant]), np.array([candidates]))
    for metric in METRICS:
        assert said[metric][0] == pytest.approx(got[metric].mean(), abs=0.012), metric


def test_chance_in_closed_form() -> None:
    nine = chance(np.array([1]), np.array([10]))["reciprocal_rank_at_10"][0]
    assert nine == pytest.approx(sum(1 / j for j in range(1, 11)) / 10)  # 0.293, as CodeWM-1's table 7 says
    p = 0.3
    papers = sum(p * (1 - p) ** (j - 1) / j for j in range(1, DEPTH + 1))
    many = chance(np.array([300_000]), np.array([1_000_000]))["reciprocal_rank_at_10"][0]
    assert many == pytest.approx(papers, abs=1e-5)
    assert np.isnan(chance(np.array([0]), np.array([5]))["ndcg_at_10"][0])


def test_ties_get_what_chance_gets() -> None:
    relevant = np.zeros((4_000, 30), bool)
    relevant[:, :3] = True  # all at the front: an order that is kept would find them
    allowed = np.ones(relevant.shape, bool)
    got = measures(top(np.full(relevant.shape, 0.25), allowed, np.random.default_rng(2)), relevant)
    said = chance(np.array([3]), np.array([30]))
    for metric in METRICS:
        assert got[metric].mean() == pytest.approx(said[metric][0], abs=0.02)


def test_who_may_not_answer_never_does() -> None:
    rng = np.random.default_rng(3)
    allowed = rng.random((50, 40)) < 0.2
    found = top(rng.random((50, 40)), allowed, rng)
    rows, places = np.nonzero(found >= 0)
    assert allowed[rows, found[rows, places]].all()
    assert ((found >= 0).sum(1) == np.minimum(allowed.sum(1), retrieved.DEPTH)).all()
