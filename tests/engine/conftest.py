"""What the engine's tests share: one thread for torch, and weights that are computed once."""

from __future__ import annotations

import pytest

from tests.engine import oracle
from tests.engine.real_units import natural_units
from tests.one_thread import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="package")
def weights() -> oracle.Weights:
    """Random weights of realistic size, with state, target and reading fitted to real units."""
    shape = oracle.Shape()
    w = oracle.random_weights(shape, seed=1)
    oracle.fit_maps(w, shape, natural_units(1_000, seed=2))
    return w
