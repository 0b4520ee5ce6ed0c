"""Arrays and plain values that follow from something known by a key in, one file of the latest of them out, and back.

For what is the same whenever it is computed: a file that is damaged, or of another schema, holds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.atomic import replace_file
from codewm.model.packing import pack, unpack

FILE_NAME = "standing.safetensors"
SCHEMA = "codewm.shelf/1"
KEPT = 24
"""Entries that are kept, the latest ones. The hook, a range and a pull request each have a past of their own, and of
each up to three things are kept: its `standing`, whether it has a `drift`, the standing of what came before that.
"""


@dataclass(frozen=True)
class Entry:
    """One thing that was computed."""

    said: Mapping[str, Any] = field(default_factory=dict)
    """As JSON has it."""
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Shelf:
    """The entries of one file."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def find(self, key: str) -> Entry | None:
        """The entry for this key, if there is one."""
        return self._read().get(key)

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry, in front of the others; where the place is not writable, nothing is kept."""
        entries = list({key: entry, **{k: e for k, e in self._read().items() if k != key}}.items())[:KEPT]
        arrays = {
            f"{i} {name}": values for i, (_, e) in enumerate(entries) for name, values in e.arrays.items()
        }
        told = [{"key": k, "said": dict(e.said), "arrays": list(e.arrays)} for k, e in entries]
        replace_file(self._place, pack(arrays, SCHEMA, {"entries": told}))

    def _read(self) -> dict[str, Entry]:
        try:
            found = unpack(self._place.read_bytes(), SCHEMA)
            if found is None:
                return {}
            arrays, meta = found
            return {
                told["key"]: Entry(told["said"], {name: arrays[f"{i} {name}"] for name in told["arrays"]})
                for i, told in enumerate(meta["entries"])
            }
        except (OSError, KeyError, TypeError, ValueError, RecursionError):
            return {}


def floats(entry: Entry, name: str, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """An array of an entry; None where it is another thing than it should be."""
    values = entry.arrays.get(name)
    return values if values is not None and values.dtype == np.float64 and values.shape == shape else None
