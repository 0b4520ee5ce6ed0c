"""Held-out edits in, CodeWM-2's full-validation audit out, with the queries that it left out.

knn_at_k    the true next state among 5,000, by cosine, for the query z_hat'; beside it the copy, target(s), as query
            in 'batches of 128': among the next states of the 128 edits of a random batch
ranks       of online and target states, of predictions and of displacements, by three definitions (`shape`)
lift        cos(z_hat', t') - cos(copy, t'), over target(s) and, where dimensions agree, over online(s)
diagonal    cos(z_hat', t') less the mean over other edits' next states
curve       of a run's folder: what its training watched, step by step
seeds       of several models: linear CKA of their target states, and how far their residuals rank edits alike
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codewm.model.evaluation import ranking, shape
from codewm.model.evaluation.held_out import HeldOut
from codewm.model.evaluation.landings import Landings, read
from codewm.model.evaluation.metrics import Row, Tally
from codewm.model.evaluation.readings import Readings
from codewm.model.evaluation.readout import about_of, data_of, gather
from codewm.model.evaluation.result import Chart, Emit, Mark, Outcome, Request, chart_of
from codewm.model.evaluation.seeds import spearman, student
from codewm.model.evaluation.several import ask, shown
from codewm.model.evaluation.world import World

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
BATCH = 128
ONLINE_COPY = "online_copy"
WATCHED = ("validation", "watch")
"""Events of metrics.jsonl that look at held-out edits: of our training, of the papers' recipes."""
DRAWN = (
    "delta_cosine", "mixed_delta_cosine", "copy_cosine", "displacement_r2", "knn_at_1", "knn_at_5", "knn_at_10",
    "online_rank_entropy",
)  # fmt: skip
"""What is watched that gets a chart: CodeWM-1 figure 3, CodeWM-2 figure 1."""
POINTS = 25  # of a curve that a chart shows at most


def run(request: Request, emit: Emit) -> Outcome:
    """The suite: one model, or several of one recipe."""
    held_out = gather(request)
    outcome = Outcome("audit", [], data_of(request, held_out), about_of(request, held_out))
    targets: list[F32] = []
    residuals: list[F64] = []

    def question(world: World) -> list[Row]:
        found = read(world, held_out)
        targets.append(found.target)
        missed = found.said[""] - found.target[found.after]
        residuals.append(np.linalg.norm(missed.astype(np.float64), axis=1))
        return rows_of(found, held_out, request.resamples)

    ask(request, emit, outcome, question)
    for choice in request.models:
        rows, chart = curve(Path(choice))
        outcome.rows += rows
        emit(rows)
        outcome.charts = [*outcome.charts, *chart]
    if len(targets) > 1:
        rows = between(targets, residuals)
        outcome.rows += rows
        emit(rows)
    outcome.charts = [*outcome.charts, *charts(outcome.rows)]
    return outcome


def rows_of(found: Landings, held_out: HeldOut, resamples: int) -> list[Row]:
    """Every row of one world."""
    edits = held_out.edits
    readings, mine = as_readings(found, held_out)
    gallery = ranking.gallery(mine.edits.after)
    placed = ranking.knn(readings, mine, gallery)
    near = batches(readings, mine)
    gaps = diagonal(readings, mine)
    rows: list[Row] = []
    for subset in ("modified", "all"):
        at = np.flatnonzero(edits.group == 0) if subset == "modified" else np.arange(len(edits))
        if len(at) < 2:
            continue
        commit = edits.commit[at]
        tally = Tally(commit, subset=f"{subset}, gallery", resamples=resamples)
        _knn(tally, {name: p[at] for name, p in placed.items()}, len(gallery))
        rows += tally.rows
        tally = Tally(commit, subset=f"{subset}, batches of {BATCH}", resamples=resamples)
        _knn(tally, {name: p[at] for name, p in near.items()}, BATCH)
        rows += tally.rows
        tally = Tally(commit, subset=f"{subset}, cosines", resamples=resamples)
        for metric, values in gaps.items():
            tally.mean(metric, {name: v[at] for name, v in values.items()})
        true = gaps["diagonal_cosine"]
        for copy, name in (("copy", "lift_over_target_copy"), (ONLINE_COPY, "lift_over_online_copy")):
            if copy in true:
                others = {n: v[at] - true[copy][at] for n, v in true.items() if n not in ("", copy)}
                tally.mean(name, {"": true[""][at] - true[copy][at], **others})
        rows += tally.rows
        d, d_hat = readings.d[at], readings.predictions[""][at]
        clouds = {
            "online": found.online[found.before[at]],
            "target": found.target[found.after[at]],
            "predicted": found.said[""][at],
            "displacement": d,
            "predicted_displacement": d_hat,
        }
        for what, x in clouds.items():
            rows += shape.rows_of(x, commit, f"{subset}, ranks", f"{what}_", shape.RANKS)
    return rows


def as_readings(found: Landings, held_out: HeldOut) -> tuple[Readings, HeldOut]:
    """What `ranking` asks for: edits and displacements over the states of the landings, the copy among them."""
    z = found.target[found.before]
    said = dict(found.said)
    if found.online.shape[1] == found.target.shape[1]:
        said[ONLINE_COPY] = found.online[found.before]
    nothing = np.zeros(len(z), np.float32)
    readings = Readings(
        states=found.target,
        z=z,
        d=found.target[found.after] - z,
        predictions={name: p - z for name, p in said.items()},
        doubt=nothing,
        doubt_of_action=nothing,
        fitted=found.fitted.nulls,
    )
    edits = replace(
        held_out.edits, before=found.before, after=found.after, tokens=found.tokens, offsets=found.offsets
    )
    return readings, replace(held_out, edits=edits)


def _knn(tally: Tally, placed: dict[str, F64], gallery: int) -> None:
    for k in ranking.AT:
        hit = ranking.hits(placed, k)
        hit["chance"] = np.where(np.isnan(hit[""]), np.nan, min(1.0, k / gallery))
        tally.mean(f"knn_at_{k}", hit, gallery=gallery)


def batches(readings: Readings, held_out: HeldOut) -> dict[str, F64]:
    """How many other next states of its random batch outrank the true one: name -> [N], NaN in what is left over."""
    after = held_out.edits.after
    order = np.random.default_rng(9).permutation(len(after))
    out = {name: np.full(len(after), np.nan) for name in readings.predictions}
    for start in range(0, len(order) - BATCH + 1, BATCH):
        rows = order[start : start + BATCH]
        others = after[rows][None, :] != after[rows][:, None]  # the same state twice is no wrong answer
        states = ranking.unit(readings.states[after[rows]])
        for name, predicted in readings.predictions.items():
            similar = ranking.unit(readings.z[rows] + predicted[rows]) @ states.T
            out[name][rows] = ranking.place(np.diag(similar).copy(), similar, others)
    return out


def diagonal(readings: Readings, held_out: HeldOut) -> dict[str, dict[str, F64]]:
    """metric -> name -> [N]: the cosine of what was said with the true next state, its mean with the next states of
    other edits, and the gap between both.
    """
    after = held_out.edits.after
    states = ranking.unit(readings.states[after].astype(np.float64))
    total = states.sum(0)
    own: dict[str, F64] = {}
    off: dict[str, F64] = {}
    for name, predicted in readings.predictions.items():
        query = ranking.unit((readings.z + predicted).astype(np.float64))
        own[name] = (query * states).sum(1)
        off[name] = (query @ total - own[name]) / max(len(states) - 1, 1)
    gap = {name: own[name] - off[name] for name in own}
    return {"diagonal_cosine": own, "off_diagonal_cosine": off, "diagonal_gap": gap}


def curve(folder: Path) -> tuple[list[Row], list[Chart]]:
    """Of a run's folder with metrics.jsonl: a row for each figure that training watched, with its best and its last.

    Both are of the validation sample of that training, of which no interval is known.
    """
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return [], []
    seen: dict[str, list[tuple[int, float]]] = {}
    offset = last = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue  # a run that was killed may leave half a line
        if event.get("event") not in WATCHED:
            continue
        step = int(event.get("step", 0))
        if step + offset < last:  # a stage counts its steps anew
            offset = last
        last = step + offset
        for name, value in event.items():
            if name in ("event", "step", "stage", "elapsed", "epoch") or isinstance(value, bool):
                continue
            if isinstance(value, int | float):
                seen.setdefault(name, []).append((last, float(value)))
    rows, charts = [], []
    for name, points in seen.items():
        values = [v for _, v in points]
        best = int(np.argmax(values))
        rows.append(
            Row(
                f"watched_{name}", "training curve", values[-1], None, len(points),
                {"first": values[0], "highest": values[best]},
                more={"model": folder.name, "highest_at": points[best][0], "points": points},
            )
        )  # fmt: skip
        if name in DRAWN:
            few = points[:: max(1, len(points) // POINTS)]
            marks = [Mark(f"step {step}", value) for step, value in few]
            charts.append(
                Chart(
                    f"audit-curve-{name}-{folder.name}",
                    f"{folder.name}: {name.replace('_', ' ')}",
                    name,
                    marks,
                )
            )
    return rows, charts


def between(targets: Sequence[F32], residuals: Sequence[F64]) -> list[Row]:
    """Two rows over pairs of models, each with its matrix: linear CKA of target states [U, K], and the rank
    correlation of residuals [N]. The null is the same with one of the two passed around.
    """
    asked: tuple[tuple[str, Callable[[Any, Any], float], list[Any]], ...] = (
        ("linear_cka", linear_cka, list(targets)),
        ("residual_rank_correlation", spearman, list(residuals)),
    )
    rows = []
    for metric, agreed, held in asked:
        order = np.random.default_rng(4).permutation(len(held[0]))
        count = len(held)
        matrix = [[float(agreed(a, b)) for b in held] for a in held]
        pairs = [(i, j) for i in range(count) for j in range(i)]
        values = [matrix[i][j] for i, j in pairs]
        apart = float(np.mean([agreed(held[i][order], held[j]) for i, j in pairs]))
        rows.append(
            Row(
                f"cross_seed_{metric}", "between models", float(np.mean(values)), student(values),
                len(held[0]), {"shuffled": apart}, more={"matrix": matrix},
            )
        )  # fmt: skip
    return rows


def linear_cka(x: F32, y: F32) -> float:
    """|Y'X|^2 / (|X'X| |Y'Y|) of the centred rows of x [U, K] and y [U, L] (Kornblith et al. 2019): 1 where one is a
    rotated and scaled copy of the other.
    """
    a = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    b = y.astype(np.float64) - y.mean(0, dtype=np.float64)
    shared = float(np.square(b.T @ a).sum())
    size = float(np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    return shared / size if size > 0 else 0.0


def charts(rows: Sequence[Row]) -> list[Chart]:
    """Retrieval in both galleries, and the ranks."""
    held = shown([r for r in rows if r.subset not in ("training curve", "between models")])
    made = []
    for subset, word in (("gallery", "gallery"), (f"batches of {BATCH}", "batches")):
        mine = [r for r in held if r.subset == f"modified, {subset}"]
        made.append(
            chart_of(
                mine, f"audit-{word}", f"the true next state, modified units, {subset}", "share of edits"
            )
        )
    ranks = [r for r in held if r.subset == "modified, ranks"]
    made.append(chart_of(ranks, "audit-ranks", "effective ranks, modified units", "dimensions"))
    return [chart for chart in made if chart is not None]
