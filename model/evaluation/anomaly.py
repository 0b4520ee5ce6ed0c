"""Clones in, the open benchmark of anomaly scores out: what was spoilt, reverted and fixed, against what scores said.

The latest part of each first-parent history is scored as of its dates (`replay`), by codewm, by each of its channels
alone, by the rivals (`baselines`) and by whatever is read from files; what is made of that is in `anomaly_figures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.errors import UserError
from codewm.corpus.history import HistoryLimit
from codewm.corpus.split import HOLD_OUT, boundaries
from codewm.corpus.szz import SzzOptions
from codewm.model.evaluation import baselines, kept, label_files
from codewm.model.evaluation.anomaly_figures import (
    FEW,
    INJECTED,
    injected_rows,
    natural_rows,
    plain_rows,
    pool,
)
from codewm.model.evaluation.cases import REAL
from codewm.model.evaluation.held_out import Source
from codewm.model.evaluation.label_files import Label
from codewm.model.evaluation.metrics import Row
from codewm.model.evaluation.natural import NATURAL, inducing, labels_of, reverted
from codewm.model.evaluation.replay import (
    SURPRISE,
    Scored,
    Window,
    blocks_around,
    joined,
    replay,
    replay_blocks,
    window_of,
)
from codewm.model.evaluation.result import Chart, Emit, Outcome, Request, chart_of
from codewm.model.scoring.channels import CHANNELS
from codewm.model.scoring.engine_model import BASE_NAME, ScoringModel, load_model
from codewm.model.scoring.settings import ScoreSettings

VERSION = 1
"""Of what is kept: replays by another one are done again."""
CHANCE = 0.5
FATES = {"szz": "fixed", "revert": "reverted"}
AROUND = {"reverts": "revert"}
"""What `--around` takes, and the labels that it is about."""
SEEN = ("unseen", "late", "trained")
"""Of repositories the model was not trained on; of others, the latest fifth, which it was not trained on, and the rest.
"""


@dataclass(frozen=True)
class AnomalySettings:
    """What `--set KEY=VALUE` can change."""

    share: float = 0.2
    """Latest part of each repository's edits that is scored."""
    block: int = 50
    """Commits that are scored by one past."""
    szz_max_age_days: float = SzzOptions.max_age_days
    szz_max_files: int = SzzOptions.max_files
    past: int = HistoryLimit.commits
    """Commits that touch Python, before a block, that are read for it. What is compared with are the latest 200."""


def settings_of(request: Request) -> AnomalySettings:
    """Read `--set`. Raises `UserError` for what is unknown or out of range."""
    known = {f.name: type(f.default) for f in fields(AnomalySettings)}
    given = {k: v for k, v in request.settings.items() if k != "device"}
    for key, value in given.items():
        if key not in known:
            raise UserError(f"this suite has no setting '{key}'", f"one of {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int if known[key] is int else int | float):
            raise UserError(f"'{value}' is no value for {key}", "give a number")
    settings = AnomalySettings(**given)
    if not 0 < settings.share < 1 or settings.block < 1 or settings.past < 1:
        raise UserError("share must be between 0 and 1, block and past at least 1", "leave --set away")
    return settings


def run(request: Request, emit: Emit) -> Outcome:
    """The suite."""
    chosen = settings_of(request)
    if request.around is not None and request.around not in AROUND:
        raise UserError(f"there are no blocks around '{request.around}'", f"one of {', '.join(AROUND)}")
    scoring = ScoreSettings(threads=request.threads, history=HistoryLimit(commits=chosen.past))
    for source in request.sources:
        if not source.clones or len(source.repositories) > 1:
            raise UserError(f"'{source.name}' is no clone", "this suite replays clones: name those")
    choice = request.models[0] if request.models else BASE_NAME
    model = load_model(request.sources[0].clones[request.sources[0].repositories[0]], choice)
    outcome = Outcome("anomaly", {"name": choice, "digest": model.digest, "config": model.engine.config}, [])
    outcome.about = {**asdict(chosen), "limit": request.limit, "injections": request.injections,
                     "resamples": request.resamples, "around": request.around,
                     "channels": list(CHANNELS)}  # fmt: skip
    real, made, labels = _replayed(request, chosen, scoring, model, outcome)
    names = baselines.names()
    for path in request.scores:
        read = label_files.read_scores(path)
        name = path.stem
        real = label_files.with_scores(real, name, read)
        if any(unit for _, _, unit, _ in read):
            made = label_files.with_scores(made, name, read)
        names.append(name)
    if request.labels is not None:
        label_files.write(request.labels, _rows_of(real, made, labels), made)
        outcome.notes.append(f"labels and cases written to {request.labels}")
    commits, cases = pool(real), pool(made)
    request.say(f"comparing {len(commits):,} commits and {len(cases):,} cases")
    for rows in (
        plain_rows(commits, request.resamples, scoring.alert_budget, names),
        injected_rows(made, cases, request.resamples, names),
    ):
        outcome.rows += rows
        emit(rows)
    seen = np.concatenate([_seen(model, s, done) for s, done in zip(request.sources, real, strict=True)])
    for kind in _kinds_of(request):
        positive = np.concatenate(
            [labels_of(s.oid, found[kind]) for s, found in zip(real, labels, strict=True)]
        )
        rows = natural_rows(kind, commits, positive, request.resamples, names)
        if not rows:
            outcome.notes.append(f"{kind}: no scored commit is labelled, nothing to compare")
        elif positive.sum() < FEW:
            outcome.notes.append(
                f"{kind}: {positive.sum()} positives are too few to tell anything from chance"
            )
        parts = np.unique(seen)
        for part in parts if len(parts) > 1 else ():
            held = seen == part
            name = f"{kind}_{SEEN[part]}"
            # A repository that has both parts is two: what was trained on is not compared with what was not.
            mine = natural_rows(name, commits.take(held), positive[held], request.resamples, names)
            rows += [r for r in mine if not r.data]
        outcome.rows += rows
        emit(rows)
    outcome.notes += _verdicts(outcome.rows)
    if find_spec("sklearn") is None:
        outcome.notes.append(
            "scikit-learn is not installed: no isolation forest, nothing fitted with lines added "
            "(pip install 'codewm[risk]')"
        )
    outcome.charts = _charts(outcome.rows)
    return outcome


def _kinds_of(request: Request) -> tuple[str, ...]:
    """The label sets that are reported: around the commits of one, only that one is."""
    return NATURAL if request.around is None else (AROUND[request.around],)


def _seen(model: ScoringModel, source: Source, scored: Scored) -> NDArray[np.int64]:
    """[n] index into `SEEN` of each scored commit: what the model was trained on it says itself."""
    table = source.table
    trained = {s.get("root") for s in model.trained_on if s.get("role") != "held-out"}
    root = table.repositories[0].root if table.repositories else None
    if root is None or root not in trained:
        return np.zeros(len(scored), np.int64)
    row = {oid: i for i, oid in enumerate(table.commits.oid)}
    first = int(boundaries(table, HOLD_OUT)[0])
    return np.array([1 if row[oid] >= first else 2 for oid in scored.oid], np.int64)


Found = dict[str, set[str]]
"""Commits that are positive, by label set."""


def _replayed(
    request: Request, chosen: AnomalySettings, scoring: ScoreSettings, model: ScoringModel, outcome: Outcome
) -> tuple[list[Scored], list[Scored], list[Found]]:
    """Score every repository, or read what was scored before."""
    real, made, labels = [], [], []
    options = SzzOptions(chosen.szz_max_age_days, chosen.szz_max_files)
    for source in request.sources:
        table = source.table
        window = window_of(table, chosen.share, request.limit)
        found = {"revert": reverted(table), "szz": set[str]()}
        if "szz" in _kinds_of(request):
            found["szz"] = inducing(source, options)
        around = None if request.around is None else found[AROUND[request.around]]
        first, second = _one(request, source, window, chosen, scoring, model, around)
        real.append(first)
        made.append(second)
        labels.append(found)
        origin = table.repositories[0] if table.repositories else None
        outcome.data.append(
            {
                "name": source.repositories[0],
                **({} if origin is None else {"root": origin.root, "tip": origin.tip}),
                "first": table.commits.oid[window.first],
                "last": table.commits.oid[window.last],
                "commits": len(first),
                "cases": len(second),
                **{kind: int(labels_of(first.oid, found[kind]).sum()) for kind in _kinds_of(request)},
            }
        )
    return real, made, labels


def _one(
    request: Request,
    source: Source,
    window: Window,
    chosen: AnomalySettings,
    scoring: ScoreSettings,
    model: ScoringModel,
    around: set[str] | None,
) -> tuple[Scored, Scored]:
    name = source.repositories[0]
    commits = source.table.commits
    blocks = None
    if around is not None:
        blocks = blocks_around(source.table, window, chosen.block, around, request.limit)
    place = None
    if request.work is not None:
        ends = commits.oid[0], commits.oid[window.first], commits.oid[window.last]
        place = kept.path_of(
            request.work, VERSION, model.digest, name, ends, chosen.block, request.injections,
            repr(scoring), CHANNELS, baselines.names(), baselines.BaselineSettings(),
            *(() if blocks is None else (blocks,)),
        )  # fmt: skip
        read = kept.load(place)
        if read is not None:
            request.say(f"{name}: replayed before")
            return read
    if blocks is not None:
        request.say(f"{name}: replaying {len(blocks)} blocks of {chosen.block} commits")
        both = replay_blocks(source, blocks, model, scoring), joined(name, [])
    else:
        request.say(f"{name}: replaying {window.last - window.first + 1:,} commits")
        both = replay(source, window, model, scoring, block=chosen.block, injections=request.injections)
    if place is not None:
        kept.save(place, *both)
    return both


def _rows_of(real: Sequence[Scored], made: Sequence[Scored], labels: Sequence[Found]) -> list[Label]:
    rows = []
    for fold, (commits, cases, found) in enumerate(zip(real, made, labels, strict=True)):
        for kind in NATURAL:
            marks = labels_of(commits.oid, found[kind]).tolist()
            rows += [
                Label(commits.repository, oid, "", kind, int(mark), fold)
                for oid, mark in zip(commits.oid, marks, strict=True)
            ]
        rows += [
            Label(
                cases.repository,
                oid,
                label_files.unit_of(case),
                label_files.kind_of(case),
                int(case.kind != REAL),
                fold,
            )
            for oid, case in zip(cases.oid, cases.case, strict=True)
        ]
    return rows


def _verdicts(rows: Sequence[Row]) -> list[str]:
    """What cannot be told from chance once size is matched, said outright; of the surprise in a sentence."""
    out = [_evidence(rows, kind, fate) for kind, fate in FATES.items()]
    out = [said for said in out if said]
    for metric in (INJECTED, *(f"{kind}_auroc_size_matched" for kind in NATURAL)):
        mine = [r for r in rows if r.metric == metric and not r.data and r.interval is not None]
        chance = [r.subset for r in mine if r.interval and r.interval[0] <= CHANCE <= r.interval[1]]
        below = [r.subset for r in mine if r.interval and r.interval[1] < CHANCE]
        if chance:
            out.append(f"{metric}: not told from chance: {', '.join(chance)}")
        if below:
            out.append(f"{metric}: below chance: {', '.join(below)}")
    return out


def _evidence(rows: Sequence[Row], kind: str, fate: str) -> str:
    """What the surprise is worth, for one set of labels; '' where it was not compared."""

    def of(metric: str) -> Row | None:
        found = (r for r in rows if (r.metric, r.subset, r.data) == (f"{kind}_{metric}", SURPRISE, ""))
        return next(found, None)

    at_size, gain = of("auroc_size_matched"), of("auroc_added_to_lines")
    if at_size is None or at_size.interval is None:
        return ""
    low, high = at_size.interval
    worth = "some evidence" if low > CHANCE else "no evidence"
    said = f"surprise is {worth} that a commit will be {fate}: "
    said += f"AUROC at size {at_size.value:.2f}, {low:.2f} to {high:.2f}"
    if gain is not None and gain.interval is not None:
        said += (
            f"; it adds {gain.value:+.3f} ({gain.interval[0]:+.3f} to {gain.interval[1]:+.3f}) to lines added"
        )
    return said


def _charts(rows: Sequence[Row]) -> list[Chart]:
    out = []
    for metric in (INJECTED, *(f"{kind}_auroc_size_matched" for kind in NATURAL)):
        mine = [r for r in rows if r.metric == metric and not r.data]
        chart = chart_of(mine, metric, metric.replace("_", " "), "AUROC", by="subset")
        if chart is not None:
            out.append(chart)
    return out
