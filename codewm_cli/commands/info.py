"""`codewm info`: a repository in; what its store, model and settings hold, and where each came from, out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codewm.cli import config, console
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from codewm.corpus.git import Repository

SCHEMA = "codewm.info/1"


def run(
    repo: Annotated[Path, typer.Argument(metavar="[REPO]", help="A folder inside the repository.")] = Path(),
    chains: Annotated[
        Path | None, typer.Option("--chains", help="A store other than the repository's own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show chains, model and settings, and where each came from.

    The store is read whole and checked. What is missing or cannot be used is said, not guessed.
    """
    from codewm.corpus.git import Repository

    with Repository.open(repo) as repository:
        settings = config.for_repository(repository)
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "repository": _repository(repository),
            "chains": _or_problem(_chains, repository, chains),
            "model": _or_problem(_model, repository),
            "settings": {key: {"value": value, "from": origin} for key, value, origin, _ in settings.rows()},
        }
    if as_json:
        console.data(json.dumps(found, indent=2))
    else:
        _print(found)


def _repository(repository: Repository) -> dict[str, Any]:
    try:
        tip: str | None = repository.head()
    except UserError:
        tip = None
    return {
        "folder": str(repository.work_tree or repository.git_dir),
        "data": str(repository.data_dir),
        "branch": repository.branch,
        "tip": tip,
        "identity": repository.identity if tip else None,
        "shallow": repository.is_shallow,
        "partial": repository.is_partial,
    }


def _or_problem(what: Any, *args: Any) -> dict[str, Any]:
    """Go on with the rest when one part cannot be used: this command is where people look then."""
    try:
        return dict(what(*args))
    except UserError as e:
        return {"problem": e.message, "hint": e.hint}


def _chains(repository: Repository, chains: Path | None) -> dict[str, Any]:
    from codewm.cli.report import ledger as report
    from codewm.corpus.harvest import store_path
    from codewm.corpus.ledger import Ledger, sums
    from codewm.corpus.store import read_store

    path = chains if chains is not None else store_path(repository)
    store = read_store(path)
    header, table = store.header, store.table
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "written_by": f"codewm {header.tool}",
        "repository": header.repository,
        "tip": header.tip,
        "behind": _behind(repository, header.tip),
        "merges": header.merges,
        "window": header.window,
        "action": header.action_id,
        "tokenizer": header.tokenizer_id,
        "commits": header.commits,
        "edits": header.edits,
        "states": len(table.state_hash),
        "chains": int(table.chain.max()) + 1 if len(table) else 0,
        "files": len(table.paths),
        "units": len(table.units),
        "authors": "names" if header.with_authors else "hashed",
        "file_changes": report.to_dict(sums(table, Ledger(store.ledger))),
    }


def _behind(repository: Repository, tip: str) -> int | None:
    """Commits that HEAD is ahead of the store; None if the store's tip is not on its line."""
    line = repository.first_parents(repository.head())
    return len(line) - 1 - line.index(tip) if tip in line else None


def _model(repository: Repository) -> dict[str, Any]:
    from codewm.model.scoring.engine_model import load_model

    model = load_model(repository.data_dir)
    meta = model.engine.metadata
    return {
        "from": model.source,
        "is": model.sentence,
        "window": model.window,
        "action": model.action,
        "quant": meta.get("quant", ""),
        "tokenizer": meta.get("tokenizer_id", ""),
        "config": model.engine.config,
        "provenance": _json(meta.get("provenance", "{}")),
        "metrics": _json(meta.get("metrics", "{}")),
    }


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _print(found: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    for title in ("repository", "chains", "model"):
        table = Table(title=title, title_justify="left", box=None, show_header=False, pad_edge=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for key, value in found[title].items():
            if key == "file_changes":
                continue
            table.add_row(key.replace("_", " "), Text(console.inert(_shown(value))))
        console.render(table)
        console.data("")
    table = Table(title="settings", title_justify="left", box=None, show_header=False, pad_edge=False)
    for key, entry in found["settings"].items():
        table.add_row(key, Text(console.inert(_shown(entry["value"]))), Text(entry["from"], style="dim"))
    console.render(table)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
