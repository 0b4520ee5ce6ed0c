"""Several models of one recipe in, what the seed alone changes out.

Of each row of the readout: the mean over seeds with its 95% interval (Student's t: with three seeds it is wide, and
says so), the spread relative to the mean, (max - min) / |mean|, and every seed's own value. Models trained apart
have target spaces of their own, so that one cannot be asked in another's; what can be compared is which edits they
find easy: the matrix of rank correlations of the delta cosine over edits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.errors import UserError
from codewm.model.evaluation.metrics import Row
from codewm.model.evaluation.readout import (
    BARS,
    Figures,
    about_of,
    data_of,
    gather,
    injections,
    measure,
)
from codewm.model.evaluation.result import Emit, Outcome, Request, chart_of
from codewm.model.evaluation.runs import Runs, by_key
from codewm.model.evaluation.subject import load
from codewm.model.evaluation.variations import FULL, VARIATIONS

F64 = NDArray[np.float64]
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5% points of Student's t for 1 to 9 degrees of freedom."""
SPREAD_BAR = 0.15  # relative, of a row over three seeds
SPREAD_OF = (
    "displacement_r2", "nearer_than_copy", "delta_cosine", "same_action_rank", "predictor_rank_squared",
    "injected_auroc_size_matched", "injected_auroc_size_matched_unseen",
)  # fmt: skip
"""The rows, of modified units, that are to be alike over seeds."""


def run(request: Request, emit: Emit) -> Outcome:
    """The suite: models that are given, or `request.seeds` of them trained here."""
    if len(request.models) == 1:
        raise UserError(
            "one model has no spread over seeds", "name several with --model, or none to train them"
        )
    held_out = gather(request)
    outcome = Outcome("seeds", [], data_of(request, held_out), about_of(request, held_out))
    figures: list[Figures] = []
    if request.models:
        subjects = [load(choice, compare_int8=False) for choice in request.models]
        if len({s.digest for s in subjects}) < len(subjects):
            raise UserError("the same model is named twice", "name models of different seeds")
        injected = injections(request, held_out, outcome.notes)
        for subject in subjects:
            request.say(f"reading {subject.name} on {len(held_out.edits):,} held-out edits")
            figures.append(measure(request, subject, held_out, injected))
        outcome.model = [s.as_json() for s in subjects]
    else:
        if request.seeds < 2:
            raise UserError("one seed has no spread", "--seeds 3")
        injected = injections(request, held_out, outcome.notes)
        runs = Runs(request, held_out, injected)
        for seed in range(request.seeds):
            figures.append(runs.figures(FULL, VARIATIONS[FULL], seed))
            emit([seed_row(row, seed) for row in figures[-1].rows if not row.data])
        outcome.model = [{"name": FULL, "seed": seed} for seed in range(request.seeds)]
    rows = over_seeds([f.rows for f in figures])
    outcome.rows = [*rows, *worst_spread(rows), *matrix([f.cosines for f in figures])]
    emit(outcome.rows)
    pooled = [r for r in outcome.rows if not r.data and r.subset in ("modified", "kinds")]
    chart = chart_of(
        [r for r in pooled if r.metric in BARS],
        "seeds",
        f"mean over {len(figures)} seeds, modified units",
        "value, 95% interval over seeds",
    )
    outcome.charts = [] if chart is None else [chart]
    return outcome


def seed_row(row: Row, seed: int) -> Row:
    """A row of one seed's readout, which says so."""
    return Row(
        row.metric, row.subset, row.value, row.interval, row.n, row.nulls, row.margins, row.data,
        {**row.more, "seed": seed},
    )  # fmt: skip


def over_seeds(readouts: Sequence[Sequence[Row]]) -> list[Row]:
    """Rows that all readouts have: the mean over them beside the means of their nulls."""
    tables = [by_key(rows) for rows in readouts]
    out = []
    for key, first in tables[0].items():
        if not all(key in table for table in tables):
            continue
        rows = [table[key] for table in tables]
        values = [row.value for row in rows]
        shared = [n for n in first.nulls if all(n in row.nulls for row in rows)]
        nulls = {name: float(np.mean([row.nulls[name] for row in rows])) for name in shared}
        said = {k: v for k, v in first.more.items() if all(row.more.get(k) == v for row in rows)}
        more = {**said, "seeds": values, "relative_spread": relative_spread(values)}
        mean = float(np.mean(values))
        out.append(Row(*key[:2], mean, student(values), first.n, nulls, data=key[2], more=more))
    return out


def student(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95% interval of the mean of a few values, by Student's t; None for one."""
    n = len(values)
    if n < 2:
        return None
    factor = STUDENT[n - 2] if n - 2 < len(STUDENT) else 1.96
    half = factor * float(np.std(values, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(values))
    return mean - half, mean + half


def relative_spread(values: Sequence[float]) -> float:
    """(max - min) / |mean|: 0 for equal values, infinite where they cancel out."""
    spread = max(values) - min(values)
    mean = abs(float(np.mean(values)))
    return 0.0 if spread == 0 else (spread / mean if mean > 0 else math.inf)


def worst_spread(rows: Sequence[Row]) -> list[Row]:
    """One row: the largest relative spread of those that have to be alike, and which one that is."""
    mine = [r for r in rows if not r.data and r.subset in ("modified", "kinds") and r.metric in SPREAD_OF]
    if not mine:
        return []
    worst = max(mine, key=lambda r: r.more["relative_spread"])
    return [
        Row(
            "worst_relative_spread", "all", worst.more["relative_spread"], None, len(mine),
            {"bar": SPREAD_BAR}, more={"row": worst.metric},
        )
    ]  # fmt: skip


def matrix(cosines: Sequence[F64]) -> list[Row]:
    """One row: the mean rank correlation of two seeds' delta cosines over edits, with the whole matrix.

    The null is the same with the edits of one of the two passed around.
    """
    count = len(cosines)
    table = [[spearman(a, b) for b in cosines] for a in cosines]
    pairs = [(i, j) for i in range(count) for j in range(i)]
    order = np.random.default_rng(4).permutation(len(cosines[0]))
    apart = float(np.mean([spearman(cosines[i][order], cosines[j]) for i, j in pairs]))
    agreed = [table[i][j] for i, j in pairs]
    return [
        Row(
            "cross_seed_rank_correlation", "all", float(np.mean(agreed)), student(agreed), len(cosines[0]),
            {"shuffled": apart}, more={"matrix": table},
        )
    ]  # fmt: skip


def spearman(a: F64, b: F64) -> float:
    """The rank correlation of two figures of the same edits; ties share their mean rank."""
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    size = math.sqrt(float((x * x).sum()) * float((y * y).sum()))
    return float((x * y).sum()) / size if size > 0 else 0.0


def _ranks(values: F64) -> F64:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: F64 = (last - (counts - 1) / 2)[inverse.ravel()]
    return ranks
