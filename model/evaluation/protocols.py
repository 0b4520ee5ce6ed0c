"""A population in, who is asked for whom out: queries, galleries, and what counts as relevant.

Circular, as the papers have them (relevance is made from the action, which is made from the answer):
    same edit type, same joint       the type, and type x scope, of the action
    action cosine 0.9, 0.95          of the whole action vectors; once more among modified units alone
    same joint, other repositories   leave one repository out: the gallery is all others' edits
    K = 9, P / N                     one edit of the same joint from P beside nine of another from N, P and N being the
                                     same repository or others; the papers' is 'same / other'
Not made from the action:
    revert                           what did this commit take back: edits of the commit that its message cites
    issue                            other commits citing the same issue; and one edit of these, of another unit,
                                     beside nine around it in time, because what cites an issue is often next to it
    refactoring                      the same kind of refactoring, among edits of one joint label; in units, of the
                                     kinds that the unit's own edit shows (others show elsewhere, too)

A query never meets edits of its own commit, which are not independent of it, and a commit asks `PER_COMMIT` times at
most: one that renames something in a hundred places would outweigh all others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codewm.model.evaluation.population import Population
from codewm.model.evaluation.refactoring import KINDS

I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
QUERIES = 1_000
"""At most, of each protocol, spread over the repositories; as CodeWM-2's table 8."""
GALLERY = 5_000
"""At most, likewise."""
PER_COMMIT = 5
K = 9
"""Distractors of the hard protocols (CodeWM-1, table 7)."""
COSINES = (0.9, 0.95)
Judge = Callable[[I64], tuple[Mask, Mask]]


@dataclass(frozen=True)
class Protocol:
    """One question that is asked of every encoder."""

    name: str
    circular: bool
    queries: I64
    """[Q]"""
    gallery: I64
    """[G]"""
    judge: Judge
    """Rows of edits that ask [q] -> who may answer, and who of these is relevant: [q, G] each."""
    sign: int = 1
    """-1: what undoes the edit is searched for."""
    left_out: int = 0
    """Queries to which nothing in the gallery is relevant, which therefore are none."""


@dataclass(frozen=True)
class Hard:
    """Each query beside one relevant edit and `K` others."""

    name: str
    queries: I64
    candidates: I64
    """[Q, 1 + K], the relevant one first."""
    circular: bool = field(default=True)


def all_of(population: Population) -> list[Protocol]:
    """Every protocol that has a query."""
    made = [*_circular(population), *_related(population), *_refactored(population)]
    return [p for p in (_asked(p) for p in made) if len(p.queries)]


def _asked(protocol: Protocol) -> Protocol:
    """Without the queries that have no answer."""
    answered = [np.zeros(0, bool)]
    for start in range(0, len(protocol.queries), 200):
        _, relevant = protocol.judge(protocol.queries[start : start + 200])
        answered.append(np.any(relevant, axis=1))
    kept = np.concatenate(answered)
    return Protocol(
        protocol.name, protocol.circular, protocol.queries[kept], protocol.gallery, protocol.judge,
        protocol.sign, int((~kept).sum()),
    )  # fmt: skip


def _drawn(population: Population, rows: I64, most: int, seed: int) -> I64:
    """About `most` of the rows, as many of each repository as there are, in a random but fixed choice."""
    rng = np.random.default_rng([seed, 17])
    repository = population.edits.repository[rows]
    names = np.unique(repository)
    out = [np.zeros(0, np.int64)]
    for r in names:
        mine = rows[repository == r]
        share = most // len(names)
        out.append(mine if len(mine) <= share else np.sort(rng.choice(mine, share, replace=False)))
    return np.concatenate(out)


def _asking(population: Population, rows: I64, seed: int) -> I64:
    """`QUERIES` of the rows at most, and `PER_COMMIT` of each commit."""
    mixed = np.random.default_rng([seed, 18]).permutation(rows)
    commit = population.edits.commit[mixed]
    order = np.argsort(commit, kind="stable")
    first = np.searchsorted(commit[order], commit[order])
    kept = mixed[order][np.arange(len(mixed)) - first < PER_COMMIT]
    return _drawn(population, np.sort(kept), QUERIES, seed)


def _circular(population: Population) -> Iterator[Protocol]:
    edits, label = population.edits, population.label
    held = np.flatnonzero(population.held & (label >= 0))
    queries, gallery = _asking(population, held, 0), _drawn(population, held, GALLERY, 1)
    action = edits.action.astype(np.float64)
    action /= np.maximum(np.linalg.norm(action, axis=1, keepdims=True), 1e-12)
    kind = label // 3  # the label is type x scope, of three scopes

    def apart(q: I64) -> Mask:
        out: Mask = edits.commit[q][:, None] != edits.commit[gallery]
        return out

    def same(values: I64) -> Judge:
        def judge(q: I64) -> tuple[Mask, Mask]:
            allowed = apart(q)
            return allowed, allowed & (values[q][:, None] == values[gallery])

        return judge

    def near(least: float, *, modified: bool = False) -> Judge:
        def judge(q: I64) -> tuple[Mask, Mask]:
            allowed = apart(q)
            if modified:
                allowed &= edits.group[gallery] == 0
            return allowed, allowed & (action[q] @ action[gallery].T > least)

        return judge

    def elsewhere(q: I64) -> tuple[Mask, Mask]:
        allowed = edits.repository[q][:, None] != edits.repository[gallery]
        return allowed, allowed & (label[q][:, None] == label[gallery])

    yield Protocol("same edit type", True, queries, gallery, same(kind))
    yield Protocol("same joint", True, queries, gallery, same(label))
    for least in COSINES:
        yield Protocol(f"action cosine {least}", True, queries, gallery, near(least))
    modified = _asking(population, held[edits.group[held] == 0], 7)
    judge = near(COSINES[-1], modified=True)
    yield Protocol(f"action cosine {COSINES[-1]}, modified units", True, modified, gallery, judge)
    if len(np.unique(edits.repository[held])) > 1:
        yield Protocol("same joint, other repositories", True, queries, gallery, elsewhere)


def _cited(population: Population) -> Callable[[int], list[int]]:
    """Edits whose commits cite an issue that this one's cites, too."""
    citing: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for i, issues in enumerate(population.issues):
        for issue in issues:
            citing[issue].append(i)
    return lambda i: [j for issue in population.issues[i] for j in citing[issue]]


def _citing(population: Population) -> I64:
    return _asking(population, np.flatnonzero([bool(cited) for cited in population.issues]), 2)


def _related(population: Population) -> Iterator[Protocol]:
    edits = population.edits
    everyone = np.arange(len(edits))
    at: dict[int, list[int]] = defaultdict(list)
    for i in everyone.tolist():
        at[int(edits.commit[i])].append(i)

    def reverted(i: int) -> list[int]:
        return at.get(int(population.reverts[i]), [])

    cited = _cited(population)

    def judge(related: Callable[[int], list[int]], *, other_units: bool) -> Judge:
        def judged(q: I64) -> tuple[Mask, Mask]:
            allowed = edits.repository[q][:, None] == edits.repository
            allowed &= edits.commit[q][:, None] != edits.commit
            if other_units:
                allowed &= population.chain[q][:, None] != population.chain
            relevant = np.zeros(allowed.shape, bool)
            for row, i in enumerate(q.tolist()):
                relevant[row, related(i)] = True
            return allowed, allowed & relevant

        return judged

    reverting = np.flatnonzero(population.reverts >= 0)
    inexact = reverting[~population.exact[reverting]]
    reverting, inexact = (_asking(population, rows, 8) for rows in (reverting, inexact))
    issues = _citing(population)
    yield Protocol("revert", False, reverting, everyone, judge(reverted, other_units=False), sign=-1)
    yield Protocol("revert, not exact", False, inexact, everyone, judge(reverted, other_units=False), sign=-1)
    yield Protocol("issue", False, issues, everyone, judge(cited, other_units=False))
    yield Protocol("issue, other units", False, issues, everyone, judge(cited, other_units=True))


def _refactored(population: Population) -> Iterator[Protocol]:
    edits, kind, label = population.edits, population.refactoring, population.label
    gallery = _drawn(population, np.arange(len(edits)), 2 * GALLERY, 3)
    queries = _asking(population, np.flatnonzero(kind >= 0), 4)
    in_units = _asking(population, np.flatnonzero(np.isin(kind, _IN_UNITS)), 9)
    several = len(np.unique(edits.repository)) > 1

    def judge(q: I64) -> tuple[Mask, Mask]:
        allowed = label[q][:, None] == label[gallery]
        if several:
            allowed &= edits.repository[q][:, None] != edits.repository[gallery]
        allowed &= edits.commit[q][:, None] != edits.commit[gallery]
        return allowed, allowed & (kind[q][:, None] == kind[gallery])

    yield Protocol("refactoring", False, queries, gallery, judge)
    yield Protocol("refactoring in units", False, in_units, gallery, judge)


_IN_UNITS = [KINDS.index(kind) for kind in ("rename", "reorder")]


def hard(population: Population) -> list[Hard]:
    """The protocols of one relevant edit beside `K` others; of one repository, only those within it."""
    edits, label = population.edits, population.label
    held = np.flatnonzero(population.held & (label >= 0))
    queries = _asking(population, held, 5)
    several = len(np.unique(edits.repository[held])) > 1
    made = [("same", "same")]
    if several:
        made = [("same", "other"), *made, ("other", "other")]
    out = []
    for positive, negative in made:
        rng = np.random.default_rng(6)
        rows, candidates = [], []
        for q in queries.tolist():
            apart = edits.commit[held] != edits.commit[q]
            here = edits.repository[held] == edits.repository[q]
            alike = label[held] == label[q]
            right = held[apart & alike & (here if positive == "same" else ~here)]
            wrong = held[apart & ~alike & (here if negative == "same" else ~here)]
            if len(right) and len(wrong) >= K:
                rows.append(q)
                candidates.append([int(rng.choice(right)), *rng.choice(wrong, K, replace=False).tolist()])
        if rows:
            out.append(
                Hard(f"K = {K}, {positive} / {negative}", np.array(rows), np.array(candidates, np.int64))
            )
    return [*out, *_timed(population)]


def _timed(population: Population) -> Iterator[Hard]:
    """Issues, the relevant edit at any place in time among those it stands beside.

    Of the nine, as many as a die says are nearer to the query than the relevant edit, each side those that are nearest
    to it. Only where both sides have nine: which place it gets must not depend on the history.
    """
    edits, time = population.edits, population.time
    cited = _cited(population)
    rng = np.random.default_rng(10)
    rows, candidates = [], []
    for q in _citing(population).tolist():
        apart = (edits.commit != edits.commit[q]) & (population.chain != population.chain[q])
        apart &= edits.repository == edits.repository[q]
        relevant = np.zeros(len(edits), bool)
        relevant[cited(q)] = True
        wrong = rng.permutation(np.flatnonzero(apart & ~relevant))
        gap = np.abs(time - time[q])
        for positive in rng.permutation(np.flatnonzero(apart & relevant)).tolist():
            order = wrong[np.argsort(np.abs(gap[wrong] - gap[positive]), kind="stable")]
            nearer = _few_of_each(order[gap[order] < gap[positive]], edits.commit)
            farther = _few_of_each(order[gap[order] > gap[positive]], edits.commit)
            if len(nearer) == len(farther) == K:
                count = int(rng.integers(K + 1))
                rows.append(q)
                candidates.append([positive, *nearer[:count], *farther[: K - count]])
                break
    if rows:
        yield Hard(f"issue, K = {K} around in time", np.array(rows), np.array(candidates, np.int64), False)


def _few_of_each(order: I64, commit: I64) -> list[int]:
    """The first `K` of these rows, in order, of which no commit has more than a third."""
    taken: dict[int, int] = defaultdict(int)
    out: list[int] = []
    for row in order.tolist():
        if len(out) == K:
            break
        if taken[int(commit[row])] < K // 3:
            taken[int(commit[row])] += 1
            out.append(row)
    return out
