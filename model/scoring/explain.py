"""A commit, or the change at hand, in; why each of its units is or is not unusual here out, as plain values.

    score ─► Report ─┐
    its past ────────┼► channel, tokens, movement, nearest past edits and their fate, what would have been usual
    the whole table ─┘

The past is what came before the commit; what became of past edits is what is known now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.errors import UserError
from codewm.corpus.history import harvest_live, replay
from codewm.model.scoring.calibrate import calibrate, log_size, single_stratum
from codewm.model.scoring.channels import CHANGES, CHANNELS, unit_vectors
from codewm.model.scoring.evidence import SOURCES, Scene, Token
from codewm.model.scoring.fate import UNKNOWN, Fate, Fates
from codewm.model.scoring.gather import past_before
from codewm.model.scoring.landings import FILE_NAME, Kept, landings
from codewm.model.scoring.report import CommitScore, Report, UnitScore
from codewm.model.scoring.score import Target, score, select
from codewm.model.scoring.settings import ScoreSettings

if TYPE_CHECKING:
    from codewm.corpus.git import Repository
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.engine_model import ScoringModel
    from codewm.model.scoring.past import Past

F32 = NDArray[np.float32]
# In 100.
_FEW = 10.0
NOTABLE = 90.0
"""Size-matched percentile of a commit from which it is worth a word."""


@dataclass(frozen=True)
class ExplainSettings:
    """How much is explained."""

    units: int = 3
    """Most surprising units."""
    nearest: int = 5
    """Past edits that moved the same way."""
    usual: int = 3
    """Past edits that moved as the prediction does."""
    near: float = 0.3
    """Past edits less like the prediction than this are no example of what is usual."""
    tokens: int = 6
    """Tokens with the largest share."""
    least_edits: int = 20
    """With fewer past edits of the same sort, nothing is said about what is usual for them."""


@dataclass(frozen=True)
class PastEdit:
    """An edit of this repository's past, and what became of it."""

    oid: str
    subject: str
    path: str
    unit: str
    change: str
    kind: str
    similarity: float
    """Cosine of its displacement with what it is compared with."""
    fate: Fate
    time: int | None
    """Unix seconds; None where the chains do not hold it."""
    added: int | None
    """Tokens."""
    removed: int | None


@dataclass(frozen=True)
class Movement:
    """Where an edit took its unit, against where it was expected to."""

    ratio: float
    """Length of the actual displacement over that of the predicted one."""
    ratio_usual: float | None
    """Median of past edits of this sort and size; None with too few of them."""
    agreement: float
    """Cosine of the two."""
    agreement_usual: float | None
    agreement_below: float | None
    """How many in 100 such edits agreed less."""
    sentence: str


@dataclass(frozen=True)
class Fired:
    """One channel's finding on one unit."""

    channel: str
    percentile: float | None
    percentile_size_matched: float | None
    fired: bool
    """It finds the edit unusual enough to give a reason."""
    tokens: tuple[Token, ...]
    """Those with the largest share, where the channel knows them and fired."""


@dataclass(frozen=True)
class UnitExplanation:
    """One unit."""

    unit: UnitScore
    channels: tuple[Fired, ...]
    """Strongest first."""
    movement: Movement | None
    """None where there is nothing to compare with, or nothing moved."""
    nearest: tuple[PastEdit, ...]
    usual: tuple[PastEdit, ...]


@dataclass(frozen=True)
class Explanation:
    """Everything `codewm explain` has to say."""

    report: Report
    """Of this one commit."""
    verdict: str
    abstains: str
    """Why nothing more can be said; '' if it can."""
    units: tuple[UnitExplanation, ...]
    next_step: str

    @property
    def commit(self) -> CommitScore:
        """The commit explained."""
        return self.report.commits[0]


def explain(
    repo: Repository,
    target: Target,
    model: ScoringModel,
    fates: Callable[[], Fates],
    settings: ScoreSettings | None = None,
    wanted: ExplainSettings | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> Explanation:
    """Explain one commit (or the staged or work-tree change). `fates` is only called if there is a past.

    Raises `UserError` for what cannot be scored, and for a range.
    """
    wanted = wanted or ExplainSettings()
    settings = replace(settings or ScoreSettings(), neighbours_shown=wanted.nearest)
    if target.revisions is not None and ".." in target.revisions:
        raise UserError(f"'{target.revisions}' is a range", "name one commit; 'codewm score' takes ranges")
    report = score(repo, target, model, settings, warn)
    commit = report.commits[0]
    abstains = _abstains(report)
    units: tuple[UnitExplanation, ...] = ()
    if commit.units:
        (record,) = select(repo, target)
        base = record.parents[0] if record.parents and not record.boundary else ""
        past, _ = past_before(repo, base, model, settings, warn)
        table = harvest_live(repo, [record], window=model.window, action=model.action)
        chosen = commit.units[: wanted.units]
        known = fates() if len(past.edits) else None
        kept = Kept(repo.data_dir / FILE_NAME, model)  # `score` has just seen them
        writer = _Writer(table, past, model, settings, wanted, known, chosen, kept)
        units = tuple(writer.unit(i) for i in range(len(chosen)))
    return Explanation(
        report, _verdict(commit, abstains), abstains, units, _next_step(commit, units, abstains)
    )


class _Writer:
    """Puts the units of one commit into words."""

    def __init__(
        self,
        table: EditTable,
        past: Past,
        model: ScoringModel,
        settings: ScoreSettings,
        wanted: ExplainSettings,
        fates: Fates | None,
        units: tuple[UnitScore, ...],
        kept: Kept,
    ) -> None:
        self._past, self._settings, self._wanted, self._fates = past, settings, wanted, fates
        self._units = units
        self._rows = np.array([_row_of(table, u) for u in units], np.int64)
        landed = landings(model.engine, table, self._rows, settings.threads, kept)
        self._actual, self._predicted = landed[:2]
        self._scene = Scene(table, replay(past.names, table), settings.names)
        self._history = unit_vectors(past.edits.displacement)

    def unit(self, i: int) -> UnitExplanation:
        """Explain the i-th of the units."""
        unit = self._units[i]
        return UnitExplanation(
            unit, self._channels(i), self._movement(i), self._nearest(unit), self._usual(i, unit)
        )

    def _channels(self, i: int) -> tuple[Fired, ...]:
        found = []
        for name, channel in self._units[i].channels.items():
            if channel.raw is None:
                continue
            fired = channel.p_value is not None and channel.p_value <= self._settings.speaks
            tokens: tuple[Token, ...] = ()
            if name in SOURCES and (fired or channel.p_value is None):
                tokens = tuple(SOURCES[name](self._scene, int(self._rows[i]))[: self._wanted.tokens])
            found.append(Fired(name, channel.percentile, channel.percentile_size_matched, fired, tokens))
        return tuple(sorted(found, key=lambda f: -(f.percentile_size_matched or 0.0)))

    def _movement(self, i: int) -> Movement | None:
        actual, predicted = self._actual[i].astype(np.float64), self._predicted[i].astype(np.float64)
        length, expected = float(np.linalg.norm(actual)), float(np.linalg.norm(predicted))
        if length == 0 or expected == 0:
            return None
        ratio, agreement = length / expected, float(actual @ predicted) / (length * expected)
        ratios, agreements, sizes = self._alike(self._units[i].change)
        usual: tuple[float | None, float | None, float | None] = (None, None, None)
        if len(ratios) >= self._wanted.least_edits:
            size = log_size(np.array([self._units[i].tokens_added + self._units[i].tokens_removed]))
            cal = self._settings.calibration

            def against(value: float, values: NDArray[np.float64]) -> tuple[float, float]:
                among = calibrate(
                    single_stratum(np.array([value]), size),
                    single_stratum(values, sizes),
                    cal.neighbours,
                    cal,
                )
                return float(among.median[0]), float(among.percentile_matched[0])

            middle, below = against(agreement, agreements)
            usual = (against(ratio, ratios)[0], middle, below)
        return Movement(ratio, usual[0], agreement, usual[1], usual[2], _moved(ratio, agreement, usual))

    def _alike(self, change: str) -> tuple[NDArray[np.float64], ...]:
        """Length ratios, agreements and sizes of the past edits of one sort.

        The cosine follows from the three lengths that are kept: |d|, |d_hat| and |d - d_hat|.
        """
        edits = self._past.edits
        kept = (edits.change == CHANGES.index(change)) & (edits.length > 0) & (edits.predicted > 0)
        d, p = edits.length[kept].astype(np.float64), edits.predicted[kept].astype(np.float64)
        r = edits.channels[kept, CHANNELS.index("displacement")]
        cosine = np.clip((d**2 + p**2 - r**2) / (2 * d * p), -1.0, 1.0)
        return d / p, cosine, log_size(edits.size[kept])

    def _nearest(self, unit: UnitScore) -> tuple[PastEdit, ...]:
        return tuple(
            self._past_edit(
                n.oid, n.subject, n.path, n.unit, n.similarity, *self._sort(n.oid, n.path, n.unit)
            )
            for n in unit.neighbours
        )

    def _usual(self, i: int, unit: UnitScore) -> tuple[PastEdit, ...]:
        """The past edits of this sort that moved most nearly as this one was expected to."""
        past, edits = self._past, self._past.edits
        # What was expected of a function is said by edits of functions, and of tests by tests, if there are enough.
        sort = edits.change == CHANGES.index(unit.change)
        for finer in (edits.test == unit.test, edits.kind == core.KINDS.index(unit.kind)):
            if (sort & finer).sum() >= self._wanted.least_edits:
                sort = sort & finer
        kept = np.flatnonzero(sort)
        if len(kept) < self._wanted.least_edits or not np.any(self._predicted[i]):
            return ()
        similarity = self._history[kept] @ unit_vectors(self._predicted[i : i + 1])[0]
        order = np.argsort(-similarity, kind="stable")
        found: list[PastEdit] = []
        for k in order:
            if similarity[k] < self._wanted.near:
                break
            j = int(kept[k])
            oid = past.oids[past.edits.commit[j]]
            if any(e.oid == oid for e in found):
                continue  # one of each commit: the edits of a sweep are all alike
            found.append(
                self._past_edit(
                    oid, past.subjects[edits.commit[j]], past.paths[past.path[j]], past.units[past.unit[j]],
                    float(f"{similarity[k]:.4g}"), CHANGES[edits.change[j]], core.KINDS[edits.kind[j]],
                )
            )  # fmt: skip
            if len(found) == self._wanted.usual:
                break
        return tuple(found)

    def _sort(self, oid: str, path: str, unit: str) -> tuple[str, str]:
        past = self._past
        c = past.position[oid]
        low, high = np.searchsorted(past.edits.commit, [c, c + 1])
        for j in range(int(low), int(high)):
            if past.units[past.unit[j]] == unit and past.paths[past.path[j]] == path:
                return CHANGES[past.edits.change[j]], core.KINDS[past.edits.kind[j]]
        raise AssertionError("a neighbour is not in the past it came from")

    def _past_edit(
        self, oid: str, subject: str, path: str, unit: str, similarity: float, change: str, kind: str
    ) -> PastEdit:
        fate, found = UNKNOWN, None
        if self._fates is not None:
            fate, found = self._fates.edit(oid, path, unit), self._fates.describe(oid, path, unit)
        time, added, removed = found if found is not None else (None, None, None)
        return PastEdit(oid, subject, path, unit, change, kind, similarity, fate, time, added, removed)


def _row_of(table: EditTable, unit: UnitScore) -> int:
    for i in np.flatnonzero((table.flags & core.FLAG_NOOP) == 0):
        same = table.units[table.unit[i]] == unit.unit and table.paths[table.path[i]] == unit.path
        if same and tuple(table.lines[i].tolist()) == unit.lines:
            return int(i)
    raise AssertionError("a scored unit is not among the edits it came from")


def _moved(ratio: float, agreement: float, usual: tuple[float | None, float | None, float | None]) -> str:
    """Say how far and which way an edit went, against its expectation."""
    ratio_usual, agreement_usual, below = usual
    far = "as far as expected" if 0.95 <= ratio < 1.05 else f"{ratio:.1f}x as far as expected"
    if ratio_usual is not None:
        far += f" (usual for such edits here: {ratio_usual:.1f}x)"
    agrees = f"agreement {agreement:.2f} of 1"
    if agreement_usual is not None and below is not None:
        agrees += f", usual {agreement_usual:.2f}"
        if below <= _FEW:
            way = f"in another direction than expected: {below:.0f} of 100 such edits agree less"
        elif below >= 100 - _FEW:
            way = "more nearly in the expected direction than nearly all such edits"
        else:
            way = "about as much in the expected direction as such edits usually are"
    elif agreement >= 0.5:
        way = "mostly in the expected direction"
    else:
        way = "partly in the expected direction" if agreement >= 0.2 else "in another direction than expected"
    return f"It took the code {far}, {way} ({agrees})."


def _abstains(report: Report) -> str:
    calibration = report.calibration
    if calibration.commits >= 50 and calibration.edits >= 100:
        return ""
    if not calibration.edits:
        return "There is no history before this commit, and so nothing to compare it with."
    return (
        f"Too little history to say what is usual here: {calibration.commits} past commits with "
        f"{calibration.edits} edits, and it takes 50 with 100. Read what follows as a hint."
    )


def _verdict(commit: CommitScore, abstains: str) -> str:
    if commit.state != "scored":
        return {
            "no Python": "No Python file changed: nothing to say.",
            "no code": "Comments or formatting only: no code changed, nothing to say.",
            "no parent": "The parent is missing, because this is a shallow clone: nothing to compare.",
        }[commit.state]
    at_size, overall = commit.percentile_size_matched, commit.percentile
    if at_size is None or overall is None:
        return "Nothing can be said about it."
    word = (
        "Unusual here" if commit.alert else "Somewhat unusual here" if at_size >= NOTABLE else "Ordinary here"
    )
    if abstains:
        word = "No verdict"
    return (
        f"{word}: more unusual than {int(at_size)} of 100 past commits of its size, "
        f"and than {int(overall)} of 100 of any size."
    )


def _next_step(commit: CommitScore, units: tuple[UnitExplanation, ...], abstains: str) -> str:
    if not units:
        return ""
    first = units[0]
    where = f"{first.unit.path}:{first.unit.first_changed_line}"
    if abstains:
        return f"Judge it by reading it; {where} is where it differs most from what was expected."
    if not commit.alert and (commit.percentile_size_matched or 0.0) < NOTABLE:
        return "Nothing here asks for a second look on these grounds. That is no proof that it is right."
    bad = [n for n in first.nearest if n.fate.is_bad]
    step = f"Look at {where} first"
    if bad:
        what = {"fixed": "had to be fixed", "reverted": "was reverted", "undone": "was undone"}[
            bad[0].fate.what
        ]
        step += f"; a similar edit {what}: 'git show {bad[0].fate.by[:10]}'"
    return step + ". Unusual is not wrong."
