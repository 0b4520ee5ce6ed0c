"""Similar past edits in, text for people or JSON out. Pure functions; everything from the repository is made inert."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from codewm.cli.console import inert

if TYPE_CHECKING:
    from codewm.model.scoring.similar import PastEdit, Similar

SCHEMA = "codewm.similar/1"


def to_json(found: Similar) -> str:
    """One JSON document; text is escaped to ASCII, so no terminal can be addressed by it."""
    plain = asdict(found)
    plain["model"] = plain.pop("model_sentence")
    return json.dumps({"schema": SCHEMA, **plain}, indent=2)


def to_text(found: Similar) -> str:
    """A block for each unit."""
    lines = [f"{found.oid[:8] or 'the pending change'} {inert(found.subject)}".rstrip()]
    for unit in found.units:
        name = f"{inert(unit.path)}::{inert(unit.unit)}"
        lines += ["", f"{name} ({unit.change}, {unit.tokens} tokens)"]
        if unit.undoes is not None:
            lines.append("  takes back:")
            lines.append(_line(unit.undoes))
            lines.append("  like:")
        lines += [_line(edit) for edit in unit.edits]
    if not found.units:
        lines.append("no unit of a Python file was edited")
    return "\n".join(lines)


def _line(edit: PastEdit) -> str:
    fate = f" [reverted by {edit.reverted_by[:8]}]" if edit.reverted_by else ""
    name = f"{inert(edit.path)}::{inert(edit.unit)}"
    said = f"{edit.change}, {edit.tokens} tokens"
    return f"  {edit.similarity:5.2f}  {edit.oid[:8]}  {inert(edit.subject)}{fate}\n         {name} ({said})"
