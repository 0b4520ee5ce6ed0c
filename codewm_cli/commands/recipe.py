"""`codewm train --recipe`: edits in, one of the papers' models in a run's folder out, watched beside its nulls."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codewm.cli import config, console
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from codewm.corpus.table import EditTable
    from codewm.model.checkpoint import RunFolder
    from codewm.model.papers.data import PaperData
    from codewm.model.papers.train import PaperOutcome

SCHEMA = "codewm.papers-run/1"
INTERRUPTED = 130
FILE_WINDOW = 512
FIGURES = {
    "mixed_delta_cosine": (
        "delta cosine, mixed spaces",
        ("mixed_constant", "mixed_copy", "mixed_zero_action"),
    ),
    "delta_cosine": ("delta cosine, one space", ("delta_constant",)),
    "prediction_cosine": ("cosine of prediction and truth", ("predictor_off_diagonal",)),
    "copy_cosine": ("copy cosine of the target", ("unrelated_cosine",)),
    "online_off_diagonal": ("cosine of unrelated states, online", ()),
    "online_rank_entropy": ("effective rank, online", ()),
    "target_rank_entropy": ("effective rank, target", ()),
    "predictor_rank_entropy": ("effective rank, predictor", ()),
    "displacement_rank_entropy": ("effective rank, displacements", ()),
}
"""What the last look shows: its words, and the figures it means nothing without."""
NULLS = {
    "mixed_constant": "constant target", "mixed_copy": "copy", "mixed_zero_action": "zero action",
    "delta_constant": "constant target", "predictor_off_diagonal": "of another's prediction",
    "unrelated_cosine": "unrelated states",
}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """What was asked for."""

    recipe: str
    mode: str
    tokenizer: str
    settings: Mapping[str, Any]
    resume: bool
    quiet: bool
    as_json: bool


def settings(steps: int | None, seed: int, device: str, pairs: Sequence[str]) -> dict[str, Any]:
    """The keys of a recipe that were given."""
    values: dict[str, Any] = {"seed": seed, "device": device}
    if steps is not None:
        values["steps"] = steps
    return values | config.key_values(pairs)


def train(
    wanted: Wanted, home: Path, output: Path | None, tables: Callable[[], Sequence[EditTable]], repo: Path
) -> int:
    """Train the recipe into `output`, or into a new folder of `home`/runs; returns the exit code."""
    from codewm.model.checkpoint import RunFolder
    from codewm.model.papers.config import from_json, resolve
    from codewm.model.papers.tokens import vocabulary
    from codewm.model.papers.train import train as descend

    folder = _folder(wanted, home, output)
    if wanted.resume:
        recipe = from_json(folder.config.read_text(encoding="utf-8"))
    else:
        # Whole files are read to the papers' length.
        files = {"window": FILE_WINDOW, "max_tokens": FILE_WINDOW} if wanted.tokenizer != "codewm" else {}
        values = {**files, **wanted.settings, "tokenizer": wanted.tokenizer}
        recipe = resolve(wanted.recipe, wanted.mode, vocabulary(wanted.tokenizer)[0], values)
        if folder.metrics.is_file():
            raise UserError(
                f"'{folder.path.name}' holds a run already", "name another folder, or use --resume"
            )
    data = _data(recipe, tables, repo, wanted.quiet)

    def report(event: Mapping[str, Any]) -> None:
        if event["event"] == "watch":
            console.say(
                f"[{event['elapsed']:6.0f} s] step {event['step']}: mixed delta cosine "
                f"{event['mixed_delta_cosine']:.3f} (constant target {event['mixed_constant']:.3f}), copy cosine "
                f"{event['copy_cosine']:.4f} (unrelated {event['unrelated_cosine']:.4f}), ranks online "
                f"{event['online_rank_entropy']:.1f}, target {event['target_rank_entropy']:.1f}",
                wanted.quiet,
            )

    outcome = descend(data, recipe, RunFolder(folder.path), report=report, resume=wanted.resume)
    if outcome.interrupted:
        console.say(f"stopped at step {outcome.steps}; --resume goes on with {folder.path}", wanted.quiet)
        return INTERRUPTED
    if wanted.as_json:
        console.data(json.dumps(to_json(outcome, data), indent=2))
    else:
        console.render(to_table(outcome.watched, len(data.watched)))
    console.say(f"run kept in {folder.path}", wanted.quiet)
    return 0


def _folder(wanted: Wanted, home: Path, output: Path | None) -> RunFolder:
    from codewm.model.checkpoint import RunFolder, latest_unfinished
    from codewm.model.papers.world import is_run

    if wanted.resume:
        folder = RunFolder(output) if output is not None else latest_unfinished(home / "runs")
        if not folder.state.is_file() or not is_run(folder.path):
            raise UserError(f"'{folder.path.name}' is no unfinished run of a recipe", "start a new one")
        return folder
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{wanted.recipe}-{wanted.mode}-s{wanted.settings['seed']}"
    return RunFolder(output if output is not None else home / "runs" / name)


def _data(recipe: Any, tables: Callable[[], Sequence[EditTable]], repo: Path, quiet: bool) -> PaperData:
    from codewm.model.papers.data import gather

    if recipe.network.tokenizer == "codewm":
        return gather(tables(), recipe)
    from codewm.corpus.git import Repository
    from codewm.corpus.papers import file_pairs
    from codewm.model.papers.files import of_pairs

    with Repository.open(repo) as repository:
        console.say("reading every version of every file", quiet)
        pairs = file_pairs(repository, recipe.network.window, recipe.network.tokenizer == "paper-depth-first")
    return of_pairs(pairs, recipe)


def to_table(watched: Mapping[str, float], count: int) -> Table:
    """The last look at the watched edits, each figure beside its nulls."""
    from rich.table import Table

    table = Table(
        title=f"{count} later edits of modified units, after the last step", title_justify="left", box=None,
        pad_edge=False,
    )  # fmt: skip
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("nulls")
    for name, (words, nulls) in FIGURES.items():
        beside = ", ".join(f"{NULLS[null]} {watched[null]:.4f}" for null in nulls)
        table.add_row(words, f"{watched[name]:.4f}", beside)
    return table


def to_json(outcome: PaperOutcome, data: PaperData) -> dict[str, Any]:
    """What was trained on what, and the last look."""
    return {
        "schema": SCHEMA,
        "run": str(outcome.folder.path),
        "recipe": json.loads(outcome.folder.config.read_text(encoding="utf-8")),
        "steps": outcome.steps,
        "ledger": data.ledger,
        "watched": outcome.watched,
    }
