"""The staged change in, at most a few warning lines and a verdict out: what the pre-commit hook does.

A change is warned about when its commit score is unusual for a change of its size in this repository; the
lines then name its most unusual units. One unusual unit is not enough by itself: a change of thirty ordinary
units holds, by chance, one above the 95th percentile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from codewm.corpus.git import Repository

if TYPE_CHECKING:
    from codewm.model.scoring.report import CommitScore, Report, UnitScore

# What to do about a unit, by the channel that says it is unusual.
NEXT_STEP = {
    "displacement": "check that this code belongs in this unit",
    "new_identifiers": "check where these names come from",
    "substitution": "check what was replaced",
    "transposition": "check that the new order is meant",
    "loose_ends": "check what is left over",
}


@dataclass(frozen=True)
class Outcome:
    """What to print, one string a line (names from the repository are not inert yet), and the verdict."""

    lines: tuple[str, ...] = ()
    stop: bool = False


def check(
    repo: Repository,
    *,
    warn_above: float,
    max_warnings: int,
    fail_above: float | None,
    model: str | None = None,
    history: int | None = None,
) -> Outcome:
    """Score what is staged; warn above one percentile (0-100, size-matched), stop above the other.

    `model` is a model file or 'base'; by default the local model, else the shipped one. `history` is how many
    past commits are compared with, None for the default.
    """
    if not any(change.path.endswith(b".py") for change in repo.staged().changes):
        return Outcome()
    # Only now is the engine worth its loading time.
    from codewm.model.scoring.engine_model import load_model
    from codewm.model.scoring.score import Target, score
    from codewm.model.scoring.settings import ScoreSettings

    settings = ScoreSettings.of(history)
    report = score(repo, Target(kind="staged"), load_model(repo.data_dir, model), settings)
    return judged(report, warn_above=warn_above, max_warnings=max_warnings, fail_above=fail_above)


def judged(report: Report, *, warn_above: float, max_warnings: int, fail_above: float | None) -> Outcome:
    """Turn the report on one staged change into lines and a verdict."""
    [change] = report.commits
    percentile = change.percentile_size_matched
    if percentile is None:
        return Outcome()
    lines = list(_warnings(change, warn_above)[:max_warnings]) if percentile > warn_above else []
    if fail_above is None or percentile <= fail_above:
        return Outcome(tuple(lines))
    lines.append(
        f"codewm: the commit is stopped: percentile {percentile:.1f} for its size, hook.fail-above is "
        f"{fail_above:g}; 'git commit --no-verify' goes past this"
    )
    return Outcome(tuple(lines), stop=True)


def _warnings(change: CommitScore, warn_above: float) -> list[str]:
    unusual = [u for u in change.units if (u.percentile_size_matched or 0.0) > warn_above]
    return [_line(unit) for unit in unusual or change.units[:1]]


def _line(unit: UnitScore) -> str:
    place = f"{unit.path}:{unit.first_changed_line}"
    rank = (
        ""
        if unit.percentile_size_matched is None
        else f" (percentile {unit.percentile_size_matched:.1f} for its kind and size)"
    )
    channel = _loudest(unit)
    reason = f": {unit.reasons[0]}" if unit.reasons else ""
    step = NEXT_STEP.get(channel, "read it once more")
    more = "'codewm score --staged' says more"
    return f"codewm: unusual edit of {unit.unit} at {place}{rank}{reason}; {step}, {more}"


def _loudest(unit: UnitScore) -> str:
    """Name the channel with the highest size-matched percentile."""
    known = {name: c.percentile_size_matched for name, c in unit.channels.items()}
    return max(
        (name for name, p in known.items() if p is not None), key=lambda n: known[n] or 0.0, default=""
    )
