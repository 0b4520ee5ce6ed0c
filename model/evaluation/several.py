"""Models and a suite's question about one of them in, the rows of each and their means over models out.

Means are over models that differ in their seed alone: the average of a paper's recipe and ours is of nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from codewm.model.evaluation import world as worlds
from codewm.model.evaluation.metrics import Row
from codewm.model.evaluation.result import Emit, Outcome, Request
from codewm.model.evaluation.seeds import over_seeds
from codewm.model.evaluation.world import World


def ask(
    request: Request, emit: Emit, outcome: Outcome, question: Callable[[World], Sequence[Row]]
) -> list[World]:
    """Add to the outcome the rows of each model, which name it; of several alike, also the mean with its spread."""
    loaded = worlds.load_all(request.models, request.threads)
    readouts: list[list[Row]] = []
    names = worlds.names(loaded, request.models)
    for world, name in zip(loaded, names, strict=True):
        request.say(f"reading {name}")
        rows = list(question(world))
        readouts.append(rows)
        named = [replace(row, more={**row.more, "model": name}) for row in rows]
        outcome.rows += named
        emit(named)
    if len({w.kind for w in loaded}) > 1:
        outcome.notes.append(
            "these models differ in more than their seed: each has its own figures, and nothing is averaged"
        )
    elif len(loaded) > 1:
        means = over_seeds(readouts)
        outcome.rows += means
        emit(means)
    outcome.model = [worlds.as_json(w) for w in loaded] if len(loaded) > 1 else worlds.as_json(loaded[0])
    return loaded


def shown(rows: Sequence[Row]) -> list[Row]:
    """What a chart is drawn of: the means over models, or every row where there are none."""
    means = [row for row in rows if "model" not in row.more]
    return means or list(rows)
