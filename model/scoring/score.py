"""A repository and what to score in, a `Report` out: the one function behind `codewm score` and the hook.

    commits to score ─► edits ─► raw channels ─┐
    past before them ─► edits ─► raw channels ─┴► p-values ─► surprise of units ─► commits ─► Report

Everything is compared with the past before the first scored commit and judged by the names known when it
was made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.distinct import distinct
from codewm.corpus.errors import UserError
from codewm.corpus.history import harvest_live, names_of_tree
from codewm.corpus.table import COMMIT_BOUNDARY, COMMIT_MERGE
from codewm.model.scoring import drift as drifts, landings, message, reasons, shelf, standing
from codewm.model.scoring.calibrate import Calibrated, calibrate, log_size, single_stratum
from codewm.model.scoring.channels import CHANGES, CHANNELS, Edits, Seen, unit_vectors, unresolved
from codewm.model.scoring.combine import evidence, per_commit, posterior, surprise
from codewm.model.scoring.drift import Drift, Own
from codewm.model.scoring.engine_model import ScoringModel
from codewm.model.scoring.gather import measured, past_before
from codewm.model.scoring.landings import Kept, highest
from codewm.model.scoring.loose import loose_ends, sides
from codewm.model.scoring.ngrams import lores_of_tree
from codewm.model.scoring.past import Past, concatenate, empty_past, take
from codewm.model.scoring.reference import Reference, parse_reference
from codewm.model.scoring.report import Calibration, Channel, CommitScore, Neighbour, Report, UnitScore
from codewm.model.scoring.settings import ScoreSettings
from codewm.model.scoring.standing import Matched
from codewm.model.scoring.substitution import NOTHING, Substitutions, substitutions
from codewm.model.scoring.words import words

if TYPE_CHECKING:
    from pathlib import Path

    from codewm.corpus.git import CommitRecord, Repository
    from codewm.corpus.table import EditTable

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """What to score."""

    kind: str = "range"
    """'range', 'staged' or 'worktree'."""
    revisions: str | None = None
    """`A..B` or one revision; None is the last `latest` commits, from the root where there are fewer."""
    latest: int = 20
    merges: str = "first-parent"
    """'first-parent' scores merges against their first parent, 'skip' leaves them out."""


def score(
    repo: Repository,
    target: Target,
    model: ScoringModel,
    settings: ScoreSettings | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> Report:
    """Score the commits (or the staged or work-tree change) that `target` names.

    Raises `UserError` for what cannot be scored; `warn` hears one sentence about each thing that went
    differently.
    """
    settings = settings or ScoreSettings()
    records = select(repo, target)
    base = records[0].parents[0] if records[0].parents and not records[0].boundary else ""
    past, source = past_before(repo, base, model, settings, warn)
    if records[0].boundary:
        # A shallow clone ends here: its own tree is the earliest thing that is known.
        names = names_of_tree(repo, records[0].oid, settings.history)
        lores = lores_of_tree(repo, records[0].oid, settings.tokens)
        past = empty_past(names, from_root=False, lores=lores)
    table = harvest_live(repo, records, window=model.window, action=model.action)
    edits, known = measured(table, past, model, settings, Kept(repo.data_dir / landings.FILE_NAME, model))
    reference, place = _reference(model, past, settings), repo.data_dir / shelf.FILE_NAME
    judged, drift = judge_adapted(edits, table.commits.lines_added, past, reference, settings, place)
    if drift is not None:
        warn(_said(drift, past, settings))
    writer = _Writer(table, edits, known, judged, past, model, settings)
    commits = tuple(writer.commit(c, record) for c, record in enumerate(records))
    return Report(
        repository=repo.identity if base or records[0].oid else "",
        model_source=model.source,
        model_digest=model.digest,
        model_sentence=model.sentence,
        tokenizer_id=core.TOKENIZER_ID,
        action_id=model.action,
        action_names=model.action_names,
        calibration=_calibration(judged, source, drift is not None and drift.is_enough(settings)),
        alert_budget=settings.alert_budget,
        commits=commits[::-1],
    )


def select(repo: Repository, target: Target) -> list[CommitRecord]:
    """List the records to score, oldest first. Raises `UserError` if there are none."""
    if target.kind == "staged":
        record = repo.staged()
        if not record.changes:
            raise UserError("nothing is staged", "stage a change with 'git add', or score a range of commits")
        return [record]
    if target.kind == "worktree":
        record = repo.worktree()
        if not record.changes:
            raise UserError("the work tree has no changes", "edit something, or score a range of commits")
        return [record]
    if target.revisions is None:
        records = list(repo.commits(repo.head(), merges=target.merges, max_count=target.latest))
    else:
        records = list(repo.commits(repo.parse_range(target.revisions), merges=target.merges))
    if not records:
        what = (
            f"'{target.revisions}' holds no commits" if target.revisions else "there are no commits to score"
        )
        raise UserError(what, "write OLDER..NEWER, and '--merges' if there are only merges in it")
    if all(record.boundary for record in records):
        raise UserError(
            "the parent of this commit is missing, because this is a shallow clone",
            "'git fetch --unshallow' brings it (in CI: fetch-depth: 0)",
        )
    return records


@dataclass(frozen=True)
class Judged:
    """What n edits and c commits mean, compared with the past."""

    channels: dict[str, Calibrated]
    surprise: Floats
    """[n] `combine.evidence` as a probability, NaN without anything to compare with."""
    units: Calibrated
    """Of the surprises."""
    score: Floats
    """[c] `combine.per_commit`, as a probability."""
    commits: Calibrated
    """Of the scores, matched on lines added."""
    reference_edits: int
    past_commits: int
    """Scored commits of the repository itself that were compared with."""
    past_edits: int
    """Their edits."""
    own: Own
    """What was compared with, compared with itself."""


def judge(
    edits: Edits,
    lines_added: NDArray[np.int32],
    past: Past,
    reference: Reference | None,
    settings: ScoreSettings,
    since: int = 0,
    place: Path | None = None,
) -> Judged:
    """Turn raw channels into p-values, surprises and scores, compared with the commits of the past from row `since`;
    `place` is where the past's `standing` is kept.
    """
    history, history_lines = _recent(past.edits, settings.calibration.recent_commits, since), past.lines_added
    own_edits, own_commits = len(history), len(distinct(history.commit))
    if reference is not None:
        shift = np.int32(len(history_lines))
        history = concatenate_raw(history, reference.edits, shift)
        history_lines = np.concatenate([history_lines, reference.lines_added])
    cal = settings.calibration
    k = cal.neighbours
    old, new = Matched(history), Matched(edits)
    if place is None:
        stands = standing.standing(history, history_lines, settings)
    else:
        stands = standing.recalled(place, history, history_lines, settings)
    now = {
        name: calibrate(new.sample(edits.channels[:, i]), old.sample(history.channels[:, i]), k, cal)
        for i, name in enumerate(CHANNELS)
    }
    odds = evidence({name: c.p_tail for name, c in now.items()}, settings.combine)
    units = calibrate(new.sample(odds), old.sample(stands.odds), k, cal)
    commits = per_commit(units.p_tail, edits.commit, len(lines_added), settings.combine)
    return Judged(
        channels=now,
        surprise=posterior(odds),
        units=units,
        score=surprise(commits),
        commits=calibrate(
            single_stratum(commits, log_size(lines_added)),
            single_stratum(stands.commits, log_size(history_lines)),
            cal.commit_neighbours,
            cal,
        ),
        reference_edits=0 if reference is None else len(reference.edits),
        past_commits=own_commits,
        past_edits=own_edits,
        own=Own.of(distinct(history.commit), stands),
    )


def judge_adapted(
    edits: Edits,
    lines_added: NDArray[np.int32],
    past: Past,
    reference: Reference | None,
    settings: ScoreSettings,
    place: Path | None = None,
) -> tuple[Judged, Drift | None]:
    """Judge, and where the past has changed its ways, by what came after that alone, if it is enough."""
    judged = judge(edits, lines_added, past, reference, settings, place=place)
    drift = None
    if reference is None:
        drift = drifts.recalled(place, past, judged, settings, partial(judge, place=place))
    if drift is not None and drift.is_enough(settings):
        judged = judge(edits, lines_added, past, None, settings, drift.since, place)
    return judged, drift


def _recent(edits: Edits, commits: int, since: int) -> Edits:
    """The edits of the latest commits that have any, from a row on."""
    scored = distinct(edits.commit)
    first = since if len(scored) <= commits else max(since, int(scored[-commits]))
    return take(edits, np.flatnonzero(edits.commit >= first)) if first > 0 else edits


def concatenate_raw(history: Edits, reference: Edits, shift: np.int32) -> Edits:
    """Put a reference sample behind a history; displacements are left out."""
    from dataclasses import replace

    later = replace(reference, commit=reference.commit + shift)
    nothing = {name: np.empty((len(history), 0), getattr(later, name).dtype) for name in _NOT_COMPARED}
    return concatenate(replace(history, **nothing), later)


_NOT_COMPARED = ("displacement", "net", "action")


def _reference(model: ScoringModel, past: Past, settings: ScoreSettings) -> Reference | None:
    """The base model's sample, where the repository's own past is too short to stand alone."""
    enough = settings.calibration
    if len(past.edits) >= enough.little_edits and len(distinct(past.edits.commit)) >= enough.little_commits:
        return None
    return parse_reference(model.engine.metadata.get("calibration", "{}"))


def _said(drift: Drift, past: Past, settings: ScoreSettings) -> str:
    """One sentence on the change, and what is done about it."""
    moved = " and ".join(reasons.TITLES.get(name, name) for name in drift.channels[:2])
    done = (
        "scores are compared with the commits since then"
        if drift.is_enough(settings)
        else "too few to compare with them alone: until there are more, alerts say little"
    )
    return (
        f"the last {drift.commits} commits look unlike the past that scores are measured against: {drift.alerts} "
        f"alerts where {drift.expected:.1f} were expected; since {past.oids[drift.since][:8]}"
        f"{f' (most in {moved})' if moved else ''}; {done}"
    )


def _calibration(judged: Judged, source: str, changed: bool) -> Calibration:
    commits, edits, more = judged.past_commits, judged.past_edits, judged.reference_edits
    own = f"{commits} past commits ({edits} edits) of this repository"
    if more:
        sentence = f"too little history ({own}): {more} edits of the base model's repositories joined in"
    elif not edits:
        sentence = "there is no history before these commits, and so nothing to compare them with"
    else:
        sentence = f"compared with {own}" + (", those since it changed its ways" if changed else "")
        if commits < 50:
            sentence += ": too little history for more than a hint"
    return Calibration(commits, edits, source, more, sentence)


@dataclass
class _Writer:
    """Puts one run's arrays into the report's words."""

    table: EditTable
    edits: Edits
    known: Seen
    judged: Judged
    past: Past
    model: ScoringModel
    settings: ScoreSettings
    _directions: NDArray[np.float32] = field(init=False)
    _unresolved: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self._directions = unit_vectors(self.past.edits.displacement)
        self._unresolved = unresolved(self.table)

    def commit(self, c: int, record: CommitRecord) -> CommitScore:
        """Report commit `c` of the table."""
        table, judged = self.table, self.judged
        index = np.flatnonzero(self.edits.commit == c)
        rarity = np.nan_to_num(judged.units.p_tail[index], nan=1.0)
        # Most surprising first; ties in the order of the diff.
        index = index[np.argsort(rarity, kind="stable")]
        p = _number(judged.commits.p_value[c])
        allowed, per = self.settings.alert_budget
        alert = p is not None and p <= allowed / per
        units = tuple(self._unit(int(i), rank, alert) for rank, i in enumerate(index))
        said = [f"{u.path}::{u.unit}: {reason}" for u in units for reason in u.reasons]
        return CommitScore(
            oid=record.oid,
            subject=record.subject,
            author_time=record.author_time,
            merge=bool(table.commits.flags[c] & COMMIT_MERGE),
            state=self._state(c, record, len(index)),
            score=_number(judged.score[c]),
            percentile=_number(judged.commits.percentile[c]),
            percentile_size_matched=_number(judged.commits.percentile_matched[c]),
            p_value=p,
            alert=alert,
            lines_added=int(table.commits.lines_added[c]),
            lines_deleted=int(table.commits.lines_deleted[c]),
            reasons=tuple(said[: self.settings.reasons_shown]),
            units=units,
        )

    def _state(self, c: int, record: CommitRecord, edits: int) -> str:
        if self.table.commits.flags[c] & COMMIT_BOUNDARY:
            return "no parent"
        if edits:
            return "scored"
        return "no code" if any(change.is_python for change in record.changes) else "no Python"

    def _unit(self, i: int, rank: int, alert: bool) -> UnitScore:
        table, edits, judged = self.table, self.edits, self.judged
        explain = rank < self.settings.units_explained
        # An alert always has a reason: the strongest channel of its first unit, whatever it says.
        forced = alert and rank == 0
        row = int(edits.row[i])
        action = {n: _short(v) for n, v in zip(self.model.action_names, table.action[row], strict=True)}
        channels = {name: self._channel(name, i) for name in CHANNELS}
        return UnitScore(
            path=table.paths[table.path[row]],
            unit=table.units[table.unit[row]],
            kind=core.KINDS[table.kind[row]],
            change=CHANGES[edits.change[i]],
            test=bool(edits.test[i]),
            lines=(int(table.lines[row, 0]), int(table.lines[row, 1])),
            first_changed_line=int(table.first_changed_line[row]),
            tokens_added=int(table.tokens_added[row]),
            tokens_removed=int(table.tokens_removed[row]),
            action=action,
            surprise=_number(judged.surprise[i]),
            percentile=_number(judged.units.percentile[i]),
            percentile_size_matched=_number(judged.units.percentile_matched[i]),
            displacement=_short(edits.length[i]),
            predicted_displacement=_short(edits.predicted[i]),
            channels=channels,
            reasons=self._reasons(i, row, channels, forced) if explain else (),
            neighbours=self._neighbours(i) if explain else (),
        )

    def _channel(self, name: str, i: int) -> Channel:
        calibrated = self.judged.channels[name]
        return Channel(
            raw=_number(self.edits.channels[i, CHANNELS.index(name)]),
            percentile=_number(calibrated.percentile[i]),
            percentile_size_matched=_number(calibrated.percentile_matched[i]),
            p_value=_number(calibrated.p_value[i]),
        )

    def _reasons(self, i: int, row: int, channels: dict[str, Channel], forced: bool) -> tuple[str, ...]:
        """One sentence for each channel that finds the edit unusual, the strongest first."""
        judged = self.judged.channels
        known = [(float(judged[n].p_tail[i]), n) for n, c in channels.items() if c.p_value is not None]
        known.sort()
        speaking = [n for _, n in known if (channels[n].p_value or 0.0) <= self.settings.speaks]
        if forced and not speaking:
            speaking = [known[0][1]]
        return tuple(self._say(name, i, row, channels[name]) for name in speaking)

    def _say(self, name: str, i: int, row: int, channel: Channel) -> str:
        """What one channel has to say about edit `i`."""
        raw, percentile = channel.raw or 0.0, channel.percentile_size_matched or 0.0
        if name == "new_identifiers":
            return reasons.new_identifiers(self.table, self.known, self._unresolved, row)
        if name == "displacement":
            median = float(self.judged.channels[name].median[i])
            return reasons.displacement(raw, median, CHANGES[self.edits.change[i]])
        if name == "doubt":
            return reasons.doubt(percentile)
        if name == "novelty":
            return reasons.novelty(raw, not self.edits.net[i].any())
        if name == "shape":
            return reasons.shape(percentile)
        if name == "repetition":
            return reasons.repetition(raw)
        if name == "substitution":
            k = self._substitutions.strangest(i)
            return reasons.substitution(self._substitutions, k, percentile, *self._substituted(k, row))
        if name == "transposition":
            return reasons.transposition(raw)
        if name == "loose_ends":
            return reasons.loose_ends(loose_ends(*sides(self.table, row)))
        if name == "message":
            return reasons.message(percentile, self._strange_words(int(self.edits.commit[i])))
        say = {
            "bits_added": reasons.added_bits,
            "bits_removed": reasons.removed_bits,
            "syntax": reasons.syntax,
        }
        return say[name](raw, percentile, self._costly(name, i, row))

    def _costly(self, name: str, i: int, row: int) -> list[str]:
        """The words for the tokens that cost an edit most."""
        table, came = self.table, name != "bits_removed"
        tokens = table.state((table.after if came else table.before)[row])
        bits = self.known.syntax if name == "syntax" else self.known.words
        part = slice(int(table.name_offsets[row]), int(table.name_offsets[row + 1]))
        names = [table.names[k] for k in table.name_ids[part]] if name == "bits_added" else []
        return words(tokens, *(bits.added if came else bits.removed).of(i), names, reasons.NAMES_SHOWN)

    def _strange_words(self, c: int) -> list[str]:
        """Words of a commit's message that go least with what it touched."""
        row = len(self.past) + c
        date = np.array([row], np.int64)
        found = message.surprises([self._told[row]], date, self._told, self.settings.messages)[0]
        strange = sorted((w for w in found if found[w] > 0), key=lambda w: (-found[w], w))
        return strange[: reasons.NAMES_SHOWN]

    @cached_property
    def _told(self) -> list[message.Told]:
        """What was said of the commits of the past, and of these behind them."""
        return [*message.of_past(self.past), *message.of_table(self.table, self.edits)]

    @cached_property
    def _substitutions(self) -> Substitutions:
        words = self.known.words
        return substitutions(self.table, self.edits.row, words.added, words.removed)

    def _substituted(self, k: int, row: int) -> tuple[str, str]:
        """The words for the old and the new token of a substitution; '' where there is none."""
        found, table = self._substitutions, self.table
        part = slice(int(table.name_offsets[row]), int(table.name_offsets[row + 1]))
        names, one = [table.names[n] for n in table.name_ids[part]], np.ones(1, np.float32)
        places = (found.gone[k], found.come[k]) if k >= 0 else (NOTHING, NOTHING)
        gone, come = (
            words(state, np.array([place], np.int32), one, names, 1) if place != NOTHING else []
            for state, place in zip(sides(table, row), places, strict=True)
        )
        return "".join(gone), "".join(come)

    def _neighbours(self, i: int) -> tuple[Neighbour, ...]:
        """The past edits whose displacements point most nearly the same way."""
        if not len(self._directions) or self._directions.shape[1] == 0:
            return ()
        direction = unit_vectors(self.edits.displacement[i : i + 1])[0]
        similarity = self._directions @ direction
        nearest = highest(similarity, self.settings.neighbours_shown)
        past = self.past
        return tuple(
            Neighbour(
                oid=past.oids[past.edits.commit[j]],
                subject=past.subjects[past.edits.commit[j]],
                path=past.paths[past.path[j]],
                unit=past.units[past.unit[j]],
                similarity=_short(similarity[j]),
            )
            for j in nearest
        )


def _short(value: float | np.floating) -> float:
    """Keep four significant digits: the rest is noise, and differs between machines."""
    return float(f"{float(value):.4g}")


def _number(value: float | np.floating) -> float | None:
    return None if np.isnan(value) else float(f"{float(value):.6g}")
