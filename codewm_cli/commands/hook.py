"""`codewm hook install | uninstall | status | run`: the pre-commit hook, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codewm.cli import config, console
from codewm.corpus.errors import UserError

app = typer.Typer(
    help="Install, remove, inspect or run the pre-commit hook.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)

Repo = Annotated[Path, typer.Option("--repo", help="A folder inside the repository.")]


@app.command()
def install(
    repo: Repo = Path(),
    force: Annotated[
        bool, typer.Option("--force", help="Also into a shared hooks folder, or over an edited codewm hook.")
    ] = False,
) -> int:
    """Write the pre-commit hook; a hook that is there already is kept and runs first."""
    from codewm.corpus.git import Repository
    from codewm.hooks import install as hooks

    with Repository.open(repo) as repository:
        done = hooks.install(repository, force=force)
    console.say(f"{'Installed' if done.changed else 'Already installed:'} {done.hook}")
    if done.changed:
        console.say(
            "The first check reads the repository's past, which can take some seconds; later ones are quick."
        )
    if done.folder.redirected:
        console.say("Git looks there because core.hooksPath is set" + _whose(done.folder.inside))
    if done.legacy == "kept":
        console.say(
            f"The hook that was there is kept as {hooks.LEGACY}; it runs first, and its refusal stands."
        )
    return 0


@app.command()
def uninstall(
    repo: Repo = Path(),
    force: Annotated[
        bool, typer.Option("--force", help="Also when the codewm hook was edited by hand.")
    ] = False,
) -> int:
    """Remove the pre-commit hook and put back the one that was there before."""
    from codewm.corpus.git import Repository
    from codewm.hooks import install as hooks

    with Repository.open(repo) as repository:
        done = hooks.uninstall(repository, force=force)
    if not done.changed:
        console.say(f"There is no codewm hook at {done.hook}; nothing was changed.")
    elif done.legacy == "restored":
        console.say(f"Removed the codewm hook; {done.hook} is again the one that was there before.")
    else:
        console.say(f"Removed {done.hook}")
    return 0


@app.command()
def status(repo: Repo = Path()) -> int:
    """Say whether the hook is installed, what it calls, and what it would do."""
    from codewm.corpus.git import Repository
    from codewm.hooks import install as hooks

    with Repository.open(repo) as repository:
        found = hooks.status(repository)
        settings = config.for_repository(repository)
    hook = found.folder.path / hooks.HOOK
    words = {
        "absent": "not installed",
        "ours": "installed",
        "foreign": "not installed (another hook is there)",
    }
    console.data(f"hook: {console.inert(str(hook))}")
    console.data(f"state: {words.get(found.state, 'installed, but edited by hand')}")
    if found.folder.redirected:
        console.data("folder: set by core.hooksPath" + _whose(found.folder.inside))
    if found.script is not None:
        there = "" if found.script.is_file() else " (missing; codewm on PATH is used instead)"
        console.data(f"calls: {console.inert(str(found.script))}{there}")
    if found.legacy:
        console.data(f"keeps: {hooks.LEGACY}")
    for key, value, origin, _ in settings.rows():
        if key.startswith("hook."):
            shown = "off" if value is None else str(value).lower()
            console.data(f"{key}: {shown} ({origin})")
    return 0


@app.command()
def run(
    repo: Repo = Path(),
    fail_above: Annotated[
        float | None, typer.Option("--fail-above", help="Exit 1 when the change's percentile is above this.")
    ] = None,
    strict: Annotated[
        bool | None,
        typer.Option("--strict/--no-strict", help="Fail when codewm itself fails; else say so, exit 0."),
    ] = None,
) -> int:
    """Score the staged change and warn about its unusual units: what the hook calls."""
    try:
        from codewm.corpus.git import Repository
        from codewm.hooks import pre_commit

        with Repository.open(repo) as repository:
            flags = {"hook.fail-above": fail_above, "hook.strict": strict}
            configured = config.for_repository(repository, flags)
            settings = configured.hook
            strict = settings.strict
            outcome = pre_commit.check(
                repository,
                warn_above=settings.warn_above,
                max_warnings=settings.max_warnings,
                fail_above=settings.fail_above,
                history=configured.score.history,
            )
    except Exception as e:
        if strict:
            raise
        # A check that cannot run must not stand between a person and their commit.
        hint = f" ({e.hint})" if isinstance(e, UserError) and e.hint else ""
        console.say(f"codewm: the commit is not checked: {str(e) or type(e).__name__}{hint}")
        return 0
    for line in outcome.lines:
        console.say(console.inert(line))
    return 1 if outcome.stop else 0


def _whose(inside: bool) -> str:
    return "." if inside else ", to a folder that other repositories may share."
