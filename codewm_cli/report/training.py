"""Training events in, a live display on stderr out; held-out rows in, a table out.

Off a terminal the display is one plain line per look at the validation edits.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from codewm.cli import console

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.table import Table

    from codewm.model.evaluation.metrics import Row

NULLS = ("copy", "constant_mean", "zero_action", "shuffled_action", "linear_map", "true")
LOOKS_SHOWN = 8
STAGES = {1: "teacher", 2: "space", 3: "dynamics"}


def to_table(rows: Sequence[Row]) -> Table:
    """The held-out figures beside their nulls; a null that the model clearly beats is marked with <."""
    from rich.table import Table

    table = Table(
        title="held-out edits (latest by commit time)", title_justify="left", box=None, pad_edge=False
    )
    table.add_column("metric")
    table.add_column("edits")
    table.add_column("value [95% interval]", justify="right")
    for name in NULLS:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        value = f"{row.value:.3f}"
        if row.interval is not None:
            value += f" [{row.interval[0]:.3f}, {row.interval[1]:.3f}]"
        cells = [_null(row, name) for name in NULLS]
        table.add_row(row.metric.replace("_", " "), f"{row.subset} {row.n:,}", value, *cells)
    table.caption = "< the model is better: the 95% interval of the difference, over commits, excludes 0"
    table.caption_justify = "left"
    return table


def _null(row: Row, name: str) -> str:
    if name not in row.nulls:
        return ""
    return f"{row.nulls[name]:.3f}" + (" <" if name in row.beats else "")


def line(event: Mapping[str, Any]) -> str:
    """One event as one plain line; '' for those not worth a line."""
    kind = event["event"]
    at = f"[{event['elapsed']:6.0f} s]"
    if kind == "start":
        ledger = event["ledger"]
        return (
            f"{at} {ledger['training']:,} training edits, {ledger['validation']:,} to watch, "
            f"{ledger['held out and evaluated']:,} held out; start: {event['start']}"
        )
    if kind == "teacher":
        return f"{at} {STAGES[1]} {event['progress']:4.0%}: masked-token loss {event['held_out_masked_loss']:.3f} nats"
    if kind == "target":
        return (
            f"{at} target space chosen: of the displacement in its first direction {event['foreseen_first']:.0%} is "
            f"foreseen, in its last {event['foreseen_last']:.0%}"
        )
    if kind == "cache":
        return f"{at} cached {event['count']:,} {event['what']}"
    if kind == "validation":
        return (
            f"{at} {STAGES[event['stage']]} {event['progress']:4.0%}: R2 {event['displacement_r2']:.3f}, "
            f"of modified units {event.get('displacement_r2_modified', float('nan')):.3f}, "
            f"nearer than copy {event['nearer_than_copy']:.1%}, "
            f"delta cosine {event['delta_cosine']:.3f} (nulls: {_nulls(event)}), "
            f"rank {event['predictor_rank_squared']:.1f} of {event['true_rank_squared']:.1f}"
            + (" (best so far)" if event["best"] else "")
        )
    return ""


def _nulls(event: Mapping[str, Any]) -> str:
    """The delta cosine of what the prediction must beat, on the same edits."""
    names = ("constant_mean", "zero_action", "shuffled_action")
    shown = (f"{name.split('_')[0]} {event[f'delta_cosine_{name}']:.3f}" for name in names)
    return ", ".join(shown)


class Display:
    """Call it with every event; a context manager that owns the terminal while training runs."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.live: Live | None = None
        self.step: dict[str, Any] = {}
        self.looks: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def __enter__(self) -> Display:
        if not self.quiet and sys.stderr.isatty():
            from rich.live import Live

            self.live = Live(console=console.err(), refresh_per_second=4, transient=True)
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take in one event of the training loop."""
        text = "" if self.quiet else line(event)
        if self.live is None:
            if text:
                console.say(text)
            return
        if event["event"] == "step":
            self.step = dict(event)
        elif event["event"] == "validation":
            self.looks.append(dict(event))
        elif text:
            self.notes.append(text)
        self.live.update(self.renderable())

    def renderable(self) -> RenderableType:
        """What the terminal shows now: what was done, the losses, and the last looks at the validation edits."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        parts: list[RenderableType] = [Text(note) for note in self.notes[-6:]]
        if self.step:
            stage = STAGES[self.step["stage"]]
            losses = {
                k: v
                for k, v in self.step.items()
                if k in ("masked_loss", "displacement_error", "info_nce", "picked")
            }
            text = ", ".join(f"{k.replace('_', ' ')} {v:.3f}" for k, v in losses.items())
            parts.append(Text(f"{stage}: step {self.step['step']:,}, epoch {self.step['epoch'] + 1}, {text}"))
            parts.append(ProgressBar(total=1.0, completed=self.step["progress"], width=60))
        if self.looks:
            table = Table(box=None, pad_edge=False)
            for name in (
                "step",
                "R2",
                "R2 modified",
                "nearer than copy",
                "delta cosine",
                "its nulls",
                "rank",
                "true rank",
                "",
            ):
                table.add_column(name, justify="right")
            for look in self.looks[-LOOKS_SHOWN:]:
                table.add_row(
                    f"{look['step']:,}",
                    f"{look['displacement_r2']:.3f}",
                    f"{look.get('displacement_r2_modified', float('nan')):.3f}",
                    f"{look['nearer_than_copy']:.1%}",
                    f"{look['delta_cosine']:.3f}",
                    _nulls(look),
                    f"{look['predictor_rank_squared']:.1f}",
                    f"{look['true_rank_squared']:.1f}",
                    "best" if look["best"] else "",
                )
            parts.append(table)
        return Group(*parts)
