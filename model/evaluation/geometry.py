"""Chains of held-out edits in, the eight geometry probes of CodeWM-2 Appendix C out, each definition named.

Of each loop (loop 0: the embeddings), x_l(s) the pooled latent after loop l and D_l = x_l(s') - x_l(s):

1 delta_over_state        mean over edits of |D_l| / |x_l(s)|; beside it the same of two unrelated states
2, 3 `shape`              effective ranks by three definitions, the first direction's share, isotropy by two, of
                          states and of displacements
4 consecutive_delta_cosine  cos(d_t, d_t+1) along chains; curvature |d_t+1 - d_t| / |d_t|, straight where it is below 1
5 edit_type, scope        accuracy of a ridge classifier on [x_l(s), D_l]; majority, shuffled labels, tokens beside
6 knn_at_k                as in `audit`
7 diagonal_cosine ...     as in `audit`
8 delta_ceiling           cos of d with what a ridge from x_l(s), with the action, makes of it; without it beside

Besides, as the published code has them: the cosine between the D of different loops, the straightness of loops
(cosine of x_l+1 - x_l with the step after), and how well the action can be read from D_l.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.model.evaluation import audit, metrics, nulls, ranking, readings, shape
from codewm.model.evaluation.held_out import Edits, HeldOut
from codewm.model.evaluation.landings import Landings, read, states_of
from codewm.model.evaluation.metrics import Row, Tally
from codewm.model.evaluation.readout import about_of, data_of
from codewm.model.evaluation.result import Chart, Emit, Outcome, Request, chart_of
from codewm.model.evaluation.rollout import gather
from codewm.model.evaluation.several import ask, shown
from codewm.model.evaluation.world import World

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
FITTED = 3_000  # earlier edits that linear probes are fitted on, at most


@dataclass(frozen=True)
class Probed:
    """Edits, and what each loop makes of them."""

    before: list[F32]
    """By loop [n, D] of s."""
    after: list[F32]
    """By loop [n, D] of s'."""
    counts: F32
    """[n, 2 V] of tokens: roots of their shares in s, and how these change."""
    action: F32
    """[n, A] as stored."""
    group: I64
    """[n]"""
    watched: NDArray[np.bool_]
    """[n] those to choose a ridge's strength by."""

    def pair(self, loop: int) -> F32:
        """[x_l(s), D_l]: [n, 2 D]."""
        return np.concatenate([self.before[loop], self.after[loop] - self.before[loop]], 1)


def run(request: Request, emit: Emit) -> Outcome:
    """The suite: one model, or several of one recipe."""
    held_out, chains = gather(request)
    outcome = Outcome("geometry", [], data_of(request, held_out), about_of(request, held_out))
    outcome.about["drawn"] = "whole chains, the longest first"

    def question(world: World) -> list[Row]:
        found = read(world, held_out)
        request.say("  the loops")
        held = probed(world, held_out.edits, np.arange(len(held_out.edits)), held_out)
        fit = probed(world, held_out.fit, fitted_rows(held_out), held_out)
        return rows_of(found, held_out, chains, held, fit, request.resamples)

    ask(request, emit, outcome, question)
    outcome.charts = charts(outcome.rows)
    return outcome


def fitted_rows(held_out: HeldOut) -> I64:
    """The edits that linear probes are fitted on."""
    rows = np.arange(len(held_out.fit))
    if len(rows) > FITTED:
        rows = np.sort(np.random.default_rng(10).choice(rows, FITTED, replace=False))
    return rows


def probed(world: World, edits: Edits, rows: I64, held_out: HeldOut) -> Probed:
    """What the loops make of the edits at `rows`."""
    before, after, tokens, offsets = states_of(edits, rows)
    loops = world.loops(tokens, offsets)
    shares = np.zeros((len(offsets) - 1, core.VOCAB_SIZE), np.float32)
    for i in range(len(shares)):
        part = tokens[offsets[i] : offsets[i + 1]]
        shares[i] = np.sqrt(np.bincount(part, minlength=core.VOCAB_SIZE) / max(len(part), 1))
    watched = held_out.watched[rows] if edits is held_out.fit else np.zeros(len(rows), bool)
    return Probed(
        before=[x[before] for x in loops],
        after=[x[after] for x in loops],
        counts=np.concatenate([shares[before], shares[after] - shares[before]], 1),
        action=edits.action[rows],
        group=edits.group[rows],
        watched=watched,
    )


def rows_of(
    found: Landings, held_out: HeldOut, chains: I64, held: Probed, fit: Probed, resamples: int
) -> list[Row]:
    """Every row of one world."""
    edits = held_out.edits
    at = np.flatnonzero(edits.group == 0)
    if len(at) < 2:
        at = np.arange(len(edits))
    commit = edits.commit[at]
    rows: list[Row] = []
    tally = Tally(commit, subset="loops, modified", resamples=resamples)
    decay(tally, [x[at] for x in held.before], [x[at] for x in held.after])
    d = found.target[found.after] - found.target[found.before]
    ceilings(tally, held, fit, at, d, _fitted_d(found, held_out))
    rows += tally.rows
    whole = Tally(edits.commit, subset="probes by loop, all", resamples=resamples)
    labels(whole, held, fit, held_out.action_id)
    rows += whole.rows
    clouds = {
        "online states": found.online[found.before[at]],
        "target states": found.target[found.after[at]],
        "displacements": d[at],
        "predicted displacements": (found.said[""] - found.target[found.before])[at],
    }
    for what, x in clouds.items():
        rows += shape.rows_of(x, commit, f"shape of {what}, modified")
    rows += paths(d, edits, chains, resamples)
    seen, mine = audit.as_readings(found, held_out)
    tally = Tally(commit, subset="discrimination, modified", resamples=resamples)
    gallery = ranking.gallery(mine.edits.after)
    placed = ranking.knn(seen, mine, gallery)
    for k in (1, 5, 10):
        hit = {name: v[at] for name, v in ranking.hits(placed, k).items()}
        hit["chance"] = np.where(np.isnan(hit[""]), np.nan, min(1.0, k / len(gallery)))
        tally.mean(f"knn_at_{k}", hit, gallery=len(gallery))
    for metric, values in audit.diagonal(seen, mine).items():
        tally.mean(metric, {name: v[at] for name, v in values.items()})
    return rows + tally.rows


def _fitted_d(found: Landings, held_out: HeldOut) -> F32:
    d: F32 = found.fitted.nulls.d[fitted_rows(held_out)]
    return d


def decay(tally: Tally, before: Sequence[F32], after: Sequence[F32]) -> None:
    """Probe 1, the cosines between loops' displacements, and how straight the loops are: [n, D] by loop."""
    other = np.roll(np.random.default_rng(6).permutation(len(before[0])), 1)
    for loop, (x, y) in enumerate(zip(before, after, strict=True)):
        length = np.linalg.norm(x.astype(np.float64), axis=1)
        moved = np.linalg.norm((y - x).astype(np.float64), axis=1)
        apart = np.linalg.norm((y[other] - x).astype(np.float64), axis=1)
        safe = np.where(length > 1e-9, length, np.nan)
        tally.mean(f"delta_over_state_loop_{loop}", {"": moved / safe, "unrelated_states": apart / safe})
    deltas = [y - x for x, y in zip(before, after, strict=True)]
    count = len(deltas)
    matrix = [[float(metrics.delta_cosine(a, b).mean()) for b in deltas] for a in deltas]
    pairs = [(i, j) for i in range(count) for j in range(i)]
    cosines = [metrics.delta_cosine(deltas[i], deltas[j]) for i, j in pairs]
    if cosines:
        apart = np.mean([metrics.delta_cosine(deltas[i][other], deltas[j]) for i, j in pairs], 0)
        tally.mean("cross_loop_delta_cosine", {"": np.mean(cosines, 0), "shuffled": apart}, matrix=matrix)
    # The papers count loops from the first one's output on; the embeddings are no step of the recursion.
    steps = [b - a for a, b in pairwise(before[1:])]
    straight = [metrics.delta_cosine(a, b) for a, b in pairwise(steps)]
    if straight:
        tally.mean("loop_straightness", {"": np.mean(straight, 0)}, triples=len(straight))


def paths(d: F32, edits: Edits, chains: I64, resamples: int) -> list[Row]:
    """Probe 4: d [N, K] of consecutive edits of one unit, beside the same with the second of another chain."""
    first = np.concatenate([chains[:, k] for k in range(chains.shape[1] - 1)])
    second = np.concatenate([chains[:, k] for k in range(1, chains.shape[1])])
    both = (first >= 0) & (second >= 0)
    first, second = first[both], second[both]
    modified = (edits.group[first] == 0) & (edits.group[second] == 0)
    first, second = first[modified], second[modified]
    if len(first) < 2:
        return []
    a, b = d[first].astype(np.float64), d[second].astype(np.float64)
    other = b[np.roll(np.random.default_rng(6).permutation(len(b)), 1)]
    tally = Tally(edits.commit[first], subset="paths of consecutive edits, modified", resamples=resamples)
    cosine = metrics.delta_cosine(d[first], d[second])
    tally.mean(
        "consecutive_delta_cosine", {"": cosine, "shuffled": metrics.delta_cosine(a, other)}  # type: ignore[arg-type]
    )  # fmt: skip
    length = np.linalg.norm(a, axis=1)
    safe = np.where(length > 1e-9, length, np.nan)
    turn, apart = np.linalg.norm(b - a, axis=1) / safe, np.linalg.norm(other - a, axis=1) / safe
    tally.mean("curvature", {"": turn, "shuffled": apart}, median=float(np.nanmedian(turn)))
    tally.mean("straight_share", {"": _below_one(turn), "shuffled": _below_one(apart)})
    return tally.rows


def _below_one(x: F64) -> F64:
    return np.where(np.isnan(x), np.nan, (x < 1).astype(np.float64))


def ceilings(tally: Tally, held: Probed, fit: Probed, at: I64, d: F32, fit_d: F32) -> None:
    """Probe 8 for each loop: ridges from x_l(s) and the action to d [N, K], modified edits alone, at `at` [n]."""
    modified = fit.group == 0
    if modified.sum() < readings.ENOUGH:
        return
    mean = np.repeat(fit_d[modified].mean(0)[None], len(at), 0)
    constant = metrics.delta_cosine(mean, d[at])
    for loop in range(len(held.before)):
        x, y = fit.before[loop][modified], held.before[loop][at]
        told = np.concatenate([x, fit.action[modified]], 1), np.concatenate([y, held.action[at]], 1)
        made = {
            name: metrics.delta_cosine(ridge(a, fit_d[modified], fit.watched[modified], b), d[at])
            for name, (a, b) in {"": told, "without_action": (x, y)}.items()
        }
        tally.mean(f"delta_ceiling_loop_{loop}", {**made, "mean_delta": constant})


def labels(tally: Tally, held: Probed, fit: Probed, action_id: str) -> None:
    """Probe 5: edit type, scope and the whole action from each loop's pair; accuracy, and its mean over classes."""
    names = core.ACTIONS[action_id]
    for what, prefix in (("edit_type", "type_"), ("scope", "scope_")):
        columns = [i for i, name in enumerate(names) if name.startswith(prefix)]
        if not columns:
            continue
        truth, known = held.action[:, columns].argmax(1), fit.action[:, columns].argmax(1)
        if len(np.unique(known)) < 2:
            continue
        hot = np.eye(len(columns), dtype=np.float32)[known]
        guesses = {
            "majority": np.full(len(truth), np.bincount(known).argmax()),
            "token_counts": ridge(fit.counts, hot, fit.watched, held.counts, standardise=False).argmax(1),
        }
        order = np.random.default_rng(12).permutation(len(hot))
        for loop in range(len(held.before)):
            x, y = fit.pair(loop), held.pair(loop)
            said = {
                "": ridge(x, hot, fit.watched, y).argmax(1),
                "shuffled_labels": ridge(x, hot[order], fit.watched, y).argmax(1),
            }
            hit = {k: (v == truth).astype(np.float64) for k, v in (said | guesses).items()}
            tally.mean(f"{what}_loop_{loop}", hit)
            _balanced(tally, f"{what}_balanced_loop_{loop}", hit, truth)
    if not np.ptp(held.action, axis=0).any():
        return  # of edits that are all described alike, R2 is not defined
    for loop in range(len(held.before)):
        predicted = {"": ridge(fit.pair(loop), fit.action, fit.watched, held.pair(loop))}
        if not loop:
            counts = ridge(fit.counts, fit.action, fit.watched, held.counts, standardise=False)
        tally.r2(f"action_r2_loop_{loop}", {**predicted, "token_counts": counts}, held.action)


def _balanced(tally: Tally, metric: str, hit: dict[str, F64], truth: I64) -> None:
    """The mean of the classes' own accuracies: what a guess of the majority does not reach."""
    classes = np.unique(truth)
    values, drawn = {}, {}
    for name, h in hit.items():
        values[name] = float(np.mean([h[truth == c].mean() for c in classes]))
        parts = []
        for c in classes:
            of = (truth == c).astype(np.float64)
            count = tally.bootstrap.total(of)
            parts.append(np.where(count > 0, tally.bootstrap.total(h * of) / np.maximum(count, 1), np.nan))
        drawn[name] = np.nanmean(parts, 0)
    tally.add(metric, values, drawn, classes=len(classes))


def ridge(x: F32, y: F32, watched: NDArray[np.bool_], held: F32, *, standardise: bool = True) -> F32:
    """A ridge from x [n, V] to y [n, C], its strength chosen on the watched rows, asked at held [m, V]: [m, C].

    Features are centred and scaled so that a row has a length of about 1, which the strengths are made for; each
    feature by its own spread, unless that is not asked for: a rare token's would make it count for everything.
    """
    mean, middle = x.mean(0, dtype=np.float64), y.mean(0, dtype=np.float64)
    spread = x.std(0, dtype=np.float64)
    if standardise:
        scale = np.where(spread > 1e-6, spread, np.inf) * np.sqrt(
            x.shape[1]
        )  # what never varies says nothing
    else:
        scale = np.full(x.shape[1], max(float(np.sqrt(np.square(spread).sum())), 1e-12))

    def made(values: F32) -> tuple[F32, F32]:
        return ((values - mean) / scale).astype(np.float32), np.zeros((len(values), 0), np.float32)

    def part(rows: NDArray[np.bool_]) -> tuple[F32, F32, F32, I64]:
        return *made(x[rows]), (y[rows] - middle).astype(np.float32), np.zeros(int(rows.sum()), np.int64)

    fit = ~watched if (~watched).sum() > 1 else np.ones(len(x), bool)
    found = nulls.linear_map(part(fit), part(watched), (*made(held), np.zeros(len(held), np.int64)))
    said: F32 = (found + middle).astype(np.float32)
    return said


def charts(rows: Sequence[Row]) -> list[Chart]:
    """The decay over loops, the probes over loops, and the shapes."""
    held = shown(rows)
    made = []
    for prefix, title, axis in (
        ("delta_over_state", "how much of a state an edit moves", "|D| / |x|"),
        ("edit_type_balanced", "edit type read from each loop", "mean accuracy of the classes"),
        ("delta_ceiling", "the displacement read from each loop", "delta cosine"),
    ):
        mine = [r for r in held if r.metric.startswith(prefix)]
        made.append(chart_of(mine, f"geometry-{prefix.replace('_', '-')}", title, axis))
    ranks = [r for r in held if r.metric == "rank_squared"]
    made.append(chart_of(ranks, "geometry-ranks", "effective ranks (squared)", "dimensions", by="subset"))
    return [chart for chart in made if chart is not None]
