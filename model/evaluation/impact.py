"""Clones in, how well the rest of a commit is found from a part of it out, beside co-change and other nulls.

Of each repository, the commits of the latest fifth by time are asked about, each by what was known before it.
Protocols: `one` shows one file (or unit) of a commit, and the others are to be found (leave all but one out; this is
ROSE's question for a single change, Zimmermann et al., ICSE 2004); `rest` shows all but one, and that one is to be
found; `tests` shows all files but the tests, and the changed test files are to be found. What did not exist before
the commit is never to be found. Intervals and margins are over commits.

Subsets of questions: `all`; `unanswered`, where nothing that exists ever changed together with what is shown, so that
co-change has no answer at all; `new pairs`, where co-change may have an answer but none of the right ones; `known
pairs`, the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.errors import UserError
from codewm.model.evaluation.metrics import Row, Tally
from codewm.model.evaluation.result import Outcome
from codewm.model.impact.missing import missing
from codewm.model.impact.past import Past
from codewm.model.impact.rank import Ranked, rank_files, rank_units
from codewm.model.impact.reading import empty_past, extended
from codewm.model.impact.replay import (
    Question,
    UnitQuestion,
    changed_files,
    questions,
    questions_about_tests,
    unit_questions,
)
from codewm.model.impact.settings import ImpactSettings
from codewm.model.impact.signals import F64, SIGNALS, Known, View
from codewm.model.impact.unit_signals import UnitView, units_of

if TYPE_CHECKING:
    from codewm.model.evaluation.held_out import Source
    from codewm.model.evaluation.result import Emit, Request

SHARE = 0.2
"""Latest commits that are asked about."""
HITS = (1, 3, 5, 10)
RECALLS = (1, 3, 5, 10, 20)
ROSE = (3, 0.1)
"""Support and confidence at least, of the rival's rules."""
SUBSETS = ("all", "unanswered", "new pairs", "known pairs")
_COLUMN = {name: i for i, name in enumerate(SIGNALS)}
_NEVER = 10**9
T = TypeVar("T")


@dataclass
class Answers:
    """Ranks of the first right answer, by method, and what kind of question it was: lists of q."""

    rank: dict[str, list[int]] = field(default_factory=dict)
    chance: list[tuple[int, int]] = field(default_factory=list)
    """How many candidates there were, and how many of them right."""
    commit: list[int] = field(default_factory=list)
    subset: list[str] = field(default_factory=list)
    best: list[float] = field(default_factory=list)
    """Our chance of the first of the list."""
    recall: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)

    def add(
        self, orders: Mapping[str, NDArray[np.int64]], right: NDArray[np.bool_], among: int, commit: int
    ) -> None:
        """Note where each method's list [r] has its first right answer, and its recall at `RECALLS`."""
        total = int(right.sum())
        for name, order in orders.items():
            hits = right[order]
            where = np.flatnonzero(hits[:1000])
            self.rank.setdefault(name, []).append(int(where[0]) + 1 if len(where) else _NEVER)
            recalls = tuple(float(hits[:k].sum()) / total for k in RECALLS)
            self.recall.setdefault(name, []).append(recalls)
        self.chance.append((among, total))
        self.commit.append(commit)


def run(request: Request, emit: Emit) -> Outcome:
    """Ask all questions of all clones. Raises `UserError` where a source has no clone."""
    outcome = Outcome("impact", {"weights": "fitted on training repositories"}, data=[])
    pools: dict[str, list[tuple[str, Answers]]] = {}
    quiet: list[tuple[str, F64, NDArray[np.int64]]] = []
    for source in request.sources:
        for name, place in _clones(source):
            past = _past(source, place)
            first = _first(past)
            request.say(f"{name}: {len(past)} commits, {len(past) - first} of them to ask about")
            found = {
                "file one": _files(past, first, request.limit, all_but_one=False),
                "file rest": _files(past, first, request.limit, all_but_one=True),
                "file tests": _tests(past, first, request.limit),
                "unit one": _units(past, first, request.limit // 2),
            }
            for protocol, answers in found.items():
                pools.setdefault(protocol, []).append((name, answers))
                if answers.commit:
                    rows = _rows(answers, protocol, name, request.resamples, ("all",))
                    outcome.rows += rows
                    emit(rows)
            quiet.append((name, *_needless(past, first, request.limit)))
            outcome.data.append(
                {"name": name, "commits": len(past), "asked": {k: len(a.commit) for k, a in found.items()}}
            )
    for protocol, parts in pools.items():
        whole = _pooled(parts)
        if whole.commit:
            rows = _rows(whole, protocol, "", request.resamples, SUBSETS if "one" in protocol else ("all",))
            outcome.rows += rows
            emit(rows)
    rows = _needless_rows(quiet, request.resamples)
    outcome.rows += rows
    emit(rows)
    outcome.about = {"share": SHARE, "hits": HITS, "recalls": RECALLS, "rose": ROSE}
    outcome.notes.append(
        "Known pairs and new pairs are told apart by the answer: nobody knows beforehand which it will be."
    )
    return outcome


def _clones(source: Source) -> list[tuple[str, Path]]:
    if not source.clones:
        raise UserError(f"'{source.name}' has no clone beside it", "name clones, or add --clones FOLDER")
    return [(name, place) for name, place in source.clones.items() if name in source.repositories]


def _past(source: Source, place: Path) -> Past:
    from codewm.corpus.git import Repository

    with Repository.open(place) as repo:
        tips = {o.tip for o in source.table.repositories}
        head = repo.head()
        tip = head if head in tips or not tips else next((t for t in tips if repo.has(t)), head)
        return extended(empty_past(source="chains"), repo.commits(tip), source.table)


def _first(past: Past) -> int:
    """The first commit that is asked about: of those that change Python files, the latest fifth follows."""
    touching = np.unique(past.edits[0])
    if len(touching) < 10:
        return len(past)
    return int(touching[int(len(touching) * (1 - SHARE))])


def _files(past: Past, first: int, limit: int, *, all_but_one: bool) -> Answers:
    answers = Answers()
    for group in _drawn(list(questions(past, first, len(past), all_but_one=all_but_one)), limit):
        view = View(past, group[0].commit)
        for question in group:
            if all_but_one and len(question.shown) < 2:
                continue  # the same question as with one shown
            known = Known.of(past, question.commit, question.shown)
            _answer(answers, view, known, question, rank_files(view, known))
    return answers


def _tests(past: Past, first: int, limit: int) -> Answers:
    answers = Answers()
    for question in _drawn([[q] for q in questions_about_tests(past, first, len(past))], limit):
        view = View(past, question[0].commit)
        known = Known.of(past, question[0].commit, question[0].shown)
        among = past.path_table.collected[view.path] & view.exists
        _answer(answers, view, known, question[0], rank_files(view, known, among))
    return answers


def _answer(answers: Answers, view: View, known: Known, question: Question, ranked: Ranked) -> None:
    """Rank by us and by every null."""
    right = np.zeros(len(ranked.scores), np.bool_)
    right[question.hidden] = True
    right &= ranked.candidates
    if not right.any():
        return
    past, until = view.past, view.until
    count = np.zeros(past.files)
    confidence = np.zeros(past.files)
    for file in known.files:
        commits = past.commits_of_file.values(int(file), until)
        _, others = past.together(commits)
        support = np.bincount(others, minlength=past.files).astype(np.float64)
        count += support
        confidence = np.maximum(confidence, support / max(len(commits), 1))
    recent = -view.last_change
    like = ranked.rows[:, _COLUMN["stem_words"]] + 0.5 * ranked.rows[:, _COLUMN["same_folder"]]
    rules = (count >= ROSE[0]) & (confidence >= ROSE[1])
    held = ranked.candidates
    answers.add(
        {
            "": ranked.order,
            "confidence": _ordered(held & (count > 0), confidence, recent),
            "confidence_then_recency": _ordered(held, confidence, recent),
            "count": _ordered(held & (count > 0), count, recent),
            "rose": _ordered(held & rules, confidence, count),
            "recency": _ordered(held, recent, count),
            "path": _ordered(held, like, recent),
        },
        right,
        int(held.sum()),
        question.commit,
    )
    answers.subset.append(_subset(count, held, right))
    answers.best.append(float(ranked.chances.max()))


def _units(past: Past, first: int, limit: int) -> Answers:
    answers = Answers()
    for group in _drawn(list(unit_questions(past, first, len(past))), limit):
        files, units = View(past, group[0].commit), UnitView(past, group[0].commit)
        for question in group:
            known = Known.of_unit(past, question.commit, question.edit)
            ranked = rank_units(units, known, rank_files(files, known))
            _answer_unit(answers, units, known, question, ranked)
    return answers


def _answer_unit(
    answers: Answers, view: UnitView, known: Known, question: UnitQuestion, ranked: Ranked
) -> None:
    right = np.zeros(len(ranked.scores), np.bool_)
    right[question.hidden] = True
    right &= ranked.candidates
    if not right.any():
        return
    past = view.past
    commits = past.commits_of_unit.values(int(known.units[0]), view.until)
    _, others = units_of(past, commits)
    count = np.bincount(others, minlength=past.chains).astype(np.float64)
    recent = -view.last_change
    here = np.isin(view.file, known.files).astype(np.float64)
    held = ranked.candidates
    answers.add(
        {
            "": ranked.order,
            "confidence": _ordered(held & (count > 0), count, recent),
            "confidence_then_recency": _ordered(held, count, recent),
            "rose": _ordered(held & (count >= ROSE[0]) & (count >= ROSE[1] * len(commits)), count, recent),
            "recency": _ordered(held, recent, here),
            "same_file": _ordered(held, here, recent),
            "same_file_then_confidence": _ordered(held, here + 2 * (count > 0) * count, recent),
        },
        right,
        int(held.sum()),
        question.commit,
    )
    answers.subset.append(_subset(count, held, right))
    answers.best.append(float(ranked.chances.max()))


def _subset(count: F64, held: NDArray[np.bool_], right: NDArray[np.bool_]) -> str:
    if not (count[held] > 0).any():
        return "unanswered"
    return "known pairs" if (count[right] > 0).any() else "new pairs"


def _ordered(held: NDArray[np.bool_], first: F64, then: F64) -> NDArray[np.int64]:
    """Candidates by one value, ties by another; what is still tied in order of their numbers, so oldest first."""
    index = np.flatnonzero(held)
    order: NDArray[np.int64] = index[np.lexsort((-then[index], -first[index]))]
    return order


def _drawn(groups: list[list[T]], limit: int) -> list[list[T]]:
    """Whole commits, drawn until they have `limit` questions; the same ones every time."""
    if sum(map(len, groups)) <= limit:
        return groups
    order = np.random.default_rng(5).permutation(len(groups))
    kept, total = [], 0
    for i in order:
        if total + len(groups[i]) > limit:
            break
        total += len(groups[i])
        kept.append(int(i))
    return [groups[i] for i in sorted(kept)]


def _pooled(parts: Sequence[tuple[str, Answers]]) -> Answers:
    whole = Answers()
    base = 0
    for _, one in parts:
        for name, ranks in one.rank.items():
            whole.rank.setdefault(name, []).extend(ranks)
            whole.recall.setdefault(name, []).extend(one.recall[name])
        whole.chance += one.chance
        whole.commit += [c + base for c in one.commit]
        whole.subset += one.subset
        whole.best += one.best
        base += max(one.commit, default=0) + 1
    return whole


def _rows(answers: Answers, protocol: str, data: str, resamples: int, subsets: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    level, _, kind = protocol.partition(" ")
    ranks = {name: np.array(r) for name, r in answers.rank.items()}
    subset = np.array(answers.subset)
    commit = np.array(answers.commit, np.int64)
    for name in subsets:
        asked = np.ones(len(commit), np.bool_) if name == "all" else subset == name
        if not asked.any():
            continue
        tally = Tally(commit[asked], subset=f"{kind}: {name}", data=data, resamples=resamples)
        share = float(asked.mean())
        for k in HITS:
            per = {m: (r[asked] <= k).astype(np.float64) for m, r in ranks.items()}
            per["random"] = np.array([_luck(*c, k) for c, a in zip(answers.chance, asked, strict=True) if a])
            tally.mean(f"{level}_hit_{k}", per, share=share)
        tally.mean(f"{level}_mrr", {m: 1.0 / r[asked] for m, r in ranks.items()}, share=share)
        if kind == "tests":
            for i, k in enumerate(RECALLS):
                per = {m: np.array(v)[asked, i] for m, v in answers.recall.items()}
                tally.mean(f"{level}_recall_{k}", per)
        if name == "all":
            _abstention(tally, ranks, np.array(answers.best), level)
        rows += tally.rows
    return rows


def _abstention(tally: Tally, ranks: Mapping[str, NDArray[np.int64]], best: F64, level: str) -> None:
    """How often something is said, and how often the first of what is said, and one of the first three, is right.

    The rival that abstains, too, is ROSE's rules: it says something where a rule holds.
    """
    said = best >= ImpactSettings().abstain_below if level == "file" else best >= 0
    ruled = ranks["rose"] < _NEVER
    tally.mean(f"{level}_coverage", {"": said.astype(np.float64), "rose": ruled.astype(np.float64)})
    for k in (1, 3):
        right = (ranks[""] <= k).astype(np.float64)
        tally.mean(f"{level}_precision_{k}", {"": np.where(said, right, np.nan)})
    # How far the chance that is shown is from what is seen.
    if level == "file":
        first = (ranks[""] <= 1).astype(np.float64)
        tally.mean(
            "file_calibration_gap",
            {"": np.where(said, first - best, np.nan)},
        )


def _luck(candidates: int, right: int, k: int) -> float:
    """The chance that k of them drawn at random hold a right one."""
    return 1.0 - comb(candidates - right, k) / comb(candidates, k) if k < candidates else 1.0


def _needless(past: Past, first: int, limit: int) -> tuple[F64, NDArray[np.int64]]:
    """Per finished commit, whether a file is called missing: nothing was, as far as anyone knows (ROSE's closure)."""
    called: list[float] = []
    commits: list[int] = []
    for commit in range(first, len(past)):
        files, _ = changed_files(past, commit)
        if 1 <= len(files) <= ImpactSettings().most_files and len(called) < limit:
            view = View(past, commit)
            ranked = rank_files(view, Known.of(past, commit, files))
            called.append(float(len(missing(view, files, ranked, ImpactSettings())) > 0))
            commits.append(commit)
    return np.array(called), np.array(commits, np.int64)


def _needless_rows(parts: Sequence[tuple[str, F64, NDArray[np.int64]]], resamples: int) -> list[Row]:
    rows: list[Row] = []
    base = 0
    called: list[F64] = []
    commits: list[NDArray[np.int64]] = []
    for name, values, commit in parts:
        if len(values):
            tally = Tally(commit, subset="finished: all", data=name, resamples=resamples)
            tally.mean("file_called_missing", {"": values})
            rows += tally.rows
            called.append(values)
            commits.append(commit + base)
            base += int(commit.max()) + 1
    if called:
        tally = Tally(np.concatenate(commits), subset="finished: all", resamples=resamples)
        tally.mean("file_called_missing", {"": np.concatenate(called)})
        rows += tally.rows
    return rows
