"""Sums of a harvest in, a table for people or a dictionary for machines out.

The table is plain text: a harvest of one new commit is over before rich would have been imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codewm.corpus.ledger import Cause

if TYPE_CHECKING:
    from codewm.corpus.ledger import Sums


def to_dict(sums: dict[str, Sums]) -> dict[str, Any]:
    """Return the sums by kind of commit, causes by their key."""
    from codewm.corpus.store import sums_as_dict

    return sums_as_dict(sums)


def to_text(file_changes: Mapping[str, Any]) -> str:
    """Draw every file change of `to_dict` once: with edits, or skipped by cause; the last two rows must be equal."""
    kinds = list(file_changes.values())

    def row(text: str, numbers: list[int]) -> list[str]:
        return [text, *(f"{n:,}" for n in numbers)]

    rows = [["", *(f"{kind} commits" for kind in file_changes)]]
    rows.append(row("commits", [k["commits"] for k in kinds]))
    rows.append(row("with edits", [k["with_edits"] for k in kinds]))
    for cause in Cause:
        if any(cause.key in k["skipped"] for k in kinds):
            rows.append(row(f"skipped: {cause.text}", [k["skipped"].get(cause.key, 0) for k in kinds]))
    rows.append(row("sum of the above", [k["with_edits"] + sum(k["skipped"].values()) for k in kinds]))
    rows.append(row("file changes in the history", [k["file_changes"] for k in kinds]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["Python file changes"]
    for first, *numbers in rows:
        cells = (n.rjust(w) for n, w in zip(numbers, widths[1:], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    lines.insert(len(lines) - 2, "-" * len(lines[-1]))
    return "\n".join(lines)
