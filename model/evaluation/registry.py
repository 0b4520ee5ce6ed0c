"""The suites of `codewm eval`: one row each, its module imported only when it is asked for.

To add one: a module with `run(request, emit) -> Outcome` (`codewm.model.evaluation.result`), and a row here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from codewm.model.evaluation.result import Emit, Outcome, Request


class Suite(NamedTuple):
    """Where a suite lives, and what it says about itself in one line."""

    module: str
    help: str
    trains: bool
    """It needs torch unless it is given models."""
    takes_models: bool = True
    takes_encoders: bool = False
    """Of others, from local folders."""


SUITES: dict[str, Suite] = {
    "readout": Suite(
        "codewm.model.evaluation.readout", "every quantity of one model, beside its nulls", trains=False
    ),
    "impact": Suite(
        "codewm.model.evaluation.impact",
        "what else a commit changes, found from a part of it, beside co-change",
        trains=False,
        takes_models=False,
    ),
    "seeds": Suite(
        "codewm.model.evaluation.seeds", "what the seed alone changes, over several models", trains=True
    ),
    "ablation": Suite(
        "codewm.model.evaluation.ablation",
        "variations of the recipe on the same split, budget and seeds",
        trains=True,
        takes_models=False,
    ),
    "rollout": Suite(
        "codewm.model.evaluation.rollout", "chains of edits: one to three steps, in both spaces", trains=False
    ),
    "geometry": Suite(
        "codewm.model.evaluation.geometry",
        "what the loops keep of an edit, and the shape of the space",
        trains=False,
    ),
    "audit": Suite(
        "codewm.model.evaluation.audit",
        "the next state among thousands, ranks, collapse, overfitting, seeds",
        trains=False,
    ),
    "quantisation": Suite(
        "codewm.model.evaluation.quantisation", "bytes of each tier, and what it costs", trains=False
    ),
    "latency": Suite(
        "codewm.model.evaluation.latency", "milliseconds of every stage, beside torch", trains=False
    ),
    "retrieval": Suite(
        "codewm.model.evaluation.retrieval",
        "finding edits of the same label, revert, issue or refactoring, by any encoder",
        trains=False,
        takes_encoders=True,
    ),
    "probe": Suite(
        "codewm.model.evaluation.probe",
        "what a linear probe reads of a unit's complexity, loops, calls and effects, in any encoder",
        trains=False,
        takes_encoders=True,
    ),
    "anomaly": Suite(
        "codewm.model.evaluation.anomaly",
        "the scores of commits against mistakes, reverts and fixes, beside plain rivals",
        trains=False,
    ),
    "collapse": Suite(
        "codewm.model.evaluation.collapse",
        "what collapses the papers' encoder, traced over steps, as published and as written",
        trains=True,
        takes_models=False,
    ),
}


def find(name: str) -> Suite:
    """The suite of that name. Raises `UserError`."""
    if name not in SUITES:
        raise UserError(f"there is no suite '{name}'", f"one of {', '.join(SUITES)}")
    return SUITES[name]


def load(suite: Suite) -> Callable[[Request, Emit], Outcome]:
    """What runs it."""
    run: Callable[[Request, Emit], Outcome] = importlib.import_module(suite.module).run
    return run
