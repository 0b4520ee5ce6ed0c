"""A store's table, ledger and header in, nothing out, or `ValueError`: whatever a harvest makes is true of it.

The checksum has been verified before this, so what fails here was written by a bug or by somebody who means
harm. What passes can be counted on by everything that reads a store: every index points somewhere, every text
that becomes an argument of Git is an object id, and every number is one that a harvest could have written.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.header import Header
from codewm.corpus.ledger import Cause
from codewm.corpus.table import CommitTable, EditTable
from codewm_core import ACTIONS, KINDS, MASK, PAD, VOCAB_SIZE

I32 = NDArray[np.int32]
_OID = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")


def check(table: EditTable, ledger: I32, header: Header) -> None:
    """Check everything that is in a store."""
    table.check()
    _check_ledger(table, ledger)
    _check_states(table)
    _check_edits(table)
    _check_chains(table)
    _check_commits(table.commits)
    _check_balance(table, ledger)
    _check_header(table, header)


def _check_ledger(table: EditTable, ledger: I32) -> None:
    _require(ledger.ndim == 2 and ledger.shape[1] == 3, "ledger has a wrong shape")
    limits = np.array((len(table.commits), max(Cause) + 1, len(table.paths)))
    _require(not ((ledger < 0) | (ledger >= limits)).any(), "ledger points outside")
    _require(np.isin(ledger[:, 1], [int(c) for c in Cause]).all(), "ledger has an unknown cause")


def _check_states(table: EditTable) -> None:
    tokens = table.tokens
    _require(bool((np.diff(table.offsets) > 0).all()), "a state has no tokens")
    if tokens.size:
        _require(int(tokens.max()) < VOCAB_SIZE, "a token is past the vocabulary")
        _require(not (tokens == PAD).any() and not (tokens == MASK).any(), "a state is padded or masked")


def _check_edits(table: EditTable) -> None:
    action, lines = table.action, table.lines
    _require(action.shape[1] == len(ACTIONS[table.action_id]), "action has a wrong width")
    # Written so that what is no number fails, too.
    _require(bool(((action >= 0) & (action <= 1)).all()), "action is not between 0 and 1")
    _require(not (table.kind >= len(KINDS)).any(), "kind is unknown")
    for name in ("tokens_added", "tokens_removed", "first_changed_line"):
        _require(not (getattr(table, name) < 0).any(), f"{name} is negative")
    _require(not (lines[:, 0] < 1).any() and not (lines[:, 1] < lines[:, 0]).any(), "lines go backwards")
    _require(not (table.name_lines < 1).any(), "a name is on no line")


def _check_chains(table: EditTable) -> None:
    chain, step = table.chain, table.step
    if not len(chain):
        return
    count = int(chain.max()) + 1
    _require(int(chain.min()) >= 0 and count <= len(chain), "chain points outside")
    # One number instead of two to sort by; a step is at most the number of edits.
    _require(int(step.min()) >= 0 and int(step.max()) < len(step), "step points outside")
    order = np.argsort(chain.astype(np.int64) * len(step) + step)
    sizes = np.bincount(chain, minlength=count)
    starts = np.cumsum(sizes) - sizes
    _require(bool((sizes > 0).all()), "a chain has no edits")
    expected = np.arange(len(chain)) - np.repeat(starts, sizes)
    _require(bool((step[order] == expected).all()), "the steps of a chain are not counted from 0")
    commit = table.commit[order]
    backwards = np.diff(commit) < 0
    _require(not (backwards & (np.diff(chain[order]) == 0)).any(), "a chain runs backwards")
    _require(bool((np.diff(commit[starts]) >= 0).all()), "chains are not numbered as they begin")


def _check_commits(commits: CommitTable) -> None:
    oids, parents = commits.oid, commits.parent
    _require(all(map(_OID.match, oids)), "a commit has no object id")
    _require(len(set(oids)) == len(oids), "a commit is there twice")
    inside = np.diff(commits.repository) == 0
    for i, follows in enumerate(inside.tolist()):
        _require(not follows or parents[i + 1] == oids[i], "a commit does not follow the one before")
    first = [0, *(np.flatnonzero(~inside) + 1).tolist()] if oids else []
    _require(all(not parents[i] or _OID.match(parents[i]) for i in first), "a parent has no object id")
    _require(not (commits.reverts >= np.arange(len(oids))).any(), "a commit reverts what follows it")
    for name in ("file_changes", "lines_added", "lines_deleted"):
        _require(not (getattr(commits, name) < 0).any(), f"commits.{name} is negative")


def _check_balance(table: EditTable, ledger: I32) -> None:
    """Every file change of every commit has edits or a line in the ledger."""
    commits, paths = len(table.commits), max(len(table.paths), 1)
    edited = np.unique(table.commit.astype(np.int64) * paths + table.path) // paths
    counted = np.bincount(edited, minlength=commits) + np.bincount(ledger[:, 0], minlength=commits)
    _require(bool((counted == table.commits.file_changes).all()), "file changes are not those counted")


def _check_header(table: EditTable, header: Header) -> None:
    values: dict[str, tuple[Any, Any]] = {
        "commits": (header.commits, len(table.commits)),
        "edits": (header.edits, len(table)),
        "states": (header.states, len(table.state_hash)),
        "chains": (header.chains, int(table.chain.max()) + 1 if len(table) else 0),
        "files": (header.files, len(table.paths)),
        "units": (header.units, len(table.units)),
        "repositories": (header.repositories, len(table.repositories)),
    }
    if len(table.repositories) == 1:
        origin = table.repositories[0]
        newest = table.commits.oid[-1] if len(table.commits) else ""
        values["tip"] = (header.tip, newest)
        values["repository"] = (
            (header.repository, header.root, header.tip),
            (origin.identity, origin.root, origin.tip),
        )
    for name, (said, held) in values.items():
        _require(said == held, f"the header says something else about its {name}")
    _require(header.window > 0, "the header has no window")


def _require(holds: bool | np.bool_, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
