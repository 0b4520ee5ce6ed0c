"""A `Past` in, `<data_dir>/impact.safetensors` out, and back: why the second `codewm impact` is fast.

Schema `codewm.impact-past/2`. It is only ever a copy of what Git and the chains say: anything wrong with it means
that it is read again from there, never an error.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.atomic import replace_file
from codewm.model.impact.past import Past
from codewm.model.packing import pack, unpack
from codewm_core import TOKENIZER_ID

SCHEMA = "codewm.impact-past/2"
FILE_NAME = "impact.safetensors"
_TEXTS = ("oids", "paths", "names", "units")
_TUPLES = {"changed": 2, "named": 3, "edits": 5, "mentions": 5}


class CacheDamagedError(Exception):
    """The file exists but cannot be used as it is."""


def save(path: Path, past: Past) -> bool:
    """Write the past; False where the place is not writable."""
    arrays: dict[str, NDArray[np.generic]] = {"times": past.times}
    for name, parts in _TUPLES.items():
        for i in range(parts):
            arrays[f"{name}.{i}"] = getattr(past, name)[i]
    texts = {name: getattr(past, name) for name in _TEXTS}
    flags = {"whole": past.whole, "source": past.source, "shallow": past.shallow}
    return replace_file(path, pack(arrays, SCHEMA, {"tokenizer": TOKENIZER_ID, **flags, **texts}))


def load(path: Path) -> Past | None:
    """Read the past back; None where there is none of this kind. Raises `CacheDamagedError`."""
    try:
        found = unpack(path.read_bytes(), SCHEMA)
        if found is None or found[1]["tokenizer"] != TOKENIZER_ID:
            return None
        arrays, meta = found
        texts = {name: meta[name] for name in _TEXTS}
        if not all(isinstance(v, list) and set(map(type, v)) <= {str} for v in texts.values()):
            raise ValueError("string tables are not lists of strings")
        tuples = {k: tuple(arrays[f"{k}.{i}"] for i in range(n)) for k, n in _TUPLES.items()}
        flags = {
            "whole": bool(meta["whole"]),
            "source": str(meta["source"]),
            "shallow": bool(meta["shallow"]),
        }
        past = Past(times=arrays["times"], **flags, **texts, **tuples)  # type: ignore[arg-type]
        _check(past)
    except OSError:
        return None  # nothing there, or nothing that may be read
    except (KeyError, ValueError, TypeError, AttributeError) as e:
        raise CacheDamagedError(str(e)) from e
    return past


def _check(past: Past) -> None:
    """Refuse arrays that do not fit together: an index out of range would surface far from here."""
    c, p, v, u = len(past), len(past.paths), len(past.names), len(past.units)
    columns = [*past.changed, *past.named, *past.edits[:4], *past.mentions[:4]]
    if any(column.dtype != np.int32 or column.ndim != 1 for column in columns):
        raise ValueError("a column is of another type")
    for name in _TUPLES:
        if len({len(column) for column in getattr(past, name)}) != 1:
            raise ValueError(f"columns of {name} have different lengths")
    files = int(past.named[1].max(initial=-1)) + 1
    chains = int(past.edits[2].max(initial=-1)) + 1
    fits = (
        len(past.times) == c
        and past.edits[4].dtype == np.bool_
        and past.mentions[4].dtype == np.uint8
        and all(_within(index, low, high) for index, low, high in (
            (past.changed[0], 0, c), (past.changed[1], 0, files), (past.named[0], -1, c), (past.named[1], 0, files),
            (past.named[2], -1, p), (past.edits[0], 0, c), (past.edits[1], 0, files), (past.edits[2], 0, chains),
            (past.edits[3], 0, u), (past.mentions[0], 0, c), (past.mentions[1], 0, files),
            (past.mentions[2], 0, chains), (past.mentions[3], 0, v)))
        and not any(np.any(np.diff(t[0]) < 0) for t in (past.changed, past.named, past.edits, past.mentions))
    )  # fmt: skip
    if not fits:
        raise ValueError("its parts do not fit together")


def _within(index: NDArray[np.generic], low: int, high: int) -> bool:
    return len(index) == 0 or bool(index.min() >= low and index.max() < high)
