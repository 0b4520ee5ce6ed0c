"""Arrays in, the compressed chunks that HDF5 would make of them out, and back: on all cores, and reused.

The HDF5 library compresses on one core, and a store that grows by one commit would be compressed whole. Here
a chunk is a fixed number of rows, shuffled and deflated exactly as HDF5's own filters do (any HDF5 tool reads
it), and a chunk whose content was there before is copied as it is. Since the bytes of a chunk depend on its
content alone, a store is the same file however it grew.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 1 << 16
"""Of content, per chunk; an array of up to so many bytes is stored plain, in one piece."""
LEVEL = 1
# Chunks that one task of a thread handles.
_TASK = 8
_THREADS = 8

Packed = tuple["bytes | NDArray[np.uint8]", bytes]
"""The content (or its SHA-256, where it need not stay in memory) and the compressed chunk."""
Chunks = Mapping[str, Sequence[Packed]]
"""The chunks of a whole file by data set."""
Task = TypeVar("Task")
Result = TypeVar("Result")


def rows_of(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Rows per chunk, or 0 if an array of this type and shape is stored plain."""
    row = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
    if shape[0] * row <= CHUNK_BYTES:
        return 0
    return max(CHUNK_BYTES // row, 1)


def pack(arrays: Mapping[str, NDArray[Any]], known: Chunks, keep: bool = False) -> dict[str, list[Packed]]:
    """Compress arrays, except for chunks that are `known` at the same place with the same content.

    What is returned can be `known` the next time if `keep` is asked for.
    """
    tasks = []
    for name, array in arrays.items():
        rows = rows_of(array.dtype, array.shape)
        chunks = -(-len(array) // rows)
        for first in range(0, chunks, _TASK):
            tasks.append((name, array, rows, range(first, min(first + _TASK, chunks))))

    def work(task: tuple[str, NDArray[Any], int, range]) -> list[Packed]:
        name, array, rows, which = task
        old = known.get(name, ())
        return [_pack_one(array[i * rows : (i + 1) * rows], rows, old[i : i + 1], keep) for i in which]

    packed: dict[str, list[Packed]] = {name: [] for name in arrays}
    for task, done in zip(tasks, _in_threads(work, tasks), strict=True):
        packed[task[0]] += done
    return packed


def unpack(stored: Mapping[str, tuple[NDArray[Any], Sequence[bytes]]]) -> dict[str, list[Packed]]:
    """Fill each array from its compressed chunks; return them for `pack`, with views into the arrays.

    Raises `ValueError` for a chunk of another size.
    """
    tasks = []
    for name, (array, chunks) in stored.items():
        rows = rows_of(array.dtype, array.shape)
        for first in range(0, len(chunks), _TASK):
            tasks.append((name, array, rows, first, chunks[first : first + _TASK]))

    def work(task: tuple[str, NDArray[Any], int, int, Sequence[bytes]]) -> list[Packed]:
        name, array, rows, first, chunks = task
        return [
            (_unpack_one(name, chunk, array[i * rows : (i + 1) * rows], rows), chunk)
            for i, chunk in enumerate(chunks, first)
        ]

    packed: dict[str, list[Packed]] = {name: [] for name in stored}
    for task, done in zip(tasks, _in_threads(work, tasks), strict=True):
        packed[task[0]] += done
    return packed


def _pack_one(part: NDArray[Any], rows: int, old: Sequence[Packed], keep: bool) -> Packed:
    raw = np.ascontiguousarray(part).view(np.uint8).reshape(-1, part.dtype.itemsize)
    known, chunk = old[0] if old else (b"", b"")
    digest = hashlib.sha256(raw.data).digest() if keep or (isinstance(known, bytes) and known) else b""
    if old and (known == digest if isinstance(known, bytes) else np.array_equal(known, raw)):
        return digest, chunk
    if len(part) < rows:
        full = np.zeros((len(raw) // len(part) * rows, raw.shape[1]), np.uint8)
        full[: len(raw)] = raw
        raw = full
    shuffled = np.empty((raw.shape[1], len(raw)), np.uint8)
    # Byte by byte of an element: several times faster than letting numpy transpose.
    for i, plane in enumerate(shuffled):
        plane[:] = raw[:, i]
    return digest, zlib.compress(shuffled.data, LEVEL)


def _unpack_one(name: str, chunk: bytes, part: NDArray[Any], rows: int) -> NDArray[np.uint8]:
    size = part.dtype.itemsize
    elements = part.size // len(part) * rows
    inflate = zlib.decompressobj()
    try:
        # Never more than what belongs there, whatever the chunk would like to become.
        raw = inflate.decompress(chunk, elements * size + 1)
    except zlib.error as e:
        raise ValueError(f"{name} has a damaged chunk: {e}") from e
    if len(raw) != elements * size or not inflate.eof:
        raise ValueError(f"{name} has a chunk of a wrong size")
    out = part.view(np.uint8).reshape(-1, size)
    for i, plane in enumerate(np.frombuffer(raw, np.uint8).reshape(size, elements)):
        out[:, i] = plane[: len(out)]
    return out


def _in_threads(work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterable[Result]:
    """Do the tasks on all cores, results in order; what is quickly done is done here."""
    if len(tasks) < 4:
        return map(work, tasks)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _THREADS)) as pool:
        return list(pool.map(work, tasks))
