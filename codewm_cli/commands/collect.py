"""`codewm collect`: local clones of the pinned repositories in, one divided corpus and what is in it out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codewm.cli import config, console
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from codewm.corpus.pins import Pin

SCHEMA = "codewm.collect/1"


def run(
    clones: Annotated[
        Path,
        typer.Argument(metavar="CLONES", help="The folder with the clones, as OWNER/NAME or OWNER+NAME."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The corpus; its stores go beside it.")],
    pins: Annotated[
        Path | None,
        typer.Option("--list", metavar="FILE", help="Another list of repositories than codewm's own."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Threads; 0 is one per core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr.")] = False,
) -> int:
    """Build the training corpus from local clones of the pinned repositories.

    Harvests each at its pinned commit, wherever the clone has got to, and merges them. What repeats another edit is
    left out, and what is for training and for testing is settled, once and for all, in the corpus itself. Run
    again, it goes on where it was stopped.
    """
    from codewm.corpus.collect import build, find_clones, summarise
    from codewm.corpus.pins import LIST, read_pins

    listed = read_pins(pins or LIST)
    found, wrong = find_clones(listed, clones)
    for name, trouble in wrong.items():
        console.say(f"{name}: {trouble}")
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(listed)} repositories cannot be harvested",
            f"clone what is missing into '{clones}', whole, and fetch the commits",
        )
    stores = out.with_suffix(".stores")
    _harvest(listed, found, stores, jobs, quiet)
    began = time.monotonic()
    corpus, written = build(listed, stores, out)
    how = f"merged and divided ({time.monotonic() - began:.0f} s)" if written else "nothing new"
    rows = summarise(corpus.table, listed)
    if as_json:
        console.data(json.dumps({"schema": SCHEMA, "corpus": str(out), "repositories": rows}, indent=2))
    else:
        console.render(_table(rows))
    console.say(f"{out}: {how}", quiet)
    return 0


def _harvest(pins: Sequence[Pin], clones: dict[str, Path], stores: Path, jobs: int, quiet: bool) -> None:
    """Bring the store of each repository to its pinned commit; raise once all were tried, if one failed."""
    from codewm.corpus.collect import harvest_pin
    from codewm.corpus.harvest import Options

    chosen = config.Settings().harvest
    options = Options(window=chosen.window, action=chosen.action, merges=chosen.merges, jobs=jobs)
    failed = 0
    for number, pin in enumerate(pins, 1):
        began = time.monotonic()
        try:
            done = harvest_pin(pin, clones[pin.name], stores, options)
        except UserError as e:
            console.error(f"{pin.name}: {e.message}", e.hint)
            failed += 1
            continue
        console.say(
            f"[{number}/{len(pins)}] {pin.name}: {done.how}, {done.header.commits:,} commits, "
            f"{done.header.edits:,} edits ({time.monotonic() - began:.1f} s)",
            quiet,
        )
    if failed:
        raise UserError(f"{failed} of {len(pins)} repositories could not be harvested", "see above")


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    """One line for each repository, and one for each role."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("repository")
    for name in ("commit", "commits", "edits", "unchanged", "repeated", "elsewhere", "spare", "used",
                 "later", "tests"):  # fmt: skip
        table.add_column(name, justify="right")
    for role in dict.fromkeys(row["role"] for row in rows):
        mine = [row for row in rows if row["role"] == role]
        for row in mine:
            table.add_row(console.inert(row["name"]), row["commit"][:8], *_cells([row]))
        table.add_row(f"{role}: {len(mine)}", "", *_cells(mine), style="bold")
    return table


def _cells(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Counts over some repositories: those that training or calibration may use, and those to test on."""

    def left_out(*reasons: str) -> int:
        return sum(row["left_out"][reason] for row in rows for reason in reasons)

    used = sum(row["train"] + row["past"] for row in rows)
    tests = sum(row["test_share"] * row["train"] for row in rows)
    train = sum(row["train"] for row in rows)
    counts = (
        sum(row["commits"] for row in rows),
        sum(row["edits"] for row in rows),
        left_out("unchanged", "foreign"),
        left_out("repeated"),
        left_out("copied", "similar", "held_out_copy", "held_out_similar", "held_out_state"),
        left_out("spare"),
        used,
        sum(row["late"] + row["unseen"] for row in rows),
    )
    return [*(f"{count:,}" for count in counts), f"{tests / train:.0%}" if train else "-"]
