"""An edit table in, `chains.h5` out, and back: schema 3.

    bytes 0..4095     `codewm.corpus.header`: what the store says about itself, length and checksum
    bytes 4096..      HDF5: /states /edits /edit_names /commits /repositories /authors /paths /units /names
                      /renames /ledger /division (empty but in a corpus that was divided)

HDF5 allows a foreign block before it ("user block"), so any HDF5 tool opens the file. The block makes two
things cheap: seeing that nothing is new needs no HDF5 at all, and a damaged file is found by its SHA-256
before the HDF5 library, which does not expect malice, sees a byte of it. A file is written beside its place,
flushed to disk and renamed, so the old one lives until the new one is whole. Its bytes follow from what it
holds alone: no dates, no process, no trace of how it grew (`codewm.corpus.packed`).
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.atomic import replacing
from codewm.corpus.division import Division
from codewm.corpus.errors import UserError
from codewm.corpus.header import (
    FILE_NAME,
    HEADER_BYTES,
    REBUILD,
    SCHEMA,
    Header,
    UnusableError,
    damaged,
    digest as _digest,
    head as _head,
    parse,
    read_header,
)
from codewm.corpus.packed import LEVEL, Chunks, Packed, pack, rows_of, unpack
from codewm.corpus.table import COLUMN_TYPES, COMMIT_TYPES, EDIT_COLUMNS, CommitTable, EditTable, Origin
from codewm_core import TOKENIZER_ID

if TYPE_CHECKING:
    import h5py

    from codewm.corpus.ledger import Sums

__all__ = ["FILE_NAME", "SCHEMA", "Header", "Store", "read", "read_header", "read_store", "write"]

_COMMIT_TEXT = ("oid", "parent", "subject")
_EDIT_NAMES = {"names": "name_ids", "flags": "name_flags", "lines": "name_lines", "offsets": "name_offsets"}
_STATES = {"tokens": "tokens", "offsets": "offsets", "hash": "state_hash"}
_TEXTS = ("paths", "units", "names")
_ORIGIN_TEXT = ("identity", "root", "tip", "name")
_DIVISION: dict[str, type[np.generic]] = {
    "role": np.uint8, "boundary": np.int32, "boundary_time": np.int64, "reason": np.uint8,
}  # fmt: skip
# Data sets with two axes, and texts that come from the file system, whose names need not be UTF-8.
_TABLES = ("edits/action", "edits/lines", "renames", "ledger")
_ANY_BYTES = ("paths", "repositories/name")


@dataclass(frozen=True)
class Store:
    """A whole file: the table, the ledger rows [L, 3] (commit, cause, path) and the header."""

    table: EditTable
    ledger: NDArray[np.int32]
    header: Header
    chunks: Chunks = field(default_factory=dict, repr=False)
    """The compressed chunks of the file, if they were kept for the next `write`."""


def write(
    path: Path,
    table: EditTable,
    ledger: NDArray[np.int32],
    header: Header,
    known: Chunks | None = None,
    keep: bool = False,
) -> Chunks:
    """Write a store in place of what is at `path`. Raises `UserError` if the disk refuses.

    `known` chunks (of the file before) are not compressed again. With `keep`, what is returned are those of this
    file, to be known when the next one is written.
    """
    content, chunks = _content(dict(_arrays(table, ledger)), header, known or {}, keep)
    block = _head(header, *_digest(io.BytesIO(content)))
    try:
        with replacing(path, durable=True) as raw:
            raw.write(block)
            raw.write(memoryview(content)[HEADER_BYTES:])
        _sync_folder(path.parent)
    except OSError as e:
        raise UserError(
            f"cannot write '{path}': {e.strerror or e}", "make room, or name another place with --out"
        ) from e
    return chunks


def read(path: Path) -> EditTable:
    """Read the edits of one repository; see `read_store`. A corpus is refused: it is no repository's past."""
    table = read_store(path).table
    if len(table.repositories) > 1:
        raise UserError(
            f"'{path}' is a corpus of {len(table.repositories)} repositories",
            "this needs the chains of one: 'codewm harvest' makes them",
        )
    return table


def read_store(path: Path, keep_chunks: bool = False) -> Store:
    """Read a store after checking schema, checksum, tokeniser and every index. Raises `UserError`.

    `keep_chunks` is for who will write the next version of the file.
    """
    try:
        with path.open("rb") as raw:
            header, checksum = parse(path, raw)
            raw.seek(0)
            content = raw.read()
    except FileNotFoundError:
        raise UserError(f"there are no chains at '{path}'", "'codewm harvest' makes them") from None
    except OSError as e:
        raise UserError(f"cannot read '{path}': {e.strerror}", "mend its permissions, or name another") from e
    # What is checked is what is read: the file may be replaced at any time.
    if _digest(io.BytesIO(content))[0] != checksum:
        raise damaged(path)
    if header.tokenizer_id != TOKENIZER_ID:
        raise UnusableError(f"'{path}' was made with another tokeniser ({header.tokenizer_id})", REBUILD)
    import h5py

    from codewm.corpus.check import check

    try:
        with h5py.File(h5py.h5f.open_file_image(content), "r") as file:
            arrays, chunks = _load(file)
        table, ledger = _table(arrays, header), arrays["ledger"]
        check(table, ledger, header)
    except (OSError, LookupError, ValueError, RuntimeError, TypeError, AttributeError, OverflowError) as e:
        raise UnusableError(f"'{path}' is not a store of schema {SCHEMA}: {e}", REBUILD) from e
    return Store(table, ledger, header, chunks if keep_chunks else {})


def sums_as_dict(sums: Mapping[str, Sums]) -> dict[str, Any]:
    """The sums of a ledger by kind of commit, causes by their key; as JSON and the header have them."""
    return {
        kind: {
            "commits": s.commits,
            "file_changes": s.file_changes,
            "with_edits": s.with_edits,
            "skipped": {cause.key: n for cause, n in s.skipped.items()},
            "balanced": s.balanced,
        }
        for kind, s in sums.items()
    }


def _content(
    arrays: Mapping[str, NDArray[Any]], header: Header, known: Chunks, keep: bool
) -> tuple[bytes, dict[str, list[Packed]]]:
    """The file with an empty first block, and its compressed chunks."""
    import h5py

    arrays = {name: a.astype(a.dtype.newbyteorder("<"), copy=False) for name, a in arrays.items()}
    chunks = pack({name: a for name, a in arrays.items() if rows_of(a.dtype, a.shape)}, known, keep)
    # Made in memory, so that a full disk meets one plain write and not the inside of the HDF5 library.
    with h5py.File(
        "store", "w", driver="core", backing_store=False, block_size=1 << 20, userblock_size=HEADER_BYTES
    ) as file:
        file.attrs.update(header.attributes())
        groups: dict[str, h5py.Group] = {"": file}
        for name, array in arrays.items():
            path, _, last = name.rpartition("/")
            if path not in groups:
                # Looked up once: by every data set, that took a third of the time of writing them.
                groups[path] = file.require_group(path)
            if name in chunks:
                _put_chunks(groups[path], last, array, [chunk for _, chunk in chunks[name]])
            else:
                groups[path].create_dataset(last, data=array, track_times=False)
        file.flush()
        return bytes(HEADER_BYTES) + file.id.get_file_image(), chunks


def _put_chunks(group: h5py.Group, name: str, array: NDArray[Any], chunks: Sequence[bytes]) -> None:
    rows = rows_of(array.dtype, array.shape)
    dataset = group.create_dataset(
        name, array.shape, array.dtype, chunks=(rows, *array.shape[1:]),
        compression="gzip", compression_opts=LEVEL, shuffle=True, track_times=False,
    )  # fmt: skip
    rest = (0,) * (array.ndim - 1)
    for i, chunk in enumerate(chunks):
        dataset.id.write_direct_chunk((i * rows, *rest), chunk)


def _load(file: h5py.File) -> tuple[dict[str, NDArray[Any]], dict[str, list[Packed]]]:
    """Every array of a store by name, laid out exactly as `_content` does it."""
    import h5py

    arrays: dict[str, NDArray[Any]] = {}
    packed: dict[str, tuple[NDArray[Any], list[bytes]]] = {}
    for name, (wanted, axes) in _types().items():
        dataset = _own_dataset(file, name)
        dtype, shape = dataset.dtype, dataset.shape
        if dtype != np.dtype(wanted).newbyteorder("<") or shape is None or len(shape) != axes:
            raise ValueError(f"{name} is not an array of {np.dtype(wanted)} with {axes} axes")
        rows = rows_of(dtype, shape)
        layout = dataset.id.get_create_plist()
        if rows == 0:
            if layout.get_layout() != h5py.h5d.CONTIGUOUS or layout.get_external_count():
                raise ValueError(f"{name} is stored in another way")
            arrays[name] = dataset[()].astype(wanted, copy=False)
            continue
        filters = (dataset.compression, dataset.shuffle, dataset.fletcher32, dataset.scaleoffset)
        if dataset.chunks != (rows, *shape[1:]) or filters != ("gzip", True, False, None):
            raise ValueError(f"{name} is stored in another way")
        rest = (0,) * (len(shape) - 1)
        found = [dataset.id.read_direct_chunk((i, *rest)) for i in range(0, shape[0], rows)]
        if any(mask for mask, _ in found):
            raise ValueError(f"{name} has a chunk without filters")
        # The length is not believed before the chunks are there: each is at most a thousandth of its content.
        if sum(len(chunk) for _, chunk in found) * 1100 < dtype.itemsize * int(np.prod(shape, dtype=object)):
            raise ValueError(f"{name} has chunks of a wrong size")
        arrays[name] = np.empty(shape, dtype)
        packed[name] = (arrays[name], [bytes(chunk) for _, chunk in found])
    chunks = unpack(packed)
    return {n: a.astype(a.dtype.newbyteorder("="), copy=False) for n, a in arrays.items()}, chunks


def _own_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """The data set of this name, if it is in this file: a link could lead to any other."""
    import h5py

    parts = name.split("/")
    for end in range(1, len(parts) + 1):
        link = "/".join(parts[:end]).encode("ascii")
        if file.id.links.get_info(link).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{name} is a link")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{name} is not an array")
    return dataset


def _types() -> dict[str, tuple[Any, int]]:
    """Type and number of axes of every data set of a store, in the order of the file."""
    types: dict[str, Any] = {f"states/{name}": COLUMN_TYPES[column] for name, column in _STATES.items()}
    types |= {f"edits/{name}": COLUMN_TYPES[name] for name in EDIT_COLUMNS}
    types |= {f"edit_names/{name}": COLUMN_TYPES[column] for name, column in _EDIT_NAMES.items()}
    types |= {f"commits/{name}": kind for name, kind in COMMIT_TYPES.items()}
    texts = [f"commits/{name}" for name in _COMMIT_TEXT] + ["authors"]
    texts += [f"repositories/{name}" for name in _ORIGIN_TEXT] + [*_TEXTS, "division/rules"]
    for name in texts:
        types |= {f"{name}/bytes": np.uint8, f"{name}/offsets": np.int64}
    numbers = ("commits/author", "repositories/commits", "renames", "ledger")
    types |= dict.fromkeys(numbers, np.int32)
    types |= {f"division/{name}": kind for name, kind in _DIVISION.items()}
    return {name: (kind, 2 if name in _TABLES else 1) for name, kind in types.items()}


def _arrays(table: EditTable, ledger: NDArray[np.int32]) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, column in _STATES.items():
        yield f"states/{name}", getattr(table, column)
    for name in EDIT_COLUMNS:
        yield f"edits/{name}", getattr(table, name)
    for name, column in _EDIT_NAMES.items():
        yield f"edit_names/{name}", getattr(table, column)
    commits = table.commits
    for name in COMMIT_TYPES:
        yield f"commits/{name}", getattr(commits, name)
    for name in _COMMIT_TEXT:
        yield from _text(f"commits/{name}", getattr(commits, name))
    authors = {name: i for i, name in enumerate(dict.fromkeys(commits.author))}
    yield "commits/author", np.array([authors[a] for a in commits.author], np.int32)
    yield from _text("authors", list(authors))
    for name in _ORIGIN_TEXT:
        yield from _text(f"repositories/{name}", [getattr(r, name) for r in table.repositories])
    yield "repositories/commits", np.array([r.commits for r in table.repositories], np.int32)
    for name in _TEXTS:
        yield from _text(name, getattr(table, name))
    yield "renames", table.renames
    yield "ledger", ledger
    division = table.division
    for name, kind in _DIVISION.items():
        yield f"division/{name}", np.zeros(0, kind) if division is None else getattr(division, name)
    yield from _text("division/rules", [] if division is None else [division.rules])


def _table(arrays: Mapping[str, NDArray[Any]], header: Header) -> EditTable:
    columns = {column: arrays[f"states/{name}"] for name, column in _STATES.items()}
    columns |= {name: arrays[f"edits/{name}"] for name in EDIT_COLUMNS}
    columns |= {column: arrays[f"edit_names/{name}"] for name, column in _EDIT_NAMES.items()}
    of_commits: dict[str, Any] = {name: arrays[f"commits/{name}"] for name in COMMIT_TYPES}
    of_commits |= {name: _strings(arrays, f"commits/{name}") for name in _COMMIT_TEXT}
    if any(len(column) != len(of_commits["oid"]) for column in of_commits.values()):
        raise ValueError("a column of the commits has a wrong length")
    authors = _strings(arrays, "authors")
    author = arrays["commits/author"]
    if author.size and not 0 <= int(author.min()) <= int(author.max()) < len(authors):
        raise ValueError("commits/author points outside")
    texts = [_strings(arrays, f"repositories/{name}") for name in _ORIGIN_TEXT]
    origins = zip(*texts, arrays["repositories/commits"].tolist(), strict=True)
    return EditTable(
        **columns,
        commits=CommitTable(**of_commits, author=[authors[i] for i in author.tolist()]),
        renames=arrays["renames"],
        paths=_strings(arrays, "paths"),
        units=_strings(arrays, "units"),
        names=_strings(arrays, "names"),
        tokenizer_id=header.tokenizer_id,
        action_id=header.action_id,
        window=header.window,
        repositories=tuple(Origin(*o) for o in origins),
        division=_division(arrays),
    )


def _division(arrays: Mapping[str, NDArray[Any]]) -> Division | None:
    columns = {name: arrays[f"division/{name}"] for name in _DIVISION}
    rules = _strings(arrays, "division/rules")
    if not rules and not any(len(column) for column in columns.values()):
        return None
    if len(rules) != 1:
        raise ValueError("a division has other than one set of rules")
    return Division(**columns, rules=rules[0])


def _text(name: str, texts: Sequence[str]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Strings as one array of bytes and offsets: exact for bytes that are no UTF-8, and fast."""
    whole = "".join(texts)
    if whole.isascii():
        lengths = list(map(len, texts))
        flat = whole.encode("ascii")
    else:
        encoded = [t.encode("utf-8", "surrogateescape") for t in texts]
        lengths, flat = list(map(len, encoded)), b"".join(encoded)
    yield f"{name}/bytes", np.frombuffer(flat, np.uint8)
    yield f"{name}/offsets", np.cumsum([0, *lengths], dtype=np.int64)


def _strings(arrays: Mapping[str, NDArray[Any]], name: str) -> list[str]:
    flat, ends = arrays[f"{name}/bytes"].tobytes(), arrays[f"{name}/offsets"]
    offsets = ends.tolist()
    if ends.ndim != 1 or offsets[:1] != [0] or offsets[-1] != len(flat) or (np.diff(ends) < 0).any():
        raise ValueError(f"{name} has wrong offsets")
    if flat.isascii():
        text = flat.decode("ascii")
        return [text[a:b] for a, b in pairwise(offsets)]
    errors = "surrogateescape" if name in _ANY_BYTES else "strict"
    return [flat[a:b].decode("utf-8", errors) for a, b in pairwise(offsets)]


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
