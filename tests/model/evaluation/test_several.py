"""Claims:

1. Models that differ in their weights alone have means over them, each with every model's figure.
2. Of models that differ in more, nothing is averaged, and that is said; tables and charts name each.
"""

from __future__ import annotations

import pytest

from codewm.cli.report import subsets
from codewm.model.evaluation import several
from codewm.model.evaluation.metrics import Row
from codewm.model.evaluation.result import Outcome, Request, chart_of
from codewm.model.evaluation.world import World
from tests.scoring.random_model import write_random_model

VALUES = {"a.safetensors": 0.25, "b.safetensors": 0.75, "base": 0.5}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two of one shape, and the shipped one."""
    folder = tmp_path_factory.mktemp("models")
    made = [write_random_model(folder / name, seed=i) for i, name in enumerate(list(VALUES)[:2])]
    return [*map(str, made), "base"]


def ask(models: list[str]) -> Outcome:
    outcome = Outcome("made", [], [{"name": "one"}])

    def question(world: World) -> list[Row]:
        return [Row("share", "modified", VALUES[world.name], (0.0, 1.0), 4)]

    several.ask(Request(sources=[], models=models), lambda rows: None, outcome, question)
    return outcome


def test_alike_are_averaged(models: list[str]) -> None:
    outcome = ask(models[:2])
    (mean,) = several.shown(outcome.rows)
    assert mean.value == 0.5
    assert mean.more["seeds"] == [0.25, 0.75]
    assert not outcome.notes


def test_unalike_are_not(models: list[str]) -> None:
    outcome = ask(models)
    assert [(r.more["model"], r.value) for r in outcome.rows] == list(VALUES.items())
    assert len(outcome.notes) == 1
    assert [str(t.title) for t in subsets.by_subset(outcome)] == [
        f"made: modified, {name} (one)" for name in VALUES
    ]
    chart = chart_of(several.shown(outcome.rows), "x", "x", "x")
    assert chart is not None
    assert [m.label for m in chart.marks] == [f"share, {name}" for name in VALUES]
