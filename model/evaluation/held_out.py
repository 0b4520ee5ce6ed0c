"""Edit tables in, the edits that a model is tested on out, with what its nulls may be fitted on.

What is held out is what the corpus' division says (the late part of the held-out repositories, or of the others if
it has none), or the latest fifth of each repository by time. No-ops and edits that change nothing inside the window
are no edits; a pair of states that is also in the part to fit on is not tested on. Nothing here depends on a
model, so that two models are compared on the very same edits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import codewm_core
from codewm.corpus.errors import UserError
from codewm.corpus.split import by_time
from codewm.corpus.table import EditTable

I64 = NDArray[np.int64]
F32 = NDArray[np.float32]
GROUPS = ("modified", "created", "deleted")
PARTS = ("unseen", "late")
ALTERNATIVES = 32  # other edits of the same label that each edit is set beside
SIBLINGS = (1, 2)  # edits of the same unit before and after it whose other states it is set beside
LABEL = "edit type x scope"
"""What the 'same action' of `same_action_rank` means: the papers' joint label, of nine values."""
VALIDATION = 0.1  # latest share of the fitted edits, by which the linear map's strength is chosen


@dataclass(frozen=True)
class Source:
    """One store or corpus, and the clones of its repositories that are at hand."""

    name: str
    table: EditTable
    clones: Mapping[str, Path] = field(default_factory=dict)
    """By the repository's name."""

    @property
    def repositories(self) -> list[str]:
        """Names of the repositories; that of a table of one that nobody named is the source's own."""
        return [o.name for o in self.table.repositories] or [self.name]


@dataclass(frozen=True)
class Edits:
    """N edits over U states: who they are, as no model has seen them yet."""

    tokens: NDArray[np.uint16]
    offsets: I64
    """[U + 1]"""
    before: I64
    """[N] state id."""
    after: I64
    """[N] state id."""
    action: F32
    """[N, A], as stored."""
    group: I64
    """[N] index into `GROUPS`."""
    commit: I64
    """[N] unique over repositories."""
    repository: I64
    """[N] index into the names of `HeldOut`."""

    def __len__(self) -> int:
        return len(self.before)


@dataclass(frozen=True)
class HeldOut:
    """What a suite reads."""

    edits: Edits
    label: I64
    """[N] the action label, -1 where the action has none."""
    alternatives: I64
    """[N, ALTERNATIVES] other edits of the same repository and label with another next state, or -1."""
    siblings: I64
    """[N, 2 x len(SIBLINGS)] other states of the same unit, or -1."""
    fit: Edits
    """Edits to fit nulls on; never held out."""
    watched: NDArray[np.bool_]
    """[F] the latest of them, to choose the linear map's strength by."""
    repositories: list[str]
    action_id: str
    window: int
    about: dict[str, int]
    """How many edits there were, and why some are not here."""
    following: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    """[N] the held-out edit that is next in the chain and begins at the state where this one ends, or -1."""


@dataclass
class _Part:
    """The rows of one table."""

    table: EditTable
    held: I64
    fit: I64
    first_repository: int
    first_commit: int


def hold_out(
    sources: Sequence[Source], *, limit: int = 2_000, fit_limit: int | None = None, part: str | None = None
) -> HeldOut:
    """Gather the edits to test on: at most `limit` of each repository, by whole commits.

    Nulls are fitted on at most `fit_limit` edits of all, by default four times the limit. `part` asks for a part
    of divided corpora. Raises `UserError` where there is nothing to test on.
    """
    first = sources[0].table
    for source in sources:
        if source.table.tokenizer_id != codewm_core.TOKENIZER_ID:
            raise UserError(f"{source.name} was made with another tokeniser", "run 'codewm harvest' again")
        if source.table.action_id != first.action_id:
            raise UserError(
                f"{source.name} describes edits by {source.table.action_id}, not {first.action_id}",
                "harvest them alike",
            )
    parts, names, about = _parts(sources, limit, fit_limit or 4 * limit, part)
    edits, states = _edits(parts, [p.held for p in parts])
    fit, _ = _edits(parts, [p.fit for p in parts])
    if len(edits) < 2:
        raise UserError("there are no held-out edits to test on", "name a repository with more history")
    about |= {"held out": len(edits), "to fit nulls on": len(fit)}
    label = labels_of(edits.action, first.action_id)
    siblings, edits = _siblings(parts, states, edits)
    return HeldOut(
        edits=edits,
        label=label,
        alternatives=_alternatives(edits, label),
        siblings=siblings,
        fit=fit,
        watched=_latest(parts),
        repositories=names,
        action_id=first.action_id,
        window=max(s.table.window for s in sources),
        about=about,
        following=_following(parts),
    )


def rows_of(table: EditTable, part: str | None) -> tuple[I64, I64]:
    """Rows held out and rows to fit on, before anything is drawn."""
    if table.division is None:
        if part is not None:
            raise UserError("only a divided corpus has parts", "leave --part away")
        split = by_time(table)
        return split.held_out, split.train
    parts = table.division.parts(table)
    chosen = part or ("unseen" if len(parts.unseen) else "late")
    if chosen not in PARTS:
        raise UserError(f"there is no part '{chosen}' to test on", f"one of {', '.join(PARTS)}")
    return getattr(parts, chosen), parts.train


def _parts(
    sources: Sequence[Source], limit: int, fit_limit: int, part: str | None
) -> tuple[list[_Part], list[str], dict[str, int]]:
    rng = np.random.default_rng(0)  # what is tested must not depend on a weight seed
    parts: list[_Part] = []
    names: list[str] = []
    about = {"edits": 0, "no-op": 0, "also in the fitted part": 0, "not drawn": 0}
    commits = 0
    for source in sources:
        table = source.table
        held, fit = rows_of(table, part)
        noop = ((table.flags & codewm_core.FLAG_NOOP) != 0) | (table.before == table.after)
        about["edits"] += len(held)
        about["no-op"] += int(noop[held].sum())
        held, fit = held[~noop[held]], fit[~noop[fit]]
        seen = np.isin(_pairs(table, held), _pairs(table, fit))
        about["also in the fitted part"] += int(seen.sum())
        held = np.sort(held[~seen])
        repository = table.commits.repository[table.commit[held]]
        drawn = [
            draw_commits(held[repository == r], table.commit[held[repository == r]], limit, rng)
            for r in np.unique(repository)
        ]
        kept = np.concatenate(drawn) if drawn else held
        about["not drawn"] += len(held) - len(kept)
        parts.append(_Part(table, kept, np.sort(fit), len(names), commits))
        names += source.repositories
        commits += len(table.commits)
    share = fit_limit // max(len(parts), 1)
    for p in parts:
        if len(p.fit) > share:
            p.fit = np.sort(rng.choice(p.fit, share, replace=False))
    return parts, names, about


def _pairs(table: EditTable, rows: I64) -> NDArray[np.uint64]:
    """What the two states of edits are, in one number."""
    a, b = table.state_hash[table.before[rows]], table.state_hash[table.after[rows]]
    return a * np.uint64(0x9E3779B97F4A7C15) + b


def draw_commits(rows: I64, commit: NDArray[np.int32], most: int, rng: np.random.Generator) -> I64:
    """About `most` edits at most, by whole commits in random order: the bootstrap resamples commits.

    A commit that does not fit is passed over; if none fits, the smallest is taken.
    """
    if len(rows) <= most:
        return rows
    commits, counts = np.unique(commit, return_counts=True)
    kept, room = [], most
    for i in rng.permutation(len(commits)).tolist():
        if counts[i] <= room:
            kept.append(commits[i])
            room -= int(counts[i])
    return rows[np.isin(commit, kept or [commits[np.argmin(counts)]])]


def edits_of(sources: Sequence[Source], rows: Sequence[I64]) -> Edits:
    """Those rows of each source's table as one set of edits, source by source."""
    parts: list[_Part] = []
    repositories = commits = 0
    for source, held in zip(sources, rows, strict=True):
        parts.append(_Part(source.table, held, np.zeros(0, np.int64), repositories, commits))
        repositories += len(source.repositories)
        commits += len(source.table.commits)
    return _edits(parts, rows)[0]


def _edits(parts: Sequence[_Part], rows: Sequence[I64]) -> tuple[Edits, list[I64]]:
    """One set of edits with states of their own; and for each table, state id -> state id here, or -1."""
    tokens: list[NDArray[np.uint16]] = []
    lengths: list[I64] = [np.zeros(1, np.int64)]
    before, after, maps = [], [], []
    count = 0
    for p, r in zip(parts, rows, strict=True):
        table = p.table
        used = np.unique(np.concatenate([table.before[r], table.after[r]])).astype(np.int64)
        flat, offsets = table.states(used)
        ids = np.full(len(table.offsets) - 1, -1, np.int64)
        ids[used] = count + np.arange(len(used))
        count += len(used)
        tokens.append(flat)
        lengths.append(np.diff(offsets))
        before.append(ids[table.before[r]])
        after.append(ids[table.after[r]])
        maps.append(ids)
    flags = np.concatenate([p.table.flags[r] for p, r in zip(parts, rows, strict=True)])
    edits = Edits(
        tokens=np.concatenate(tokens),
        offsets=np.cumsum(np.concatenate(lengths)),
        before=np.concatenate(before),
        after=np.concatenate(after),
        action=np.concatenate([p.table.action[r] for p, r in zip(parts, rows, strict=True)]),
        group=np.where(
            flags & codewm_core.FLAG_CREATED, 1, np.where(flags & codewm_core.FLAG_DELETED, 2, 0)
        ).astype(np.int64),
        commit=np.concatenate(
            [p.table.commit[r].astype(np.int64) + p.first_commit for p, r in zip(parts, rows, strict=True)]
        ),
        repository=np.concatenate(
            [
                p.table.commits.repository[p.table.commit[r]].astype(np.int64) + p.first_repository
                for p, r in zip(parts, rows, strict=True)
            ]
        ),
    )
    return edits, maps


def _latest(parts: Sequence[_Part]) -> NDArray[np.bool_]:
    """Mask over the fitted edits: the latest tenth of each table's."""
    masks = []
    for p in parts:
        times = p.table.commits.committer_time[p.table.commit[p.fit]]
        late = np.zeros(len(times), bool)
        if len(times):
            late = times > np.quantile(times, 1 - VALIDATION, method="lower")
        masks.append(late)
    return np.concatenate(masks)


def labels_of(action: F32, action_id: str) -> I64:
    """The joint label edit type x scope of actions [n, A]: [n], -1 where the action names neither."""
    names = codewm_core.ACTIONS[action_id]
    kinds = [i for i, name in enumerate(names) if name.startswith("type_")]
    scopes = [i for i, name in enumerate(names) if name.startswith("scope_")]
    if not kinds or not scopes:
        return np.full(len(action), -1, np.int64)
    label: I64 = action[:, kinds].argmax(1) * len(scopes) + action[:, scopes].argmax(1)
    return label


def _alternatives(edits: Edits, label: I64) -> I64:
    """Other edits with the same repository and label, drawn with replacement by a fixed seed."""
    rng = np.random.default_rng(1)
    out = np.full((len(edits), ALTERNATIVES), -1, np.int64)
    key = edits.repository * (int(label.max()) + 2) + label
    for k in np.unique(key[label >= 0]):
        members = np.flatnonzero(key == k)
        if len(members) < 2:
            continue
        drawn = members[rng.integers(len(members), size=(len(members), ALTERNATIVES))]
        # The same next state may be reached by another edit; it is then no alternative.
        same = edits.after[drawn] == edits.after[members][:, None]
        out[members] = np.where(same, -1, drawn)
    return out


def _siblings(parts: Sequence[_Part], maps: Sequence[I64], edits: Edits) -> tuple[I64, Edits]:
    """Other states of the same unit, from the edits next to it in its chain; and the edits with these states.

    Those before it in the chain give their state before, those after it their state after. What is nearest in time
    is also nearest in content: the hardest to tell apart.
    """
    columns = []
    tokens, lengths, count = [edits.tokens], [np.diff(edits.offsets)], len(edits.offsets) - 1
    for p, ids in zip(parts, maps, strict=True):
        table = p.table
        order = np.lexsort((table.step, table.chain))
        place = np.empty(len(table), np.int64)
        place[order] = np.arange(len(table))
        states = np.full((len(p.held), 2 * len(SIBLINGS)), -1, np.int64)
        for i, by in enumerate(SIBLINGS):
            for j, (shift, column) in enumerate(((-by, table.before), (by, table.after))):
                at = place[p.held] + shift
                inside = (at >= 0) & (at < len(table))
                row = order[np.where(inside, at, 0)]
                state = column[row].astype(np.int64)
                good = inside & (table.chain[row] == table.chain[p.held])
                good &= (state != table.before[p.held]) & (state != table.after[p.held])
                good &= ~_is_empty(table, state)
                states[:, 2 * i + j] = np.where(good, state, -1)
        wanted = np.unique(states[states >= 0])
        new = wanted[ids[wanted] < 0]
        flat, offsets = table.states(new)
        ids[new] = count + np.arange(len(new))
        count += len(new)
        tokens.append(flat)
        lengths.append(np.diff(offsets))
        columns.append(np.where(states >= 0, ids[states], -1))
    whole = Edits(
        tokens=np.concatenate(tokens),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
        **{
            name: getattr(edits, name)
            for name in ("before", "after", "action", "group", "commit", "repository")
        },
    )
    return np.concatenate(columns), whole


def _following(parts: Sequence[_Part]) -> I64:
    """No-ops between two edits are passed over: they leave the state as it is."""
    out, first = [], 0
    for p in parts:
        chain, step = p.table.chain[p.held], p.table.step[p.held]
        order = np.lexsort((step, chain))
        before, after = p.table.before[p.held][order], p.table.after[p.held][order]
        goes_on = (chain[order][1:] == chain[order][:-1]) & (after[:-1] == before[1:])
        mine = np.full(len(order), -1, np.int64)
        mine[order[:-1][goes_on]] = first + order[1:][goes_on]
        out.append(mine)
        first += len(order)
    return np.concatenate(out)


def _is_empty(table: EditTable, state: I64) -> NDArray[np.bool_]:
    start = table.offsets[state]
    one = table.offsets[state + 1] - start == 1
    empty: NDArray[np.bool_] = one & (table.tokens[start] == codewm_core.EMPTY)
    return empty
