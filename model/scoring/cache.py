"""A `Past` in, `<data_dir>/calibration.safetensors` out, and back: why the second run and the hook are fast.

Schema `codewm.calibration/4`. It is only ever a copy of what the history says: anything wrong with it
(damage, another schema, another model) means that it is built again, never an error.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.atomic import replace_file
from codewm.corpus.history import Names
from codewm.model.packing import pack, unpack
from codewm.model.scoring.channels import CHANNELS, Edits
from codewm.model.scoring.ngrams import Grams, Lore
from codewm.model.scoring.past import Past
from codewm.model.scoring.syntax import SYNTAX_SIZE

SCHEMA = "codewm.calibration/4"
FILE_NAME = "calibration.safetensors"
_COLUMNS = (
    "commit", "size", "change", "kind", "test", "channels", "displacement", "length", "predicted", "net", "action",
)  # fmt: skip
_LORES = ("words", "syntax")
_STRINGS = ("oids", "subjects", "paths", "units")


class CacheDamagedError(Exception):
    """The file exists but cannot be used as it is."""


def save(path: Path, past: Past, key: str) -> bool:
    """Write the past for the model and settings that `key` names; False where the place is not writable."""
    arrays: dict[str, NDArray[np.generic]] = {name: getattr(past.edits, name) for name in _COLUMNS}
    arrays |= {
        "lines_added": past.lines_added,
        "path": past.path,
        "unit": past.unit,
        "start.hashes": past.start.hashes,
        "start.counts": past.start.counts,
        "gained": past.gained,
        "gained_in": past.gained_in,
    }
    for name in _LORES:
        lore: Lore = getattr(past, name)
        arrays |= {f"{name}.keys": lore.start.keys, f"{name}.counts": lore.start.counts}
        arrays |= {f"{name}.gained": lore.gained, f"{name}.gained_in": lore.gained_in}
    strings = {name: getattr(past, name) for name in _STRINGS}
    said = {"key": key, "from_root": past.from_root, "source": past.source, "channels": list(CHANNELS)}
    return replace_file(path, pack(arrays, SCHEMA, said | strings))


def load(path: Path, key: str) -> Past | None:
    """Read the past back; None where there is none for `key`. Raises `CacheDamagedError`."""
    try:
        found = unpack(path.read_bytes(), SCHEMA)
        if found is None or found[1]["key"] != key or found[1]["channels"] != list(CHANNELS):
            return None
        past = _past(*found)
    except OSError:
        return None  # nothing there, or nothing that may be read
    except (KeyError, ValueError, TypeError, AttributeError) as e:
        raise CacheDamagedError(str(e)) from e
    return past


def _past(arrays: dict[str, NDArray[np.generic]], meta: dict[str, object]) -> Past:
    strings = {name: meta[name] for name in _STRINGS}
    if not all(isinstance(v, list) and set(map(type, v)) <= {str} for v in strings.values()):
        raise ValueError("string tables are not lists of strings")
    edits = Edits(row=np.arange(len(arrays["commit"])), **{name: arrays[name] for name in _COLUMNS})  # type: ignore[arg-type]
    past = Past(
        edits=edits,
        lines_added=arrays["lines_added"],  # type: ignore[arg-type]
        path=arrays["path"],  # type: ignore[arg-type]
        unit=arrays["unit"],  # type: ignore[arg-type]
        start=Names(arrays["start.hashes"], arrays["start.counts"]),  # type: ignore[arg-type]
        gained=arrays["gained"],  # type: ignore[arg-type]
        gained_in=arrays["gained_in"],  # type: ignore[arg-type]
        words=_lore(arrays, "words"),
        syntax=_lore(arrays, "syntax"),
        from_root=bool(meta["from_root"]),
        source=str(meta["source"]),
        **strings,  # type: ignore[arg-type]
    )
    _check(past)
    return past


def _lore(arrays: dict[str, NDArray[np.generic]], name: str) -> Lore:
    start = Grams(arrays[f"{name}.keys"], arrays[f"{name}.counts"])  # type: ignore[arg-type]
    return Lore(start, arrays[f"{name}.gained"], arrays[f"{name}.gained_in"])  # type: ignore[arg-type]


def _check(past: Past) -> None:
    """Refuse arrays that do not fit together: an index out of range would surface far from here."""
    n, c, edits = len(past.edits), len(past.oids), past.edits
    columns = [getattr(edits, name) for name in _COLUMNS] + [past.path, past.unit]
    fits = (
        all(len(column) == n for column in columns)
        and edits.channels.shape == (n, len(CHANNELS))
        and edits.displacement.ndim == 2
        and len(past.subjects) == len(past.lines_added) == c
        and len(past.gained) == len(past.gained_in)
        and len(past.start.hashes) == len(past.start.counts)
        and edits.net.shape == (n, SYNTAX_SIZE)
        and edits.action.ndim == 2
        and all(_fits(lore, c) for lore in (past.words, past.syntax))
        and all(_within(index, size) for index, size in (
            (edits.commit, c), (past.gained_in, c), (past.path, len(past.paths)),
            (past.unit, len(past.units)), (edits.kind, 4), (edits.change, 3)))
        and not np.any(np.diff(edits.commit) < 0)
        and not np.any(past.start.hashes[1:] <= past.start.hashes[:-1])
    )  # fmt: skip
    if not fits:
        raise ValueError("its parts do not fit together")


def _fits(lore: Lore, commits: int) -> bool:
    return (
        len(lore.start.keys) == len(lore.start.counts)
        and len(lore.gained) == len(lore.gained_in)
        and _within(lore.gained_in, commits)
        and not np.any(np.diff(lore.gained_in) < 0)
        and lore.start.keys.dtype == lore.gained.dtype == np.uint64
        and lore.start.counts.dtype == np.uint32
    )


def _within(index: NDArray[np.generic], size: int) -> bool:
    return len(index) == 0 or bool(index.min() >= 0 and index.max() < size)
