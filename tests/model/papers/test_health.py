"""Claims:

1. Looked up among the next states, the truth itself is found at once, a vector without direction halfway, an opposite
   last; the share found by chance at k is k of n.
2. The same state under two edits is no wrong answer for either.
"""

from __future__ import annotations

import numpy as np
import pytest

from codewm.model.papers.health import AT, nearest


def test_what_is_looked_up_is_found() -> None:
    rng = np.random.default_rng(0)
    n = 400
    after = rng.standard_normal((n, 8)).astype(np.float32)
    queries = {"": 3 * after, "opposite": -after, "zero": np.zeros_like(after)}
    queries["random"] = rng.standard_normal((n, 8)).astype(np.float32)
    found = nearest(after, np.arange(n), queries)
    assert set(found) == {f"{name}knn_at_{k}" for name in ("", "opposite_", "zero_", "random_") for k in AT}
    for k in AT:
        assert found[f"knn_at_{k}"] == 1
        assert found[f"opposite_knn_at_{k}"] == 0
        assert found[f"zero_knn_at_{k}"] == 0, "a tie with all others is the middle, not a hit"
        assert found[f"random_knn_at_{k}"] == pytest.approx(k / n, abs=0.02)


def test_a_state_is_no_rival_of_itself() -> None:
    after = np.eye(4, dtype=np.float32)[[0, 0, 0, 1]]
    assert nearest(after, np.array([5, 5, 5, 7]), {"": after})["knn_at_1"] == 1
    assert nearest(after, np.arange(4), {"": after})["knn_at_1"] == 0.25
