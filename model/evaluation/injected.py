"""Clones in, held-out edits with one thing wrong out, and how well the residual alone tells them apart.

Each real edit of a function is taken by itself: the file as it was after the commit, with this one function as it
was before. A corruption is put `on top` of the edit, or `alone` on the finished function. Every corrupted edit is
described by its own action, which knows what was done, and its lines added are counted by the core as for any other
edit. Suspects are compared with the real edits by `codewm.model.evaluation.matched`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.git import Repository
from codewm.corpus.records import FileChange, RevSpec
from codewm.corpus.table import EditTable
from codewm.model.evaluation.held_out import Edits, Source, rows_of
from codewm.model.evaluation.injection import KINDS, Function, corrupted
from codewm.model.evaluation.matched import auroc, pairs, strata
from codewm.model.evaluation.metrics import Bootstrap, Tally
from codewm.model.evaluation.readings import Nulls, Reader, readings

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
METRICS = ("injected_auroc_size_matched", "injected_auroc_token_matched")
DOUBT = "doubt_"
"""Put before the names of the rows in which the critic reads the residual, instead of its length alone."""
UNSEEN = "_unseen"
FORMS = ("on top", "alone")
ORDINARY = 4  # real edits for each one that is corrupted
_CHUNK = 100  # resamples at a time


@dataclass(frozen=True)
class Victim:
    """A real edit of one function, by itself."""

    commit: int
    repository: int
    before: bytes
    after: bytes
    unit: str
    start: int
    """First line of the function after the edit, from 0."""
    end: int
    path: str = ""
    row: int = -1
    """Of the edit in its table."""


@dataclass(frozen=True)
class Injected:
    """Real edits of functions, and corrupted ones."""

    edits: Edits
    kind: I64
    """[N] index into `KINDS`, -1 for a real edit."""
    form: I64
    """[N] index into `FORMS`."""
    lines_added: NDArray[np.int32]
    tokens_changed: NDArray[np.int32]


def inject(
    sources: Sequence[Source],
    count: int,
    action: str,
    window: int,
    *,
    part: str | None = None,
    threads: int = 0,
) -> Injected | None:
    """Corrupt at most `count` held-out edits of each repository that has a clone; None if there is nothing to."""
    whole: list[tuple[Victim, int, int, tuple[bytes, bytes]]] = []
    repository = commits = 0
    for source in sources:
        for name in source.repositories:
            if name in source.clones:
                mine = find_victims(source, name, part, (repository, commits), count * ORDINARY)
                whole += [(v, -1, 0, (v.before, v.after)) for v in mine]
                whole += corruptions(mine, count)
            repository += 1
        commits += len(source.table.commits)
    if not whole:
        return None
    batch = core.diff_units([pair for *_, pair in whole], window=window, action=action, threads=threads)
    rows = rows_of_units(batch, [v.unit for v, *_ in whole])
    kept = np.flatnonzero(rows >= 0)
    if not len(kept):
        return None
    row = rows[kept]
    return Injected(
        edits=_as_edits(batch, row, [whole[i][0] for i in kept]),
        kind=np.array([whole[i][1] for i in kept], np.int64),
        form=np.array([whole[i][2] for i in kept], np.int64),
        lines_added=batch.pair_lines[kept, 0],
        tokens_changed=batch.tokens_added[row] + batch.tokens_removed[row],
    )


def find_victims(
    source: Source,
    name: str,
    part: str | None,
    numbers: tuple[int, int],
    most: int,
    among: I64 | None = None,
) -> list[Victim]:
    """Real edits of Python 3 functions in the held-out part of one repository, in random but fixed order.

    `numbers` are those of the repository, and of the first commit of its table, among all sources. `among` are rows
    to take instead of the held-out ones.
    """
    table = source.table
    held = rows_of(table, part)[0] if among is None else among
    held = held[table.commits.repository[table.commit[held]] == source.repositories.index(name)]
    apart = core.FLAG_NOOP | core.FLAG_CREATED | core.FLAG_DELETED | core.FLAG_MOVED | core.FLAG_SYNTAX_ERROR
    kinds = [core.KINDS.index(k) for k in ("function", "method")]
    good = (table.flags[held] & apart) == 0
    good &= np.isin(table.kind[held], kinds) & (table.unit[held] == table.unit_before[held])
    held = held[good]
    order = np.random.default_rng(3).permutation(len(held))
    wanted = held[order[: most * 2]]  # half of them may be of no use
    found: list[Victim] = []
    with Repository.open(source.clones[name]) as repo:
        changes = changes_of(repo, table, wanted)
        names = [c for c in changes if c is not None]
        oids = dict.fromkeys(oid for c in names for oid in (c.old_oid, c.new_oid) if oid is not None)
        content = dict(repo.read_blobs(oids))
    parsed: dict[str, dict[str, core.Unit]] = {}
    for row, change in zip(wanted.tolist(), changes, strict=True):
        if change is None or len(found) == most:
            continue
        victim = _victim(table, row, change, content, parsed, numbers)
        if victim is not None:
            found.append(victim)
    return found


def changes_of(repo: Repository, table: EditTable, rows: I64) -> list[FileChange | None]:
    """The change of a file that each edit is part of; None where this clone does not have it."""
    by_commit: dict[str, dict[bytes, FileChange]] = {}
    if len(rows):
        first, last = int(table.commit[rows].min()), int(table.commit[rows].max())
        for r in np.unique(table.commits.repository[table.commit[rows]]).tolist():
            line = np.flatnonzero(table.commits.repository == r)
            oldest, newest = max(first, int(line[0])), min(last, int(line[-1]))
            tip, since = table.commits.oid[newest], table.commits.parent[oldest]
            if repo.has(tip):
                spec = RevSpec(tip, since if since and repo.has(since) else None)
                for record in repo.commits(spec, suffix=b".py"):
                    by_commit[record.oid] = {c.path: c for c in record.changes}
    out = []
    for row in rows.tolist():
        path = table.paths[int(table.path[row])].encode("utf-8", "surrogateescape")
        out.append(by_commit.get(table.commits.oid[int(table.commit[row])], {}).get(path))
    return out


def _victim(
    table: EditTable,
    row: int,
    change: FileChange,
    content: dict[str, bytes | None],
    parsed: dict[str, dict[str, core.Unit]],
    numbers: tuple[int, int],
) -> Victim | None:
    """The edit by itself, or None if it cannot be worked on."""
    if change.old_oid is None or change.new_oid is None:
        return None
    old, new = content.get(change.old_oid), content.get(change.new_oid)
    if old is None or new is None:
        return None
    for oid, source in ((change.old_oid, old), (change.new_oid, new)):
        if oid not in parsed:
            parsed[oid] = _units(source)
    name = table.units[int(table.unit[row])]
    a, b = parsed[change.old_oid].get(name), parsed[change.new_oid].get(name)
    if a is None or b is None:
        return None
    was, now = old.decode("utf-8").split("\n"), new.decode("utf-8").split("\n")
    start, end = b.start_line - 1, b.end_line
    try:
        Function(now[start:end])
    except ValueError:
        return None
    before = "\n".join([*now[:start], *was[a.start_line - 1 : a.end_line], *now[end:]]).encode("utf-8")
    commit = numbers[1] + int(table.commit[row])
    path = table.paths[int(table.path[row])]
    return Victim(commit, numbers[0], before, new, name, start, end, path, row)


def _units(source: bytes) -> dict[str, core.Unit]:
    """The functions of a source by name; none of a source whose lines are not plain text's."""
    if b"\r" in source or b"\f" in source or source.startswith(b"\xef\xbb\xbf"):
        return {}
    try:
        source.decode("utf-8")
    except UnicodeDecodeError:
        return {}
    units = core.units(source)
    names = [u.name for u in units]
    return {u.name: u for u in units if u.kind in {"function", "method"} and names.count(u.name) == 1}


def corruptions(victims: Sequence[Victim], count: int) -> list[tuple[Victim, int, int, tuple[bytes, bytes]]]:
    """(victim, kind, form, (before, after)) of every corruption of the first `count` victims."""
    out = []
    functions = [Function(lines_of(v)[v.start : v.end]) for v in victims]
    for i, victim in enumerate(victims[:count]):
        # Donors from other files, if there are any.
        donors = [f for f, v in zip(functions, victims, strict=True) if v.after is not victim.after]
        lines = lines_of(victim)
        for k, kind in enumerate(KINDS):
            rng = random.Random(f"{kind} {i}")
            spoilt = corrupted(functions[i], kind, donors or functions, rng)
            if spoilt is None:
                continue
            wrong = "\n".join([*lines[: victim.start], *spoilt, *lines[victim.end :]]).encode("utf-8")
            out.append((victim, k, FORMS.index("on top"), (victim.before, wrong)))
            out.append((victim, k, FORMS.index("alone"), (victim.after, wrong)))
    return out


def lines_of(victim: Victim) -> list[str]:
    """The lines of the file after the edit."""
    return victim.after.decode("utf-8").split("\n")


def rows_of_units(batch: core.EditBatch, units: Sequence[str]) -> I64:
    """The row of each pair's unit, -1 where it did not change or where something else did, too."""
    rows = np.full(len(units), -1, np.int64)
    counts = np.bincount(batch.pair, minlength=len(units))
    for i, pair in enumerate(batch.pair.tolist()):
        same = batch.before_unit[i] == units[pair] == batch.after_unit[i]
        if same and counts[pair] == 1 and not batch.flags[i] & core.FLAG_NOOP:
            rows[pair] = i
    moved = [
        not np.array_equal(_state(batch, "before", r), _state(batch, "after", r)) if r >= 0 else False
        for r in rows.tolist()
    ]
    return np.where(moved, rows, -1)


def _state(batch: core.EditBatch, side: str, row: int) -> NDArray[np.uint16]:
    offsets = getattr(batch, f"{side}_offsets")
    tokens: NDArray[np.uint16] = getattr(batch, f"{side}_tokens")[offsets[row] : offsets[row + 1]]
    return tokens


def _as_edits(batch: core.EditBatch, rows: I64, victims: Sequence[Victim]) -> Edits:
    """The rows over states without repetitions."""
    ids: dict[bytes, int] = {}
    states: list[NDArray[np.uint16]] = []
    sides: dict[str, list[int]] = {"before": [], "after": []}
    for row in rows.tolist():
        for side, column in sides.items():
            tokens = _state(batch, side, row)
            key = tokens.tobytes()
            if key not in ids:
                ids[key] = len(states)
                states.append(tokens)
            column.append(ids[key])
    return Edits(
        tokens=np.concatenate(states),
        offsets=np.cumsum([0, *map(len, states)]).astype(np.int64),
        before=np.array(sides["before"], np.int64),
        after=np.array(sides["after"], np.int64),
        action=batch.action[rows],
        group=np.zeros(len(rows), np.int64),
        commit=np.array([v.commit for v in victims], np.int64),
        repository=np.array([v.repository for v in victims], np.int64),
    )


def scores(reader: Reader, injected: Injected, known: Nulls) -> tuple[list[str], F64]:
    """Names and values [N, S] of what is compared: |d - d_hat| of the model ('') and its nulls, the critic's doubt with
    and without anything but the action, and plain sizes.

    The copy's residual is |d|, the bare displacement.
    """
    read = readings(reader, injected.edits, known)
    columns = {k: np.linalg.norm(read.d - p, axis=1) for k, p in read.predictions.items()}
    columns["doubt"] = read.doubt
    columns["doubt_of_action"] = read.doubt_of_action
    columns["lines_added"] = injected.lines_added
    columns["tokens_changed"] = injected.tokens_changed
    return list(columns), np.stack([c.astype(np.float64) for c in columns.values()], 1)


def tally(
    injected: Injected,
    names: Sequence[str],
    values: F64,
    repositories: Sequence[str],
    resamples: int,
) -> list[Tally]:
    """Rows of the matched AUROC: the mean over kinds, over kinds of families not trained on, and each kind.

    The means are over kinds and forms that were made at all, of all repositories together and of each. Matched on
    lines added, and in rows of their own on tokens changed: a line may be changed in one token or in thirty. Each
    for the length of the residual, and, named `DOUBT`, for what the critic makes of it.
    """
    edits = injected.edits
    bootstrap = Bootstrap(edits.commit, resamples)
    sizes = (injected.lines_added, injected.tokens_changed)
    matchings = {
        metric: strata(size, edits.repository, injected.kind < 0)
        for metric, size in zip(METRICS, sizes, strict=True)
    }
    out = []
    for r in (None, *np.unique(edits.repository).tolist()):
        here = np.ones(len(edits), bool) if r is None else edits.repository == r
        data = "" if r is None else repositories[r]
        if data and len(np.unique(edits.repository)) == 1:
            continue
        rows = Tally(edits.commit[here], subset="kinds", data=data, resamples=0)
        for metric, stratum in matchings.items():
            _tally(rows, metric, injected, names, values, here, stratum, bootstrap)
        out.append(rows)
    return out


def _tally(
    rows: Tally,
    metric: str,
    injected: Injected,
    names: Sequence[str],
    values: F64,
    here: NDArray[np.bool_],
    stratum: I64,
    bootstrap: Bootstrap,
) -> None:
    ordinary = np.flatnonzero(here & (injected.kind < 0))
    found: dict[tuple[str, str], tuple[F64, F64, int]] = {}
    for k, kind in enumerate(KINDS):
        for f, form in enumerate(FORMS):
            suspects = np.flatnonzero(here & (injected.kind == k) & (injected.form == f))
            compared = pairs(suspects, ordinary, stratum, injected.edits.commit)
            if not len(compared):
                continue
            count = len(bootstrap.weights)
            parts = [
                auroc(values, compared, bootstrap, slice(i, i + _CHUNK))
                for i in range(0, max(count, 1), _CHUNK)
            ]
            drawn = np.concatenate([p[1] for p in parts])
            found[kind, form] = parts[0][0], drawn, len(np.unique(compared.suspect))
    untrained = {k for k, kind in KINDS.items() if not kind.trained}
    for subset, forms in (("kinds", FORMS), *((f"kinds, {form}", (form,)) for form in FORMS)):
        rows.subset = subset
        keys = [key for key in found if key[1] in forms]
        for name, chosen in ((metric, keys), (metric + UNSEEN, [key for key in keys if key[0] in untrained])):
            _mean(rows, name, [found[key] for key in chosen], names, [f"{k}, {f}" for k, f in chosen])
    if not rows.data:
        for (kind, form), one in found.items():
            rows.subset = f"{kind}, {form}"
            _mean(rows, metric, [one], names, [], trained=kind not in untrained)
        rows.subset = "kinds"


def _mean(
    rows: Tally,
    metric: str,
    found: Sequence[tuple[F64, F64, int]],
    names: Sequence[str],
    kinds: list[str],
    **more: Any,
) -> None:
    """One row: the mean over kinds of their AUROC; a resample of commits has those kinds that occur in it."""
    if not found:
        return
    value = np.mean([f[0] for f in found], 0)
    each = np.stack([f[1] for f in found])  # [K, R, S]
    occurs = (~np.isnan(each)).sum(0)
    drawn = np.nansum(each, 0)[occurs.all(1)] / occurs[occurs.all(1)]
    if kinds:
        more["kinds"] = kinds
    n = sum(f[2] for f in found)
    critic = {"doubt": None, "doubt_of_action": None}
    doubted = {"": "residual", "doubt": ""}
    for prefix, told in (("", critic), (DOUBT, doubted)):
        called = [told.get(name, name) for name in names]
        rows.add(
            prefix + metric,
            {c: v for c, v in zip(called, value.tolist(), strict=True) if c is not None},
            {c: drawn[:, i] for i, c in enumerate(called) if c is not None},
            n=n,
            **more,
        )
