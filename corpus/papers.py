"""A repository's history in, whole-file (before, after) pairs in the papers' tokens out.

As CodeWM gathered its data: every change of a Python file against the first parent is one edit, a file is cut at the
first 512 tokens, a side of more than 50,000 bytes is left out, and a file that is created or deleted moves from or to
the blank one. Unlike it, an edit knows its commit and its time, so that it can be split by time, and chains follow
renames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.records import is_python

I64 = NDArray[np.int64]
LONGEST = 50_000
"""Bytes of a side; the papers leave out what is longer."""
AT_ONCE = 256  # changes whose contents are held together
BLANK = ""
"""Stands for the object id of a side that does not exist."""


@dataclass(frozen=True)
class FilePairs:
    """N edits of whole files over U versions, oldest commit first."""

    tokens: NDArray[np.uint16]
    offsets: I64
    """[U + 1]"""
    before: I64
    after: I64
    """[N] version ids."""
    action: NDArray[np.float32]
    """[N, 15]: `core.ACTIONS['v15']`, read for the file instead of a unit."""
    commit: I64
    """[N] ascending."""
    time: I64
    """[N] committer time."""
    chain: I64
    """[N] edits of one file through time share it."""
    step: I64
    """[N] place in the chain, from 0."""
    ledger: dict[str, int] = field(default_factory=dict)


class _Change(NamedTuple):
    commit: int
    time: int
    chain: int
    step: int
    old: str
    new: str


def file_pairs(repository: Repository, window: int = 512, depth_first: bool = False) -> FilePairs:
    """Every usable edit of a Python file on the first-parent line. Raises `UserError` where there is none."""
    ledger = {"file changes": 0, "a side is too long or cannot be read": 0, "both sides blank": 0}
    versions: dict[str, int] = {}
    flat: list[NDArray[np.uint16]] = []
    rows: list[_Change] = []
    actions: list[NDArray[np.float32]] = []

    def version(oid: str, content: bytes) -> int:
        if oid not in versions:
            versions[oid] = len(flat)
            flat.append(core.paper_tokens(content, depth_first=depth_first, window=window))
        return versions[oid]

    before, after = [], []
    changes = _changes(repository)
    while some := list(islice(changes, AT_ONCE)):
        ledger["file changes"] += len(some)
        wanted = dict.fromkeys(oid for c in some for oid in (c.old, c.new) if oid != BLANK)
        contents: dict[str, bytes | None] = {BLANK: b"", **dict(repository.read_blobs(wanted))}
        sides = []
        for c in some:
            old, new = contents[c.old], contents[c.new]
            if old is None or new is None or max(len(old), len(new)) > LONGEST:
                ledger["a side is too long or cannot be read"] += 1
            elif not old.strip() and not new.strip():
                ledger["both sides blank"] += 1
            else:
                rows.append(c)
                sides.append((old, new))
                before.append(version(c.old, old))
                after.append(version(c.new, new))
        if sides:
            actions.append(describe(sides))
    if not rows:
        raise UserError(
            "there is no edit of a Python file to train on", "name a repository with Python in it"
        )
    commit, time, chain, step = np.array([c[:4] for c in rows], np.int64).T
    ledger["edits"] = len(rows)
    return FilePairs(
        np.concatenate(flat), np.concatenate([[0], np.cumsum([len(t) for t in flat])]).astype(np.int64),
        np.array(before, np.int64), np.array(after, np.int64), np.concatenate(actions), commit, time, chain, step,
        ledger,
    )  # fmt: skip


def _changes(repository: Repository) -> Iterator[_Change]:
    """Changes of Python files, oldest first, each with its file's chain."""
    chains: dict[bytes, tuple[int, int]] = {}
    count = 0
    for number, record in enumerate(repository.commits(repository.head(), suffix=b".py")):
        if record.boundary:
            continue
        for change in record.changes:
            old = change.old_oid if is_python(change.old_path) else None
            new = change.new_oid if is_python(change.new_path) else None
            path = change.new_path if new is not None else change.old_path
            if (old is None and new is None) or path is None:
                continue
            held = (
                chains.pop(change.old_path, None) if change.old_path is not None and old is not None else None
            )
            if held is None:
                held = (count, 0)
                count += 1
            chain, step = held
            chains[path] = (chain, step + 1)
            if old != new:
                yield _Change(number, record.committer_time, chain, step, old or BLANK, new or BLANK)


def describe(sides: list[tuple[bytes, bytes]]) -> NDArray[np.float32]:
    """The papers' action of whole-file edits: [n, 15].

    Edit type by which side is blank. Scope: function where functions came or went, else class where classes did, else
    function where one changed its size, else module. Location: the first line that differs, over the longer side's
    lines. The other eight are `v15` of the whole file.
    """
    kinds = np.full(len(sides), core.KINDS.index("module"), np.uint8)
    tokens = [_states([side[i] for side in sides]) for i in (0, 1)]
    out = core.describe_states(tokens[0], tokens[1], kinds, "v15")
    names = core.ACTIONS["v15"]
    pairs = [(old or None, new or None) for old, new in sides]
    found = core.diff_units(pairs, window=65_535, action="v7", threads=1)
    of = {kind: core.KINDS.index(kind) for kind in core.KINDS}
    came = (found.flags & (core.FLAG_CREATED | core.FLAG_DELETED)) != 0
    resized = np.diff(found.before_offsets) != np.diff(found.after_offsets)
    functions = np.isin(found.kind, [i for kind, i in of.items() if kind in ("function", "method")])
    classes = np.isin(found.kind, [i for kind, i in of.items() if kind == "class"])
    for i, (old, new) in enumerate(sides):
        mine = found.pair == i
        scope = "module"
        if (mine & functions & came).any():
            scope = "function"
        elif (mine & classes & came).any():
            scope = "class"
        elif (mine & functions & resized).any():
            scope = "function"
        kind = "add" if not old.strip() else "delete" if not new.strip() else "modify"
        for name in (
            "type_add",
            "type_delete",
            "type_modify",
            "scope_function",
            "scope_class",
            "scope_module",
        ):
            out[i, names.index(name)] = float(name in (f"type_{kind}", f"scope_{scope}"))
        out[i, names.index("location")] = _location(old.splitlines(), new.splitlines())
    return out


def _states(sources: list[bytes]) -> tuple[NDArray[np.uint16], I64]:
    """Whole files in codewm's own tokens; a blank one is the empty state, because none has no tokens."""
    flat, offsets = core.tokenize(sources)
    states = [flat[a:b] for a, b in pairwise(offsets)]
    states = [s if len(s) else np.array([core.EMPTY], np.uint16) for s in states]
    return np.concatenate(states), np.concatenate([[0], np.cumsum([len(s) for s in states])]).astype(np.int64)


def _location(old: list[bytes], new: list[bytes]) -> float:
    longer = max(len(old), len(new))
    same = next(
        (i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
    )
    return same / longer if longer and old and new else 0.0
