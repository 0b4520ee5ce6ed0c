"""A past in, what suggestions and test selections would have been worth over its latest commits out.

Observation comes before any gate: what is replayed is this repository, each commit by what was known before it.
The tests that a commit needed are not known; the test files that it changed stand in for them.
"""

from __future__ import annotations

import numpy as np

from codewm.model.impact.missing import missing
from codewm.model.impact.past import Past
from codewm.model.impact.rank import rank_files
from codewm.model.impact.replay import MOST_FILES, changed_files, questions, questions_about_tests
from codewm.model.impact.report import Curve, Missed, Observed
from codewm.model.impact.settings import ImpactSettings
from codewm.model.impact.signals import Known, View

POINTS = (1, 2, 3, 5, 10, 20, 50)
"""Numbers of test files that a selection may have."""
HITS = (1, 3, 5)


def observe(past: Past, settings: ImpactSettings) -> Observed:
    """Replay the latest commits that change two Python files or more."""
    first = _start(past, settings.replay, least=2)
    asked = answered = 0
    hits = dict.fromkeys(HITS, 0)
    for group in questions(past, first, len(past)):
        view = View(past, group[0].commit)
        for question in group:
            ranked = rank_files(view, Known.of(past, question.commit, question.shown))
            asked += 1
            if float(ranked.chances.max(initial=0.0)) < settings.abstain_below:
                continue
            answered += 1
            right = np.isin(ranked.order[: max(HITS)], question.hidden)
            for k in HITS:
                hits[k] += bool(right[:k].any())
    finished = needless = 0
    for commit in range(_start(past, settings.replay, least=1), len(past)):
        files, _ = changed_files(past, commit)
        if 1 <= len(files) <= MOST_FILES:
            view = View(past, commit)
            ranked = rank_files(view, Known.of(past, commit, files))
            finished += 1
            needless += bool(missing(view, files, ranked, settings))
    curve, missed = replay_tests(past, settings)
    return Observed(
        commits=len(past) - first,
        questions=asked,
        answered=answered,
        hits=tuple((k, n / max(answered, 1)) for k, n in hits.items()),
        finished=finished,
        needless=needless,
        curve=curve,
        missed=missed,
        selection=settings.tests,
    )


def replay_tests(past: Past, settings: ImpactSettings) -> tuple[Curve, tuple[Missed, ...]]:
    """Of the latest commits that change code and tests: how many of the tests the first k of a selection hold."""
    asked = list(questions_about_tests(past, 0, len(past)))[-settings.replay :]
    found = np.zeros((len(asked), len(POINTS)))
    every = []
    missed = []
    for row, question in enumerate(asked):
        view = View(past, question.commit)
        tests = view.exists & past.path_table.collected[view.path]
        ranked = rank_files(view, Known.of(past, question.commit, question.shown), tests)
        right = np.isin(ranked.order, question.hidden)
        every.append(len(ranked.order))
        for i, k in enumerate(POINTS):
            found[row, i] = right[:k].sum() / len(question.hidden)
        late = ranked.order[settings.tests :][right[settings.tests :]]
        if len(late):
            paths = tuple(past.paths[view.path[f]] for f in late)
            missed.append(Missed(past.oids[question.commit], paths))
    recall = tuple(zip(POINTS, found.mean(0).tolist(), strict=True)) if asked else ()
    return Curve(len(asked), recall, float(np.mean(every)) if every else 0.0), tuple(missed[::-1])


def _start(past: Past, commits: int, least: int) -> int:
    """The commit from which so many change at least `least` Python files."""
    touching = np.flatnonzero(past.python_sizes >= least)
    return int(touching[-commits]) if len(touching) >= commits else int(touching[0]) if len(touching) else 0
