"""`codewm similar`: one commit, or the change at hand, in; the past edits most like each of its units out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codewm.cli import config, console
from codewm.cli.options import ModelChoice, known_format, one_change

FORMATS = ("text", "json")


def run(
    revision: Annotated[
        str | None, typer.Argument(metavar="[REV]", help="The commit. Default: HEAD.")
    ] = None,
    staged: Annotated[bool, typer.Option("--staged", help="What is staged for commit.")] = False,
    worktree: Annotated[bool, typer.Option("--worktree", help="Tracked files as they are on disk.")] = False,
    repo: Annotated[Path, typer.Option("--repo", help="A folder inside the repository.")] = Path(),
    model: ModelChoice = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Past edits of each unit.")] = 5,
    units: Annotated[int, typer.Option("--units", min=1, help="Units of the change, the largest first.")] = 5,
    form: Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help="Output format.")] = "text",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr.")] = False,
) -> int:
    """Find past edits of this repository that moved their unit as this change moves its own.

    Alike is the direction in which the model sees a unit move, not the text: with the commit's subject and, where
    a later commit says so, that it was reverted. Needs neither a harvest nor a trained model.
    """
    target = one_change(revision, staged, worktree)
    known_format(form, FORMATS)
    from codewm.cli.commands.score import scoring
    from codewm.cli.report import similar as write
    from codewm.corpus.git import Repository
    from codewm.model.scoring.engine_model import load_model
    from codewm.model.scoring.similar import similar

    with Repository.open(repo) as repository:
        settings = scoring(config.for_repository(repository).score)
        found = similar(
            repository, target, load_model(repository.data_dir, model), settings, count=count, units=units,
            warn=lambda text: None if quiet else console.warn(text),
        )  # fmt: skip
    console.data(write.to_json(found) if form == "json" else write.to_text(found))
    console.say(f"Model: {found.model_sentence}.", quiet)
    console.say(f"Among {found.past_edits} edits of {found.past_commits} past commits.", quiet)
    if found.left_out:
        console.say(f"{found.left_out} smaller units are not shown; --units shows more.", quiet)
    return 0
