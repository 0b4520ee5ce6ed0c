"""`codewm train`: a repository's chains (or several) in, a local world model and its held-out table out."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codewm.cli import config, console
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from codewm.corpus.git import Repository
    from codewm.corpus.store import Header, Store
    from codewm.corpus.table import EditTable
    from codewm.model.config import TrainConfig
    from codewm.model.evaluation.metrics import Row
    from codewm.model.train import Outcome

SCHEMA = "codewm.eval/1"
INTERRUPTED = 130
MODEL_FILE = "model.safetensors"
OURS = "codewm"
TEXT = "text"


def run(
    repo: Annotated[Path, typer.Argument(metavar="[REPO]", help="A folder inside the repository.")] = Path(),
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Wall clock for everything. Default: 10.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Optimiser steps instead of minutes; exactly repeatable.")
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="auto|base|scratch|PATH",
            help="Fine-tune the shipped base model or a model file, or start from nothing.",
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of weights and order; never of the split.")] = 0,
    device: Annotated[str, typer.Option("--device", help="A torch device.")] = "cpu",
    corpus: Annotated[
        list[Path] | None,
        typer.Option("--corpus", help="chains.h5 files or folders of them, instead of this repository."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Model file. Default: in the repository's Git folder."),
    ] = None,
    f32: Annotated[bool, typer.Option("--f32", help="Also write the model unquantised, beside it.")] = False,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other training setting; see model/config.py."),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe", metavar="codewm|encoder-collapse|readout-repair", help="Ours, or a paper's."
        ),
    ] = OURS,
    mode: Annotated[
        str,
        typer.Option(
            "--mode", metavar="published|text", help="Of a paper's recipe: as its code did, or as it says."
        ),
    ] = TEXT,
    tokenizer: Annotated[
        str,
        typer.Option(
            "--tokenizer",
            metavar="codewm|paper|paper-depth-first",
            help="Of a paper's recipe: units in our tokens, or whole files in the papers' 662.",
        ),
    ] = OURS,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest interrupted run, on its own settings.")
    ] = False,
    risk: Annotated[
        bool,
        typer.Option(
            "--risk", help="Fit the risk head instead: fixes and reverts from surprise and history."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the held-out table as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr.")] = False,
) -> int:
    """Fit the world model to this repository, on its own history.

    The latest fifth of the edits is held out, and the figures on it are printed beside their nulls. Ctrl-C stops
    early, keeps the best checkpoint, and installs it all the same.

    With --risk, no world model is trained (and torch is not needed): a small head learns which commits were later
    fixed or reverted, for 'codewm score --risk'.
    """
    if risk:
        from codewm.cli.risk import train_head

        return train_head(repo, as_json, quiet)
    if find_spec("torch") is None:
        raise UserError("training needs torch, which is not installed", "pip install 'codewm[train]'")
    # Threads that spin while they wait make training 4x slower as soon as anything else runs (docs/lab-log.md);
    # the OpenMP runtime reads this once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with ExitStack() as stack:
        if recipe == OURS and (mode, tokenizer) != (TEXT, OURS):
            raise UserError("--mode and --tokenizer belong to a paper's recipe", "name one with --recipe")
        if recipe != OURS:
            if minutes is not None or start != "auto" or f32:
                raise UserError("a paper's recipe takes no --minutes, --from or --f32", "give --steps")
            if corpus and (output is None or tokenizer != OURS):
                raise UserError("--corpus needs --output, a folder for the run, and our tokens")
            from codewm.cli.commands import recipe as papers

            values = papers.settings(steps, seed, device, setting or [])
            wanted = papers.Wanted(recipe, mode, tokenizer, values, resume, quiet, as_json)
            if corpus:
                return papers.train(
                    wanted, Path(), output, lambda: _read_corpora(_corpus_files(corpus))[0], repo
                )
            own = _open(stack, repo)
            return papers.train(wanted, own.data_dir, output, lambda: _harvest(own, quiet)[0], repo)
        if corpus:
            if output is None:
                raise UserError("--corpus needs --output", "for example --output model.safetensors")
            tables, sources = _read_corpora(_corpus_files(corpus))
            home = output.parent
        else:
            repository = _open(stack, repo)
            tables, sources = _harvest(repository, quiet)
            home = repository.data_dir
            output = output or home / MODEL_FILE
        settings = _settings(minutes, steps, start, seed, device, setting or [])
        outcome = _train(tables, sources, settings, home, output, resume, f32, quiet)
    if not outcome.rows and not outcome.interrupted:
        return 0  # one of torchrun's processes, and not the one that speaks
    if not outcome.rows:
        console.say(
            f"stopped before there was a model to keep; 'codewm train --resume' goes on with {outcome.folder}",
            quiet,
        )
        return INTERRUPTED
    if as_json:
        console.data(json.dumps(_to_json(outcome, sources), indent=2))
    else:
        from codewm.cli.report import training as report

        console.render(report.to_table(outcome.rows))
    _verdict(outcome.rows, quiet)
    if not corpus and output == home / MODEL_FILE:
        _calibrate(repo, quiet)
    console.say(f"model written to {output}; 'codewm score' uses it from now on", quiet or bool(corpus))
    return INTERRUPTED if outcome.interrupted else 0


def _calibrate(repo: Path, quiet: bool) -> None:
    """Measure the past with the new model now, so that neither the first score nor the hook has to wait for it."""
    from codewm.cli.commands.score import report_on
    from codewm.corpus.git import Repository

    console.say("measuring the past with the new model", quiet)
    with Repository.open(repo) as repository:
        settings = config.for_repository(repository, {}).score
        try:
            report_on(repository, (None, False, False), "first-parent", None, settings, None, quiet)
        except UserError as error:
            # The model is written and good; only the saved wait is lost.
            console.warn(f"not measured yet: {error.message}")


def _open(stack: ExitStack, repo: Path) -> Repository:
    from codewm.corpus.git import Repository

    return stack.enter_context(Repository.open(repo))


def _harvest(repository: Repository, quiet: bool) -> tuple[list[EditTable], list[dict[str, Any]]]:
    """Bring the repository's chains up to date and read them."""
    from codewm.cli.chains import up_to_date
    from codewm.corpus.harvest import store_path

    table, header = up_to_date(repository, quiet)
    return [table], [_source(store_path(repository), header)]


def _corpus_files(places: Sequence[Path]) -> list[Path]:
    """Every named file, and every .h5 under a named folder, in a fixed order."""
    files: list[Path] = []
    for place in places:
        files += sorted(place.rglob("*.h5")) if place.is_dir() else [place]
    if not files:
        raise UserError("--corpus names no chains", "'codewm harvest' makes chains.h5")
    return files


def _read_corpora(files: Sequence[Path]) -> tuple[list[EditTable], list[dict[str, Any]]]:
    from codewm.corpus.store import read_store

    stores = [(file, read_store(file)) for file in files]
    sources = [source for file, s in stores for source in _sources(file, s)]
    _refuse_twice(sources)
    return [s.table for _, s in stores], sources


def _refuse_twice(sources: Sequence[dict[str, Any]]) -> None:
    """A repository that comes in twice would be trained on what it is tested on."""
    seen: dict[str, str] = {}
    for source in sources:
        root, name = source["root"], source["name"]
        if root in seen:
            raise UserError(
                f"'{seen[root]}' and '{name}' are the same repository", "name each repository once"
            )
        seen[root] = name


def _sources(path: Path, store: Store) -> list[dict[str, Any]]:
    """Where the edits of a store came from: one entry for each repository, with its role if it has one."""
    origins = store.table.repositories
    if len(origins) < 2:
        return [_source(path, store.header)]
    repository = store.table.commits.repository[store.table.commit]
    sources = [
        {"name": o.name, "root": o.root, "tip": o.tip, "edits": int((repository == i).sum())}
        for i, o in enumerate(origins)
    ]
    division = store.table.division
    if division is not None:
        from codewm.corpus.division import ROLES

        for source, role in zip(sources, division.role.tolist(), strict=True):
            source["role"] = ROLES[role]
    return sources


def _source(path: Path, header: Header) -> dict[str, Any]:
    """Where edits came from, without the machine's own paths."""
    parts = [path.stem, *(p.name for p in path.resolve().parents)]
    name = next((p for p in parts if p not in ("chains", "codewm", ".git", "repo", "")), "")
    return {"name": name.removesuffix(".git"), "root": header.root, "tip": header.tip, "edits": header.edits}


def _settings(
    minutes: float | None, steps: int | None, start: str, seed: int, device: str, pairs: Sequence[str]
) -> TrainConfig:
    from codewm.model.config import TrainConfig, from_mapping

    values: dict[str, Any] = {"start": start, "seed": seed, "device": device}
    if minutes is not None or steps is not None:
        values |= {"minutes": minutes, "steps": steps}
    return from_mapping(TrainConfig, values | config.key_values(pairs))


def _train(
    tables: Sequence[EditTable],
    sources: list[dict[str, Any]],
    settings: TrainConfig,
    home: Path,
    output: Path,
    resume: bool,
    f32: bool,
    quiet: bool,
) -> Outcome:
    from codewm.cli.report import training as report
    from codewm.model.batches import prepare
    from codewm.model.checkpoint import RunFolder, latest_unfinished
    from codewm.model.config import from_json
    from codewm.model.export import export_copy
    from codewm.model.train import train

    if resume:
        folder = latest_unfinished(home / "runs")
        settings = from_json(folder.config.read_text(encoding="utf-8"))[1]
    else:
        folder = RunFolder(home / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-s{settings.seed}")
    data = prepare(tables, settings)
    # The model was made of these; what was only held out is no source of it.
    learnt = [source for source in sources if source.get("role") != "held-out"]
    provenance = {"sources": learnt, "tool": version("codewm")}
    with report.Display(quiet=quiet) as display:
        outcome = train(
            data, settings, folder, report=display, resume=resume, output=output, provenance=provenance
        )
    if f32 and outcome.rows:
        export_copy(folder.weights, output, output.with_suffix(".f32.safetensors"), "f32")
    return outcome


def _verdict(rows: Sequence[Row], quiet: bool) -> None:
    """One line: did prediction learn anything that the nulls do not have?"""
    for row in rows:
        if row.metric == "delta_cosine" and row.subset == "all":
            lost = [name.replace("_", " ") for name in row.margins if name not in row.beats]
            text = (
                "better than every null (95% intervals)"
                if not lost
                else "not clearly better than: " + ", ".join(lost)
            )
            console.say(f"delta cosine {row.value:.3f} on {row.n:,} held-out edits, {text}", quiet)


def _to_json(outcome: Outcome, sources: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "suite": "held-out",
        "model": None if outcome.model_file is None else str(outcome.model_file),
        "data": sources,
        "interrupted": outcome.interrupted,
        "steps": outcome.steps,
        "validation_r2": outcome.best_validation_r2,
        "rows": [row.as_json() for row in outcome.rows],
    }
