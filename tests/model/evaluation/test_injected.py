"""Claims, on a real repository:

1. Victims are held-out edits of functions, each by itself: their states are those of the store.
2. A corruption on top begins where the real edit began, one alone begins where it ended; both end in what the real
   edit did not.
3. Lines added are those of the one function.
4. A score that knows what is corrupted has 1 in every row, a constant 0.5, and the untrained kinds are a part.
   The critic's doubt has rows of its own, with the residual's length and its doubt of the action alone among its
   nulls.
5. A corpus finds its clones by name; a clone that lacks the commits gives nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import codewm_core
from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest
from codewm.corpus.store import read_store
from codewm.corpus.table import EditTable
from codewm.model.evaluation import injected as injection
from codewm.model.evaluation.held_out import Edits, Source, hold_out, rows_of
from codewm.model.evaluation.injected import FORMS, Injected, inject
from codewm.model.evaluation.injection import KINDS
from tests.helpers import GitRepo
from tests.model.evaluation.repository import build
from tests.scoring.random_model import write_random_model


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    return build(tmp_path_factory.mktemp("clone") / "repo", commits=60)


@pytest.fixture(scope="module")
def table(clone: GitRepo) -> EditTable:
    with Repository.open(clone.path) as repository:
        options = Options(window=256, action="v15", merges="first-parent", jobs=1)
        return read_store(harvest(repository, options).path).table


@pytest.fixture(scope="module")
def made(clone: GitRepo, table: EditTable) -> Injected:
    found = inject([Source("repo", table, {"repo": clone.path})], 6, "v15", 256, threads=1)
    assert found is not None
    return found


def state(edits: Edits, i: int, side: str) -> bytes:
    s = getattr(edits, side)[i]
    return edits.tokens[edits.offsets[s] : edits.offsets[s + 1]].tobytes()


def test_victims_are_held_out_edits(table: EditTable, made: Injected) -> None:
    held, _ = rows_of(table, None)
    stored = set()
    for row in held.tolist():
        tokens, offsets = table.states([table.before[row], table.after[row]])
        stored.add((int(table.commit[row]), tokens[: offsets[1]].tobytes(), tokens[offsets[1] :].tobytes()))
    real = np.flatnonzero(made.kind < 0)
    assert len(real) > 8
    for i in real.tolist():
        assert (
            int(made.edits.commit[i]),
            state(made.edits, i, "before"),
            state(made.edits, i, "after"),
        ) in stored


def test_where_corruptions_begin_and_end(made: Injected) -> None:
    real = {}
    for i in np.flatnonzero(made.kind < 0).tolist():
        key = int(made.edits.commit[i])
        real.setdefault(key, []).append((state(made.edits, i, "before"), state(made.edits, i, "after")))
    seen = set()
    for i in np.flatnonzero(made.kind >= 0).tolist():
        before, after = state(made.edits, i, "before"), state(made.edits, i, "after")
        form = FORMS[made.form[i]]
        seen.add((list(KINDS)[made.kind[i]], form))
        victims = real[int(made.edits.commit[i])]
        assert before in [v[0] if form == "on top" else v[1] for v in victims]
        assert before != after
        if form == "alone":
            assert after not in [v[1] for v in victims if v[1] == before]
    assert {kind for kind, _ in seen} == set(KINDS)
    assert {form for _, form in seen} == set(FORMS)


def test_lines_added_are_those_of_the_function(made: Injected) -> None:
    names = list(KINDS)
    alone = made.form == FORMS.index("alone")
    assert (made.lines_added[(made.kind == names.index("leave")) & alone] == 1).all()
    assert (made.lines_added[(made.kind == names.index("drop")) & alone] <= 1).all()  # a `pass`, at most
    assert (made.lines_added[(made.kind == names.index("mutate")) & alone] == 1).all()
    assert (made.lines_added[made.kind < 0] <= 3).all()  # though a commit changes several functions


def test_the_rows(made: Injected) -> None:
    suspect = (made.kind >= 0).astype(float)
    values = np.stack([suspect, np.zeros(len(suspect)), -suspect, suspect], 1)
    names = ["", "constant", "doubt", "doubt_of_action"]
    tallies = injection.tally(made, names, values, ["repo"], 50)
    rows = {(r.metric, r.subset): r for tally in tallies for r in tally.rows}
    doubted = {key: row for key, row in rows.items() if key[0].startswith(injection.DOUBT)}
    assert {(injection.DOUBT + m, s) for m, s in rows if (m, s) not in doubted} == set(doubted)
    for key, row in rows.items():
        if key in doubted:
            assert (row.value, row.interval) == (0, (0, 0))
            assert row.nulls == {"residual": 1, "constant": 0.5, "doubt_of_action": 1}
        else:
            assert (row.value, row.nulls, row.interval) == (1, {"constant": 0.5}, (1, 1))
    every = rows["injected_auroc_size_matched", "kinds"].more["kinds"]
    untrained = rows["injected_auroc_size_matched_unseen", "kinds"].more["kinds"]
    assert untrained == [k for k in every if not KINDS[k.split(", ")[0]].trained]
    assert 0 < len(untrained) < len(every)
    noise = np.random.default_rng(0).random((len(suspect), 2))
    by_kind = injection.tally(made, ["", "doubt"], noise, ["repo"], 0)[0].rows
    for metric in injection.METRICS:
        mean = next(r for r in by_kind if r.subset == "kinds" and r.metric == metric)
        each = [r.value for r in by_kind if "trained" in r.more and r.metric == metric]
        assert mean.value == pytest.approx(np.mean(each))
        assert mean.interval is None


def test_each_size_is_worth_nothing_where_it_is_matched(made: Injected) -> None:
    few = made.lines_added <= 5, made.tokens_changed <= 5
    sizes = [np.where(few[0], made.lines_added, 9), np.where(few[1], made.tokens_changed, 9)]
    values = np.stack([*sizes, np.zeros(len(made.edits))], 1)
    tallies = injection.tally(made, ["", "tokens", "doubt"], values.astype(float), ["repo"], 0)
    for row in (r for t in tallies for r in t.rows if not r.metric.startswith(injection.DOUBT)):
        if row.metric.startswith("injected_auroc_size"):
            assert row.value == 0.5
        else:
            assert row.nulls["tokens"] == 0.5


def test_scores_of_a_model(made: Injected, table: EditTable, tmp_path: Path) -> None:
    from codewm.model.evaluation.readings import Reader, read

    engine = codewm_core.Engine.from_file(write_random_model(tmp_path / "m.safetensors"))
    reader = Reader(engine, "v15", 1)
    known = read(reader, hold_out([Source("repo", table)])).fitted
    names, values = injection.scores(reader, made, known)
    assert names[0] == ""
    assert {"doubt", "copy", "linear_map", "lines_added", "tokens_changed"} <= set(names)
    assert values.shape == (len(made.edits), len(names))
    e = made.edits
    f, read_there = engine.read(e.tokens, e.offsets, e.before, e.action)
    before, after = f[e.before], f[e.after]
    d = engine.target(after) - engine.target(before)
    residual = d - engine.predict(before, read_there, e.action)
    np.testing.assert_allclose(values[:, 0], np.linalg.norm(residual, axis=1), rtol=1e-4)
    doubt = engine.doubt(before, after, residual, e.action)
    np.testing.assert_allclose(values[:, names.index("doubt")], doubt, atol=1e-5)
    # Of the action alone: everything else is another edit's.
    alone = values[:, names.index("doubt_of_action")]
    assert not np.allclose(alone, doubt, atol=1e-3)
    some = range(0, len(e), 7)
    every = engine.doubt(
        *(np.tile(x, (len(some), 1)) for x in (before, after, residual)),
        np.repeat(e.action[some], len(e), 0),
    ).reshape(len(some), len(e))
    assert (np.abs(every - alone[some, None]).min(1) < 1e-4).all()


def test_clones_that_are_not_the_ones(table: EditTable, tmp_path: Path) -> None:
    other = GitRepo(tmp_path / "other")
    other.commit("one", {"a.py": "x = 1\n"})
    assert inject([Source("repo", table, {"repo": other.path})], 6, "v15", 256, threads=1) is None
    assert inject([Source("repo", table, {"else": other.path})], 6, "v15", 256, threads=1) is None
