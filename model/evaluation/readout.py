"""One model and held-out edits in, every quantity of DESIGN 10 with its nulls and 95% intervals out.

Over all edits and over modified units alone: created and deleted units move to or from the empty state, which is
easy. Pooled, and for each repository where there are several. Where the weights are stored as f32, every row is also
computed with them as int8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.table import Origin
from codewm.model.evaluation import injected as injection, metrics, ranking
from codewm.model.evaluation.held_out import LABEL, HeldOut, hold_out
from codewm.model.evaluation.metrics import Key, Row, Tally
from codewm.model.evaluation.readings import Reader, Readings, read
from codewm.model.evaluation.result import Chart, Emit, Outcome, Request, chart_of
from codewm.model.evaluation.subject import Subject, load

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
UNWHITENED = "_unwhitened"
CHURN = "target_churn"
"""Mean |d|^2, in parts of what it is between two unrelated states. A target that jumps at every edit makes predictions
look good: that it falls back to the mean is easily foretold. Near 0, a displacement says what was edited.
"""
LOSS_BAR = 0.01  # relative, of int8 on each row
BARS = (
    "displacement_r2", "nearer_than_copy", "prefers_truth_to_copy", "delta_cosine", "same_action_rank",
    "action_matters", "injected_auroc_size_matched", "injected_auroc_size_matched_unseen",
    "doubt_injected_auroc_size_matched", "doubt_injected_auroc_size_matched_unseen",
)  # fmt: skip
"""The rows between 0 and 1 that the model issue sets bars for, and their companions."""


@dataclass
class Figures:
    """Rows, and the model's figure under every resample of commits by row: what two models are compared by."""

    rows: list[Row] = field(default_factory=list)
    draws: dict[Key, F64] = field(default_factory=dict)
    cosines: F64 = field(default_factory=lambda: np.zeros(0))
    """[N] the delta cosine of each held-out edit."""
    predicted: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """[N, K] their predicted displacements."""

    def take(self, tally: Tally) -> list[Row]:
        """Add what a tally found; returns its rows."""
        self.rows += tally.rows
        self.draws |= tally.draws
        return tally.rows


def run(request: Request, emit: Emit) -> Outcome:
    """The suite: one model."""
    subject = load(request.models[0] if request.models else "base", compare_int8=request.compare_int8)
    held_out = gather(request)
    outcome = Outcome("readout", subject.as_json(), data_of(request, held_out))
    outcome.about = about_of(request, held_out)
    injected = injections(request, held_out, outcome.notes)
    request.say(f"reading {subject.name} on {len(held_out.edits):,} held-out edits")
    figures = measure(request, subject, held_out, injected)
    if subject.quantised is not None:
        request.say("the same as int8")
        compare_int8(request, figures, subject, held_out, injected)
    else:
        outcome.notes.append(f"int8 is not compared with f32: {subject.why_not}")
    outcome.rows = figures.rows
    emit(figures.rows)
    outcome.charts = charts(figures.rows, subject.name)
    return outcome


def gather(request: Request) -> HeldOut:
    """The held-out edits of a request."""
    return hold_out(request.sources, limit=request.limit, part=request.part)


def data_of(request: Request, held_out: HeldOut) -> list[dict[str, Any]]:
    """Which repositories, at which commits, and how many of their edits were tested on."""
    origins: list[Origin | None] = []
    for source in request.sources:
        origins += source.table.repositories or [None]
    counts = np.bincount(held_out.edits.repository, minlength=len(held_out.repositories))
    data = []
    for i, name in enumerate(held_out.repositories):
        origin = origins[i]
        tip = {} if origin is None else {"root": origin.root, "tip": origin.tip}
        data.append({"name": name, "held_out": int(counts[i]), **tip})
    return [d for d in data if d["held_out"]]


def about_of(request: Request, held_out: HeldOut) -> dict[str, Any]:
    """What the figures were made with."""
    return {
        "edits": held_out.about,
        "split": "as the corpus says" if request.sources[0].table.division else "latest fifth by commit time",
        "part": request.part,
        "action_label": LABEL,
        "limit": request.limit,
        "resamples": request.resamples,
        "injections": request.injections,
    }


def injections(request: Request, held_out: HeldOut, notes: list[str]) -> injection.Injected | None:
    """Corrupted edits of the clones at hand; a note on what has none."""
    if not request.injections:
        return None
    cloned = {name for source in request.sources for name in source.clones}
    wanted = [held_out.repositories[r] for r in np.unique(held_out.edits.repository)]
    missing = [name for name in wanted if name not in cloned]
    if missing:
        names = ", ".join(missing[:5]) + (" and more" if len(missing) > 5 else "")
        notes.append(f"no injected edits of {names}: they need sources; name clones, or --clones FOLDER")
    if len(missing) == len(wanted):
        return None
    count = len(wanted) - len(missing)
    request.say(f"corrupting edits of {count} clone{'s' if count > 1 else ''}")
    made = injection.inject(
        request.sources, request.injections, held_out.action_id, held_out.window,
        part=request.part, threads=request.threads,
    )  # fmt: skip
    if made is None:
        notes.append("no injected edits: no held-out edit of a Python 3 function could be corrupted")
    return made


def measure(
    request: Request, subject: Subject, held_out: HeldOut, injected: injection.Injected | None
) -> Figures:
    """Every row of one model."""
    reader = Reader(subject.engine, held_out.action_id, request.threads)
    found = read(reader, held_out)
    return figures_of(request, reader, found, held_out, injected, subject.whiten)


def figures_of(
    request: Request,
    reader: Reader,
    found: Readings,
    held_out: HeldOut,
    injected: injection.Injected | None,
    whiten: F64 | None,
    resamples: int | None = None,
) -> Figures:
    """Rows of what was read; `whiten` [K, W], the map to t, adds those of the space before it."""
    resamples = request.resamples if resamples is None else resamples
    predicted = found.predictions[""]
    figures = Figures(cosines=metrics.delta_cosine(predicted, found.d), predicted=predicted)
    per_edit = _per_edit(found, held_out)
    edits = held_out.edits
    for r in (None, *np.unique(edits.repository).tolist()):
        if r is not None and len(np.unique(edits.repository)) == 1:
            continue
        here = np.ones(len(edits), bool) if r is None else edits.repository == r
        for subset in ("all", "modified"):
            rows = np.flatnonzero(here & (edits.group == 0) if subset == "modified" else here)
            if len(rows) < 2:
                continue
            data = "" if r is None else held_out.repositories[r]
            tally = Tally(edits.commit[rows], subset=subset, data=data, resamples=resamples)
            _tally(tally, found, per_edit, rows)
            if whiten is not None and r is None:
                _unwhitened(tally, found, rows, whiten)
            figures.take(tally)
    if injected is not None:
        names, values = injection.scores(reader, injected, found.fitted)
        for tally in injection.tally(injected, names, values, held_out.repositories, resamples):
            figures.take(tally)
    return figures


def _per_edit(found: Readings, held_out: HeldOut) -> dict[str, tuple[dict[str, F64], dict[str, Any]]]:
    """metric -> (name -> [N], what else its row says) of what is ranked among other edits."""
    held = ranking.gallery(held_out.edits.after)
    placed = ranking.knn(found, held_out, held)
    own, count = ranking.edit_knn(found, held_out)
    out: dict[str, tuple[dict[str, F64], dict[str, Any]]] = {
        "same_action_rank": (ranking.same_action_rank(found, held_out), {"label": LABEL}),
        "same_action_rank_state": (
            ranking.same_action_rank(found, held_out, states=True),
            {"label": LABEL},
        ),
    }
    for k in ranking.AT:
        hit = ranking.hits(placed, k)
        hit["chance"] = np.where(np.isnan(hit[""]), np.nan, min(1.0, k / len(held)))
        out[f"knn_at_{k}"] = hit, {"gallery": len(held)}
    for k in ranking.EDIT_AT:
        hit = ranking.hits(own, k)
        hit["chance"] = np.where(np.isnan(hit[""]), np.nan, np.minimum(1.0, k / (count + 1)))
        out[f"edit_knn_at_{k}"] = hit, {}
    return out


def _tally(
    tally: Tally,
    found: Readings,
    per_edit: dict[str, tuple[dict[str, F64], dict[str, Any]]],
    rows: I64,
) -> None:
    predictions = {k: p[rows] for k, p in found.predictions.items()}
    d, z = found.d[rows], found.z[rows]
    metrics.basics(tally, predictions, d, z)
    cosine = {k: metrics.delta_cosine(p, d) for k, p in predictions.items()}
    states = found.z - found.z.mean(0, dtype=np.float64)
    tally.mean(
        CHURN,
        {"": np.square(d.astype(np.float64)).sum(1) / (2 * np.square(states).sum(1).mean())},
        fixed={"unrelated_states": 1.0},
    )
    told = cosine[""] - cosine["shuffled_action"]
    tally.mean(
        "action_matters",
        {"": told, "zero_action": cosine["zero_action"] - cosine["shuffled_action"], "unused": 0 * told},
    )
    for metric, (values, more) in per_edit.items():
        tally.mean(metric, {k: v[rows] for k, v in values.items()}, **more)


def _unwhitened(tally: Tally, found: Readings, rows: I64, whiten: F64) -> None:
    """What t sees of the same displacements in f's own scale; t is linear, so nothing is encoded again."""
    back = np.linalg.pinv(whiten).T  # [K, W]

    def raw(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return (x[rows].astype(np.float64) @ back).astype(np.float32)

    predictions = {k: raw(p) for k, p in found.predictions.items()}
    metrics.basics(tally, predictions, raw(found.d), raw(found.z), suffix=UNWHITENED)


def compare_int8(
    request: Request,
    figures: Figures,
    subject: Subject,
    held_out: HeldOut,
    injected: injection.Injected | None,
) -> None:
    """Add to every row its int8 value and what that loses, and rows of the worst."""
    assert subject.quantised is not None
    reader = Reader(subject.quantised, held_out.action_id, request.threads)
    found = read(reader, held_out)
    other = figures_of(request, reader, found, held_out, injected, subject.whiten, resamples=0)
    values = {(r.metric, r.subset, r.data): r.value for r in other.rows}
    worst: tuple[float, str] = (-np.inf, "")
    for i, row in enumerate(figures.rows):
        value = values[row.metric, row.subset, row.data]
        lost = relative_loss(row.value, value)
        figures.rows[i] = replace(row, more={**row.more, "int8": {"value": value, "relative_loss": lost}})
        if not row.data and not row.subset.endswith(injection.FORMS):
            worst = max(worst, (lost, f"{row.metric} ({row.subset})"))
    near = metrics.delta_cosine(other.predicted, figures.predicted)
    n = len(figures.rows)
    figures.rows += [
        Row("int8_worst_relative_loss", "all", worst[0], None, n, {"bar": LOSS_BAR}, more={"row": worst[1]}),
        Row("int8_min_cosine", "all", float(near.min()), None, len(near), {"copy": 0.0}),
    ]


def relative_loss(f32: float, int8: float) -> float:
    """What int8 loses of a row where more is better, in parts of the f32 value; below 0 it gains."""
    return 0.0 if f32 == int8 else (f32 - int8) / max(abs(f32), 1e-9)


def charts(rows: Sequence[Row], name: str) -> list[Chart]:
    """Pictures of the pooled rows, of the injected kinds, and of each repository."""
    pooled = [r for r in rows if not r.data]
    modified = {r.metric: r for r in pooled if r.subset in ("modified", "kinds")}
    knn = [modified[m] for m in modified if "knn_at" in m]
    ranks = [modified[m] for m in ("predictor_rank_entropy", "predictor_rank_squared") if m in modified]
    kinds = [r for r in pooled if r.metric == "injected_auroc_size_matched"]
    made = [
        chart_of(
            [modified[m] for m in BARS if m in modified],
            "readout",
            f"{name}: held-out edits of modified units",
            "value, 95% interval over commits",
        ),
        chart_of(knn, "readout-knn", f"{name}: the true next state among others", "share of edits"),
        chart_of(ranks, "readout-rank", f"{name}: directions of displacements", "effective rank"),
        chart_of(kinds, "readout-injected", f"{name}: injected edits", "size-matched AUROC", by="subset"),
    ]
    for metric in ("displacement_r2", "delta_cosine"):
        each = [r for r in rows if r.data and r.metric == metric and r.subset == "modified"]
        title = f"{name}: {metric.replace('_', ' ')} of modified units, by repository"
        made.append(chart_of(each, f"readout-{metric}-by-repository", title, metric, by="data"))
    return [chart for chart in made if chart is not None]
