"""Claims about the small parts: chains, the time split, labels from messages, the parser of raw logs.

1. A chain ends with a deletion, a creation starts another, and files or units that swap names keep theirs.
2. The split never trains on what was committed after anything it tests on, and cuts no commit.
3. Labels are what messages say, and only that.
4. Records do not depend on how a stream is cut into chunks.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from codewm.corpus import labels
from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest
from codewm.corpus.records import CommitRecord, split_nul
from codewm.corpus.split import by_time
from codewm.corpus.store import read
from codewm_core import FLAG_CREATED, FLAG_DELETED, FLAG_MOVED, assign_chains

C, D, M = FLAG_CREATED, FLAG_DELETED, FLAG_MOVED


def _assign(
    rows: list[tuple[int, int, int, int, int]], renames: list[tuple[int, int, int]] | None = None
) -> list[tuple[int, int]]:
    """Rows of (commit, path, unit before, unit after, flags) -> (chain, step) of each."""
    commit, path, before, after, flags = (np.array(c, np.int32) for c in zip(*rows, strict=True))
    moved = np.array(renames or [], np.int32).reshape(-1, 3)
    none = np.zeros(0, np.int32)
    got = assign_chains(
        commit, path, after, before, flags.astype(np.uint16), moved, none, none, none.reshape(0, 2)
    )
    return list(zip(*(g.tolist() for g in got), strict=True))


def test_a_life() -> None:
    assert _assign([(0, 0, 1, 1, C), (1, 0, 1, 1, 0), (2, 0, 1, 2, M), (3, 0, 2, 2, D), (4, 0, 2, 2, C)]) == [
        (0, 0), (0, 1), (0, 2), (0, 3), (1, 0),
    ]  # fmt: skip


def test_units_that_swap_names() -> None:
    assert _assign([(0, 0, 1, 1, C), (0, 0, 2, 2, C), (1, 0, 1, 2, M), (1, 0, 2, 1, M), (2, 0, 1, 1, 0)]) == [
        (0, 0), (1, 0), (0, 1), (1, 1), (1, 2),
    ]  # fmt: skip


def test_files_that_swap_names_and_a_rename_without_an_edit() -> None:
    rows = [(0, 0, 1, 1, C), (0, 5, 1, 1, C), (2, 0, 1, 1, 0), (2, 5, 1, 1, 0), (4, 9, 1, 1, 0)]
    renames = [(1, 0, 5), (1, 5, 0), (3, 5, 9)]
    assert _assign(rows, renames) == [(0, 0), (1, 0), (1, 1), (0, 1), (0, 2)]


def test_a_unit_that_was_never_seen_starts_a_chain() -> None:
    assert _assign([(0, 0, 1, 1, 0), (1, 0, 1, 1, 0), (1, 1, 1, 1, D)]) == [(0, 0), (0, 1), (1, 0)]


@settings(deadline=None, max_examples=25)
@given(times=st.lists(st.integers(0, 5), min_size=1, max_size=60), share=st.floats(0.01, 0.99))
def test_split(table_of_history: Path, times: list[int], share: float) -> None:
    table = read(table_of_history)
    commits = replace(table.commits, committer_time=np.resize(np.array(times, np.int64), len(table.commits)))
    table = replace(table, commits=commits)
    split = by_time(table, share)
    both = np.concatenate([split.train, split.held_out])
    assert sorted(both.tolist()) == list(range(len(table)))
    assert len(split.held_out) >= 1
    time = table.commits.committer_time[table.commit]
    if len(split.train):
        assert time[split.train].max() <= time[split.held_out].min() == split.boundary
    assert not set(table.commit[split.train].tolist()) & set(table.commit[split.held_out].tolist())


@pytest.fixture(scope="module")
def table_of_history(_history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("split") / "chains.h5"
    with Repository.open(_history) as repo:
        return harvest(repo, Options(256, "v15", "first-parent", 1), out).path


def _record(message: str, parents: tuple[str, ...] = ("p",)) -> CommitRecord:
    return CommitRecord("o", parents, "", "", 0, 0, message, ())


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("Fix crash in parser", True),
        ("fixes #12", True),
        ("bugfix: off by one", True),
        ("Add prefix option", False),
        ("fix typo", False),
        ("Fix docs build", False),
        ("Refactor\n\nfixes nothing", False),
    ],
)
def test_fixes(message: str, says: bool) -> None:
    assert labels.is_fix(_record(message)) == says


def test_reverts() -> None:
    rows = {"a" * 40: 0, "ab" + "0" * 38: 1, "ab" + "1" * 38: 2}
    subjects = ["one", "two", "two"]
    assert labels.reverted(_record(f"x\n\nThis reverts commit {'a' * 40}."), rows, subjects) == 0
    assert labels.reverted(_record("x\n\nThis reverts commit ab00000."), rows, subjects) == 1
    assert labels.reverted(_record("x\n\nThis reverts commit abcdef0."), rows, subjects) == -1
    assert labels.reverted(_record('Revert "two" (#12)'), rows, subjects) == 2
    assert labels.reverted(_record('Revert "three"'), rows, subjects) == -1
    assert labels.reverted(_record("Reverting is fun"), rows, subjects) == -1


@given(st.lists(st.binary(max_size=5).map(lambda b: b.replace(b"\0", b"x")), max_size=8), st.integers(1, 7))
def test_chunks_do_not_matter(tokens: list[bytes], size: int) -> None:
    stream = b"".join(t + b"\0" for t in tokens)
    chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert list(split_nul(chunks)) == tokens
