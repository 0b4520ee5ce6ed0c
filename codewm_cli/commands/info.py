"""`codewm info`: a repository or a store in; what store, model and settings hold, and where each came from, out."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codewm.cli import config, console
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from codewm.corpus.git import Repository
    from codewm.corpus.store import Store

SCHEMA = "codewm.info/1"


def run(
    repo: Annotated[Path, typer.Argument(metavar="[REPO]", help="A folder inside the repository.")] = Path(),
    chains: Annotated[
        Path | None,
        typer.Option("--chains", help="A store other than the repository's own; needs no repository."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show chains, model and settings, and where each came from.

    The store is read whole and checked; of a corpus, each repository in it is shown. What is missing or cannot
    be used is said, not guessed.
    """
    from codewm.corpus.git import Repository

    with ExitStack() as stack:
        repository: Repository | None = None
        about: dict[str, Any]
        try:
            repository = stack.enter_context(Repository.open(repo))
            about = _repository(repository)
        except UserError as e:
            if chains is None:
                raise
            # A store can be looked at anywhere.
            about = {"problem": e.message, "hint": e.hint}
        settings = config.load(None) if repository is None else config.for_repository(repository)
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "repository": about,
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


def _chains(repository: Repository | None, chains: Path | None) -> dict[str, Any]:
    from codewm.cli.report import ledger as report
    from codewm.corpus.harvest import store_path
    from codewm.corpus.ledger import Ledger, sums
    from codewm.corpus.store import read_store

    if chains is None:
        assert repository is not None
        chains = store_path(repository)
    store = read_store(chains)
    header, table = store.header, store.table
    line = _line(repository)
    return {
        "file": str(chains),
        "bytes": chains.stat().st_size,
        "written_by": f"codewm {header.tool}",
        "repository": header.repository,
        "tip": header.tip,
        "behind": _behind(line, header.tip),
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
        "max_commits": header.max_commits,
        "since": header.since,
        "paths": list(header.paths),
        "file_changes": report.to_dict(sums(table, Ledger(store.ledger))),
        "repositories": _repositories(store, line),
    }


def _repositories(store: Store, line: list[str]) -> list[dict[str, Any]]:
    """Say what each repository has in the store; one row if it is no corpus."""
    import numpy as np

    table = store.table
    of_edit = table.commits.repository[table.commit]
    return [
        {
            "name": origin.name,
            "identity": origin.identity,
            "root": origin.root,
            "tip": origin.tip,
            "behind": _behind(line, origin.tip),
            "commits": origin.commits,
            "edits": int((of_edit == i).sum()),
            "chains": len(np.unique(table.chain[of_edit == i])),
        }
        for i, origin in enumerate(table.repositories)
    ]


def _line(repository: Repository | None) -> list[str]:
    """The first-parent line of HEAD; none of it where there is no repository, or no commit yet."""
    if repository is None:
        return []
    try:
        return repository.first_parents(repository.head())
    except UserError:
        return []


def _behind(line: list[str], tip: str) -> int | None:
    """Commits that HEAD is ahead of a tip; None if the tip is not on its line."""
    return len(line) - 1 - line.index(tip) if tip in line else None


def _model(repository: Repository | None) -> dict[str, Any]:
    from codewm.model.scoring.engine_model import BASE_NAME, load_model

    model = load_model(Path(), BASE_NAME) if repository is None else load_model(repository.data_dir)
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
            if key == "repositories":
                value = len(value)
            elif key == "file_changes":
                value = _changes(value)
            table.add_row(key.replace("_", " "), Text(console.inert(_shown(value))))
        console.render(table)
        console.data("")
        if len(found[title].get("repositories", ())) > 1:
            _print_repositories(found[title]["repositories"])
    table = Table(title="settings", title_justify="left", box=None, show_header=False, pad_edge=False)
    for key, entry in found["settings"].items():
        table.add_row(key, Text(console.inert(_shown(entry["value"]))), Text(entry["from"], style="dim"))
    console.render(table)


def _print_repositories(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="repositories of the chains", title_justify="left", box=None, pad_edge=False)
    numbers = ("behind", "commits", "edits", "chains")
    for column in ("name", "identity", "tip", *numbers):
        table.add_column(column, justify="right" if column in numbers else "left")
    for row in rows:
        shown = {**row, "tip": row["tip"][:12]}
        table.add_row(*(Text(console.inert(_shown(shown[str(column.header)]))) for column in table.columns))
    console.render(table)
    console.data("")


def _changes(kinds: dict[str, Any]) -> str:
    """Add the ledger up in one line; `codewm harvest` prints it in full."""
    changes, edited = (sum(kind[key] for kind in kinds.values()) for key in ("file_changes", "with_edits"))
    return f"{changes:,}, of which {edited:,} with edits and {changes - edited:,} skipped"


def _shown(value: Any) -> str:
    if value is None or value in ("", []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
