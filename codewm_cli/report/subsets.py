"""What a suite found in, a table for each subset of its rows out: a line for each metric with its nulls.

For suites whose rows say by themselves what they are of. Rows of several models come as their mean, with each model's
figure beside it; of models that are not alike, and so have no mean, each has tables of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from codewm.cli.console import inert

if TYPE_CHECKING:
    from rich.table import Table

    from codewm.model.evaluation.metrics import Row
    from codewm.model.evaluation.result import Outcome

CAPTION = "< the model is above: the 95% interval of the difference, over commits, excludes 0"
MODELS_SHOWN = 4
METRICS_SHOWN = 8


def by_subset(outcome: Outcome) -> list[Table]:
    """Every table of an outcome: first all repositories together, then each."""
    means = [r for r in outcome.rows if "model" not in r.more]
    rows = means if any("seeds" in r.more for r in means) else outcome.rows
    pooled = [r for r in rows if not r.data]
    each = [r for r in rows if r.data]
    tables = [_figures(some, title, outcome) for title, some in _grouped(pooled)]
    tables += [_repositories(some, title) for title, some in _grouped(each)]
    return [table for table in tables if table.row_count]


def _grouped(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Rows by subset, and by model where several have rows of it; with what each group is called."""
    out = []
    for subset in dict.fromkeys(r.subset for r in rows):
        mine = [r for r in rows if r.subset == subset]
        models = list(dict.fromkeys(r.more.get("model") for r in mine))
        for model in models:
            title = subset if len(models) == 1 else f"{subset}, {model}" if model else subset
            out.append((title, [r for r in mine if r.more.get("model") == model]))
    return out


def _figures(rows: Sequence[Row], subset: str, outcome: Outcome) -> Table:
    """The nulls stand in one column, the strongest first: suites have too many for a column each."""
    from rich.table import Table

    count = len(outcome.data)
    data = f"{count} repositories" if count != 1 else outcome.data[0]["name"]
    several = any("seeds" in row.more for row in rows)
    table = Table(
        title=inert(f"{outcome.suite}: {subset} ({data})"), title_justify="left", box=None, pad_edge=False,
        caption=CAPTION if any(row.beats for row in rows) else "", caption_justify="left",
    )  # fmt: skip
    table.add_column("metric", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("value [95% interval]", justify="right", no_wrap=True)
    if several:
        table.add_column("models", justify="right")
    table.add_column("beside it", overflow="fold")
    for row in rows:
        cells = [row.metric.replace("_", " "), f"{row.n:,}", _value(row)]
        if several:
            values = row.more.get("seeds", [])
            cells.append(" ".join(map(_number, values[:MODELS_SHOWN])) + " …" * (len(values) > MODELS_SHOWN))
        names = sorted(row.nulls, key=lambda name: -row.nulls[name])
        table.add_row(*cells, ", ".join(_null(row, name) for name in names))
    return table


def _repositories(rows: Sequence[Row], subset: str) -> Table:
    from rich.table import Table

    shown = list(dict.fromkeys(r.metric for r in rows))[:METRICS_SHOWN]
    table = Table(title=inert(f"{subset}, by repository"), title_justify="left", box=None, pad_edge=False)
    table.add_column("repository")
    for metric in shown:
        table.add_column(metric.replace("_", " "), justify="right")
    for name in dict.fromkeys(r.data for r in rows):
        held = {r.metric: r for r in rows if r.data == name}
        table.add_row(inert(name), *(_number(held[m].value) if m in held else "" for m in shown))
    return table


def _value(row: Row) -> str:
    if row.interval is None:
        return _number(row.value)
    return f"{_number(row.value)} [{_number(row.interval[0])}, {_number(row.interval[1])}]"


def _null(row: Row, name: str) -> str:
    mark = "<" if name in row.beats else ""
    return inert(f"{name.replace('_', ' ')} {_number(row.nulls[name])}{mark}")


def _number(value: float) -> str:
    """Three decimals; of a large number none."""
    return (
        f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.1f}" if abs(value) >= 100 else f"{value:.3f}"
    )
