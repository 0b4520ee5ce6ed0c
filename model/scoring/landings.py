"""Edits in, where each one landed, where it was said to land and how much it is doubted out: computed, or recalled.

That takes most of the time of a run, and depends on nothing but the model, the tokens before and after, and the
action. So the latest ones are kept in `<data_dir>/landings.safetensors` under a hash of these, and a range that is
scored again, or holds what the hook has seen, asks the model about nothing but the new edits. What the model says of
an edit does not depend on the edits beside it (a test says so): a kept landing is the computed one, to the bit.
A file that is damaged, or of another model, knows nothing.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.atomic import replace_file
from codewm.model.packing import pack, unpack
from codewm_core import _core

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.engine_model import ScoringModel

F32 = NDArray[np.float32]
Landings = tuple[F32, ...]
"""Actual [n, K] and predicted [n, K] displacements, and the critic's doubt [n]."""
SCHEMA = "codewm.landings/1"
FILE_NAME = "landings.safetensors"
KEPT = 2_000
"""Edits kept, the latest ones."""
_DIGEST = 16
_COLUMNS = ("actual", "predicted", "doubt")


def landings(
    engine: core.Engine, table: EditTable, rows: NDArray[np.int64], threads: int, kept: Kept | None = None
) -> Landings:
    """Actual d = t(s') - t(s) and predicted d_hat = g(x(s), r(s, a), a) of the rows [n, K]; the critic's doubt [n].

    Each distinct state is encoded once.
    """
    if kept is not None:
        return kept.landings(engine, table, rows, threads)
    states, where = np.unique(np.concatenate([table.before[rows], table.after[rows]]), return_inverse=True)
    before, after = where.ravel()[: len(rows)], where.ravel()[len(rows) :]
    actions = np.ascontiguousarray(table.action[rows])
    f, read = engine.read(*table.states(states), before.astype(np.int64), actions, threads=threads)
    t = engine.target(f)
    was, is_now = np.ascontiguousarray(f[before]), np.ascontiguousarray(f[after])
    predicted = engine.predict(was, read, actions)
    actual = t[after] - t[before]
    return actual, predicted, engine.doubt(was, is_now, actual - predicted, actions)


def highest(values: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """The rows of the `count` highest values [n], the highest first, the earlier of two equal ones first."""
    if len(values) > count > 0:
        rows = np.flatnonzero(values >= np.partition(values, -count)[-count])
    else:
        rows = np.arange(len(values))
    return rows[np.argsort(-values[rows], kind="stable")[:count]]


class Kept:
    """The landings of earlier runs with one model, and those of this one."""

    def __init__(self, place: Path, model: ScoringModel) -> None:
        # Another build of the core may add up in another order.
        build = Path(_core.__file__).stat()
        said = (build.st_size, build.st_mtime_ns, core.TOKENIZER_ID, model.digest)
        self._place, self._model = place, repr(said)
        self._keys: list[bytes] = []
        self._values: Landings | None = None
        found = _load(place, self._model)
        if found is not None:
            keys, self._values = found
            self._keys = [keys[i : i + _DIGEST] for i in range(0, len(keys), _DIGEST)]

    def landings(
        self, engine: core.Engine, table: EditTable, rows: NDArray[np.int64], threads: int
    ) -> Landings:
        """`landings` of the rows; those that were not known are, from now on."""
        keys = _keys(table, rows)
        known = {key: i for i, key in enumerate(self._keys)}
        at = np.array([known.get(key, -1) for key in keys], np.int64)
        missing = np.flatnonzero(at < 0)
        if self._values is None or len(missing) == len(rows):
            found = landings(engine, table, rows, threads)
        else:
            found = tuple(values[at] for values in self._values)
            if len(missing):
                computed = landings(engine, table, rows[missing], threads)
                for values, new in zip(found, computed, strict=True):
                    values[missing] = new
        if len(missing):
            self._keep(keys, found)
        return found

    def _keep(self, keys: list[bytes], found: Landings) -> None:
        """Put these in front of those known before, and write as many as are kept."""
        latest = dict.fromkeys(reversed(keys))  # the last rows are the newest commits'
        at = {key: i for i, key in enumerate(keys)}
        fresh = np.array([at[key] for key in latest], np.int64)
        older = np.array([i for i, key in enumerate(self._keys) if key not in latest], np.int64)
        values = tuple(v[fresh] for v in found)
        if self._values is not None:
            values = tuple(np.concatenate([v, w[older]]) for v, w in zip(values, self._values, strict=True))
        self._keys = [*latest, *(self._keys[i] for i in older)][:KEPT]
        self._values = tuple(v[:KEPT] for v in values)
        _save(self._place, self._model, b"".join(self._keys), self._values)


def _keys(table: EditTable, rows: NDArray[np.int64]) -> list[bytes]:
    """A hash of each edit: the tokens before, how many, the tokens after, and the action."""
    keys = []
    actions = np.ascontiguousarray(table.action[rows])
    for row, action in zip(rows.tolist(), actions, strict=True):
        before, after = table.state(table.before[row]), table.state(table.after[row])
        hasher = hashlib.blake2b(len(before).to_bytes(8, "little"), digest_size=_DIGEST)
        for part in (before, after, action):
            hasher.update(np.ascontiguousarray(part).tobytes())
        keys.append(hasher.digest())
    return keys


def _save(place: Path, model: str, keys: bytes, values: Landings) -> None:
    arrays = dict(zip(_COLUMNS, values, strict=True)) | {"keys": np.frombuffer(keys, np.uint8)}
    replace_file(place, pack(arrays, SCHEMA, {"model": model}))


def _load(place: Path, model: str) -> tuple[bytes, Landings] | None:
    """What the file holds; None where there is none, or it is damaged, or of another model."""
    try:
        found = unpack(place.read_bytes(), SCHEMA)
        if found is None or found[1]["model"] != model:
            return None
        actual, predicted, doubt = (found[0][name] for name in _COLUMNS)
        return found[0]["keys"].tobytes(), (actual, predicted, doubt)
    except (OSError, KeyError, ValueError, RecursionError):
        return None
