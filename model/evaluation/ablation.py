"""The recipe and its variations in, what each part of it is worth out.

Every variation is trained with the same budget on the same edits and read out on the same held-out edits, once for
each seed. The difference to the full recipe is taken seed by seed on the same resamples of commits, and its interval
is over both: resamples are averaged over seeds. Figures of different target spaces meet here (a variation may change
the teacher): rows that are relative to the space, like R2, still are, ranks and cosines less so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from codewm.corpus.errors import UserError
from codewm.model.evaluation.metrics import Row, interval
from codewm.model.evaluation.readout import Figures, about_of, data_of, gather, injections
from codewm.model.evaluation.result import Chart, Emit, Mark, Outcome, Request
from codewm.model.evaluation.runs import Runs, by_key
from codewm.model.evaluation.seeds import over_seeds
from codewm.model.evaluation.variations import COMPARED, FULL, VARIATIONS


def run(request: Request, emit: Emit) -> Outcome:
    """The suite: trains the full recipe and every variation that was asked for."""
    if request.models:
        raise UserError("an ablation trains its own models", "leave --model away")
    names = [FULL, *(n for n in request.only or VARIATIONS if n != FULL)]
    for name in names:
        if name not in VARIATIONS:
            raise UserError(f"there is no variation '{name}'", f"one of {', '.join(VARIATIONS)}")
    held_out = gather(request)
    outcome = Outcome("ablation", [], data_of(request, held_out), about_of(request, held_out))
    injected = injections(request, held_out, outcome.notes)
    runs = Runs(request, held_out, injected)
    for name in names:  # before hours are spent on the first
        for seed in range(request.seeds):
            runs.config(VARIATIONS[name], seed)
    full: list[Figures] = []
    for name in names:
        figures = [runs.figures(name, VARIATIONS[name], seed) for seed in range(request.seeds)]
        full = full or figures
        rows = [row for row in varied(name, figures, full) if not row.data]
        outcome.rows += rows
        outcome.model.append({"name": name, "seeds": request.seeds, **asdict(VARIATIONS[name])})
        emit(rows)
    outcome.charts = charts(outcome.rows)
    return outcome


def varied(name: str, figures: Sequence[Figures], full: Sequence[Figures]) -> list[Row]:
    """Rows of one variation, with the difference to the full recipe and its interval."""
    tables = [by_key(f.rows) for f in figures]
    whole = [by_key(f.rows) for f in full]
    out = []
    for row in over_seeds([f.rows for f in figures]):
        key = (row.metric, row.subset, row.data)
        more = {**row.more, "variation": name}
        among = row.interval if len(figures) > 1 else tables[0][key].interval
        if name != FULL and all(key in table for table in whole):
            differences = [
                mine[key].value - theirs[key].value for mine, theirs in zip(tables, whole, strict=True)
            ]
            draws = [
                f.draws[key] - g.draws[key]
                for f, g in zip(figures, full, strict=True)
                if key in f.draws and key in g.draws and f.draws[key].shape == g.draws[key].shape
            ]
            more["difference"] = {
                "value": float(np.mean(differences)),
                "interval": interval(np.mean(draws, 0)) if len(draws) == len(figures) else None,
                "seeds": differences,
            }
        out.append(replace(row, interval=among, more=more))
    return out


def charts(rows: Sequence[Row]) -> list[Chart]:
    """For each of the main rows, the variations below each other."""
    made = []
    for metric in COMPARED:
        marks = [
            Mark(row.more["variation"], row.value, row.interval, row.nulls)
            for row in rows
            if row.metric == metric and row.subset in ("modified", "kinds")
        ]
        name = metric.replace("_", " ")
        title = name if metric.startswith("injected") else f"{name}, modified units"
        if marks:
            made.append(Chart(f"ablation-{metric}", title, name, marks))
    return made
