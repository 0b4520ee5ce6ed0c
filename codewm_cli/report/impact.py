"""An impact `Report` in, text or JSON out; what an evaluation of it found in, tables out.

Pure functions; everything from the repository is made inert.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from codewm.cli.console import inert

if TYPE_CHECKING:
    from rich.table import Table

    from codewm.model.evaluation.metrics import Row
    from codewm.model.evaluation.result import Outcome
    from codewm.model.impact.report import Curve, Evidence, Observed, Report, Suggestion

SCHEMA = "codewm.impact/1"
OBSERVED_SCHEMA = "codewm.impact-observed/1"
_NULLS = ("confidence", "confidence_then_recency", "rose", "recency", "path", "same_file", "random")
_SHORT = {"confidence_then_recency": "conf., recency", "same_file": "same file"}
_BY_REPOSITORY = ("file_hit_3", "file_mrr", "unit_hit_3", "file_recall_5", "file_called_missing")


def to_json(report: Report) -> str:
    """Return one document of schema `codewm.impact/1`; fields are only ever added within a version."""
    return _dump({"schema": SCHEMA, **asdict(report)})


def observed_to_json(observed: Observed) -> str:
    """Return one document of schema `codewm.impact-observed/1`."""
    return _dump({"schema": OBSERVED_SCHEMA, **asdict(observed)})


def to_text(report: Report) -> str:
    """Return what people read; no line is a promise that nothing is missing."""
    lines = [_title(report)]
    if report.state != "answered":
        lines.append(f"  {inert(report.sentence)}")
    usual = [s for s in report.files if s.missing]
    lines += _section("usually changes together, but is missing here:", usual)
    lines += _section("may need a look, too:", [s for s in report.files if not s.missing])
    lines += _section("units to look at:", report.near)
    lines += _section("usually changes together, not Python:", report.others)
    if report.curve is not None:
        lines += _section("tests most likely affected, in this order:", report.tests)
        lines += ["", *_curve(report.curve)]
    return "\n".join(lines)


def to_notes(report: Report) -> list[str]:
    """Return what people are told beside the answer."""
    if report.state in {"no Python", "sweep"}:
        return []
    notes = []
    if any(s.chance for s in report.files):
        notes.append("A percentage is the chance that the file is among what is missing, if anything is.")
    read = "the harvested chains" if report.source == "chains" else "history read on the fly"
    hint = "" if report.source == "chains" else "; 'codewm harvest' makes all of its names known"
    return [*notes, f"Compared with {report.commits} earlier commits ({read}){hint}."]


def observed_to_text(observed: Observed) -> str:
    """Return what a replay of history found."""
    n, said = observed.questions, observed.answered
    lines = [
        f"the latest {observed.commits} commits, each by what was known before it:",
        f"  one changed file shown, the others to be found: {n} questions, {said} answered, {n - said} times unsure",
    ]
    if said:
        hits = ", ".join(f"{share:.0%} within the first {k}" for k, share in observed.hits)
        lines.append(f"  of the answers, a right file was {hits}")
    if observed.finished:
        share = observed.needless / observed.finished
        lines.append(
            f"  of {observed.finished} finished commits, {observed.needless} ({share:.0%}) would have been told that "
            "a file is missing"
        )
    lines += ["", *_curve(observed.curve)]
    if observed.missed:
        lines += ["", f"commits of which the first {observed.selection} test files would have missed some:"]
        for one in observed.missed[:10]:
            paths = ", ".join(inert(p) for p in one.missed[:3])
            more = f" and {len(one.missed) - 3} more" if len(one.missed) > 3 else ""
            lines.append(f"  {one.oid[:8]}  {paths}{more}")
        if len(observed.missed) > 10:
            lines.append(f"  and {len(observed.missed) - 10} more commits")
    return "\n".join(lines)


def _curve(curve: Curve) -> list[str]:
    if not curve.commits:
        return ["no past commit changed code and tests: how many tests to run cannot be told"]
    points = ", ".join(f"{k}: {recall:.0%}" for k, recall in curve.recall if k <= max(curve.every, 1))
    return [
        f"test files run and share found of those that changed with the code, over {curve.commits} past commits:",
        f"  {points}  (there are {curve.every:.0f} on average; changed with the code is not failed by it)",
    ]


def _title(report: Report) -> str:
    what = {"staged": "what is staged", "worktree": "what is changed"}.get(report.target)
    if what is None:
        what = f"{report.oid[:8]} {inert(report.subject)}"
    files = f"{len(report.changed)} Python file{'' if len(report.changed) == 1 else 's'}"
    return f"{what}: {files}, {report.units} unit{'' if report.units == 1 else 's'}"


def _section(title: str, suggestions: list[Suggestion] | tuple[Suggestion, ...]) -> list[str]:
    if not suggestions:
        return []
    names = [inert(s.path if not s.unit else f"{s.path}::{s.unit}") for s in suggestions]
    width = min(max(map(len, names)), 60)
    lines = ["", title]
    for suggestion, name in zip(suggestions, names, strict=True):
        chance = f"{suggestion.chance:4.0%}  " if 0 < suggestion.chance < 1 else "  "
        why = "; ".join(_reason(e, bool(suggestion.unit)) for e in suggestion.evidence)
        lines.append(f"  {chance}{name.ljust(width)}  {why}".rstrip())
    return lines


def _reason(e: Evidence, unit: bool) -> str:
    names = ", ".join(inert(n) for n in e.names)
    commits = ", ".join(c[:8] for c in e.commits)
    if e.kind == "together":
        if unit:
            return f"{e.together} of its {e.changes} changes were with units of this change ({commits})"
        return f"{e.together} of the last {e.changes} changes of {inert(e.of)} also changed it ({commits})"
    return {
        "uses": f"uses {names}, changed here",
        "defines": f"defines {names}, used here anew",
        "imports": f"imports {names}",
        "named": "is named alike",
        "alike": f"changed with the same names before ({commits})",
        "words": "speaks of the same things",
        "active": "by how often it is changed alone",
        "changed": "is part of the change",
    }[e.kind]


def _dump(document: dict[str, Any]) -> str:
    return json.dumps(_plain(document), indent=2)


def _plain(value: Any) -> Any:
    """Text as it is, but for bytes that are no UTF-8: a lone surrogate is not valid in JSON text."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value


def tables(outcome: Outcome) -> list[Table]:
    """Tables of `codewm eval impact`: pooled by kind of question, then by repository."""
    pooled = [r for r in outcome.rows if not r.data]
    found = []
    for subset in dict.fromkeys(r.subset for r in pooled):
        found.append(_figures([r for r in pooled if r.subset == subset], subset))
    found.append(_repositories([r for r in outcome.rows if r.data and r.metric in _BY_REPOSITORY]))
    return [t for t in found if t.row_count]


def _figures(rows: list[Row], title: str) -> Table:
    nulls = [n for n in _NULLS if any(n in r.nulls for r in rows)]
    table = _table(title, ["", "n", "impact", "95%", *(_SHORT.get(n, n) for n in nulls)])
    for r in rows:
        cells = [f"{r.nulls[n]:.3f}{'<' if n in r.beats else ''}" if n in r.nulls else "" for n in nulls]
        table.add_row(r.metric.replace("_", " "), str(r.n), f"{r.value:.3f}", _interval(r), *cells)
    return table


def _repositories(rows: list[Row]) -> Table:
    nulls = ("confidence", "confidence_then_recency")
    table = _table(
        "by repository", ["repository", "", "n", "impact", "95%", *(_SHORT.get(n, n) for n in nulls)]
    )
    for r in rows:
        cells = [f"{r.nulls[n]:.3f}" if n in r.nulls else "" for n in nulls]
        what = f"{r.metric.replace('_', ' ')}, {r.subset.partition(':')[0]}"
        table.add_row(inert(r.data), what, str(r.n), f"{r.value:.3f}", _interval(r), *cells)
    return table


def _interval(row: Row) -> str:
    return "" if row.interval is None else f"{row.interval[0]:.3f} to {row.interval[1]:.3f}"


def _table(title: str, columns: list[str]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=i == 0)
    return table
