"""Chains of held-out edits in, how well a world follows them over one, two and three edits out.

A chain is what happened to one unit: each edit begins at the state where the last one ended. Two protocols:

    s1..s3              each edit predicted from the true state before it      cos(z_k - x_k-1, t_k - x_k-1)
    cumulative_s1..s3   the world's own prediction is where the next starts    cos(z_k - x_0, t_k - x_0)

x is target(s) in one space, online(s) in the papers' mixed one (`landings`). Beside both stand the five delta-space
nulls of CodeWM-1 Table 3 (identity, another edit's delta, another chain's two steps, the mean delta, the delta before)
and those that the papers left out: constant target, copy, zero and shuffled action, a linear map.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.table import take_states
from codewm.model.evaluation import metrics, nulls, readings
from codewm.model.evaluation.held_out import HeldOut, hold_out
from codewm.model.evaluation.landings import MIXED, ONE, Landings, foresee, read
from codewm.model.evaluation.metrics import Row, Tally
from codewm.model.evaluation.readout import about_of, data_of
from codewm.model.evaluation.result import Chart, Emit, Outcome, Request, chart_of
from codewm.model.evaluation.seeds import student
from codewm.model.evaluation.several import ask, shown
from codewm.model.evaluation.world import World

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Rolled = dict[str, list[F32]]
"""name -> where chains [n, 3] are after each step [n, K]."""
STEPS = 3
TOLD = ("", "zero_action", "shuffled_action")
"""Whose steps the world itself takes."""
FEWEST = 5  # chains of a repository that get rows of their own
ALL = 10**9
UNDEFINED = (
    "{name}: the papers' mixed space, target(s') - online(s), is not defined: online latents have {F} dimensions, "
    "target latents {K}"
)


def run(request: Request, emit: Emit) -> Outcome:
    """The suite: one model, or several of one recipe."""
    held_out, chains = gather(request)
    outcome = Outcome("rollout", [], data_of(request, held_out), about_of(request, held_out))
    whole = int((chains[:, -1] >= 0).sum())
    outcome.about |= {"chains": len(chains), "chains of three edits": whole}
    if whole < 2:
        outcome.notes.append("no two chains of three held-out edits: only single steps are shown")

    def question(world: World) -> list[Row]:
        found = read(world, held_out)
        if MIXED not in found.spaces:
            shapes = {"F": found.online.shape[1], "K": found.target.shape[1]}
            outcome.notes.append(UNDEFINED.format(name=world.name, **shapes))
        return rows_of(found, held_out, chains, request.resamples)

    ask(request, emit, outcome, question)
    outcome.charts = charts(outcome.rows)
    return outcome


def gather(request: Request) -> tuple[HeldOut, I64]:
    """The edits of the chains, and the chains [C, STEPS] over them: of each repository `limit` edits at most."""
    whole = hold_out(request.sources, limit=ALL, fit_limit=4 * request.limit, part=request.part)
    chains = links(whole.following, STEPS)
    edits = whole.edits
    rng = np.random.default_rng(0)  # what is tested must not depend on a weight seed
    drawn = []
    home = edits.repository[chains[:, 0]]
    for r in np.unique(home):
        mine = np.flatnonzero(home == r)
        # The longest first: these are the few.
        order = rng.permutation(mine)
        length = (chains[order] >= 0).sum(1)
        order = order[np.argsort(-length, kind="stable")]
        room = np.cumsum((chains[order] >= 0).sum(1)) <= request.limit
        drawn.append(order[room])
    chains = chains[np.sort(np.concatenate(drawn))]
    kept = np.unique(chains[chains >= 0])
    new = np.full(len(edits), -1, np.int64)
    new[kept] = np.arange(len(kept))
    chains = np.where(chains >= 0, new[chains], -1)
    columns = ("before", "after", "action", "group", "commit", "repository")
    few = replace(edits, **{name: getattr(edits, name)[kept] for name in columns})
    about = {**whole.about, "in chains": len(kept)}
    return replace(
        whole, edits=few, label=whole.label[kept], about=about,
        alternatives=np.full((len(kept), 0), -1), siblings=np.full((len(kept), 0), -1),
        following=np.zeros(0, np.int64),
    ), chains  # fmt: skip


def links(following: I64, steps: int) -> I64:
    """Runs of edits that follow each other, cut into pieces of at most `steps`: [C, steps], -1 behind the end."""
    first = np.ones(len(following), bool)
    first[following[following >= 0]] = False
    out = []
    start = np.flatnonzero(first)
    while len(start):
        piece = np.full((len(start), steps), -1, np.int64)
        at = start
        for k in range(steps):
            piece[:, k] = at
            at = np.where(at >= 0, following[np.maximum(at, 0)], -1)
        out.append(piece)
        start = at[at >= 0]
    return np.concatenate(out) if out else np.zeros((0, steps), np.int64)


def rows_of(found: Landings, held_out: HeldOut, chains: I64, resamples: int) -> list[Row]:
    """Every row of one world."""
    edits = held_out.edits
    rows: list[Row] = []
    whole = chains[chains[:, -1] >= 0]
    same = (edits.group[np.maximum(chains, 0)] == 0) | (chains < 0)
    for subset, mine in (("modified", chains[same.all(1)]), ("all", chains)):
        links_of = np.sort(mine[mine >= 0])
        full = mine[mine[:, -1] >= 0]
        homes = [None, *np.unique(edits.repository[chains[:, 0]]).tolist()]
        for r in homes if len(homes) > 2 else homes[:1]:
            name = "" if r is None else held_out.repositories[r]
            some = links_of if r is None else links_of[edits.repository[links_of] == r]
            three = full if r is None else full[edits.repository[full[:, 0]] == r]
            # Where a roll leads is the same in every space.
            rolled = roll(found, three) if len(three) > (1 if r is None else FEWEST) else None
            for space in found.spaces:
                if len(some) > 1:
                    tally = Tally(
                        edits.commit[some], subset=f"{subset}, {space}", data=name, resamples=resamples
                    )
                    single(tally, found, some, space)
                    if r is None:
                        norms(tally, found, some, space, "")
                    rows += tally.rows
                if rolled is not None:
                    commit = edits.commit[three[:, 0]]
                    tally = Tally(commit, subset=f"{subset}, {space}", data=name, resamples=resamples)
                    along(tally, found, three, rolled, space)
                    if r is None:
                        for k in range(STEPS):
                            norms(tally, found, three[:, k], space, f"_s{k + 1}")
                    rows += tally.rows
            if r is None and len(some) > 1:
                tally = Tally(edits.commit[some], subset=f"{subset}, states", resamples=resamples)
                copies(tally, found, some)
                rows += tally.rows
    if len(whole):
        rows += over_repositories(rows)
    return rows


def single(tally: Tally, found: Landings, rows: I64, space: str) -> None:
    """The delta cosine of single edits [n]."""
    d = found.d(space)[rows]
    said = {name: p[rows] for name, p in found.d_hat(space).items()}
    said |= delta_nulls(found, space, d)
    tally.mean("delta_cosine", {k: metrics.delta_cosine(p, d) for k, p in said.items()})


def delta_nulls(found: Landings, space: str, d: F32) -> dict[str, F32]:
    """Nulls that only know displacements [n, K]: nothing moves, another's, the mean of earlier ones."""
    order = np.random.default_rng(3).permutation(len(d))
    other = np.empty(len(d), np.int64)
    other[order] = np.roll(order, 1)
    mean = np.repeat(found.fitted.mean_delta(space)[None], len(d), 0)
    return {"identity": np.zeros_like(d), "shuffled_delta": d[other], "mean_delta": mean}


def along(tally: Tally, found: Landings, chains: I64, rolled: Rolled, space: str) -> None:
    """s1..s3 of chains of three edits [n, 3], each from the truth and all from the first state."""
    d, said = found.d(space), found.d_hat(space)
    for k in range(STEPS):
        here = chains[:, k]
        of = {name: p[here] for name, p in said.items()} | delta_nulls(found, space, d[here])
        if k:
            of["self_consistency"] = d[chains[:, k - 1]]
        tally.mean(f"s{k + 1}", {name: metrics.delta_cosine(p, d[here]) for name, p in of.items()})
    start = found.start(space, found.before[chains[:, 0]])
    for k in range(STEPS):
        here = chains[:, k]
        true = found.target[found.after[here]] - start
        of = {name: steps[k] - start for name, steps in rolled.items()}
        of |= {"identity": np.zeros_like(true)}
        shuffled = delta_nulls(found, space, true)["shuffled_delta"]
        of["random_trajectory"] = shuffled
        tally.mean(f"cumulative_s{k + 1}", {name: metrics.delta_cosine(p, true) for name, p in of.items()})


def roll(found: Landings, chains: I64) -> Rolled:
    """Where chains [n, 3] are after each step if every step starts from what was said last."""
    world, before = found.world, found.before[chains[:, 0]]
    z = found.target[before]
    # Nothing but the first states is read, and there are far more.
    ids, first = np.unique(before, return_inverse=True)
    tokens, offsets = take_states(found.tokens, found.offsets, ids)
    at: dict[str, F32] = {}
    out: dict[str, list[F32]] = {name: [] for name in (*TOLD, "copy", "constant_target", "linear_map")}
    constant = np.repeat(found.fitted.constant_target[None], len(chains), 0)
    line = z
    for k in range(STEPS):
        here = chains[:, k]
        true, group = found.action[here], found.group[here]
        if k == 0:
            # The first states are there to be read, the others are only foreseen.
            landed, at = foresee(world, tokens, offsets, first, true, group)
        else:
            told = nulls.told(true, readings.shuffled(true, group))
            landed = {}
            for name, action in told.items():
                landed[name], at[name] = world.step(at[name], action)
        for name in TOLD:
            out[name].append(landed[name])
        line = found.fitted.linear(line, true, group)
        out["linear_map"].append(line)
        out["copy"].append(z)
        out["constant_target"].append(constant)
    return out


def norms(tally: Tally, found: Landings, rows: I64, space: str, step: str) -> None:
    """CodeWM-1 Table 9 of edits [n]: how long states, true and predicted displacements are."""
    start = found.start(space, found.before[rows]).astype(np.float64)
    length = np.linalg.norm(start, axis=1)
    true = np.linalg.norm(found.d(space)[rows], axis=1)
    said = {name: np.linalg.norm(p[rows], axis=1) for name, p in found.d_hat(space).items()}
    other = np.roll(np.random.default_rng(6).permutation(len(rows)), 1)
    unrelated = np.linalg.norm(found.target[found.after[rows]][other] - start, axis=1)
    tally.mean(f"state_norm{step}", {"": length})
    share = _ratio(true, length)
    tally.mean(
        f"true_delta_over_state{step}",
        {"": share, "unrelated_states": _ratio(unrelated, length)},
        fixed=None,
        **_quantiles(share),
    )
    ratios = {k: _ratio(v, true) for k, v in said.items() if k != "copy" or space == MIXED}
    tally.mean(f"predicted_delta_over_true{step}", ratios, fixed=None, **_quantiles(ratios[""]))


def _ratio(a: F64, b: F64) -> F64:
    """a / b [n], NaN where b is nothing."""
    return np.where(b > 1e-9, a / np.maximum(b, 1e-9), np.nan)


def _quantiles(x: F64) -> dict[str, Any]:
    seen = x[~np.isnan(x)]
    if not len(seen):
        return {}
    low, middle, high = np.quantile(seen, [0.1, 0.5, 0.9]).tolist()
    return {"q10": low, "median": middle, "q90": high}


def copies(tally: Tally, found: Landings, rows: I64) -> None:
    """The papers' copy baseline: how near target(s) is to target(s'), beside two unrelated states."""
    before, after = found.target[found.before[rows]], found.target[found.after[rows]]
    other = np.roll(np.random.default_rng(6).permutation(len(rows)), 1)
    cosine = metrics.delta_cosine(before, after)
    unrelated = metrics.delta_cosine(before, after[other])
    tally.mean(
        "copy_cosine", {"": cosine, "unrelated_states": unrelated},
        median=float(np.median(cosine)), spread=float(cosine.std()),
    )  # fmt: skip


def over_repositories(rows: list[Row]) -> list[Row]:
    """The mean over repositories of what each of them has, as CodeWM-1 Table 5 does; the interval is Student's t."""
    out = []
    for metric in ("delta_cosine", "s1", "s2", "s3", "cumulative_s3"):
        for subset in dict.fromkeys(r.subset for r in rows):
            mine = [r for r in rows if r.data and r.metric == metric and r.subset == subset]
            if len(mine) < 2:
                continue
            values = [r.value for r in mine]
            nulls = {k: float(np.mean([r.nulls[k] for r in mine])) for k in mine[0].nulls}
            worst = min(mine, key=lambda r: r.value)
            more = {"worst": {"repository": worst.data, "value": worst.value}}
            out.append(
                Row(
                    f"{metric}_over_repositories", subset, float(np.mean(values)), student(values), len(mine),
                    nulls, more=more,
                )
            )  # fmt: skip
    return out


def charts(rows: list[Row]) -> list[Chart]:
    """Steps in each space, and each repository."""
    made = []
    wanted = [*(f"s{k + 1}" for k in range(STEPS)), *(f"cumulative_s{k + 1}" for k in range(STEPS))]
    held = shown(rows)
    for space in (ONE, MIXED):
        mine = [r for r in held if r.subset == f"modified, {space}" and not r.data]
        steps = [r for r in mine if r.metric in wanted]
        word = space.replace(" space", "")
        made.append(
            chart_of(steps, f"rollout-{word}", f"chains of three modified edits, {space}", "delta cosine")
        )
        each = [r for r in held if r.subset == f"modified, {space}" and r.data and r.metric == "delta_cosine"]
        made.append(
            chart_of(
                each, f"rollout-{word}-by-repository", f"single steps, {space}", "delta cosine", by="data"
            )
        )
    return [chart for chart in made if chart is not None]
