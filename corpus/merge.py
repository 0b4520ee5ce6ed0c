"""Several stores in, one corpus out: the edits of many repositories in one table, each with its repository.

States are stored once, whichever repositories have them; paths, units and names share their tables; commits,
edits and ledgers follow each other in the order of the stores. Chains and reverts never leave a repository.
The result depends on the stores and their order alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.errors import UserError
from codewm.corpus.header import Header, checksum_of, read_header
from codewm.corpus.ledger import Ledger, sums
from codewm.corpus.lock import clean, exclusive
from codewm.corpus.store import Store, read_store, sums_as_dict, write
from codewm.corpus.table import COLUMN_TYPES, COMMIT_TYPES, CommitTable, EditTable, Origin

I32 = NDArray[np.int32]
MIXED = "mixed"


def merge_files(files: Sequence[Path], out: Path) -> tuple[Header, bool]:
    """Merge stores into a corpus at `out`; the header, and whether anything had to be written.

    A corpus that was made of the very same stores, in this order, is left as it is.
    """
    if len(files) < 2:
        raise UserError("there is nothing to merge", "name several repositories or stores")
    _refuse_input_as_output(files, out)
    with exclusive(out):
        clean(out)
        headers = [_header(file) for file in files]
        _check_alike(files, headers)
        identity = identity_of(files)
        held = held_at(out)
        if held is not None and (held.repository, held.tool) == (identity, version("codewm")):
            return held, False
        corpus = Merger(identity)
        for file in files:
            corpus.add(read_store(file), str(file))
        store = corpus.store()
        write(out, store.table, store.ledger, store.header)
        return store.header, True


class Merger:
    """A corpus that grows store by store; each is let go once it is added."""

    def __init__(self, identity: str = "") -> None:
        self._identity = identity
        self._headers: list[Header] = []
        self._sources: dict[str, str] = {}
        self._origins: list[Origin] = []
        self._states: dict[bytes, int] = {}
        self._tokens: list[NDArray[np.uint16]] = []
        self._lengths: list[NDArray[np.int64]] = []
        self._hashes: list[NDArray[np.uint64]] = []
        self._texts: dict[str, dict[str, int]] = {"paths": {}, "units": {}, "names": {}}
        self._columns: dict[str, list[NDArray[Any]]] = {}
        self._commits: dict[str, list[Any]] = {f.name: [] for f in fields(CommitTable)}
        self._renames: list[I32] = []
        self._ledger: list[I32] = []
        self._rows = 0
        self._chains = 0

    def add(self, store: Store, name: str) -> None:
        """Append the edits of a store; `name` is what an error calls it."""
        table = store.table
        if table.division is not None:
            raise UserError(
                f"'{name}' is divided into what is trained on and what is held out, and a merger would forget that",
                "merge the stores that it was made of",
            )
        for origin in _origins(store):
            if origin.identity in self._sources:
                raise UserError(
                    f"'{self._sources[origin.identity]}' and '{name}' hold the same repository ({origin.name})",
                    "name it once; clones of one repository have the same first commit",
                )
            self._sources[origin.identity] = name
            self._origins.append(origin)
        states = self._add_states(table)
        text = {kind: self._add_texts(kind, getattr(table, kind)) for kind in self._texts}
        columns = {c: getattr(table, c) for c in COLUMN_TYPES if c not in ("tokens", "offsets", "state_hash")}
        columns |= {
            "before": states[table.before],
            "after": states[table.after],
            "commit": table.commit + np.int32(self._rows),
            "path": text["paths"][table.path],
            "unit": text["units"][table.unit],
            "unit_before": text["units"][table.unit_before],
            "name_ids": text["names"][table.name_ids],
            "chain": table.chain + np.int32(self._chains),
            "name_offsets": np.diff(table.name_offsets),
        }
        for column, values in columns.items():
            self._columns.setdefault(column, []).append(values)
        self._add_commits(table)
        self._renames.append(_moved(table.renames, self._rows, text["paths"], (1, 2)))
        self._ledger.append(_moved(store.ledger, self._rows, text["paths"], (2,)))
        self._headers.append(store.header)
        self._rows += len(table.commits)
        self._chains += int(table.chain.max()) + 1 if len(table) else 0

    def store(self) -> Store:
        """The corpus of what was added."""
        first = self._headers[0]
        columns: dict[str, Any] = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        columns["name_offsets"] = np.concatenate([[0], np.cumsum(columns["name_offsets"])]).astype(np.int64)
        commits: dict[str, Any] = {
            name: np.concatenate(parts) if name in COMMIT_TYPES else parts
            for name, parts in self._commits.items()
        }
        table = EditTable(
            tokens=np.concatenate(self._tokens),
            offsets=np.concatenate([[0], np.cumsum(np.concatenate(self._lengths))]).astype(np.int64),
            state_hash=np.concatenate(self._hashes),
            commits=CommitTable(**commits),
            renames=np.concatenate(self._renames),
            paths=list(self._texts["paths"]),
            units=list(self._texts["units"]),
            names=list(self._texts["names"]),
            tokenizer_id=first.tokenizer_id,
            action_id=first.action_id,
            window=first.window,
            repositories=tuple(self._origins),
            **columns,
        )
        ledger = np.concatenate(self._ledger)
        table.check()
        return Store(table, ledger, self._header(table, ledger))

    def _header(self, table: EditTable, ledger: I32) -> Header:
        counted = sums(table, Ledger(ledger))
        if not all(s.balanced for s in counted.values()):
            raise RuntimeError("file changes were lost in merging")
        merges = {h.merges for h in self._headers}
        return Header(
            repository=self._identity,
            root="",
            shallow=any(h.shallow for h in self._headers),
            tip="",
            tokenizer_id=table.tokenizer_id,
            action_id=table.action_id,
            window=table.window,
            merges=merges.pop() if len(merges) == 1 else MIXED,
            max_commits=0,
            with_authors=any(h.with_authors for h in self._headers),
            tool=version("codewm"),
            commits=len(table.commits),
            edits=len(table),
            repositories=len(table.repositories),
            states=len(table.state_hash),
            chains=self._chains,
            files=len(table.paths),
            units=len(table.units),
            file_changes=sums_as_dict(counted),
        )

    def _add_states(self, table: EditTable) -> I32:
        """Number the states of a table in the corpus: [U] ids."""
        flat = table.tokens.astype("<u2", copy=False).tobytes()
        known = self._states
        before = len(known)
        # By all their tokens: the eight bytes that a table keeps may be the same for two states.
        ids = [
            known.setdefault(hashlib.blake2b(flat[2 * a : 2 * b], digest_size=16).digest(), len(known))
            for a, b in pairwise(table.offsets.tolist())
        ]
        numbers = np.array(ids, np.int32)
        new = np.flatnonzero(numbers >= before)
        tokens, offsets = table.states(new)
        self._tokens.append(tokens)
        self._lengths.append(np.diff(offsets))
        self._hashes.append(table.state_hash[new])
        return numbers

    def _add_texts(self, kind: str, texts: Iterable[str]) -> I32:
        known = self._texts[kind]
        return np.array([known.setdefault(text, len(known)) for text in texts], np.int32)

    def _add_commits(self, table: EditTable) -> None:
        commits = table.commits
        first = len(self._origins) - max(len(table.repositories), 1)
        moved = {
            "reverts": np.where(commits.reverts >= 0, commits.reverts + np.int32(self._rows), -1).astype(
                np.int32
            ),
            "repository": commits.repository + np.int32(first),
        }
        for name, parts in self._commits.items():
            values = moved.get(name, getattr(commits, name))
            if name in COMMIT_TYPES:
                parts.append(values)
            else:
                parts.extend(values)


def _origins(store: Store) -> Iterator[Origin]:
    """Where the edits of a store come from; a table in memory may never have been told."""
    if store.table.repositories:
        yield from store.table.repositories
    else:
        h = store.header
        yield Origin(h.repository, h.root, h.tip, h.repository, h.commits)


def _moved(rows: I32, commits: int, paths: I32, columns: tuple[int, ...]) -> I32:
    """Rows [n, 3] whose first column is a commit, with the numbers that they have in the corpus."""
    moved = rows.copy()
    moved[:, 0] += commits
    for column in columns:
        moved[:, column] = paths[rows[:, column]]
    return moved


def _header(file: Path) -> Header:
    try:
        return read_header(file)
    except FileNotFoundError:
        raise UserError(f"there are no chains at '{file}'", "'codewm harvest' makes them") from None


def _check_alike(files: Sequence[Path], headers: Sequence[Header]) -> None:
    first = headers[0]
    for file, header in zip(files[1:], headers[1:], strict=True):
        for name, a, b in (
            ("tokeniser", first.tokenizer_id, header.tokenizer_id),
            ("action", first.action_id, header.action_id),
            ("window", first.window, header.window),
        ):
            if a != b:
                raise UserError(
                    f"'{files[0]}' and '{file}' were made with another {name}: {a} and {b}",
                    "harvest them again with the same settings",
                )


def identity_of(files: Sequence[Path], more: str = "") -> str:
    """A name for what is merged, from the checksums of the stores in their order and `more` that it depends on."""
    parts = "".join(checksum_of(file) for file in files)
    return hashlib.sha256(f"codewm corpus {parts}{more}".encode()).hexdigest()[:16]


def held_at(out: Path) -> Header | None:
    """The corpus that is at `out`, whole; None if there is none. A file that is no store is not overwritten."""
    from codewm.corpus.header import NewerError, UnusableError, resembles_store, verify

    try:
        return verify(out)
    except FileNotFoundError:
        return None
    except NewerError as e:
        raise UserError(e.message, "name another file with --out") from None
    except UnusableError as e:
        if not resembles_store(out):
            raise UserError(e.message, "name another file with --out") from None
        return None


def _refuse_input_as_output(files: Sequence[Path], out: Path) -> None:
    for file in files:
        if file.resolve() == out.resolve():
            raise UserError(f"'{out}' would be merged into itself", "name another file with --out")
