"""`codewm backtest`: a repository in; whether alerts would have been worth it over its own history out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codewm.cli import config, console
from codewm.cli.options import ModelChoice
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from codewm.corpus.git import Repository
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.backtest import Backtest


def run(
    repo: Annotated[Path, typer.Argument(metavar="[REPO]", help="A folder inside the repository.")] = Path(),
    weeks: Annotated[
        int | None, typer.Option("--weeks", min=1, help="Replay the last so many weeks. Default: all.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="REV", help="Replay what comes after this commit.")
    ] = None,
    alert_budget: Annotated[
        str, typer.Option("--alert-budget", metavar="N/M", help="At most N alerts in M ordinary commits.")
    ] = "2/100",
    model: ModelChoice = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr.")] = False,
) -> int:
    """Replay this repository's history: how many alerts, which hit, which were missed, and is it worth it?

    Each commit is scored against nothing but its past, as on its day. Then one looks at what became of it: reverted,
    or fixed (a later commit titled as a fix deleted lines of it). Such labels are noisy. The first run measures the
    whole history, which takes a while; the measurements are kept.
    """
    if weeks is not None and since is not None:
        raise UserError("--weeks and --since exclude each other", "name one of them")
    from codewm.cli.commands.score import parse_budget
    from codewm.cli.report import backtest as write
    from codewm.corpus.git import Repository

    budget = parse_budget(alert_budget)
    with Repository.open(repo) as repository:
        found = replayed(repository, weeks, since, budget, model, quiet)
    if as_json:
        console.data(write.to_json(found))
    else:
        console.render(write.to_text(found))
    return 0


def replayed(
    repository: Repository,
    weeks: int | None,
    since: str | None,
    budget: tuple[int, int],
    model: str | None,
    quiet: bool,
) -> Backtest:
    """Replay and judge."""
    from codewm.cli.chains import up_to_date
    from codewm.cli.commands.score import scoring
    from codewm.corpus.experience import FEATURES, experience
    from codewm.corpus.fixes import known_fixes
    from codewm.model.scoring.backtest import History, backtest
    from codewm.model.scoring.engine_model import load_model
    from codewm.model.scoring.fate import Fates
    from codewm.model.scoring.replay import ReplaySettings, judged, measured

    settings, wanted = scoring(config.for_repository(repository, {}).score), ReplaySettings()
    chosen = load_model(repository.data_dir, model)
    table, _ = up_to_date(repository, quiet)
    console.say(f"measuring {len(table.commits):,} commits ({len(table):,} edits), unless done before", quiet)
    past = measured(repository, table.commits.oid[-1], chosen, settings, wanted)
    first = len(table.commits) - len(past)
    start = _start(repository, table, weeks, since) - first
    if start < 0:
        console.say(f"the history before {past.oids[0][:8]} is left out: it is too long", quiet)
        start = 0
    console.say(f"judging {len(past) - start:,} commits, each against its past", quiet)
    with console.progress("judging", 1.0) as bar:
        done = 0.0

        def advance(share: float) -> None:
            nonlocal done
            bar.advance(share - done)
            done = share

        seen = judged(past, settings, wanted, start, advance)
    console.say("looking up what became of them", quiet)
    fixes = experience(table)[first:, list(FEATURES).index("file_fixes")]
    history = History(
        subjects=list(table.commits.subject[first:]),
        time=table.commits.committer_time[first:],
        baselines={"lines added": past.lines_added.astype(float), "fixes to its files": fixes},
    )
    return backtest(seen, history, Fates(table, known_fixes(repository)), budget, start)


def _start(repository: Repository, table: EditTable, weeks: int | None, since: str | None) -> int:
    """The row of the first commit to replay."""
    commits = table.commits
    if since is not None:
        oid = repository.resolve(since)
        if oid not in commits.oid:
            raise UserError(
                f"'{since}' is not on the first-parent line of HEAD", "see 'git log --first-parent --oneline'"
            )
        start = commits.oid.index(oid) + 1
    elif weeks is not None:
        from codewm.model.scoring.backtest import WEEK

        recent = commits.committer_time >= int(commits.committer_time[-1]) - weeks * WEEK
        start = int(recent.argmax())
    else:
        start = 0
    if start >= len(commits):
        raise UserError("there are no commits to replay", "name an earlier commit, or more weeks")
    return start
