"""Claims:

1. R2: the truth scores 1, the mean of the set 0, the copy 1 - sum|d|^2 / sum|d - mean|^2.
2. Nearer-than-copy, prefers-truth and delta cosine equal their definitions; a zero prediction scores 0 in each.
3. Effective ranks of known spectra: k equal directions have rank k in both definitions; an unequal spectrum has the
   exponent of its entropy; a constant offset does not count.
4. Off-diagonal cosine equals the mean over all pairs.
5. The bootstrap resamples commits: edits of one commit stand and fall together, and a null that is the model itself
   has the margin [0, 0], so it is never beaten.
6. The linear null recovers a linear world; the shuffled action gives no edit its own.
7. What a model reads under its nulls is read where their actions say, of the edits' own states, each encoded once.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from codewm.model import diagnostics
from codewm.model.evaluation import metrics, nulls

rng = np.random.default_rng(0)


def some(n: int = 60, dim: int = 5, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def test_r2() -> None:
    d = some() + 1
    assert metrics.displacement_r2(d, d) == 1
    assert metrics.displacement_r2(np.repeat(d.mean(0)[None], 60, 0), d) == pytest.approx(0, abs=1e-6)
    spread = np.square(d - d.mean(0)).sum()
    assert metrics.displacement_r2(np.zeros_like(d), d) == pytest.approx(
        1 - np.square(d).sum() / spread, rel=1e-5
    )


def test_per_edit_figures() -> None:
    d = np.array([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]], np.float32)
    d_hat = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]], np.float32)
    z = np.array([[0.0, 3.0]] * 3, np.float32)
    assert metrics.nearer_than_copy(d_hat, d).tolist() == [1, 0, 0]
    assert metrics.delta_cosine(d_hat, d).tolist() == [1, -1, 0]
    # (1, 3) is nearer in angle to (0, 3) than to (2, 3)? 18.4 degrees against 15.3: it prefers the truth.
    assert metrics.prefers_truth_to_copy(d_hat, d, z).tolist() == [1, 0, 0]


@pytest.mark.parametrize("k", [1, 3, 6])
def test_rank_of_equal_directions(k: int) -> None:
    x = np.zeros((2 * k, 8))
    for i in range(k):
        x[2 * i, i], x[2 * i + 1, i] = 1, -1
    assert diagnostics.effective_ranks(x + 7.0) == pytest.approx((k, k))


def test_rank_of_an_unequal_spectrum() -> None:
    x = np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    for rank, weights in zip(diagnostics.effective_ranks(x), ([0.75, 0.25], [0.9, 0.1]), strict=True):
        assert rank == pytest.approx(math.exp(-sum(w * math.log(w) for w in weights)))


def test_off_diagonal_cosine() -> None:
    x = some(9)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = [float(unit[i] @ unit[j]) for i in range(9) for j in range(9) if i != j]
    assert diagnostics.off_diagonal_cosine(x) == pytest.approx(np.mean(pairs), rel=1e-4)
    assert diagnostics.off_diagonal_cosine(np.ones((4, 3), np.float32)) == pytest.approx(1)


def test_table_and_its_margins() -> None:
    d = some(200)
    d_hat = d + 0.5 * some(200, seed=2)
    commit = np.repeat(np.arange(50), 4)
    others = {"copy": np.zeros_like(d), "itself": d_hat}
    rows = {r.metric: r for r in metrics.table(d_hat, d, some(200, seed=3), commit, others, resamples=200)}
    r2 = rows["displacement_r2"]
    assert r2.interval is not None
    assert r2.interval[0] < r2.value < r2.interval[1]
    assert r2.beats == ["copy"]
    assert r2.margins["itself"] == (0, 0)
    assert rows["delta_cosine"].beats == ["copy"]
    assert rows["predictor_rank_squared"].nulls["true"] == pytest.approx(diagnostics.effective_ranks(d)[1])
    assert r2.n == 200


def test_bootstrap_matches_a_direct_resample() -> None:
    d, commit = some(30), np.repeat(np.arange(10), 3)
    boot = metrics.Bootstrap(commit, 20)
    for r in range(20):
        chosen = np.repeat(np.arange(30), boot.weights[r].astype(int)[commit])
        assert boot.mean(d[:, 0].astype(np.float64))[r] == pytest.approx(d[chosen, 0].mean(), rel=1e-4)
        spread = np.square(d[chosen] - d[chosen].mean(0)).sum()
        assert boot.spread(d)[r] == pytest.approx(spread, rel=1e-4)


def test_edits_that_do_not_move_are_left_out() -> None:
    d = some(40)
    d[::2] = 0
    rows = metrics.table(d, d, some(40, seed=3), np.arange(40), {}, resamples=10)
    assert {r.n for r in rows} == {20}


def test_the_linear_null_recovers_a_linear_world() -> None:
    z, action = some(500), some(500, 3, seed=4)
    d = (z @ some(5, 5, seed=5) + action @ some(3, 5, seed=6) + 1).astype(np.float32)
    kinds = np.arange(500) % 2
    predicted = nulls.linear_map(
        (z[:300], action[:300], d[:300], kinds[:300]),
        (z[300:400], action[300:400], d[300:400], kinds[300:400]),
        (z[400:], action[400:], kinds[400:]),
    )
    assert metrics.displacement_r2(predicted, d[400:]) > 0.999


def test_the_shuffled_action_is_never_ones_own() -> None:
    action = np.arange(50, dtype=np.float32)[:, None]
    given = nulls.shuffled(action)
    assert not (given == action).any()
    assert sorted(given[:, 0].tolist()) == action[:, 0].tolist()
    told = nulls.told(action)
    assert list(told) == ["", "zero_action", "shuffled_action"]
    assert told[""] is action
    assert not told["zero_action"].any()
    assert told["zero_action"].shape == action.shape
    assert np.array_equal(told["shuffled_action"], given)
    assert nulls.told(action, action + 1)["shuffled_action"][0] == 1


def test_nulls_read_where_their_actions_say() -> None:
    asked: list[tuple[np.ndarray, np.ndarray]] = []

    def read(edited: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append((edited, action))
        return np.zeros((9, 4), np.float32), np.stack([edited, action[:, 0]], 1).astype(np.float32)

    action = np.arange(1, 6, dtype=np.float32)[:, None]
    edited = np.array([8, 3, 3, 0, 1])
    told = nulls.told(action)
    f, found = nulls.read_told(read, edited, told)
    assert len(asked) == 1, "every state is encoded once"
    assert f.shape == (9, 4)
    for name, given in told.items():
        assert found[name][:, 0].tolist() == edited.tolist()
        assert np.array_equal(found[name][:, 1:], given)
