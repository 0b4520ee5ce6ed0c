"""Values in; each of them once, those that are among others, or those that two share out.

`np.unique`, `np.isin` and `np.intersect1d` do the same. But they ask for numpy's masked arrays, whose import is a tenth
of the time of a short command, so that what such a command runs through is written with these.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


def distinct(values: NDArray[Scalar]) -> NDArray[Scalar]:
    """[n] numbers without NaN -> [m] each once, ascending."""
    ordered = np.sort(values, axis=None)
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def is_among(values: NDArray[Scalar], others: NDArray[Scalar]) -> NDArray[np.bool_]:
    """[n] whether each value is one of the others [m]."""
    known = np.sort(others)
    if not len(known):
        return np.zeros(len(values), np.bool_)
    at = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.asarray(known[at] == values, np.bool_)


def shared(values: NDArray[Scalar], others: NDArray[Scalar]) -> NDArray[Scalar]:
    """[m] what is in both, each once, ascending."""
    once = distinct(values)
    return once[is_among(once, others)]
