"""A harvested clone in, real edits of its functions with one thing wrong in them out, as a table that can be scored.

Each case is a commit of its own with one edit of one function. A mistake is put `on top` of a real edit, or made
`alone` in the finished function (`codewm.model.evaluation.injected`); beside them stand the same and more real edits
as they were. The table says of each case where it comes from; nothing of it is in the repository.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.table import CommitTable, EditTable
from codewm.model.evaluation.held_out import Source
from codewm.model.evaluation.injected import (
    FORMS,
    ORDINARY,
    Victim,
    find_victims,
    lines_of,
    rows_of_units,
)
from codewm.model.evaluation.injection import Function, corrupted
from codewm.model.evaluation.mistakes import ALL, MESSAGE

I64 = NDArray[np.int64]
REAL = "ordinary"
KIND_NAMES = (*ALL, MESSAGE)


class Case(NamedTuple):
    """What was made of a real edit."""

    kind: str
    """Of `KIND_NAMES`, or `REAL`."""
    form: str
    """Of `FORMS`, '' for a real one."""
    path: str
    unit: str
    before: str
    """Text of the function."""
    after: str

    @property
    def trained(self) -> bool:
        """Models are trained on its family of mistakes."""
        return self.kind in ALL and ALL[self.kind].trained


@dataclass(frozen=True)
class Cases:
    """M cases; row i of the table's commits is case i, and has one edit."""

    table: EditTable
    case: list[Case]
    origin: list[int]
    """[M] the commit of the source's table that the case was made from."""


class _Made(NamedTuple):
    victim: Victim
    kind: str
    form: str
    sides: tuple[bytes, bytes]
    subject: str


def cases_of(
    source: Source, first: int, last: int, count: int, action: str, window: int, threads: int
) -> Cases:
    """Make every mistake in `count` edits of commits `first` to `last`, and take four times as many as they are.

    The same ones whatever model is asked. No cases where `count` is 0 or nothing can be corrupted.
    """
    table = source.table
    rows = np.flatnonzero((table.commit >= first) & (table.commit <= last)).astype(np.int64)
    name = source.repositories[0]
    victims = find_victims(source, name, None, (0, 0), count * ORDINARY, rows) if count else []
    subjects = [table.commits.subject[v.commit] for v in victims]
    made = [_Made(v, REAL, "", (v.before, v.after), s) for v, s in zip(victims, subjects, strict=True)]
    made += _mistakes(victims, subjects, count)
    batch = core.diff_units([m.sides for m in made], window=window, action=action, threads=threads)
    row = rows_of_units(batch, [m.victim.unit for m in made])
    kept = np.flatnonzero(row >= 0)
    chosen = [made[i] for i in kept]
    paths = {(v.commit, v.unit, v.start): p for v, p in _paths(table, rows, victims)}
    where = [paths[m.victim.commit, m.victim.unit, m.victim.start] for m in chosen]
    cases = [
        Case(m.kind, m.form, path, m.victim.unit, *(_text(side, m.victim) for side in m.sides))
        for m, path in zip(chosen, where, strict=True)
    ]
    lines = batch.pair_lines[kept]
    return Cases(
        _as_table(table, batch, row[kept], chosen, where, lines), cases, [m.victim.commit for m in chosen]
    )


def _mistakes(victims: Sequence[Victim], subjects: Sequence[str], count: int) -> list[_Made]:
    functions = [Function(lines_of(v)[v.start : v.end]) for v in victims]
    out = []
    for i, victim in enumerate(victims[:count]):
        donors = [
            f for f, v in zip(functions, victims, strict=True) if v.after is not victim.after
        ] or functions
        lines = lines_of(victim)
        for kind in ALL:
            spoilt = corrupted(functions[i], kind, donors, random.Random(f"{kind} {i}"), ALL)
            if spoilt is None:
                continue
            wrong = "\n".join([*lines[: victim.start], *spoilt, *lines[victim.end :]]).encode("utf-8")
            for form, side in zip(FORMS, (victim.before, victim.after), strict=True):
                out.append(_Made(victim, kind, form, (side, wrong), subjects[i]))
        others = sorted({s for s in subjects if s != subjects[i]})
        if others:
            said = random.Random(f"{MESSAGE} {i}").choice(others)
            out.append(_Made(victim, MESSAGE, FORMS[0], (victim.before, victim.after), said))
    return out


def _paths(table: EditTable, rows: I64, victims: Sequence[Victim]) -> list[tuple[Victim, str]]:
    """Each victim with the path of its file. A unit's name may occur in several files of a commit: its lines tell."""
    known: dict[tuple[int, str, int], str] = {}
    for row in rows.tolist():
        key = int(table.commit[row]), table.units[int(table.unit[row])], int(table.lines[row, 0]) - 1
        known.setdefault(key, table.paths[int(table.path[row])])
    return [(v, known[v.commit, v.unit, v.start]) for v in victims]


def _text(source: bytes, victim: Victim) -> str:
    """The lines of the function on one side: what stands between what all sides share."""
    lines = source.decode("utf-8").split("\n")
    following = len(lines_of(victim)) - victim.end
    return "\n".join(lines[victim.start : len(lines) - following])


def _as_table(
    table: EditTable,
    batch: core.EditBatch,
    row: I64,
    made: Sequence[_Made],
    paths: Sequence[str],
    lines: NDArray[np.int32],
) -> EditTable:
    """Rows of a batch as commits of their own, with the dates and people of where they come from."""
    n = len(row)
    origin = np.array([m.victim.commit for m in made], np.int64)
    names = {p: i for i, p in enumerate(dict.fromkeys(paths))}
    units = {u: i for i, u in enumerate(dict.fromkeys(m.victim.unit for m in made))}
    unit = np.array([units[m.victim.unit] for m in made], np.int32)
    count = np.diff(batch.name_offsets)[row]
    start = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    flat = np.arange(start[-1]) + np.repeat(batch.name_offsets[:-1][row] - start[:-1], count)
    states = len(batch.before_offsets) - 1
    old = table.commits
    commits = CommitTable(
        oid=[old.oid[c] for c in origin],
        parent=[old.parent[c] for c in origin],
        author=[old.author[c] for c in origin],
        time=old.time[origin],
        committer_time=old.committer_time[origin],
        subject=[m.subject for m in made],
        flags=np.zeros(n, np.uint8),
        file_changes=np.ones(n, np.int32),
        lines_added=lines[:, 0].astype(np.int32),
        lines_deleted=lines[:, 1].astype(np.int32),
        reverts=np.full(n, -1, np.int32),
        fixes=old.fixes[origin],
        repository=np.zeros(n, np.int32),
    )
    return replace(
        table,
        tokens=np.concatenate([batch.before_tokens, batch.after_tokens]),
        offsets=np.concatenate([batch.before_offsets, batch.after_offsets[1:] + len(batch.before_tokens)]),
        state_hash=np.zeros(2 * states, np.uint64),
        before=row.astype(np.int32),
        after=(row + states).astype(np.int32),
        action=batch.action[row],
        commit=np.arange(n, dtype=np.int32),
        path=np.array([names[p] for p in paths], np.int32),
        unit=unit,
        unit_before=unit,
        kind=batch.kind[row],
        chain=np.arange(n, dtype=np.int32),
        step=np.zeros(n, np.int32),
        flags=batch.flags[row],
        tokens_added=batch.tokens_added[row],
        tokens_removed=batch.tokens_removed[row],
        lines=batch.lines[row],
        first_changed_line=batch.first_changed_line[row],
        name_offsets=start,
        name_ids=batch.name_ids[flat],
        name_flags=batch.name_flags[flat],
        name_lines=batch.name_lines[flat],
        commits=commits,
        renames=np.zeros((0, 3), np.int32),
        paths=list(names),
        units=list(units),
        names=batch.names,
        division=None,
    )
