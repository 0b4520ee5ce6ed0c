"""Models and held-out edits in, what each tier of the engine takes in bytes and what it loses out.

A tier's fidelity is the cosine of what it says with what f32 says, of the same weights and real units: mean, first
percentile and least. That of states says little where states hardly differ (the papers' encoders; CodeWM-1 tables 10
and 15), so the cosine of two unrelated states stands beside it, displacements have rows of their own, and `_error` is
the mean squared error in parts of the variance. Losses are of the readout's rows, on the same resamples of commits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.errors import UserError
from codewm.model.evaluation import metrics
from codewm.model.evaluation.held_out import HeldOut
from codewm.model.evaluation.metrics import Row, Tally
from codewm.model.evaluation.readings import Reader, read
from codewm.model.evaluation.readout import (
    BARS,
    Figures,
    about_of,
    data_of,
    figures_of,
    gather,
    relative_loss,
)
from codewm.model.evaluation.result import Chart, Emit, Outcome, Request, chart_of
from codewm.model.evaluation.several import ask, shown
from codewm.model.evaluation.subject import Subject
from codewm.model.evaluation.world import EngineWorld, World

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
LOSSES = (*(m for m in BARS if "injected" not in m), "knn_at_1", "knn_at_5", "predictor_rank_squared")
FIRST = 0.01  # the quantile that stands beside the least, which is one edit


def run(request: Request, emit: Emit) -> Outcome:
    """The suite: one model, or several of one recipe."""
    held_out = gather(request)
    outcome = Outcome("quantisation", [], data_of(request, held_out), about_of(request, held_out))

    def question(world: World) -> list[Row]:
        if not isinstance(world, EngineWorld):
            raise UserError(
                f"{world.name} does not run in the engine, which has the tiers",
                "name a model of codewm's own",
            )
        if world.subject.quant != "f32":
            outcome.notes.append(
                f"{world.name} is stored as {world.subject.quant}: f32 here is what its integers stand for, so that "
                "only the tiers' arithmetic is compared; name the f32 checkpoint to see what rounding cost"
            )
        return rows_of(request, world.subject, held_out)

    ask(request, emit, outcome, question)
    outcome.charts = charts(outcome.rows)
    return outcome


def rows_of(request: Request, subject: Subject, held_out: HeldOut) -> list[Row]:
    """Every row of one model, tier by tier."""
    exact, tiers = engines(subject)
    rows: list[Row] = [
        Row("bytes", "f32", float(exact[1]), None, 1, {}, more={"dtype": "f32"}),
    ]
    base = figures(request, exact[0], held_out, subject)
    for name, (engine, size) in tiers.items():
        rows.append(
            Row("bytes", name, float(size), None, 1, {"f32": float(exact[1])}, more={"compression": exact[1] / size})
        )  # fmt: skip
        rows += fidelity(exact[0], engine, held_out, name, request)
        rows += losses(base, figures(request, engine, held_out, subject), name)
    return rows


def engines(subject: Subject) -> tuple[tuple[core.Engine, int], dict[str, tuple[core.Engine, int]]]:
    """The f32 engine and the others by tier, each with the bytes of its file without calibration."""
    weights, config = subject.weights()
    from codewm.model import export

    made = {quant: export.packed(weights, config, quant) for quant in export.QUANTS}
    loaded = {quant: (core.Engine.from_bytes(data), len(data)) for quant, data in made.items()}
    return loaded.pop("f32"), loaded


def figures(request: Request, engine: core.Engine, held_out: HeldOut, subject: Subject) -> Figures:
    """The readout's rows by one engine."""
    reader = Reader(engine, held_out.action_id, request.threads)
    return figures_of(request, reader, read(reader, held_out), held_out, None, None)


def fidelity(
    exact: core.Engine, engine: core.Engine, held_out: HeldOut, tier: str, request: Request
) -> list[Row]:
    """Cosines with f32, of states and displacements, actual and predicted."""
    edits = held_out.edits
    one, two = (Reader(e, held_out.action_id, request.threads) for e in (exact, engine))
    action, before, after = one.told(edits), edits.before, edits.after
    (f, read), (g, other) = (
        e.engine.read(edits.tokens, edits.offsets, before, action, threads=e.threads) for e in (one, two)
    )
    t, u = exact.target(f), engine.target(g)
    was = np.ascontiguousarray(f[before])
    pairs: Mapping[str, tuple[F32, F32]] = {
        "encoder": (f[after], g[after]),
        "target": (t[after], u[after]),
        "displacement": (t[after] - t[before], u[after] - u[before]),
        "predictor": (exact.predict(was, read, action), engine.predict(was, read, action)),
        "prediction": (
            exact.predict(was, read, action),
            engine.predict(np.ascontiguousarray(g[before]), other, action),
        ),
    }
    rows: list[Row] = []
    tally = Tally(edits.commit, subset=tier, resamples=request.resamples)
    for what, (a, b) in pairs.items():
        rows += compare(tally, what, a, b)
    return rows


def compare(tally: Tally, what: str, exact: F32, rounded: F32) -> list[Row]:
    """Rows of one quantity, [N, D] in f32 and in the tier."""
    cosine = metrics.delta_cosine(exact, rounded)
    other = np.roll(np.random.default_rng(6).permutation(len(exact)), 1)
    unrelated = metrics.delta_cosine(exact, exact[other])
    count = len(tally.rows)
    tally.mean(f"{what}_cosine", {"": cosine, "unrelated": unrelated})
    wide = exact.astype(np.float64)
    error = np.square(wide - rounded).sum(1) / max(np.square(wide - wide.mean(0)).sum(1).mean(), 1e-12)
    tally.mean(f"{what}_error", {"": error})
    n = len(exact)
    low = float(np.quantile(cosine, FIRST))
    return [
        *tally.rows[count:],
        Row(f"{what}_cosine_p1", tally.subset, low, None, n, {"unrelated": float(np.quantile(unrelated, FIRST))}),
        Row(f"{what}_cosine_min", tally.subset, float(cosine.min()), None, n),
    ]  # fmt: skip


def losses(base: Figures, other: Figures, tier: str) -> list[Row]:
    """What the tier loses of the readout's pooled rows: f32 - tier, with the interval of the difference."""
    values = {(r.metric, r.subset, r.data): r for r in other.rows}
    rows = []
    for row in base.rows:
        key = (row.metric, row.subset, row.data)
        if row.data or row.metric not in LOSSES or key not in values:
            continue
        tiers = values[key].value
        among = None
        if key in base.draws and len(base.draws[key]) == len(other.draws[key]):
            among = metrics.interval(base.draws[key] - other.draws[key])
        more = {"relative_loss": relative_loss(row.value, tiers)}
        rows.append(
            Row(
                f"loss_{row.metric}", f"{tier}, {row.subset}", row.value - tiers, among, row.n,
                {"f32": row.value, tier: tiers}, more=more,
            )
        )  # fmt: skip
    return rows


def charts(rows: Sequence[Row]) -> list[Chart]:
    """Fidelity, and losses."""
    held = shown(rows)
    made = []
    for tier in dict.fromkeys(r.subset for r in held if r.metric == "bytes" and r.subset != "f32"):
        cosines = [r for r in held if r.subset == tier and "_cosine" in r.metric]
        made.append(
            chart_of(
                cosines, f"quantisation-{tier}", f"{tier} against f32, held-out units", "cosine with f32"
            )
        )
        lost = [r for r in held if r.subset == f"{tier}, modified" and r.metric.startswith("loss_")]
        title = f"what {tier} loses, modified units"
        made.append(chart_of(lost, f"quantisation-{tier}-loss", title, "f32 - " + tier))
    return [chart for chart in made if chart is not None]
