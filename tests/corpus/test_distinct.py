"""Claim: `distinct`, `is_among` and `shared` say what numpy's own functions say, and import no masked arrays."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from codewm.corpus.distinct import distinct, is_among, shared


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint64])
@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 5), (5, 0), (1, 1), (200, 3), (3, 200), (500, 500)])
def test_they_say_what_numpy_says(n: int, m: int, kind: type[np.generic]) -> None:
    rng = np.random.default_rng(n + 7 * m)
    for most in (2, 50, 1_000_000):
        a, b = (rng.integers(0, most, size).astype(kind) for size in (n, m))
        np.testing.assert_array_equal(distinct(a), np.unique(a), strict=True)
        np.testing.assert_array_equal(is_among(a, b), np.isin(a, b), strict=True)
        np.testing.assert_array_equal(shared(a, b), np.intersect1d(a, b), strict=True)


def test_no_masked_arrays_are_imported() -> None:
    code = (
        "import sys, numpy as np; from codewm.corpus.distinct import distinct, is_among, shared\n"
        "a = np.arange(9) % 4; distinct(a); is_among(a, a[:3]); shared(a, a[:3])\n"
        "sys.exit('numpy.ma' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
