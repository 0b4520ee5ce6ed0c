"""A risk head and its test in, a page for people out; a commit's risk in, one line or a dict out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codewm.cli.report.backtest import figure
from codewm.model.scoring.risk import Risk, Term, title

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from codewm.model.scoring.risk import Head
    from codewm.model.scoring.risk_fit import Tested

TERMS_SHOWN = 2


def to_text(head: Head, tested: Tested) -> Group:
    """Return the page for people: the verdict first."""
    from rich.console import Group
    from rich.text import Text

    good = tested.rows[0].time_matched[1] > 0.5
    parts: list[RenderableType] = [
        Text(tested.verdict, style="bold green" if good else "bold yellow"),
        Text(""),
        Text(
            f"Bad means fixed or reverted within {head.horizon:.0f} days. Fitted to {tested.commits[0]:,} earlier "
            f"commits ({tested.bad[0]} bad, as known then), tested on {tested.commits[1]:,} later ones "
            f"({tested.bad[1]} bad)."
        ),
        Text(""),
        Text("Does it rank later bad commits above others? (0.5 is a coin)", style="bold"),
        _ranking(tested),
        Text(""),
        Text("Is what it says what comes? (later commits, a fifth of them in each row)", style="bold"),
        _reliability(tested),
        Text(
            f"Squared error {tested.brier:.4f}; of always saying {tested.bad[0] / tested.commits[0]:.0%}, the share of "
            f"the earlier commits, {tested.brier_usual:.4f}."
        ),
        Text(""),
        Text(
            f"What weighs most, fitted to all {head.commits:,} commits ({head.bad} bad; odds per standard deviation)",
            style="bold",
        ),
        _weights(head),
    ]
    return Group(*parts)


def _ranking(tested: Tested) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("score", no_wrap=True)
    for heading in ("same size", "same size and time", "same code, no tests", "risk minus it"):
        table.add_column(heading, justify="right", no_wrap=True)
    for i, row in enumerate(tested.rows):
        less = "" if i == 0 else f"{row.less[0]:+.2f} ({row.less[1]:+.2f} to {row.less[2]:+.2f})"
        cells = (
            row.name,
            *(figure(f) for f in (row.size_matched, row.time_matched, tested.same_code[i])),
            less,
        )
        table.add_row(*(Text(c) for c in cells))
    return table


def _reliability(tested: Tested) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for heading in ("said", "came", "commits"):
        table.add_column(heading, justify="right")
    for b in tested.reliability:
        table.add_row(f"{b.said:.1%}", f"{b.came:.1%}", str(b.commits))
    return table


def _weights(head: Head) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    order = sorted(range(len(head.names)), key=lambda i: -abs(head.weights[i]))[:8]
    for i in order:
        factor = Term(head.names[i], 0.0, head.weights[i]).factor
        table.add_row(Text(f"x{factor:.2f}"), Text(title(head.names[i])))
    return table


def in_a_line(risk: Risk) -> str:
    """How likely, how usual that is, and what raises it most."""
    raising = [t for t in risk.terms if t.factor >= 1.05][:TERMS_SHOWN]
    said = ", ".join(f"{title(t.name)} (odds x{t.factor:.1f})" for t in raising)
    often = f"risk {risk.probability:.0%}, usual {risk.usual:.0%}"
    return f"{often}: {said}" if said else often


def to_dict(risk: Risk) -> dict[str, Any]:
    """Every term: they add up to the log-odds, from those of the average commit."""
    return {
        "probability": round(risk.probability, 6),
        "usual": round(risk.usual, 6),
        "horizon_days": risk.horizon,
        "terms": [
            {"feature": t.name, "value": float(f"{t.value:.4g}"), "log_odds": float(f"{t.log_odds:.4g}")}
            for t in risk.terms
        ],
    }
