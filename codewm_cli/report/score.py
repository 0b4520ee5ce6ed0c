"""A `Report` in, a table, JSON or JSON lines out. Pure functions; everything from the repository is made
inert.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codewm.cli.console import inert
from codewm.model.scoring.report import FIXED_AT_SIZE, REVERTED_AT_SIZE

if TYPE_CHECKING:
    from rich.table import Table

    from codewm.model.scoring.report import CommitScore, Report, UnitScore
    from codewm.model.scoring.risk import Risk

    Risks = Mapping[str, Risk]

SCHEMA = "codewm.score/1"
# Below this size-matched percentile the table gives no reason: something is always the most unusual.
_NOTABLE = 90.0
_RISKY = 1.5


def to_dict(report: Report, risks: Risks | None = None) -> dict[str, Any]:
    """Return the report as schema `codewm.score/1`; fields are only ever added within a version."""
    return {**_head(report), "commits": [_with_risk(c, risks) for c in report.commits]}


def to_json(report: Report, risks: Risks | None = None) -> str:
    """Return one JSON document; text is escaped to ASCII, so no terminal can be addressed by it."""
    return json.dumps(to_dict(report, risks), indent=2)


def to_jsonl(report: Report, risks: Risks | None = None) -> list[str]:
    """Return one line per commit, each with the schema, repository and model it belongs to."""
    head = _head(report)
    return [json.dumps({**head, **_with_risk(c, risks)}) for c in report.commits]


def _with_risk(commit: CommitScore, risks: Risks | None) -> dict[str, Any]:
    """`risk` is there if it was asked for, and null for a commit that has none."""
    if risks is None:
        return commit_to_dict(commit)
    from codewm.cli.report.risk import to_dict as risk_to_dict

    risk = risks.get(commit.oid)
    return {**commit_to_dict(commit), "risk": None if risk is None else risk_to_dict(risk)}


def _head(report: Report) -> dict[str, Any]:
    calibration = report.calibration
    return {
        "schema": SCHEMA,
        "repo": report.repository,
        "model": {
            "source": report.model_source,
            "digest": report.model_digest,
            "tokenizer_id": report.tokenizer_id,
            "action_id": report.action_id,
        },
        "calibration": {
            "commits": calibration.commits,
            "edits": calibration.edits,
            "reference_edits": calibration.reference_edits,
        },
        "alert_budget": list(report.alert_budget),
    }


def commit_to_dict(commit: CommitScore) -> dict[str, Any]:
    """Return one commit of the schema."""
    return {
        "oid": commit.oid,
        "subject": _text(commit.subject),
        "author_time": commit.author_time,
        "merge": commit.merge,
        "state": commit.state,
        "score": commit.score,
        "percentile": commit.percentile,
        "percentile_size_matched": commit.percentile_size_matched,
        "p_value": commit.p_value,
        "alert": commit.alert,
        "lines_added": commit.lines_added,
        "lines_deleted": commit.lines_deleted,
        "reasons": [_text(r) for r in commit.reasons],
        "units": [unit_to_dict(u) for u in commit.units],
    }


def unit_to_dict(unit: UnitScore) -> dict[str, Any]:
    """Return one unit of the schema."""
    return {
        "path": _text(unit.path),
        "unit": _text(unit.unit),
        "kind": unit.kind,
        "change": unit.change,
        "test": unit.test,
        "lines": list(unit.lines),
        "first_changed_line": unit.first_changed_line,
        "tokens_added": unit.tokens_added,
        "tokens_removed": unit.tokens_removed,
        "action": dict(unit.action),
        "surprise": unit.surprise,
        "percentile": unit.percentile,
        "percentile_size_matched": unit.percentile_size_matched,
        "displacement": unit.displacement,
        "predicted_displacement": unit.predicted_displacement,
        "channels": {name: dict(vars(channel)) for name, channel in unit.channels.items()},
        "reasons": [_text(r) for r in unit.reasons],
        "neighbours": [
            {
                "oid": n.oid,
                "path": _text(n.path),
                "unit": _text(n.unit),
                "similarity": n.similarity,
                "subject": _text(n.subject),
            }
            for n in unit.neighbours
        ],
    }


def _text(s: str) -> str:
    """Keep text as it is, but for bytes that are no UTF-8: a lone surrogate is not valid in JSON text."""
    return s.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


text = _text  # for the other reports


def to_table(report: Report, risks: Risks | None = None) -> Table:
    """Return the table for people, newest commit first; the risk beside the surprise if it was asked for."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("commit", no_wrap=True)
    table.add_column("subject", max_width=28, no_wrap=True, overflow="ellipsis")
    for title in ("score", "pct", "at size", *(["risk"] if risks is not None else []), "lines"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("what drove it", overflow="fold", ratio=1)
    for commit in report.commits:
        style = "bold red" if commit.alert else "dim" if commit.state != "scored" else ""
        cells = (
            _name(commit),
            inert(commit.subject),
            _decimal(commit.score),
            _whole(commit.percentile),
            _whole(commit.percentile_size_matched),
            *([] if risks is None else [_percent(risks.get(commit.oid))]),
            f"+{commit.lines_added} -{commit.lines_deleted}",
            _why(commit) + _why_risk(commit, risks),
        )
        table.add_row(*(Text(cell, style=style) for cell in cells))
    return table


def _name(commit: CommitScore) -> str:
    mark = "!" if commit.alert else "M" if commit.merge else " "
    return f"{mark} {commit.oid[:8] or 'pending'}"


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _whole(value: float | None) -> str:
    # 99.6 is not the hundredth percentile.
    return "-" if value is None else str(int(value))


def _why(commit: CommitScore) -> str:
    """Name the unit that drove the score, and say why where that is unusual; the JSON has everything."""
    if commit.state != "scored":
        return {
            "no Python": "no Python file changed",
            "no code": "comments or formatting only",
            "no parent": "parent missing (shallow clone)",
        }[commit.state]
    first = commit.units[0]
    more = f" and {len(commit.units) - 1} more" if len(commit.units) > 1 else ""
    unit = inert(f"{first.path.rpartition('/')[2]}::{first.unit}") + more
    notable = commit.alert or (commit.percentile_size_matched or 0.0) >= _NOTABLE
    return f"{unit}: {inert(first.reasons[0])}" if notable and first.reasons else unit


def _percent(risk: Risk | None) -> str:
    return "-" if risk is None else f"{risk.probability:.0%}"


def _why_risk(commit: CommitScore, risks: Risks | None) -> str:
    """What makes a risk much higher than usual; nothing where it is not."""
    risk = None if risks is None else risks.get(commit.oid)
    if risk is None or risk.probability < _RISKY * risk.usual:
        return ""
    from codewm.cli.report.risk import in_a_line

    return f"\n{in_a_line(risk)}"


def to_notes(report: Report) -> list[str]:
    """Return what people are told beside the table: model, calibration, action, alerts."""
    allowed, per = report.alert_budget
    alerts = sum(c.alert for c in report.commits)
    found = f"{alerts} alert{'' if alerts == 1 else 's'} (marked !)" if alerts else "no alerts"
    return [
        f"Model: {report.model_sentence}.",
        f"Calibration: {report.calibration.sentence}.",
        f"Told about each edit ({report.action_id}): {', '.join(report.action_names)}.",
        f"{found[0].upper()}{found[1:]} at a budget of {allowed} in {per} ordinary commits; "
        f"a score says 'unusual here', never 'wrong': it cannot tell which will be fixed ({FIXED_AT_SIZE}) "
        f"or reverted ({REVERTED_AT_SIZE}).",
    ]
