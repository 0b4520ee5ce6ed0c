"""A replayed repository in, a file out, and back: so that a long benchmark goes on where it was stopped.

The name of the file is a digest of everything that the scores depend on; a file that cannot be read is as none.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from codewm.corpus.atomic import replacing
from codewm.corpus.errors import UserError
from codewm.model.evaluation.cases import Case
from codewm.model.evaluation.replay import Scored

_ARRAYS = ("time", "lines_added", "p_value", "edits")


def path_of(folder: Path, *parts: object) -> Path:
    """Where what depends on these parts is kept."""
    return folder / f"replay-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}.npz"


def save(path: Path, real: Scored, made: Scored) -> None:
    """Write both, in one step. Raises `UserError`."""
    arrays: dict[str, Any] = {}
    for name, scored in (("real", real), ("made", made)):
        arrays |= {f"{name}.{k}": getattr(scored, k) for k in _ARRAYS}
        arrays |= {f"{name}.values.{k}": v for k, v in scored.values.items()}
        said = {"repository": scored.repository, "oid": scored.oid, "case": [list(c) for c in scored.case]}
        arrays[f"{name}.said"] = np.frombuffer(json.dumps(said).encode("ascii"), np.uint8)
    try:
        with replacing(path) as file:
            np.savez(file, **arrays)
    except OSError as e:
        raise UserError(f"cannot write '{path}': {e.strerror or e}", "name another folder by --work") from e


def load(path: Path) -> tuple[Scored, Scored] | None:
    """Read both back, None where there is nothing to read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _scored(arrays, "real"), _scored(arrays, "made")
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def _scored(arrays: np.lib.npyio.NpzFile, name: str) -> Scored:
    said = json.loads(arrays[f"{name}.said"].tobytes())
    start = f"{name}.values."
    values = {k.removeprefix(start): arrays[k] for k in arrays.files if k.startswith(start)}
    columns = {k: arrays[f"{name}.{k}"] for k in _ARRAYS}
    lengths = {len(said["oid"]), *(len(v) for v in (*values.values(), *columns.values()))}
    if len(lengths) != 1:
        raise ValueError("its parts do not fit together")
    return Scored(
        said["repository"], said["oid"], values=values, case=[Case(*c) for c in said["case"]], **columns
    )
