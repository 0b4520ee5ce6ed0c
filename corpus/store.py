"""An edit table in, `chains.h5` out, and back: schema 1.

    bytes 0..4095     one line of magic, then JSON: schema, checksum, length, tip, options, ... (`Header`)
    bytes 4096..      HDF5: /states /edits /edit_names /commits /authors /paths /units /names /renames /ledger

HDF5 allows a foreign block before it ("user block"), so any HDF5 tool opens the file. The block makes two
things cheap: seeing that nothing is new needs no HDF5 at all, and a damaged file is found by its SHA-256
before the HDF5 library, which does not expect malice, sees a byte of it. A file is written beside its place,
flushed to disk and renamed, so the old one lives until the new one is whole.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.errors import UserError
from codewm.corpus.ledger import Cause
from codewm.corpus.table import COMMIT_TYPES, EDIT_COLUMNS, CommitTable, EditTable
from codewm_core import TOKENIZER_ID

if TYPE_CHECKING:
    import h5py

SCHEMA = 1
FILE_NAME = "chains.h5"
_MAGIC = b"codewm chains\n"
_HEADER_BYTES = 4096
_BLOCK = 1 << 20
_REBUILD = "'codewm harvest --rebuild' makes it anew"
_COMMIT_TEXT = ("oid", "parent", "subject")
_EDIT_NAMES = {"names": "name_ids", "flags": "name_flags", "lines": "name_lines", "offsets": "name_offsets"}
_STATES = {"tokens": "tokens", "offsets": "offsets", "hash": "state_hash"}
_TEXTS = ("paths", "units", "names")


@dataclass(frozen=True)
class Header:
    """What a store says about itself; also the attributes of the HDF5 root."""

    repository: str
    """`Repository.identity`."""
    root: str
    """First commit of the first-parent line that there was."""
    shallow: bool
    """A shallow clone ended at `root`, whose parent was missing."""
    tip: str
    """Newest commit harvested."""
    tokenizer_id: str
    action_id: str
    window: int
    merges: str
    max_commits: int
    """Newest commits asked for, 0 for all."""
    with_authors: bool
    tool: str
    """Version of codewm that wrote the file."""
    commits: int
    edits: int
    schema: int = SCHEMA


@dataclass(frozen=True)
class Store:
    """A whole file: the table, the ledger rows [L, 3] (commit, cause, path) and the header."""

    table: EditTable
    ledger: NDArray[np.int32]
    header: Header


def write(path: Path, table: EditTable, ledger: NDArray[np.int32], header: Header) -> None:
    """Write a store in place of what is at `path`. Raises `UserError` if the disk refuses."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w", userblock_size=_HEADER_BYTES) as file:
            file.attrs.update(asdict(header))
            for name, array in _arrays(table, ledger):
                _put(file, name, array)
        with temporary.open("r+b") as raw:
            raw.write(_head(header, *_digest(raw)))
            raw.flush()
            os.fsync(raw.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as e:
        raise UserError(
            f"cannot write '{path}': {e.strerror or e}", "make room, or name another place with --out"
        ) from e
    finally:
        temporary.unlink(missing_ok=True)


def clean(path: Path) -> None:
    """Remove what killed writers of `path` left beside it; for the holder of the lock only."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        left.unlink(missing_ok=True)


def read_header(path: Path) -> Header:
    """Read what a store says about itself, and check that it is a store of the right length.

    Takes no longer for a large store than for a small one. Raises `UserError`, and `FileNotFoundError`.
    """
    with path.open("rb") as raw:
        return _header(path, raw)[0]


def read(path: Path) -> EditTable:
    """Read the edits of a store; see `read_store`."""
    return read_store(path).table


def read_store(path: Path) -> Store:
    """Read a store after checking schema, checksum, tokeniser and every index. Raises `UserError`."""
    try:
        with path.open("rb") as raw:
            header, checksum = _header(path, raw)
            if _digest(raw)[0] != checksum:
                raise UserError(f"'{path}' is damaged: its content does not match its checksum", _REBUILD)
    except FileNotFoundError:
        raise UserError(f"there are no chains at '{path}'", "'codewm harvest' makes them") from None
    if header.tokenizer_id != TOKENIZER_ID:
        raise UserError(f"'{path}' was made with another tokeniser ({header.tokenizer_id})", _REBUILD)
    import h5py

    try:
        with h5py.File(path, "r") as file:
            table, ledger = _table(file, header)
        table.check()
        _check_ledger(table, ledger)
    except (OSError, KeyError, ValueError, RuntimeError, UnicodeDecodeError) as e:
        raise UserError(f"'{path}' is not a store of schema {SCHEMA}: {e}", _REBUILD) from e
    return Store(table, ledger, header)


def _header(path: Path, raw: IO[bytes]) -> tuple[Header, str]:
    start = raw.read(_HEADER_BYTES)
    if not start.startswith(_MAGIC):
        raise UserError(f"'{path}' is not a store of codewm", _REBUILD)
    try:
        values = json.loads(start[len(_MAGIC) :].rstrip(b"\0"))
        own = values.pop("header_sha256")
        if own != _own_checksum(values):
            raise ValueError("checksum")
        checksum, length = values.pop("sha256"), values.pop("length")
        schema = values.get("schema")
        if schema != SCHEMA:
            raise UserError(f"'{path}' has schema {schema}, and this is codewm for schema {SCHEMA}", _REBUILD)
        header = Header(**values)
        for field in fields(Header):
            if type(getattr(header, field.name)).__name__ != field.type:
                raise TypeError(field.name)
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise UserError(f"'{path}' is damaged: its first block cannot be read", _REBUILD) from e
    size = os.fstat(raw.fileno()).st_size
    if size != length:
        raise UserError(f"'{path}' is damaged: {size} bytes instead of {length}", _REBUILD)
    return header, checksum


def _head(header: Header, checksum: str, length: int) -> bytes:
    values = {**asdict(header), "sha256": checksum, "length": length}
    values["header_sha256"] = _own_checksum(values)
    block = _MAGIC + json.dumps(values, indent=1, sort_keys=True).encode()
    if len(block) > _HEADER_BYTES:
        raise ValueError("the header does not fit its block")
    return block.ljust(_HEADER_BYTES, b"\0")


def _own_checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _digest(raw: IO[bytes]) -> tuple[str, int]:
    """SHA-256 of all that follows the header block, and the file's length; rewinds the file."""
    digest = hashlib.sha256()
    raw.seek(_HEADER_BYTES)
    while block := raw.read(_BLOCK):
        digest.update(block)
    length = raw.tell()
    raw.seek(0)
    return digest.hexdigest(), length


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
    for name in _TEXTS:
        yield from _text(name, getattr(table, name))
    yield "renames", table.renames
    yield "ledger", ledger


def _table(file: h5py.File, header: Header) -> tuple[EditTable, NDArray[np.int32]]:
    columns = {column: _get(file, f"states/{name}") for name, column in _STATES.items()}
    columns |= {name: _get(file, f"edits/{name}") for name in EDIT_COLUMNS}
    columns |= {column: _get(file, f"edit_names/{name}") for name, column in _EDIT_NAMES.items()}
    of_commits: dict[str, Any] = {name: _get(file, f"commits/{name}") for name in COMMIT_TYPES}
    of_commits |= {name: _get_text(file, f"commits/{name}") for name in _COMMIT_TEXT}
    authors = _get_text(file, "authors")
    author = _get(file, "commits/author")
    if author.size and not 0 <= int(author.min()) <= int(author.max()) < len(authors):
        raise ValueError("commits/author points outside")
    commits = CommitTable(**of_commits, author=[authors[i] for i in author.tolist()])
    table = EditTable(
        **columns,
        commits=commits,
        renames=_get(file, "renames"),
        paths=_get_text(file, "paths"),
        units=_get_text(file, "units"),
        names=_get_text(file, "names"),
        tokenizer_id=header.tokenizer_id,
        action_id=header.action_id,
        window=header.window,
    )
    return table, _get(file, "ledger")


def _check_ledger(table: EditTable, ledger: NDArray[np.int32]) -> None:
    if ledger.ndim != 2 or ledger.shape[1] != 3:
        raise ValueError("ledger has a wrong shape")
    limits = (len(table.commits), len(Cause), len(table.paths))
    if ledger.size and ((ledger < 0).any() or (ledger >= np.array(limits)).any()):
        raise ValueError("ledger points outside")


def _text(name: str, texts: Sequence[str]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Strings as one array of bytes and offsets: exact for bytes that are no UTF-8, and fast."""
    encoded = [t.encode("utf-8", "surrogateescape") for t in texts]
    yield f"{name}/bytes", np.frombuffer(b"".join(encoded), np.uint8)
    yield f"{name}/offsets", np.cumsum([0, *map(len, encoded)], dtype=np.int64)


def _get_text(file: h5py.File, name: str) -> list[str]:
    flat, offsets = _get(file, f"{name}/bytes").tobytes(), _get(file, f"{name}/offsets").tolist()
    if offsets[:1] != [0] or offsets[-1] != len(flat) or offsets != sorted(offsets):
        raise ValueError(f"{name} has wrong offsets")
    return [flat[a:b].decode("utf-8", "surrogateescape") for a, b in pairwise(offsets)]


def _put(file: h5py.File, name: str, array: NDArray[Any]) -> None:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    # Small arrays are cheaper plain than in chunks.
    packed: Mapping[str, Any] = {}
    if array.nbytes > _BLOCK >> 4:
        packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "chunks": _chunks(array)}
    file.create_dataset(name, data=little, track_times=False, **packed)


def _chunks(array: NDArray[Any]) -> tuple[int, ...]:
    row = max(array.nbytes // max(len(array), 1), 1)
    return (max(min(len(array), _BLOCK // row), 1), *array.shape[1:])


def _get(file: h5py.File, name: str) -> NDArray[Any]:
    dataset = file[name]
    array: NDArray[Any] = dataset[()]
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is not an array")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
