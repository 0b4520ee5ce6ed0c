"""This interpreter's own Python files in, token streams of real units of every length out."""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import codewm_core

Unit = NDArray[np.uint16]


def source_files(seed: int) -> list[Path]:
    """Python files of the standard library and of installed packages, shuffled."""
    roots = {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}
    files = sorted({f for root in roots for f in Path(root).rglob("*.py") if f.stat().st_size < 100_000})
    random.Random(seed).shuffle(files)
    return files


def natural_units(count: int, seed: int = 0, longest: int = 256) -> list[Unit]:
    """So many units as they come, longer ones cut to `longest` tokens."""
    units: list[Unit] = []
    for file in source_files(seed):
        units += [u.tokens[:longest] for u in codewm_core.units(file.read_bytes()) if len(u.tokens)]
        if len(units) >= count:
            break
    return units[:count]


def units_of_every_length(per_length: int = 2, seed: int = 0, window: int = 256) -> list[Unit]:
    """EMPTY, then `per_length` units of each length from 1 to `window`; heads of longer ones fill gaps."""
    pool = natural_units(8_000, seed, longest=100_000)
    by_length: dict[int, list[Unit]] = {}
    for unit in pool:
        by_length.setdefault(len(unit), []).append(unit)
    long = [u for u in pool if len(u) > window]
    chosen: list[Unit] = [np.array([codewm_core.EMPTY], dtype=np.uint16)]
    for length in range(1, window + 1):
        found = by_length.get(length, [])[:per_length]
        heads = [u[:length] for u in long[length : length + per_length - len(found)]]
        chosen += found + heads
    return chosen


def ragged(units: list[Unit]) -> tuple[Unit, NDArray[np.int64]]:
    """Units -> flat tokens and offsets [n + 1], as the engine takes them."""
    offsets = np.cumsum([0, *(len(u) for u in units)]).astype(np.int64)
    return (np.concatenate(units) if units else np.zeros(0, np.uint16)), offsets
