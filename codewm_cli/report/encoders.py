"""Rows of suites that compare encoders in, tables with an encoder in each row out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from codewm.cli.console import inert

if TYPE_CHECKING:
    from rich.table import Table

    from codewm.model.evaluation.metrics import Row
    from codewm.model.evaluation.result import Outcome

MRR, MRR_HARD = "reciprocal_rank_at_10", "reciprocal_rank_of_10"
TOLD = ("action",)
"""What a figure is not asked to beat: relevance is made from it."""
CAPTION = "± half a 95% interval over commits; * better than every null here{but}, by paired intervals"
BUT_TOLD = " but the action, which circular relevance is made from"


class Column(NamedTuple):
    """One column: the rows of one metric and subset."""

    title: str
    metric: str
    subset: str


def to_tables(outcome: Outcome) -> list[Table]:
    """The tables of such an outcome: pooled figures."""
    rows = [r for r in outcome.rows if not r.data]
    if outcome.suite == "retrieval":
        circular, own = (
            _columns([r for r in rows if r.more["circular"] == made], MRR) for made in (True, False)
        )
        return [
            _grid(rows, circular, "relevance made from the action, as the papers': MRR@10", BUT_TOLD),
            _grid(
                rows,
                _columns(rows, MRR_HARD),
                "one relevant edit (of P) beside nine others (of N): MRR",
                BUT_TOLD,
            ),
            _grid(rows, own, "relevance not made from the action: MRR@10", BUT_TOLD),
        ]
    others = [
        Column("effects, AUROC", "probe_auroc", "effects"),
        Column("size-matched", "probe_auroc_size_matched", "effects"),
        Column("result, accuracy", "probe_accuracy", "result"),
    ]
    return [
        _grid(rows, _columns(rows, "probe_r2"), "what a linear probe reads of counts: R2"),
        _grid(rows, _columns(rows, "probe_r2_beyond_length"), "beyond what the length says: R2 of the rest"),
        _grid(rows, others, "of effects and results"),
    ]


def _columns(rows: Sequence[Row], metric: str) -> list[Column]:
    """A column for each subset of a metric, in the order they were found."""
    subsets = dict.fromkeys(r.subset for r in rows if r.metric == metric)
    return [Column(subset, metric, subset) for subset in subsets]


def _grid(rows: Sequence[Row], columns: Sequence[Column], title: str, but: str = "") -> Table:
    from rich.table import Table

    table = Table(
        title=inert(title), title_justify="left", box=None, pad_edge=False,
        caption=CAPTION.format(but=but), caption_justify="left",
    )  # fmt: skip
    table.add_column("encoder")
    held = {(r.metric, r.subset, r.more["encoder"]): r for r in rows if "encoder" in r.more}
    shown = [c for c in columns if any((c.metric, c.subset) == k[:2] for k in held)]
    if not shown:
        return table
    for column in shown:
        table.add_column(column.title, justify="right")
    encoders = list(dict.fromkeys(k[2] for k in held if any(k[:2] == (c.metric, c.subset) for c in shown)))
    named = set(encoders)
    cells = [[held.get((c.metric, c.subset, e)) for c in shown] for e in encoders]
    table.add_row(
        "queries or units", *(f"{next(r for r in col if r).n:,}" for col in zip(*cells, strict=True))
    )
    for encoder, row in zip(encoders, cells, strict=True):
        table.add_row(inert(encoder), *(_cell(r) for r in row))
    # What stands beside the encoders without being one: a random order, the mean, the commonest.
    beside = [
        [{k: v for k, v in r.nulls.items() if k not in named} if r else {} for r in row] for row in cells
    ]
    for name in dict.fromkeys(k for row in beside for cell in row for k in cell):
        values = [
            next((cell[name] for cell in col if name in cell), None) for col in zip(*beside, strict=True)
        ]
        table.add_row(name, *("" if v is None else f"{v:.3f}" for v in values))
    return table


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    margins = [name for name in row.margins if name not in TOLD]
    best = "*" if margins and set(margins) <= set(row.beats) else " "
    spread = "" if row.interval is None else f" ±{(row.interval[1] - row.interval[0]) / 2:.3f}"[:6]
    return f"{row.value:.3f}{spread}{best}"
