"""Named arrays and a document in, the bytes of one safetensors file with a checksum out, and back.

For copies of what can be computed again: a file that is not exactly what was written is refused.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(arrays: Mapping[str, NDArray[Any]], schema: str, said: Mapping[str, Any]) -> bytes:
    """Arrays and a JSON document [ASCII, so that bytes that are no UTF-8 stay escapes] to bytes."""
    from safetensors.numpy import save

    whole = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    whole["meta"] = np.frombuffer(json.dumps({"schema": schema, **said}).encode("ascii"), np.uint8)
    return save({**whole, "check": _check(whole)})


def unpack(data: bytes, schema: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    """Arrays and document; None where they are of another schema. Raises `ValueError` for what is damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
        said = json.loads(arrays["meta"].tobytes())
        if said["schema"] != schema:
            return None
        check = arrays.pop("check")
    except (SafetensorError, KeyError, TypeError) as e:
        raise ValueError(str(e)) from e
    if not np.array_equal(check, _check(arrays)):
        raise ValueError("its checksum is another")
    del arrays["meta"]
    return arrays, said


def _check(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint32]:
    """[1] CRC-32 of names, shapes and contents."""
    crc = 0
    for name in sorted(arrays):
        crc = zlib.crc32(f"{name}{arrays[name].dtype.str}{arrays[name].shape}".encode(), crc)
        crc = zlib.crc32(arrays[name].data if arrays[name].size else b"", crc)
    return np.array([crc], np.uint32)
