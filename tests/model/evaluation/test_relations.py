"""Claims, on a real repository:

1. A message cites issues as #123, GH-123 or by a link; steps, colours and parts of words are no issues.
2. Commits that cite the same issue belong together; a revert belongs to what it reverts, not to what that cites.
3. Renaming, reordering, extracting, inlining and moving are found in the commits that did them, and nowhere else.
4. The text of an edit is the unit's own source before and after; of a class without its methods, of what is not there
   '', of what has no clone None.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import codewm_core as core
from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest
from codewm.corpus.store import read_store
from codewm.model.evaluation import refactoring, relations
from codewm.model.evaluation.held_out import Source
from codewm.model.evaluation.sources import Texts, cut, texts_of
from tests.helpers import GitRepo
from tests.model.evaluation.related import build, text


def source_of(repo: GitRepo) -> Source:
    with Repository.open(repo.path) as repository:
        options = Options(window=256, action="v15", merges="first-parent", jobs=1)
        table = read_store(harvest(repository, options).path).table
    return Source(repo.path.name, table, {table.repositories[0].name: repo.path})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, dict[str, int]]:
    repo, done = build(tmp_path_factory.mktemp("clone") / "repo")
    source = source_of(repo)
    return source, {what: source.table.commits.oid.index(oid) for what, oid in done.items()}


@pytest.mark.parametrize(
    ("message", "numbers"),
    [
        ("fix #123 and (#45), GH-67", {123, 45, 67}),
        ("see https://example.org/a/b/issues/99 and /pull/1234", {99, 1234}),
        ("step #1, colour #ff0012, abc#12, &#39; v1-23", set()),
        ("#012 is no number", set()),
    ],
)
def test_what_a_message_cites(message: str, numbers: set[int]) -> None:
    assert relations.cited(message) == numbers


def test_issues_and_reverts(built: tuple[Source, dict[str, int]]) -> None:
    source, at = built
    messages = relations.messages_of(source)
    assert "Fixes #41." in messages[at["again"]]
    issues = relations.issues_of(source, messages)
    assert issues == {
        at["first"]: {(0, 41)}, at["again"]: {(0, 41)}, at["rename"]: {(0, 77)}, at["inline"]: {(0, 77)}
    }  # fmt: skip
    assert relations.reverted_by(source) == {at["revert"]: at["first"]}
    without = relations.messages_of(Source("repo", source.table))
    assert without == source.table.commits.subject


def test_refactorings(built: tuple[Source, dict[str, int]]) -> None:
    source, at = built
    table = source.table
    rows = np.arange(len(table))
    found = refactoring.kinds_of(table, rows)
    seen = {
        (int(table.commit[row]), table.units[table.unit[row]], refactoring.KINDS[kind])
        for row, kind in zip(rows.tolist(), found.tolist(), strict=True)
        if kind != refactoring.NONE
    }
    assert seen == {
        (at["rename"], "work_a", "rename"),
        (at["back"], "work_a", "rename"),
        (at["reorder"], "work_a", "reorder"),
        (at["again"], "work_a", "reorder"),
        (at["extract"], "measure", "extract"),
        (at["inline"], "measure", "inline"),
        (at["move"], "work_a", "move"),
    }


def test_texts_are_the_units_own(built: tuple[Source, dict[str, int]]) -> None:
    source, at = built
    table = source.table
    texts = texts_of(source, np.arange(len(table)))
    of = {(int(c), table.units[u]): t for c, u, t in zip(table.commit, table.unit, texts, strict=True)}
    whole = text("a")
    assert of[at["start"], "work_a"] == Texts("", whole[whole.index("def ") :].rstrip("\n"))
    assert of[at["first"], "work_a"].after == of[at["revert"], "work_a"].before
    assert of[at["extract"], "measure"].after.startswith("def measure(items")
    assert of[at["inline"], "measure"].after == ""
    for row, found in enumerate(texts):
        for side, said in zip(("before", "after"), found, strict=True):
            assert said is not None
            tokens, _ = table.states([getattr(table, side)[row]])
            if said:
                assert core.tokenize([said.encode()])[0].tolist() == tokens.tolist()
    assert set(texts_of(Source("repo", table), np.arange(3))) == {Texts(None, None)}


def test_a_class_without_its_methods() -> None:
    found = cut(b"class A(B):\n    x = 1\n\n    @p\n    def f(self):\n        return 1\n\n    y = 2\n")
    assert found["A"][0].text.split() == ["class", "A(B):", "x", "=", "1", "y", "=", "2"]
    assert found["A.f"][0].text == "    @p\n    def f(self):\n        return 1"
    assert cut("é = 1".encode("latin-1")) == {}


def test_a_window_has_the_whole_text(tmp_path: Path) -> None:
    lines = [f"    value_{i} = call_{i}(value, {i})\n" for i in range(120)]
    long = "def f(value):\n" + "".join(lines)
    repo = GitRepo(tmp_path / "long")
    repo.commit("start", {"a.py": long})
    repo.commit("change", {"a.py": long.replace("call_60(value", "call_60(other")})
    source = source_of(repo)
    texts = texts_of(source, np.arange(len(source.table)))
    assert source.table.flags[1] & core.FLAG_WINDOWED
    assert texts[1].after == long.replace("call_60(value", "call_60(other").rstrip("\n")
