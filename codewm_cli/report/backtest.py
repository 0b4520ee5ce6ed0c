"""A `Backtest` in, a page for people or JSON out. Pure; everything from the repository is made inert."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

from codewm.cli.console import inert
from codewm.cli.report.score import text
from codewm.model.scoring.reasons import TITLES
from codewm.model.scoring.report import FIXED_AT_SIZE

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from codewm.model.scoring.backtest import Backtest, Looked

SCHEMA = "codewm.backtest/1"
ALERTS_SHOWN = 20
MISSES_SHOWN = 8


def to_json(found: Backtest) -> str:
    """Return schema `codewm.backtest/1`, with every alert and every miss."""
    plain = {
        "schema": SCHEMA,
        "verdict": found.verdict,
        "gate": found.gate,
        "first": found.first,
        "last": found.last,
        "weeks": round(found.weeks, 1),
        "commits": found.walked,
        "judged": found.judged,
        "counted": found.counted,
        "bad": found.bad,
        "reverted": found.reverted,
        "horizon_days": found.horizon,
        "alert_budget": list(found.budget),
        "alerts_per_week": len(found.alerts) / found.weeks,
        "busiest_week": found.busiest_week,
        "hits": len(found.hits),
        "alerts_old_enough": found.told,
        "expected_hits": found.expected_hits,
        "alerts": [_looked(a) for a in found.alerts],
        "misses": [_looked(m) for m in found.misses],
        "rows": [
            {
                "score": row.name,
                **{
                    name: {"value": _number(value), "interval": [_number(low), _number(high)]}
                    for name, (value, low, high) in (
                        ("auroc", row.auroc),
                        ("auroc_size_matched", row.size_matched),
                        ("auroc_size_and_time_matched", row.time_matched),
                    )
                },
            }
            for row in found.rows
        ],
    }
    return json.dumps(plain, indent=2)


def _looked(x: Looked) -> dict[str, Any]:
    return {
        "oid": x.oid,
        "subject": text(x.subject),
        "time": x.time,
        "lines_added": x.lines_added,
        "p_value": _number(x.p_value),
        "bad": x.bad,
        "old_enough": x.old_enough,
        "fate": {"what": x.fate.what, "by": x.fate.by, "days": round(x.fate.days, 1)},
    }


def to_text(found: Backtest) -> Group:
    """Return the page for people: the verdict first."""
    from rich.console import Group
    from rich.text import Text

    per_week = len(found.alerts) / found.weeks
    often = (
        f"{per_week:.1f} a week"
        if per_week >= 1
        else f"one in {1 / per_week:.0f} weeks"
        if per_week
        else "none"
    )
    share = 100 * len(found.alerts) / found.judged if found.judged else 0.0
    parts: list[RenderableType] = [
        Text(found.verdict, style="bold green" if found.gate else "bold yellow"),
        Text(
            "Elsewhere surprise is no evidence of a bug: on nine repositories it told commits that were later fixed "
            f"from others of their size like a coin ({FIXED_AT_SIZE})."
        ),
        Text(""),
        Text(
            f"Replayed {_date(found.first)} to {_date(found.last)}: {found.walked:,} commits, of which "
            f"{found.judged:,} change code and have enough past to compare with."
        ),
        Text(
            f"Bad means reverted, or fixed within {found.horizon:.0f} days: {found.bad:,} of the {found.counted:,} "
            f"commits that are old enough to tell ({found.reverted} reverted)."
        ),
        Text(
            f"Alerts: {len(found.alerts)} ({often}; {share:.1f} in 100 commits, the budget is "
            f"{found.budget[0]} in {found.budget[1]}), at most {found.busiest_week} in one week."
        ),
        Text(
            f"Hits: {len(found.hits)} of the {found.told} alerts that are old enough to tell; of {found.told} other "
            f"commits of the same sizes, {found.expected_hits:.1f} would be bad."
        ),
        Text(f"Missed: {len(found.misses)} bad commits had no alert."),
    ]
    if found.alerts:
        parts += [
            Text(""),
            Text("Alerts, newest first", style="bold"),
            _commits(found.alerts[:ALERTS_SHOWN], True),
        ]
        parts += _more(len(found.alerts) - ALERTS_SHOWN)
    if found.misses:
        parts += [
            Text(""),
            Text("Missed, largest first", style="bold"),
            _commits(found.misses[:MISSES_SHOWN], False),
        ]
        parts += _more(len(found.misses) - MISSES_SHOWN)
    if found.rows:
        parts += [Text(""), Text("Does a score rank bad commits above others? (0.5 is a coin)", style="bold")]
        parts.append(_ranking(found))
    parts += [Text(""), Text(f"Next: {_next(found)}", style="bold")]
    return Group(*parts)


def _next(found: Backtest) -> str:
    if found.gate:
        return (
            "'codewm hook install' warns before a commit; 'codewm score --alert-budget "
            f"{found.budget[0]}/{found.budget[1]}' does so in CI."
        )
    if not found.rows:
        return "use 'codewm score' and 'codewm explain' as a reading aid, without --fail-above or --alert-budget."
    return (
        "read alerts as hints ('codewm explain REV' says why), and set no --fail-above; "
        "'codewm train' then 'codewm backtest' tells whether a model of this repository does better."
    )


def _more(left: int) -> list[RenderableType]:
    from rich.text import Text

    return [Text(f"and {left} more (--json has all)", style="dim")] if left > 0 else []


def _commits(commits: tuple[Looked, ...], hits: bool) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(max_width=44, no_wrap=True, overflow="ellipsis")
    table.add_column(overflow="fold")
    for x in commits:
        by = f" by {x.fate.by[:8]}" if x.fate.by else ""
        fate = f"{x.fate.sentence}{by}"
        if not x.old_enough and not x.fate.is_bad:
            fate = "too young to tell"
        elif x.fate.is_bad and not x.bad:
            fate += " (too late to count)"
        mark = "hit" if x.bad and x.old_enough and hits else ""
        cells = (mark, _date(x.time), x.oid[:8], inert(x.subject), f"+{x.lines_added}; {fate}")
        table.add_row(*(Text(c, style="red" if x.bad and i == 4 else "") for i, c in enumerate(cells)))
    return table


def _ranking(found: Backtest) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("score", no_wrap=True)
    for title in ("same size", "same size and time", "any size"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in found.rows:
        cells = (_title(row.name), *(figure(f) for f in (row.size_matched, row.time_matched, row.auroc)))
        table.add_row(*(Text(c) for c in cells))
    return table


def _title(name: str) -> str:
    channel = name.removeprefix("only ")
    return f"only {TITLES.get(channel, channel.replace('_', ' '))}" if channel != name else name


def figure(f: tuple[float, float, float]) -> str:
    """A value and its interval."""
    return "-" if math.isnan(f[0]) else f"{f[0]:.2f} ({f[1]:.2f} to {f[2]:.2f})"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.4g}")


def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
