"""The first block of a store in, what the store says about itself out; and its checksum verified.

    bytes 0..4095     one line of magic, then JSON: schema, checksum, length, tip, options, counts (`Header`)
    bytes 4096..      HDF5, see `codewm.corpus.store`

Needs neither HDF5 nor numpy, so that seeing that nothing is new costs next to nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any

from codewm.corpus.errors import UserError

SCHEMA = 3
"""1 had no repositories, no scope and no counts in the header; 2 had no division."""
FILE_NAME = "chains.h5"
HEADER_BYTES = 4096
REBUILD = "'codewm harvest --rebuild' makes it anew"
_MAGIC = b"codewm chains\n"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_BLOCK = 1 << 20


class UnusableError(UserError):
    """A store that is damaged, foreign or of an older schema: harvesting again mends it."""


class NewerError(UserError):
    """A store of a newer codewm: it is somebody's, and whole; only this program cannot read it."""


@dataclass(frozen=True)
class Header:
    """What a store says about itself; also the attributes of the HDF5 root."""

    repository: str
    """`Repository.identity`; of a corpus, a hash of what it was merged from."""
    root: str
    """First commit of the first-parent line that there was; '' in a corpus."""
    shallow: bool
    """A shallow clone ended at `root`, whose parent was missing."""
    tip: str
    """Newest commit harvested; '' in a corpus."""
    tokenizer_id: str
    action_id: str
    window: int
    merges: str
    """As asked for; `mixed` in a corpus of stores that differ."""
    max_commits: int
    """Newest commits asked for, 0 for all."""
    with_authors: bool
    tool: str
    """Version of codewm that wrote the file."""
    commits: int
    edits: int
    since: str = ""
    """The last commit left out by --since, '' if none was."""
    paths: tuple[str, ...] = ()
    """Folders and files that the harvest was limited to, from the repository's top; () for all."""
    salt_id: str = ""
    """Names the salt that authors were hashed with; '' where their names are stored."""
    repositories: int = 1
    """How many the edits come from."""
    states: int = 0
    chains: int = 0
    files: int = 0
    units: int = 0
    file_changes: dict[str, Any] = field(default_factory=dict)
    """The ledger added up: `codewm.corpus.store.sums_as_dict`."""
    schema: int = SCHEMA

    def attributes(self) -> dict[str, Any]:
        """The same as plain values, for the root of the HDF5 file."""
        values = asdict(self)
        return {
            k: json.dumps(v, sort_keys=True) if isinstance(v, dict | tuple) else v for k, v in values.items()
        }


def read_header(path: Path) -> Header:
    """Read what a store says about itself, and check that it is a store of the right length.

    Takes no longer for a large store than for a small one. Raises `UserError`, and `FileNotFoundError`.
    """
    with _opened(path) as raw:
        return parse(path, raw)[0]


def verify(path: Path) -> Header:
    """Like `read_header`, and the whole file matches its checksum."""
    with _opened(path) as raw:
        header, checksum = parse(path, raw)
        if digest(raw)[0] != checksum:
            raise damaged(path)
    return header


def damaged(path: Path) -> UnusableError:
    """The error for a file that does not match its checksum."""
    return UnusableError(f"'{path}' is damaged: its content does not match its checksum", REBUILD)


def checksum_of(path: Path) -> str:
    """The SHA-256 that a store claims for its content. Raises `UserError`, and `FileNotFoundError`."""
    with _opened(path) as raw:
        return parse(path, raw)[1]


def resembles_store(path: Path) -> bool:
    """A file that may be overwritten without asking: a store, what is left of one, or nothing at all."""
    with _opened(path) as raw:
        start = raw.read(HEADER_BYTES + len(_HDF5))
    whole = start[: len(_MAGIC)]
    return _MAGIC.startswith(whole) or not start.strip(b"\0") or start[HEADER_BYTES:] == _HDF5


def parse(path: Path, raw: IO[bytes]) -> tuple[Header, str]:
    """Read the header and the checksum of what follows it from a file that is at its start."""
    start = raw.read(HEADER_BYTES)
    if not start.startswith(_MAGIC):
        raise UnusableError(f"'{path}' is not a store of codewm", REBUILD)
    try:
        values = json.loads(start[len(_MAGIC) :].rstrip(b"\0"))
        own = values.pop("header_sha256")
        if own != _own_checksum(values):
            raise ValueError("checksum")
        checksum, length = values.pop("sha256"), values.pop("length")
        _check_schema(path, values.get("schema"))
        if isinstance(values.get("paths"), list):
            values["paths"] = tuple(values["paths"])
        header = Header(**values)
        for f in fields(Header):
            if type(getattr(header, f.name)).__name__ != str(f.type).partition("[")[0]:
                raise TypeError(f.name)
        if not all(isinstance(p, str) for p in header.paths):
            raise TypeError("paths")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        raise UnusableError(f"'{path}' is damaged: its first block cannot be read", REBUILD) from e
    size = os.fstat(raw.fileno()).st_size
    if size != length:
        raise UnusableError(f"'{path}' is damaged: {size} bytes instead of {length}", REBUILD)
    return header, checksum


def head(header: Header, checksum: str, length: int) -> bytes:
    """Write the first block of a file of `length` bytes whose content has this checksum."""
    values = {**asdict(header), "sha256": checksum, "length": length}
    values["header_sha256"] = _own_checksum(values)
    block = _MAGIC + json.dumps(values, indent=1, sort_keys=True).encode()
    if len(block) > HEADER_BYTES:
        raise ValueError("the header does not fit its block")
    return block.ljust(HEADER_BYTES, b"\0")


def digest(raw: IO[bytes]) -> tuple[str, int]:
    """SHA-256 of all that follows the header block, and the file's length; rewinds the file."""
    found = hashlib.sha256()
    raw.seek(HEADER_BYTES)
    while block := raw.read(_BLOCK):
        found.update(block)
    length = raw.tell()
    raw.seek(0)
    return found.hexdigest(), length


def _check_schema(path: Path, schema: object) -> None:
    if schema == SCHEMA:
        return
    message = f"'{path}' has schema {schema}, and this is codewm for schema {SCHEMA}"
    if isinstance(schema, int) and schema > SCHEMA:
        raise NewerError(message, "update codewm; 'codewm harvest --rebuild' would replace the file")
    raise UnusableError(message, REBUILD)


def _own_checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError) as e:
        raise FileNotFoundError(*e.args) from e
    except OSError as e:
        raise UserError(
            f"cannot read '{path}': {e.strerror}", "name another file, or mend its permissions"
        ) from e
