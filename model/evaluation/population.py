"""Sources in, the edits that are searched for and among out, with what is known of each besides its action.

Of each repository that is tested: at most `limit` held-out edits, as many that stand in a relation (a revert, an
issue) and as many of the rest, by whole commits. Relations are rare, so they are looked for in the whole history; a
model may have been trained on that of a repository, and `trained_on` says of which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.errors import UserError
from codewm.model.evaluation import refactoring, relations
from codewm.model.evaluation.held_out import Edits, Source, draw_commits, edits_of, labels_of, rows_of
from codewm.model.evaluation.sources import Texts, texts_of
from codewm.model.evaluation.world import World

I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Population:
    """N edits; commits, chains and units are numbered over all sources."""

    edits: Edits
    fit: Edits
    """Edits before the held-out part, to fit what encoders are weighted by."""
    held: Mask
    """[N] drawn from the held-out part, not only for a relation."""
    chain: I64
    """[N] edits of one unit through time share it."""
    time: I64
    """[N] committer time, unix seconds."""
    size: I64
    """[N] tokens added and removed."""
    label: I64
    """[N] edit type x scope, -1 where the action has none."""
    refactoring: I64
    """[N] index into `refactoring.KINDS`, -1 for none."""
    reverts: I64
    """[N] commit that this edit's commit says it reverts, or -1."""
    exact: Mask
    """[N] it takes its unit exactly back: an edit of the reverted commit went from its state after to its state
    before.
    """
    issues: list[frozenset[tuple[int, int, int]]]
    """[N] (source, repository, number) cited by this commit and another."""
    texts: list[Texts]
    """[N], or [] where nothing asked for them."""
    repositories: list[str]
    action_id: str
    about: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.edits)


@dataclass(frozen=True)
class _Chosen:
    """Rows of one table."""

    rows: I64
    held: Mask
    fit: I64
    issues: dict[int, set[tuple[int, int]]]


def gather(
    sources: Sequence[Source], *, limit: int, part: str | None = None, with_texts: bool = False
) -> Population:
    """The population of a request. Raises `UserError` where there is nothing to test on.

    With texts, edits whose texts cannot be had are left out, so that every encoder is read on the same ones.
    """
    first = sources[0].table
    for source in sources:
        if source.table.tokenizer_id != core.TOKENIZER_ID or source.table.action_id != first.action_id:
            raise UserError(f"{source.name} was harvested in another way", "run 'codewm harvest' again")
    chosen = [_choose(source, limit, part) for source in sources]
    about: dict[str, Any] = {"edits": int(sum(len(c.rows) for c in chosen))}
    texts: list[Texts] = []
    if with_texts:
        kept = []
        for source, one in zip(sources, chosen, strict=True):
            found = texts_of(source, one.rows)
            whole = np.array([None not in t for t in found], bool)
            texts += [t for t in found if None not in t]
            kept.append(_Chosen(one.rows[whole], one.held[whole], one.fit, one.issues))
        chosen = kept
        about["without_text"] = about["edits"] - sum(len(c.rows) for c in chosen)
    if sum(len(c.rows) for c in chosen) < 2:
        raise UserError("there are no edits to test on", "name a repository with more history, or its clone")
    return _population(sources, chosen, texts, about)


def trained_on(worlds: Sequence[World], sources: Sequence[Source]) -> dict[str, list[str]]:
    """World -> the repositories among these whose earlier history it says it was trained on."""
    out = {}
    for world in worlds:
        about = getattr(getattr(world, "subject", None), "about", {})
        roots = {s.get("root") for s in about.get("sources", []) if s.get("role") != "held-out"}
        out[world.name] = [o.name for s in sources for o in s.table.repositories if o.root in roots]
    return out


def _choose(source: Source, limit: int, part: str | None) -> _Chosen:
    table = source.table
    held, fit = rows_of(table, part)
    real = ((table.flags & core.FLAG_NOOP) == 0) & (table.before != table.after)
    repository = table.commits.repository[table.commit]
    tested = np.isin(repository, np.unique(repository[held]))
    issues = relations.issues_of(source, relations.messages_of(source))
    reverted = relations.reverted_by(source)
    related = np.isin(table.commit, [*issues, *reverted, *reverted.values()])
    rng = np.random.default_rng(0)  # what is tested must not depend on a weight seed
    is_held = np.zeros(len(table), bool)
    is_held[held] = True
    of_held: list[I64] = []
    kept: list[I64] = []
    for r in np.unique(repository[held]).tolist():
        here = real & tested & (repository == r)
        for mask, into in ((here & is_held, of_held), (here & related, kept), (here & ~is_held, kept)):
            rows = np.flatnonzero(mask)
            if len(rows):
                into.append(draw_commits(rows, table.commit[rows], limit, rng))
    nothing = np.zeros(0, np.int64)
    drawn = np.unique(np.concatenate([nothing, *of_held]))
    rows = np.unique(np.concatenate([drawn, *kept]))
    fit = fit[real[fit]]
    if len(fit) > 4 * limit:
        fit = np.sort(rng.choice(fit, 4 * limit, replace=False))
    return _Chosen(rows, np.isin(rows, drawn), fit, issues)


def _population(
    sources: Sequence[Source], chosen: Sequence[_Chosen], texts: list[Texts], about: dict[str, Any]
) -> Population:
    edits = edits_of(sources, [c.rows for c in chosen])
    columns: dict[str, list[I64]] = {
        name: [] for name in ("chain", "time", "size", "refactoring", "reverts", "exact")
    }
    issues: list[frozenset[tuple[int, int, int]]] = []
    chains = commits = 0
    for number, (source, one) in enumerate(zip(sources, chosen, strict=True)):
        table, rows = source.table, one.rows
        commit = table.commit[rows]
        columns["chain"].append(table.chain[rows].astype(np.int64) + chains)
        columns["time"].append(table.commits.committer_time[commit])
        columns["size"].append((table.tokens_added + table.tokens_removed)[rows].astype(np.int64))
        columns["refactoring"].append(refactoring.kinds_of(table, rows))
        reverted = table.commits.reverts[commit].astype(np.int64)
        columns["reverts"].append(np.where(reverted >= 0, reverted + commits, -1))
        columns["exact"].append(_exact(source, rows))
        issues += [frozenset((number, *issue) for issue in one.issues.get(c, ())) for c in commit.tolist()]
        chains += int(table.chain.max(initial=-1)) + 1
        commits += len(table.commits)
    action_id = sources[0].table.action_id
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return Population(
        edits=edits,
        fit=edits_of(sources, [c.fit for c in chosen]),
        held=np.concatenate([c.held for c in chosen]),
        chain=joined["chain"],
        time=joined["time"],
        size=joined["size"],
        label=labels_of(edits.action, action_id),
        refactoring=joined["refactoring"],
        reverts=joined["reverts"],
        exact=joined["exact"].astype(bool),
        issues=issues,
        texts=texts,
        repositories=[name for source in sources for name in source.repositories],
        action_id=action_id,
        about=about,
    )


def _exact(source: Source, rows: I64) -> I64:
    """1 where the reverted commit went exactly the other way: [n]."""
    table = source.table
    out = np.zeros(len(rows), np.int64)
    for i, row in enumerate(rows.tolist()):
        other = int(table.commits.reverts[table.commit[row]])
        if other < 0:
            continue
        first, last = np.searchsorted(table.commit, [other, other + 1])
        same = table.before[first:last] == table.after[row]
        out[i] = int((same & (table.after[first:last] == table.before[row])).any())
    return out
