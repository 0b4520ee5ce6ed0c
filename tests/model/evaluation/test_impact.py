"""Claims about `codewm eval impact`, on a real repository with habits:

1. Every kind of question has rows with nulls and intervals; what co-change answers perfectly, we answer, too.
2. A null that knows nothing is at its expected luck; a question's commits are asked about by what came before.
3. Questions hide only what existed; a sweep asks none; a new file may be shown but is never to be found.
4. It is run by the command line, with a table and JSON.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from codewm.model.evaluation.impact import Answers, _luck, _rows
from codewm.model.impact.past import GONE
from codewm.model.impact.replay import changed_files, questions, questions_about_tests, unit_questions
from tests.helpers import GitRepo, run_cli
from tests.impact.shop import checks, fill, module
from tests.impact.test_past import number, read


@pytest.fixture
def repo(git_repo: GitRepo) -> GitRepo:
    return fill(git_repo)


def test_the_suite_on_a_clone(repo: GitRepo, tmp_path: Path) -> None:
    place = tmp_path / "r.json"
    ran = run_cli("eval", "impact", "--resamples", "30", "--json", str(place), cwd=repo.path)
    assert ran.status == 0, ran.err
    assert "file hit 3" in ran.out
    document = json.loads(place.read_text())
    rows = {(r["metric"], r["subset"]): r for r in document["rows"] if not r["data"]}
    first = rows["file_hit_1", "one: all"]
    assert first["value"] == 1.0
    assert first["nulls"]["confidence"] == 1.0
    assert 0 < first["nulls"]["random"] < 1
    assert first["interval"] == [1.0, 1.0]
    assert rows["file_recall_1", "tests: all"]["value"] == 1.0
    assert ("unit_hit_3", "one: all") in rows
    assert ("file_called_missing", "finished: all") in rows
    assert ("file_coverage", "one: all") in rows


def test_luck_is_that_of_drawing() -> None:
    assert _luck(10, 1, 3) == pytest.approx(0.3)
    assert _luck(4, 2, 1) == pytest.approx(0.5)
    assert _luck(3, 1, 5) == 1.0
    rng = np.random.default_rng(0)
    drawn = [bool((rng.permutation(8)[:3] < 2).any()) for _ in range(4000)]
    assert _luck(8, 2, 3) == pytest.approx(float(np.mean(drawn)), abs=0.03)


def test_only_what_existed_is_hidden(git_repo: GitRepo) -> None:
    git_repo.commit("begin", {"a.py": module("a", 1), "b.py": module("b", 1)})
    git_repo.commit("new", {"a.py": module("a", 2), "c.py": module("c", 1)})
    git_repo.commit("sweep", {f"m{i}.py": module(f"m{i}", 1) for i in range(40)})
    git_repo.commit("both", {"a.py": module("a", 3), "b.py": module("b", 3), "test_a.py": checks("a", 1)})
    past = read(git_repo)
    asked = {q.commit: [] for g in questions(past, 0, len(past)) for q in g}
    for group in questions(past, 0, len(past)):
        for q in group:
            before = past.paths_before(q.commit)
            assert (before[q.hidden] != GONE).all()
            asked[q.commit].append(len(q.hidden))
    # The first commit hides nothing that existed, the second what was there when the new file is shown.
    assert asked == {1: [1], 3: [1, 1, 2]}
    assert len(list(questions_about_tests(past, 0, len(past)))) == 0
    assert changed_files(past, 1)[1].tolist() == [number(past, "a.py")]


def test_units_of_one_commit_are_asked_about(repo: GitRepo) -> None:
    past = read(repo)
    groups = list(unit_questions(past, 5, len(past)))
    assert groups
    for group in groups:
        for q in group:
            chain = past.edits[2][q.edit]
            assert chain not in q.hidden
            assert past.edits[0][q.edit] == q.commit


def test_rows_compare_on_the_same_questions() -> None:
    answers = Answers()
    right = np.array([False, True, False, False])
    for commit in range(20):
        answers.add(
            {"": np.array([1, 0]), "confidence": np.array([0, 1]), "rose": np.array([], np.int64)},
            right,
            4,
            commit,
        )
        answers.subset.append("known pairs" if commit % 2 else "unanswered")
        answers.best.append(0.5)
    rows = {(r.metric, r.subset): r for r in _rows(answers, "file one", "", 30, ("all", "unanswered"))}
    assert rows["file_hit_1", "one: all"].value == 1.0
    assert rows["file_hit_1", "one: all"].nulls == pytest.approx(
        {"confidence": 0.0, "rose": 0.0, "random": 0.25}
    )
    assert rows["file_hit_3", "one: all"].nulls["confidence"] == 1.0
    assert rows["file_mrr", "one: all"].nulls["confidence"] == 0.5
    assert rows["file_hit_1", "one: unanswered"].n == 10
    assert rows["file_hit_1", "one: all"].beats == ["confidence", "rose", "random"]
    assert rows["file_coverage", "one: all"].nulls["rose"] == 0.0
