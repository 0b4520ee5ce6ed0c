"""`codewm score`: commits, or the change at hand, in; how unusual each one is here, and why, out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codewm.cli import config, console
from codewm.cli.options import ModelChoice, known_format
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codewm.cli.config import ScoreSettings as Configured
    from codewm.corpus.git import Repository
    from codewm.model.scoring.report import Report
    from codewm.model.scoring.risk import Risk
    from codewm.model.scoring.settings import ScoreSettings

FORMATS = ("table", "json", "jsonl")


def run(
    revisions: Annotated[
        str | None,
        typer.Argument(metavar="[RANGE]", help="A..B, or one commit. Default: the last 20 commits."),
    ] = None,
    staged: Annotated[bool, typer.Option("--staged", help="Score what is staged for commit.")] = False,
    worktree: Annotated[
        bool, typer.Option("--worktree", help="Score tracked files as they are on disk.")
    ] = False,
    repo: Annotated[Path, typer.Option("--repo", help="A folder inside the repository.")] = Path(),
    model: ModelChoice = None,
    form: Annotated[
        str | None, typer.Option("--format", metavar="|".join(FORMATS), help="Output format.")
    ] = None,
    merges: Annotated[
        str, typer.Option("--merges", metavar="first-parent|skip", help="What to do with merge commits.")
    ] = "first-parent",
    fail_above: Annotated[
        float | None,
        typer.Option(
            "--fail-above",
            metavar="PERCENTILE",
            help="Exit 1 if a commit's size-matched percentile is above.",
        ),
    ] = None,
    alert_budget: Annotated[
        str | None,
        typer.Option(
            "--alert-budget",
            metavar="N/M",
            help="At most N alerts in M ordinary commits; exit 1 on an alert.",
        ),
    ] = None,
    risk: Annotated[
        bool,
        typer.Option(
            "--risk", help="Show the risk beside the surprise; 'codewm train --risk' makes it known."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr.")] = False,
) -> int:
    """Say which commits landed somewhere unexpected, and why.

    Each commit is compared with this repository's own past: commits of its size, edits of their kind and
    size. Works without a harvest (reads the history it needs) and without a trained model (uses the shipped
    one). Exits 0 unless a gate (--fail-above, --alert-budget) was asked for and holds back a commit: then
    1.
    """
    budget = parse_budget(alert_budget) if alert_budget is not None else None
    target = (revisions, staged, worktree)
    if sum(bool(t) for t in target) > 1:
        raise UserError("a range, --staged and --worktree exclude each other", "name one of them")
    if merges not in {"first-parent", "skip"}:
        raise UserError(f"--merges cannot be '{merges}'", "write first-parent or skip")
    from codewm.corpus.git import Repository

    with Repository.open(repo) as repository:
        settings = config.for_repository(repository, {"score.fail-above": fail_above}).score
        shape = form or settings.format
        known_format(shape, FORMATS)
        if budget is None and settings.alert_budget is not None:
            budget = parse_budget(f"{settings.alert_budget:g}/100")
        report = report_on(repository, target, merges, model, settings, budget, quiet)
        risks = None
        if risk:
            from codewm.cli.risk import risks_of

            risks = risks_of(repository, report, staged, model, quiet)
    _print(report, shape, quiet, risks)
    return _gate(report, settings.fail_above, budget is not None, quiet)


def report_on(
    repository: Repository,
    target: tuple[str | None, bool, bool],
    merges: str,
    model: str | None,
    settings: Configured,
    budget: tuple[int, int] | None,
    quiet: bool,
) -> Report:
    """Score the target (range, staged, worktree) with the settings as resolved; leaves the calibration cached."""
    from dataclasses import replace

    from codewm.model.scoring.engine_model import load_model
    from codewm.model.scoring.score import Target, score

    revisions, staged, worktree = target
    if staged or worktree:
        what = Target("staged" if staged else "worktree")
    else:
        what = Target(revisions=revisions or settings.range, merges=merges)
    wanted = scoring(settings)
    if budget is not None:
        wanted = replace(wanted, alert_budget=budget)
    chosen = load_model(repository.data_dir, model)

    def warn(text: str) -> None:
        if not quiet:
            console.warn(text)

    return score(repository, what, chosen, wanted, warn)


def scoring(configured: Configured) -> ScoreSettings:
    """How to score, as a repository is configured."""
    from codewm.model.scoring.settings import ScoreSettings

    return ScoreSettings.of(configured.history)


def _print(report: Report, shape: str, quiet: bool, risks: Mapping[str, Risk] | None) -> None:
    from codewm.cli.report import score as write

    if shape == "json":
        console.data(write.to_json(report, risks))
    elif shape == "jsonl":
        for line in write.to_jsonl(report, risks):
            console.data(line)
    else:
        console.render(write.to_table(report, risks))
    for note in write.to_notes(report):
        console.say(note, quiet)


def _gate(report: Report, fail_above: float | None, alerts_gate: bool, quiet: bool) -> int:
    """Return 1 if a gate that was asked for holds a commit back, else 0."""
    held = [
        c
        for c in report.commits
        if (alerts_gate and c.alert)
        or (
            fail_above is not None
            and c.percentile_size_matched is not None
            and c.percentile_size_matched > fail_above
        )
    ]
    if held:
        names = ", ".join(c.oid[:8] or "the pending change" for c in held[:5])
        console.say(f"Held back by the gate: {names}{' and more' if len(held) > 5 else ''}", quiet)
    return 1 if held else 0


def parse_budget(text: str) -> tuple[int, int]:
    """Read `N/M`: at most N alerts in M ordinary commits."""
    allowed, slash, per = text.partition("/")
    try:
        n, m = int(allowed), int(per) if slash else 100
    except ValueError:
        n, m = 0, 0
    if not 0 < n < m:
        raise UserError(f"'{text}' is not an alert budget", "write N/M with 0 < N < M, like 2/100")
    return n, m
