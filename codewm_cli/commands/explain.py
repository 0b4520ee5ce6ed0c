"""`codewm explain`: one commit, or the change at hand, in; why it is or is not unusual here out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codewm.cli import config, console
from codewm.cli.options import ModelChoice, known_format, one_change

FORMATS = ("text", "json")


def run(
    revision: Annotated[
        str | None, typer.Argument(metavar="[REV]", help="The commit to explain. Default: HEAD.")
    ] = None,
    staged: Annotated[bool, typer.Option("--staged", help="Explain what is staged for commit.")] = False,
    worktree: Annotated[
        bool, typer.Option("--worktree", help="Explain tracked files as they are on disk.")
    ] = False,
    repo: Annotated[Path, typer.Option("--repo", help="A folder inside the repository.")] = Path(),
    model: ModelChoice = None,
    units: Annotated[
        int, typer.Option("--units", min=1, help="Explain so many units, the most surprising first.")
    ] = 3,
    risk: Annotated[
        bool,
        typer.Option("--risk", help="Explain the risk, too; 'codewm train --risk' makes it known."),
    ] = False,
    form: Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help="Output format.")] = "text",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr.")] = False,
) -> int:
    """Say why a commit is, or is not, unusual for this repository.

    For its most surprising units: what found them unusual and how much so; the names it rests on, with their lines;
    where the edit took the unit against where it was expected to; the past edits most like it and what became of
    them (as known today); and what would have been usual. Brings the chains up to date first.
    """
    target = one_change(revision, staged, worktree)
    known_format(form, FORMATS)
    from codewm.cli.commands.score import scoring
    from codewm.cli.report import explain as write
    from codewm.corpus.git import Repository
    from codewm.model.scoring.engine_model import load_model
    from codewm.model.scoring.explain import ExplainSettings, explain
    from codewm.model.scoring.fate import Fates

    def warn(text: str) -> None:
        if not quiet:
            console.warn(text)

    with Repository.open(repo) as repository:
        settings = scoring(config.for_repository(repository, {}).score)
        chosen = load_model(repository.data_dir, model)

        def fates() -> Fates:
            from codewm.cli.chains import up_to_date
            from codewm.corpus.fixes import known_fixes

            table, _ = up_to_date(repository, quiet)
            return Fates(table, known_fixes(repository))

        found = explain(repository, target, chosen, fates, settings, ExplainSettings(units=units), warn)
        risks = None
        if risk:
            from codewm.cli.risk import risks_of

            risks = risks_of(repository, found.report, staged, model, quiet)
    if form == "json":
        console.data(write.to_json(found, risks))
        return 0
    console.render(write.to_text(found, risks))
    for note in write.to_notes(found):
        console.say(note, quiet)
    return 0
