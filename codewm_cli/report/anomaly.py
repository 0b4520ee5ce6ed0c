"""What the anomaly suite found in, tables for people out: scores below each other, codewm's first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from codewm.cli.console import inert
from codewm.cli.report.evaluation import table_of
from codewm.model.evaluation.anomaly_figures import INJECTED, TOPS
from codewm.model.evaluation.replay import SURPRISE

if TYPE_CHECKING:
    from rich.table import Table

    from codewm.model.evaluation.metrics import Row
    from codewm.model.evaluation.result import Outcome

TITLES = {
    "szz": "commits that a later fix blames (SZZ)",
    "revert": "commits that were reverted",
    "revert_unseen": "commits that were reverted, of repositories the model was not trained on",
    "revert_late": "commits that were reverted, after what the model was trained on",
    "revert_trained": "commits that were reverted, among what the model was trained on",
    "szz_unseen": "commits that a later fix blames, of repositories the model was not trained on",
    "szz_late": "commits that a later fix blames, after what the model was trained on",
    "szz_trained": "commits that a later fix blames, among what the model was trained on",
}
MATCHED = (
    ("auroc_size_matched", "at size"),
    ("auroc_closely_matched", "closely"),
    ("auroc_time_matched", "at time"),
    ("auroc_size_time_matched", "at size and time"),
)
CAPTION = "[95% interval, over commits]; < the surprise is better: the interval of the difference excludes 0"
SHOWN_BY_REPOSITORY = 3  # scores beside the surprise


def to_tables(outcome: Outcome) -> list[Table]:
    """Every table of the suite, without those that would be empty."""
    pooled = [r for r in outcome.rows if not r.data]
    tables = [_injected(pooled), _kinds(pooled)]
    for name, title in TITLES.items():
        tables += [_natural(pooled, name, title), _caught(pooled, name, title)]
        tables.append(_repositories(outcome.rows, name, title))
    tables.append(_alerts(outcome.rows))
    return [t for t in tables if t.row_count]


def _by_score(rows: Sequence[Row], metric: str) -> dict[str, Row]:
    return {r.subset: r for r in rows if r.metric == metric}


def _figure(row: Row | None, rival: Row | None = None) -> str:
    if row is None:
        return ""
    among = f" [{row.interval[0]:.3f}, {row.interval[1]:.3f}]" if row.interval else ""
    beaten = "<" if rival is not None and row.subset in rival.beats else ""
    return f"{row.value:.3f}{beaten}{among}"


def _short(row: Row | None) -> str:
    return "" if row is None else f"{row.value:.3f}"


def _label(row: Row) -> str:
    return inert(f"  {row.subset}" if row.more.get("baseline") else row.subset)


def _natural(rows: Sequence[Row], name: str, title: str) -> Table:
    """A row for each score: AUROC, like compared with like."""
    plain = _by_score(rows, f"{name}_auroc")
    first = plain.get(SURPRISE)
    count = "" if first is None else f": {first.more['positives']} of {first.n:,} commits"
    table = table_of(f"{title}{count}; AUROC", CAPTION)
    table.add_column("score", no_wrap=True)
    for _, label in MATCHED:
        table.add_column(label, justify="right", no_wrap=True)
    table.add_column("all", justify="right")
    held = [_by_score(rows, f"{name}_{metric}") for metric, _ in MATCHED]
    for score, row in plain.items():
        size, close, time, both = held
        cells = [_figure(size.get(score), size.get(SURPRISE)), _figure(close.get(score), close.get(SURPRISE))]
        cells += [_short(time.get(score)), _figure(both.get(score), both.get(SURPRISE))]
        table.add_row(_label(row), *cells, _short(row))
    return table


def _caught(rows: Sequence[Row], name: str, title: str) -> Table:
    """A row for each score: what a reviewer would find from the top, and what it adds to lines added."""
    precision = _by_score(rows, f"{name}_auprc")
    base = next((r.more["base_rate"] for r in precision.values()), 0.0)
    table = table_of(f"{title}: caught among the strangest (AUPRC of no score at all: {base:.3f})")
    table.add_column("score", no_wrap=True)
    for label in ("AUPRC", *(f"top {t}%" for t in TOPS), "AUROC added to lines", "rho with lines"):
        table.add_column(label, justify="right", no_wrap=True)
    others = [_by_score(rows, f"{name}_caught_in_top_{t}") for t in TOPS]
    gain = _by_score(rows, f"{name}_auroc_added_to_lines")
    rho = _by_score(rows, "spearman_with_lines_added")
    for score, row in precision.items():
        cells = [_short(o.get(score)) for o in others]
        table.add_row(_label(row), _short(row), *cells, _figure(gain.get(score)), _short(rho.get(score)))
    return table


def _injected(rows: Sequence[Row]) -> Table:
    """A row for each score: the means over kinds, and the worst kind."""
    mean, unseen = _by_score(rows, INJECTED), _by_score(rows, f"{INJECTED}_unseen")
    worst = _by_score(rows, f"{INJECTED}_worst_kind")
    table = table_of("edits with one thing wrong: AUROC, matched on lines added", CAPTION)
    for label in ("score", "mean of kinds", "of kinds not trained on", "worst kind"):
        table.add_column(label, justify="left" if label == "score" else "right", no_wrap=True)
    for score, row in mean.items():
        last = worst.get(score)
        said = "" if last is None else f"{last.value:.3f} {last.more['kind']}"
        cells = (_figure(row, mean.get(SURPRISE)), _figure(unseen.get(score), unseen.get(SURPRISE)), said)
        table.add_row(_label(row), *cells)
    return table


def _kinds(rows: Sequence[Row]) -> Table:
    """A row for each kind of mistake: the surprise, and the best of the others."""
    mine = [r for r in rows if r.metric == f"{INJECTED}_of_kind" and r.subset == SURPRISE]
    table = table_of("the same by kind (untrained: of no family that models are trained on)")
    for label in ("kind", "cases", "surprise", "best channel", "best rival"):
        table.add_column(label, justify="left" if label == "kind" else "right", no_wrap=True)
    for row in mine:
        others = [
            r
            for r in rows
            if r.metric == row.metric and r.subset != SURPRISE and r.more["kind"] == row.more["kind"]
        ]
        cells = []
        for rival in (False, True):
            best = max(
                (r for r in others if bool(r.more.get("baseline")) == rival),
                key=lambda r: r.value,
                default=None,
            )
            cells.append("" if best is None else f"{best.value:.3f} {best.subset}")
        kind = row.more["kind"] + ("" if row.more["trained"] else " (untrained)")
        table.add_row(kind, f"{row.n:,}", _figure(row), *map(inert, cells))
    return table


def _repositories(rows: Sequence[Row], name: str, title: str) -> Table:
    """A row for each repository: the size-matched AUROC of the surprise and of the best pooled scores beside it."""
    metric = f"{name}_auroc_size_matched"
    pooled = sorted((r for r in rows if r.metric == metric and not r.data), key=lambda r: -r.value)
    shown = [
        SURPRISE,
        *[r.subset for r in pooled if r.subset != SURPRISE][:SHOWN_BY_REPOSITORY],
        "lines_added",
    ]
    table = table_of(f"{title}, by repository: AUROC at size")
    table.add_column("repository")
    table.add_column("positive", justify="right")
    shown = list(dict.fromkeys(shown))
    for score in shown:
        table.add_column(score.replace("_", " "), justify="right")
    mine = [r for r in rows if r.metric == metric and r.data]
    for data in dict.fromkeys(r.data for r in mine):
        held = {r.subset: r for r in mine if r.data == data}
        positives = next(iter(held.values())).more["positives"]
        cells = [_figure(held.get(s)) if s == SURPRISE else _short(held.get(s)) for s in shown]
        table.add_row(inert(data), str(positives), *cells)
    return table


def _alerts(rows: Sequence[Row]) -> Table:
    """A row for each repository, and one for all: the share of commits that alert."""
    mine = [r for r in rows if r.metric == "alert_rate"]
    budget = f"{mine[0].more['budget']:.3f}" if mine else ""
    table = table_of(f"share of commits that alert, at a budget of {budget}")
    for label in ("repository", "commits", "alerts"):
        table.add_column(label, justify="left" if label == "repository" else "right", no_wrap=True)
    for row in mine:
        table.add_row(inert(row.data or "all"), f"{row.n:,}", _figure(row))
    return table
