"""Claims:

1. The latest fifth by time is held out, without no-ops and without pairs that are also fitted on; nulls are fitted on
   what is earlier.
2. A limit draws whole commits, of each repository, and the same ones each time.
3. Alternatives have the same repository and label and another next state.
4. Siblings are other states of the same unit, next to the edit in its chain.
5. A divided corpus is used as it says.
6. Two models meet the same edits: nothing here depends on one. Other tokenisers and mixed actions are refused.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import codewm_core
from codewm.corpus.division import HELD_OUT, TRAIN, Division, Reason
from codewm.corpus.errors import UserError
from codewm.corpus.table import EditTable, Origin
from codewm.model.evaluation.held_out import Source, hold_out
from tests.model.synthetic import edit_table


def tokens(edits, state: int) -> list[int]:
    return edits.tokens[edits.offsets[state] : edits.offsets[state + 1]].tolist()


def stored(table: EditTable, state: int) -> list[int]:
    return table.tokens[table.offsets[state] : table.offsets[state + 1]].tolist()


def test_the_latest_fifth() -> None:
    table = edit_table(500)
    held_out = hold_out([Source("a", table)])
    usable = (table.flags & codewm_core.FLAG_NOOP) == 0
    late = np.flatnonzero(usable & (np.arange(500) >= 399))  # whole commits of three edits
    edits = held_out.edits
    assert 0 < len(edits) <= len(late)
    assert edits.commit.min() >= 133
    pairs = {
        (tuple(tokens(edits, b)), tuple(tokens(edits, a)))
        for b, a in zip(edits.before, edits.after, strict=True)
    }
    fit = held_out.fit
    known = {
        (tuple(tokens(fit, b)), tuple(tokens(fit, a))) for b, a in zip(fit.before, fit.after, strict=True)
    }
    assert not pairs & known
    assert all(b != a for b, a in pairs)
    assert fit.commit.max() < edits.commit.min()
    assert (
        held_out.about["held out"] + held_out.about["no-op"] + held_out.about["also in the fitted part"]
        == (held_out.about["edits"])
    )
    times = fit.commit[held_out.watched]
    assert times.min() >= np.quantile(fit.commit, 0.85)


def test_states_are_those_of_the_table() -> None:
    table = edit_table(200)
    held_out = hold_out([Source("a", table)])
    expected = {(int(c), tuple(stored(table, b)), tuple(stored(table, a)))
                for c, b, a in zip(table.commit, table.before, table.after, strict=True)}  # fmt: skip
    e = held_out.edits
    for c, b, a in zip(e.commit, e.before, e.after, strict=True):
        assert (int(c), tuple(tokens(e, b)), tuple(tokens(e, a))) in expected


def test_a_limit_draws_whole_commits_of_each_repository() -> None:
    sources = [Source("a", edit_table(900)), Source("b", edit_table(600, seed=1))]
    whole, drawn = hold_out(sources), hold_out(sources, limit=30)
    for r in (0, 1):
        assert 20 < (drawn.edits.repository == r).sum() <= 30
    sizes = dict(zip(*np.unique(whole.edits.commit, return_counts=True), strict=True))
    for commit, count in zip(*np.unique(drawn.edits.commit, return_counts=True), strict=True):
        assert sizes[commit] == count
    again = hold_out(sources, limit=30)
    assert np.array_equal(drawn.edits.commit, again.edits.commit)
    assert drawn.repositories == ["a", "b"]
    assert not set(drawn.edits.commit[drawn.edits.repository == 0]) & set(
        drawn.edits.commit[drawn.edits.repository == 1]
    )


def test_alternatives() -> None:
    held_out = hold_out([Source("a", edit_table(900)), Source("b", edit_table(600, seed=1))])
    e, label, other = held_out.edits, held_out.label, held_out.alternatives
    assert len(set(label.tolist())) >= 3
    i, k = np.nonzero(other >= 0)
    j = other[i, k]
    assert (label[i] == label[j]).all()
    assert (e.repository[i] == e.repository[j]).all()
    assert (e.after[i] != e.after[j]).all()
    deleted = e.group == 2  # all of them lead to the empty state
    assert (other[deleted] == -1).all()
    assert (other[~deleted] >= 0).any(1).all()


def test_siblings() -> None:
    table = edit_table(300)
    chain = np.arange(300, dtype=np.int32) // 10
    table = replace(table, chain=chain, step=np.arange(300, dtype=np.int32) % 10)
    held_out = hold_out([Source("a", table)])
    e = held_out.edits
    row = {
        (int(table.commit[i]), tuple(stored(table, table.before[i])), tuple(stored(table, table.after[i]))): i
        for i in range(300)
    }
    seen = 0
    for i in range(len(e)):
        at = row[int(e.commit[i]), tuple(tokens(e, e.before[i])), tuple(tokens(e, e.after[i]))]
        before1, after1, before2, after2 = held_out.siblings[i]
        for state, place, column in (
            (before1, at - 1, table.before), (after1, at + 1, table.after),
            (before2, at - 2, table.before), (after2, at + 2, table.after),
        ):  # fmt: skip
            if state >= 0:
                seen += 1
                assert chain[place] == chain[at]
                assert tokens(e, state) == stored(table, column[place])
                assert state not in (e.before[i], e.after[i])
            elif 0 <= place < 300 and chain[place] == chain[at]:
                ruled = (table.before[at], table.after[at])
                assert column[place] in ruled or stored(table, column[place]) == [codewm_core.EMPTY]
    assert seen > 50


def divided(table: EditTable) -> EditTable:
    """Two repositories of half the commits each, the second one held out."""
    half = len(table.commits) // 2
    commits = replace(table.commits, repository=(np.arange(len(table.commits)) >= half).astype(np.int32))
    boundary = np.array([half - 20, len(table.commits) - 20], np.int32)
    division = Division(
        role=np.array([TRAIN, HELD_OUT], np.uint8), boundary=boundary,
        boundary_time=commits.committer_time[boundary], reason=np.full(len(table), Reason.KEPT, np.uint8),
        rules=json.dumps({"hold_out": 0.2}),
    )  # fmt: skip
    origins = tuple(Origin(f"{i}", f"{i}", f"{i}", f"x/{i}", half) for i in range(2))
    return replace(table, commits=commits, repositories=origins, division=division)


def test_a_divided_corpus() -> None:
    table = divided(edit_table(600))
    held_out = hold_out([Source("corpus", table)])
    assert held_out.repositories == ["x/0", "x/1"]
    assert set(held_out.edits.repository.tolist()) == {1}
    assert held_out.edits.commit.min() >= len(table.commits) - 20
    assert held_out.fit.commit.max() < len(table.commits) // 2 - 20
    late = hold_out([Source("corpus", table)], part="late")
    assert set(late.edits.repository.tolist()) == {0}
    with pytest.raises(UserError, match="part 'train'"):
        hold_out([Source("corpus", table)], part="train")
    with pytest.raises(UserError, match="divided"):
        hold_out([Source("a", edit_table(100))], part="late")


def test_what_is_refused() -> None:
    table = edit_table(100)
    with pytest.raises(UserError, match="tokeniser"):
        hold_out([Source("a", replace(table, tokenizer_id="other"))])
    with pytest.raises(UserError, match="v7"):
        hold_out([Source("a", table), Source("b", replace(table, action_id="v7"))])
