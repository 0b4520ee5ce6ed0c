"""What any suite found in, the tables that its rows are read in out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codewm.cli.report import anomaly, encoders, evaluation, impact, subsets

if TYPE_CHECKING:
    from rich.table import Table

    from codewm.model.evaluation.result import Outcome

TABLES = {
    "readout": evaluation.to_tables,
    "seeds": evaluation.to_tables,
    "ablation": evaluation.to_tables,
    "collapse": evaluation.to_tables,
    "impact": impact.tables,
    "anomaly": anomaly.to_tables,
    "retrieval": encoders.to_tables,
    "probe": encoders.to_tables,
}
"""Suites with tables of their own; the rows of the others are grouped by what they are of."""


def to_tables(outcome: Outcome) -> list[Table]:
    """Every table of an outcome, without those that would be empty."""
    tables = TABLES.get(outcome.suite, subsets.by_subset)(outcome)
    return [table for table in tables if table.row_count]
