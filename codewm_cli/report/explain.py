"""An `Explanation` in, text for people or JSON out. Pure; everything from the repository is made inert."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from codewm.cli.console import inert
from codewm.cli.report import score as score_report
from codewm.model.scoring.reasons import TITLES

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from codewm.cli.report.score import Risks
    from codewm.model.scoring.explain import Explanation, Fired, PastEdit, UnitExplanation
    from codewm.model.scoring.risk import Risk

SCHEMA = "codewm.explain/1"
_ALIKE = 0.6
_TERMS = 6


def to_json(found: Explanation, risks: Risks | None = None) -> str:
    """Return schema `codewm.explain/1`: the head of codewm.score/1, the commit, and its explained units."""
    head = score_report.to_dict(found.report, risks)
    (commit,) = head.pop("commits")
    commit.pop("units")
    return json.dumps(
        {
            **head,
            "schema": SCHEMA,
            "commit": commit,
            "units_changed": len(found.commit.units),
            "verdict": found.verdict,
            "abstains": found.abstains,
            "units": [_unit_to_dict(u) for u in found.units],
            "next_step": score_report.text(found.next_step),
        },
        indent=2,
    )


def _unit_to_dict(u: UnitExplanation) -> dict[str, Any]:
    plain = score_report.unit_to_dict(u.unit)
    plain.pop("neighbours")
    plain["fired"] = [
        {
            "channel": f.channel,
            "fired": f.fired,
            "percentile": f.percentile,
            "percentile_size_matched": f.percentile_size_matched,
            "tokens": [
                {
                    "text": score_report.text(t.text),
                    "line": t.line,
                    "share": round(t.share, 4),
                    "note": t.note,
                }
                for t in f.tokens
            ],
        }
        for f in u.channels
    ]
    plain["movement"] = None if u.movement is None else dict(vars(u.movement))
    plain["nearest"] = [_past_to_dict(e) for e in u.nearest]
    plain["usual"] = [_past_to_dict(e) for e in u.usual]
    return plain


def _past_to_dict(e: PastEdit) -> dict[str, Any]:
    fate = e.fate
    return {
        "oid": e.oid,
        "subject": score_report.text(e.subject),
        "path": score_report.text(e.path),
        "unit": score_report.text(e.unit),
        "change": e.change,
        "kind": e.kind,
        "time": e.time,
        "tokens_added": e.added,
        "tokens_removed": e.removed,
        "similarity": e.similarity,
        "fate": {
            "what": fate.what,
            "by": fate.by,
            "subject": score_report.text(fate.subject),
            "days": round(fate.days, 1),
            "later_edits": fate.later,
            "sentence": fate.sentence,
        },
    }


def to_text(found: Explanation, risks: Risks | None = None) -> Group:
    """Return the page for people."""
    from rich.console import Group
    from rich.text import Text

    commit = found.commit
    name = commit.oid[:10] or "the change at hand"
    title = Text(f"{name}  {inert(commit.subject)}", style="bold")
    size = f"{len(commit.units)} unit{'s' if len(commit.units) != 1 else ''} changed"
    size += f", +{commit.lines_added} -{commit.lines_deleted} lines of Python"
    when = f"{_date(commit.author_time)}, " if commit.oid else ""
    parts: list[RenderableType] = [title, Text(f"{when}{size}", style="dim"), Text(found.verdict)]
    if found.abstains:
        parts.append(Text(found.abstains, style="yellow"))
    risk = None if risks is None else risks.get(commit.oid)
    if risk is not None:
        parts += [Text(""), *_risk(risk)]
    for rank, unit in enumerate(found.units, 1):
        parts += [Text(""), *_unit(rank, unit)]
    left = len(commit.units) - len(found.units)
    if left and found.units:
        parts += [
            Text(""),
            Text(f"{left} less surprising unit{'s' if left != 1 else ''} not shown (--units)", style="dim"),
        ]
    if found.next_step:
        parts += [Text(""), Text(f"Next: {inert(found.next_step)}", style="bold")]
    return Group(*parts)


def _risk(risk: Risk) -> list[RenderableType]:
    """How likely a later fix or revert is, and every feature that says so, by how much."""
    from rich.table import Table
    from rich.text import Text

    from codewm.model.scoring.risk import title

    table = Table.grid(padding=(0, 2, 0, 0))
    for term in risk.terms[:_TERMS]:
        table.add_row(*(Text(c) for c in (f"odds x{term.factor:.2f}", title(term.name), f"{term.value:.2f}")))
    said = (
        f"Risk: {risk.probability:.0%} of such commits are fixed or reverted within {risk.horizon:.0f} days "
        f"(usual here: {risk.usual:.0%}). What counts most, against the average commit:"
    )
    return [Text(said), _indented(table)]


def _unit(rank: int, u: UnitExplanation) -> list[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    unit = u.unit
    head = f"{rank}. {inert(unit.path)}:{unit.first_changed_line}  {inert(unit.unit)}"
    what = f"{unit.kind} {unit.change}, +{unit.tokens_added} -{unit.tokens_removed} tokens"
    if unit.percentile_size_matched is not None:
        what += (
            f"; more unusual than {int(unit.percentile_size_matched)} of 100 edits of its kind and size here"
        )
    lines: list[RenderableType] = [Text(head, style="bold"), _indented(Text(what))]
    lines += [_indented(Text(_capital(inert(reason)))) for reason in unit.reasons]
    if any(f.percentile is not None for f in u.channels):
        lines.append(_indented(_channel_table(u.channels)))
    for f in u.channels:
        if f.tokens:
            lines.append(_indented(Text(f"What {TITLES.get(f.channel, f.channel)} rests on:")))
            lines.append(Padding(_token_table(f), (0, 0, 0, 5)))
    if u.movement is not None:
        lines.append(_indented(Text(u.movement.sentence)))
    if u.nearest:
        like = "" if u.nearest[0].similarity >= _ALIKE else " (none of them very much)"
        lines.append(_indented(Text(f"Past edits most like it{like}, and what became of them:")))
        lines.append(Padding(_past_table(u.nearest), (0, 0, 0, 5)))
    if u.usual:
        lines.append(_indented(Text("What would have been usual (past edits nearest to the expectation):")))
        lines.append(Padding(_past_table(u.usual), (0, 0, 0, 5)))
    elif u.nearest:
        lines.append(_indented(Text("No past edit is near to what was expected here.")))
    return lines


def _indented(what: RenderableType) -> RenderableType:
    from rich.padding import Padding

    return Padding(what, (0, 0, 0, 3))


def _channel_table(channels: tuple[Fired, ...]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("channel", no_wrap=True)
    for title in ("of its kind and size", "of all edits"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("")
    for f in channels:
        cells = (
            TITLES.get(f.channel, f.channel.replace("_", " ")),
            _of_100(f.percentile_size_matched),
            _of_100(f.percentile),
            "unusual" if f.fired else "",
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _token_table(f: Fired) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for t in f.tokens:
        line = f"line {t.line}" if t.line else ""
        table.add_row(*(Text(c) for c in (line, inert(t.text), f"{100 * t.share:.0f}%", t.note)))
    return table


def _past_table(edits: tuple[PastEdit, ...]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(no_wrap=True)
    for width in (30, 30):
        table.add_column(max_width=width, no_wrap=True, overflow="ellipsis")
    for e in edits:
        by = f" by {e.fate.by[:8]}" if e.fate.by else ""
        cells = (
            f"{e.similarity:.2f}",
            e.oid[:8],
            _size(e),
            inert(f"{e.path.rpartition('/')[2]}::{e.unit}"),
            inert(e.subject),
            f"{e.fate.sentence}{by}",
        )
        styles = [""] * (len(cells) - 1) + ["red" if e.fate.is_bad else ""]
        table.add_row(*(Text(c, style=style) for c, style in zip(cells, styles, strict=True)))
    return table


def _size(e: PastEdit) -> str:
    """What kind of change it was: of a modified unit, how many tokens came and went."""
    if e.change != "modified":
        return {"created": "new", "deleted": "gone"}[e.change]
    return "edit" if e.added is None else f"+{e.added} -{e.removed}"


def to_notes(found: Explanation) -> list[str]:
    """Return what people are told beside the page."""
    report = found.report
    notes = [f"Model: {report.model_sentence}.", f"Calibration: {report.calibration.sentence}."]
    if any(u.nearest for u in found.units):
        notes.append(
            "The first number of a past edit is how nearly it moved the same way (1 is exactly). 'Fixed' means that "
            "a later commit titled as a fix deleted lines of it, which need not have been what was wrong."
        )
    return notes


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _of_100(value: float | None) -> str:
    return "-" if value is None else f"{int(value)} of 100"


def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
