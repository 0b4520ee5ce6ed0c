"""What suites are asked for and what they answer: plain data, so that whoever prints it needs to know no suite.

A suite is a module with `run(request, emit) -> Outcome`. It hands every row to `emit` as soon as it is known, and
whoever called it decides where rows are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codewm.model.evaluation.held_out import Source
from codewm.model.evaluation.metrics import Row

SCHEMA = "codewm.eval/1"
Emit = Callable[[Sequence[Row]], None]


@dataclass(frozen=True)
class Request:
    """What `codewm eval` was asked for."""

    sources: Sequence[Source]
    models: Sequence[str] = ()
    """'base', model files or folders of runs; () where the suite trains, or takes the shipped one."""
    seeds: int = 3
    limit: int = 2_000
    """Held-out edits of each repository at most."""
    encoders: Sequence[Path] = ()
    """Folders with encoders of others, for the suites that compare encoders."""
    injections: int = 60
    """Edits of each repository that are corrupted in every way, 0 for none."""
    around: str | None = None
    """Score only the blocks of commits that hold one of these ('reverts'); None scores all."""
    part: str | None = None
    """Of a divided corpus."""
    only: Sequence[str] = ()
    """Names of variations, () for all."""
    resamples: int = 1_000
    compare_int8: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of models that the suite trains: keys of `TrainConfig` and `ModelConfig`."""
    work: Path | None = None
    """Where trained models and finished readings are kept."""
    labels: Path | None = None
    """Folder that labels and splits are written to."""
    scores: Sequence[Path] = ()
    """Files of another tool's scores."""
    threads: int = 0
    say: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Mark:
    """One line of a chart: a value, its interval, and what it is set beside."""

    label: str
    value: float
    interval: tuple[float, float] | None = None
    nulls: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """A picture of rows: values with intervals along one axis, nulls as ticks."""

    name: str
    title: str
    axis: str
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Line:
    """One line of a trace: values over steps, and the range that they are the mean of."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True)
class Trace:
    """A picture of figures over steps: one line for each run or variation."""

    name: str
    title: str
    across: str
    axis: str
    lines: Sequence[Line]


@dataclass
class Outcome:
    """What a suite found."""

    suite: str
    model: Any
    """Which models, as JSON."""
    data: list[dict[str, Any]]
    about: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    charts: Sequence[Chart | Trace] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What people should know beside the figures."""

    def as_json(self) -> dict[str, Any]:
        """The document of codewm.eval/1."""
        return {
            "schema": SCHEMA, "suite": self.suite, "model": self.model, "data": self.data,
            "about": self.about, "notes": self.notes, "rows": [row.as_json() for row in self.rows],
        }  # fmt: skip


def chart_of(rows: Sequence[Row], name: str, title: str, axis: str, *, by: str = "metric") -> Chart | None:
    """A chart of rows, labelled by one of their fields, and by model where there are several; None without any."""
    several = len({row.more.get("model") for row in rows}) > 1
    marks = []
    for row in rows:
        label = str(getattr(row, by)).replace("_", " ")
        label += f", {row.more['model']}" if several and "model" in row.more else ""
        marks.append(Mark(label, row.value, row.interval, row.nulls))
    return Chart(name, title, axis, marks) if marks else None
