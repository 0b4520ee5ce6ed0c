"""`codewm eval SUITE`: repositories, stores or corpora and models in, figures with nulls and intervals out."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codewm.cli import config, console
from codewm.corpus.atomic import write_file
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable
    from codewm.model.evaluation.held_out import Source
    from codewm.model.evaluation.metrics import Row
    from codewm.model.evaluation.registry import Suite
    from codewm.model.evaluation.result import Outcome, Request

STDOUT = "-"


def run(
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", help="Which suite; 'list' says what each of them does.")
    ],
    data: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[CLONE|STORE|CORPUS]...", help="What to test on. Default: this repository."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", metavar="base|PATH", help="A model file or a run's folder; may be repeated for seeds."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Models trained of each kind.")] = 3,
    as_json: Annotated[
        str | None, typer.Option("--json", metavar="PATH", help="Write codewm.eval/1; - is stdout.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option("--plots", metavar="DIR", help="Write SVG charts into this folder.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=2, help="Held-out edits of each repository at most.")
    ] = 2_000,
    injections: Annotated[
        int, typer.Option("--injections", min=0, help="Edits of each clone that are corrupted; 0 for none.")
    ] = 60,
    around: Annotated[
        str | None,
        typer.Option(
            "--around",
            metavar="reverts",
            help="Anomaly: only the blocks of commits with one that was reverted.",
        ),
    ] = None,
    clones: Annotated[
        Path | None,
        typer.Option("--clones", help="A folder of clones: where a corpus' sources are, for injected edits."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option("--part", metavar="unseen|late", help="Of a divided corpus. Default: unseen, if any."),
    ] = None,
    encoder: Annotated[
        list[Path] | None,
        typer.Option("--encoder", metavar="DIR", help="A Hugging Face encoder to compare with; repeatable."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="A variation of the ablation; repeatable."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Wall clock for each model that is trained.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Or optimiser steps. Default: 300, to compare with.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="A torch device, to train on.")] = "cpu",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other training or model setting."),
    ] = None,
    work: Annotated[
        Path | None, typer.Option("--work", help="Keeps trained models and finished rows for the next run.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="DIR", help="Write labels and splits of anomaly there.")
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option("--scores", metavar="FILE", help="Another tool's scores of those labels; repeatable."),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8/--no-int8", help="Compare weights stored as f32 with int8 ones.")
    ] = True,
    resamples: Annotated[
        int, typer.Option("--resamples", min=20, help="Of commits, for every interval.")
    ] = 1_000,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Of the engine; 0 for one per core.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr.")] = False,
) -> int:
    """Test models on edits they never saw: every figure beside its nulls, with a 95% interval over commits.

    A clone is harvested first if its store is not up to date. Of a divided corpus, the part it holds out is tested
    on; of anything else, the latest fifth of each repository. Suites that train keep what is finished, so that the
    same command goes on where it was stopped.
    """
    from codewm.model.evaluation import registry

    if suite == "list":
        for name, row in registry.SUITES.items():
            console.data(f"{name:12} {row.help}")
        return 0
    chosen = registry.find(suite)
    _require(chosen, model or [], encoder or [])
    settings = _settings(minutes, steps, device, setting or [])
    sources = _sources(data or [Path()], clones, quiet)
    from codewm.model.evaluation.result import Request

    request = Request(
        sources=sources,
        models=model or [],
        seeds=seeds,
        limit=limit,
        encoders=encoder or [],
        injections=injections,
        around=around,
        part=part,
        only=only or [],
        resamples=resamples,
        compare_int8=int8,
        settings=settings,
        work=work or _work(data or [Path()], as_json),
        labels=labels,
        scores=scores or [],
        threads=threads,
        say=lambda text: console.say(text, quiet),
    )
    outcome = _run(suite, chosen, request, as_json)
    _write(outcome, as_json, plots, quiet)
    return 0


def _require(suite: Suite, models: Sequence[str], encoders: Sequence[Path]) -> None:
    """Refuse early what will not work after an hour."""
    if encoders and not suite.takes_encoders:
        raise UserError("this suite compares no encoders of others", "leave --encoder away")
    if models and not suite.takes_models:
        raise UserError("this suite trains its own models", "leave --model away")
    if suite.trains and not models:
        if find_spec("torch") is None:
            raise UserError("training needs torch, which is not installed", "pip install 'codewm[train]'")
        # As for `codewm train`: read once, when torch is imported.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _settings(minutes: float | None, steps: int | None, device: str, pairs: Sequence[str]) -> dict[str, Any]:
    if minutes is not None and steps is not None:
        raise UserError("give either minutes or steps", "for example --minutes 5")
    values: dict[str, Any] = {"device": device}
    if minutes is not None:
        values["minutes"] = minutes
    if steps is not None:
        values["steps"] = steps
    return values | config.key_values(pairs)


def _sources(places: Sequence[Path], clones: Path | None, quiet: bool) -> list[Source]:
    """Every named clone, brought up to date, store and corpus."""
    from codewm.corpus.store import read_store

    sources = []
    for place in places:
        if place.is_file():
            table = read_store(place).table
            sources += _of_store(place, table, clones)
        else:
            sources.append(_of_clone(place, quiet))
    seen: dict[str, str] = {}
    for source in sources:
        for origin in source.table.repositories:
            if origin.root in seen:
                raise UserError(
                    f"'{seen[origin.root]}' and '{origin.name}' are the same repository",
                    "name each repository once",
                )
            seen[origin.root] = origin.name
    return sources


def _of_clone(place: Path, quiet: bool) -> Source:
    from codewm.cli.chains import up_to_date
    from codewm.corpus.git import Repository
    from codewm.model.evaluation.held_out import Source

    with Repository.open(place) as repository:
        table, _ = up_to_date(repository, quiet)
        top = repository.work_tree or repository.git_dir
        name = table.repositories[0].name if table.repositories else top.name
        return Source(name, table, {name: place})


def _of_store(place: Path, table: EditTable, clones: Path | None) -> list[Source]:
    """A store, or the repositories of a corpus; with their clones, where those have what was harvested."""
    from codewm.corpus.collect import find_clones
    from codewm.corpus.pins import Pin
    from codewm.model.evaluation.held_out import Source

    found: dict[str, Path] = {}
    if clones is not None:
        pins = [Pin(o.name, "held-out", "", o.tip) for o in table.repositories]
        found, wrong = find_clones(pins, clones)
        if not found:
            raise UserError(
                f"'{clones}' has no clone of '{place}'", next(iter(wrong.values()), "name another")
            )
    return [Source(place.stem, table, found)]


def _work(places: Sequence[Path], as_json: str | None) -> Path:
    """Where a suite keeps what it trained, if it was not told: beside its JSON, or beside its data."""
    if as_json is not None and as_json != STDOUT:
        return Path(as_json).with_suffix(".runs")
    first = places[0]
    if first.is_file():
        return first.with_suffix(".eval")
    from codewm.corpus.git import Repository

    with Repository.open(first) as repository:
        return repository.data_dir / "eval"


def _run(name: str, suite: Suite, request: Request, as_json: str | None) -> Outcome:
    """Run the suite; with a file for JSON, every row is in it as soon as it is known."""
    from codewm.model.evaluation import registry
    from codewm.model.evaluation.result import SCHEMA

    kept: list[dict[str, Any]] = []

    def emit(rows: Sequence[Row]) -> None:
        kept.extend(row.as_json() for row in rows)
        if as_json is not None and as_json != STDOUT:
            _write_text(
                Path(as_json), _dump({"schema": SCHEMA, "suite": name, "finished": False, "rows": kept})
            )

    return registry.load(suite)(request, emit)


def _write(outcome: Outcome, as_json: str | None, plots: Path | None, quiet: bool) -> None:
    from codewm.cli.report import suites, svg

    document = outcome.as_json()
    document["about"] = {"codewm": version("codewm"), **document["about"]}
    if as_json == STDOUT:
        console.data(_dump(document))
    else:
        for table in suites.to_tables(outcome):
            console.render(table)
        if as_json is not None:
            _write_text(Path(as_json), _dump({**document, "finished": True}) + "\n")
    for note in outcome.notes:
        console.say(note, quiet)
    if plots is not None:
        for chart in outcome.charts:
            _write_text(plots / f"{chart.name}.svg", svg.draw(chart))
        console.say(f"{len(outcome.charts)} charts written to {plots}", quiet)


def _dump(document: dict[str, Any]) -> str:
    """JSON proper: a figure that is no number is null."""
    return json.dumps(_plain(document), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        # Four digits more than any interval is wide; and JSON knows no infinity.
        return round(value, 6) if abs(value) != float("inf") and value == value else None
    return value


def _write_text(path: Path, text: str) -> None:
    """Replace a file in one step."""
    try:
        write_file(path, text.encode("utf-8"))
    except OSError as e:
        raise UserError(f"cannot write '{path}': {e.strerror or e}", "name another place") from e
