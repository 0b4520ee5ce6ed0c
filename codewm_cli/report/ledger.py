"""Sums of a harvest in, a table for people or a dictionary for machines out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from codewm.corpus.ledger import Sums


def to_dict(sums: dict[str, Sums]) -> dict[str, Any]:
    """Return the sums by kind of commit, causes by their key."""
    from codewm.corpus.store import sums_as_dict

    return sums_as_dict(sums)


def to_table(sums: dict[str, Sums]) -> Table:
    """Draw every file change once: with edits, or skipped by cause; the last two rows must be equal."""
    from rich.table import Table

    table = Table(title="Python file changes", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for kind in sums:
        table.add_column(f"{kind} commits", justify="right")

    def row(text: str, numbers: list[int], style: str = "") -> None:
        table.add_row(text, *(f"{n:,}" for n in numbers), style=style)

    row("commits", [s.commits for s in sums.values()], "dim")
    row("with edits", [s.with_edits for s in sums.values()])
    for cause in sorted({cause for s in sums.values() for cause in s.skipped}):
        row(f"skipped: {cause.text}", [s.skipped.get(cause, 0) for s in sums.values()])
    table.add_section()
    row("sum of the above", [s.with_edits + sum(s.skipped.values()) for s in sums.values()])
    row("file changes in the history", [s.file_changes for s in sums.values()])
    return table
