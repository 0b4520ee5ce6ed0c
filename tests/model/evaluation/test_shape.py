"""Claims:

1. Of a cloud with k equal directions every rank is k, of one direction 1; unit rows that are not centred count their
   mean as a direction.
2. Ranks are those of numpy's singular values; shares, directions and isotropy those of numpy's covariance.
3. The isotropic cloud beside each figure is nearly isotropic, and a jackknife's interval holds the figure.
"""

from __future__ import annotations

import numpy as np
import pytest

from codewm.model.evaluation import shape


def entropy_rank(weights: np.ndarray) -> float:
    p = weights[weights > 1e-9 * weights.max()] / weights.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def test_equal_directions_are_counted() -> None:
    axes = np.eye(6, dtype=np.float32)[:4]
    x = np.concatenate([axes, -axes])
    assert all(value == pytest.approx(4) for value in shape.ranks(x).values())
    line = np.outer(np.linspace(-1, 1, 9), np.ones(6)).astype(np.float32)
    assert shape.ranks(line)["rank_entropy"] == pytest.approx(1)
    assert shape.ranks(line)["rank_squared"] == pytest.approx(1)
    far = x + np.array([0, 0, 0, 0, 0, 1e4], np.float32)
    assert shape.ranks(far)["rank_squared"] == pytest.approx(4)
    assert shape.ranks(far)["rank_uncentred"] == pytest.approx(1, abs=0.02)


def test_figures_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(400, 5)) * [5, 3, 2, 1, 0.5] + 1).astype(np.float32)
    found = shape.shape(x)
    wide = x.astype(np.float64)
    sigma = np.linalg.svd(wide - wide.mean(0), compute_uv=False)
    unit = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    assert found["rank_entropy"] == pytest.approx(entropy_rank(sigma), rel=1e-6)
    assert found["rank_squared"] == pytest.approx(entropy_rank(sigma**2), rel=1e-6)
    assert found["rank_uncentred"] == pytest.approx(
        entropy_rank(np.linalg.svd(unit, compute_uv=False)), rel=1e-6
    )
    values = np.sort(np.linalg.eigvalsh(np.cov(wide.T)))[::-1]
    assert found["top_share"] == pytest.approx(values[0] / values.sum(), rel=1e-6)
    share = np.cumsum(values) / values.sum()
    assert found["directions_95"] == int((share < 0.95).sum()) + 1
    assert found["directions_99"] == int((share < 0.99).sum()) + 1
    assert found["isotropy_eigenvalues"] == pytest.approx(values[-1] / values[0], rel=1e-5)
    spread = wide.var(0)
    assert found["isotropy_variances"] == pytest.approx(1 / (1 + spread.std() / spread.mean()), rel=1e-6)


def test_nothing_at_all_has_a_shape() -> None:
    found = shape.shape(np.ones((10, 3), np.float32))
    assert found["rank_entropy"] == 0
    assert found["mean_cosine"] == pytest.approx(1)
    assert all(np.isfinite(v) for v in found.values())


def test_rows_have_a_null_and_an_interval() -> None:
    x = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32) * np.array(
        [9, 1, 1, 1, 1, 1], np.float32
    )
    rows = {r.metric: r for r in shape.rows_of(x, np.arange(300) // 3, "made", "x_")}
    row = rows["x_rank_squared"]
    assert row.nulls["isotropic"] == pytest.approx(6, abs=0.2)
    assert row.interval is not None
    assert row.interval[0] < row.value < row.interval[1]
    assert row.value < 3
