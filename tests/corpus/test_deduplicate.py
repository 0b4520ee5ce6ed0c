"""Claims about what is found to say the same, over real repositories that copied from each other:

1. The same two states: of a repository the first edit is kept, of several the one that comes first; what is held
   out keeps all its edits, and a training edit that is there, too, is left out whatever the order.
2. Nearly the same code with nearly the same change, in another repository: left out; the same code with another
   change, other code with the same change, and the next edit of the same unit: kept.
3. A long state of what is held out is in no other edit, a short one may be.
4. Short edits must agree more than long ones.
5. The similarity is the smaller one of the two Jaccard indices, as computed by hand with Python's sets.
6. No pair at the threshold is missed that a look at all pairs would find, but for a few.
7. What is not usable is neither compared nor marked.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codewm.corpus import deduplicate
from codewm.corpus.deduplicate import find_repetitions
from codewm.corpus.division import Reason
from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest
from codewm.corpus.merge import Merger
from codewm.corpus.store import read_store
from codewm.corpus.table import EditTable
from tests.helpers import GitRepo

LONG_BODY = "".join(
    f"    if row.{n}:\n        total = merge(total, row.{n}, {i})\n" for i, n in enumerate("abcdefghij")
)
LONG = f"def collect(total, row):\n{LONG_BODY}    return total\n"
SHORT = "def area(a, b):\n    return a * b\n"


def corpus(folder: Path, options: Options, histories: dict[str, list[dict[str, str | None]]]) -> EditTable:
    """The edits of repositories, each of which had these files changed commit by commit."""
    merger = Merger("test")
    for name, commits in histories.items():
        repo = GitRepo(folder / name)
        for i, files in enumerate([{"only.txt": name}, *commits]):
            repo.commit(f"c{i}", files)
        with Repository.open(repo.path) as opened:
            merger.add(read_store(harvest(opened, options, folder / f"{name}.h5").path), name)
    return merger.store().table


def reasons(table: EditTable, held_out: tuple[int, ...] = ()) -> list[tuple[str, str]]:
    """(repository/unit, reason) of every edit, in order."""
    repository = table.commits.repository[table.commit]
    rank = np.where(np.isin(repository, held_out), 0, 1)
    found = find_repetitions(table, rank, np.ones(len(table), bool))
    names = [r.name for r in table.repositories]
    units = [table.units[u].rpartition("::")[2] for u in table.unit]
    return [
        (f"{names[r]}/{unit}", Reason(why).name)
        for r, unit, why in zip(repository, units, found, strict=True)
    ]


def test_the_same_states(tmp_path: Path, options: Options) -> None:
    histories: dict[str, list[dict[str, str | None]]] = {
        "one": [{"a.py": SHORT}, {"b.py": SHORT}],
        "two": [{"c.py": SHORT}, {"c.py": SHORT.replace("*", "+")}],
    }
    table = corpus(tmp_path, options, histories)
    assert reasons(table) == [
        ("one/area", "KEPT"), ("one/area", "REPEATED"), ("two/area", "COPIED"), ("two/area", "KEPT"),
    ]  # fmt: skip
    assert [why for _, why in reasons(table, held_out=(1,))] == [
        "HELD_OUT_COPY", "HELD_OUT_COPY", "KEPT", "KEPT",
    ]  # fmt: skip
    assert [why for _, why in reasons(table, held_out=(0, 1))] == ["KEPT"] * 4


def test_nearly_the_same(tmp_path: Path, options: Options) -> None:
    other = LONG.replace("total = merge(total, row.c, 2)", "total = join(total, row.c)")
    guard = "    if not row:\n        raise LookupError(total)\n"
    guarded, other_guarded = (text.replace("\n", f"\n{guard}", 1) for text in (LONG, other))
    unlike = "def report(path):\n" + "".join(
        f"    with open(path / 'file{i}') as f{i}:\n        yield {{key: f{i}.read() for key in names[{i}:]}}\n"
        for i in range(6)
    )
    unlike_guarded = unlike.replace("\n", f"\n{guard}", 1)
    histories: dict[str, list[dict[str, str | None]]] = {
        "one": [{"a.py": LONG}, {"a.py": guarded}],
        # The copy was edited on its way, and got the same guard.
        "two": [{"b.py": other}, {"b.py": other_guarded}],
        # The same copy with another change; other code with the same change.
        "three": [
            {"b.py": other},
            {"b.py": other.replace("return total", "log(total)\n    yield from sorted(total)")},
        ],
        "four": [{"u.py": unlike}, {"u.py": unlike_guarded}],
    }
    table = corpus(tmp_path, options, histories)
    assert reasons(table) == [
        ("one/collect", "KEPT"), ("one/collect", "KEPT"),
        ("two/collect", "SIMILAR"), ("two/collect", "SIMILAR"),
        ("three/collect", "COPIED"), ("three/collect", "KEPT"),
        ("four/report", "KEPT"), ("four/report", "KEPT"),
    ]  # fmt: skip
    held = dict(zip(range(8), (why for _, why in reasons(table, held_out=(1,))), strict=True))
    assert held == {
        0: "HELD_OUT_SIMILAR", 1: "HELD_OUT_SIMILAR", 2: "KEPT", 3: "KEPT",
        4: "HELD_OUT_COPY", 5: "HELD_OUT_STATE", 6: "KEPT", 7: "KEPT",
    }  # fmt: skip


def test_states_of_what_is_held_out(tmp_path: Path, options: Options) -> None:
    own = "def own(total):\n    return [total]\n\n\n"
    # `other` came to the very text of `one` by another way, and went on from there.
    other = [
        LONG.replace("merge", "join"),
        LONG,
        LONG.replace("row.", "column.").replace("merge", "glue"),
        own,
    ]
    histories: dict[str, list[dict[str, str | None]]] = {
        "one": [{"a.py": LONG}, {"a.py": own}, {"s.py": SHORT}, {"s.py": "x = 1\n"}],
        "other": [*({"b.py": text} for text in other), {"s.py": SHORT.replace("*", "-")}, {"s.py": SHORT}],
    }
    table = corpus(tmp_path, options, histories)
    found = [(name, why) for name, why in reasons(table, held_out=(0,)) if name.startswith("other")]
    assert found[:3] == [
        ("other/collect", "HELD_OUT_SIMILAR"), ("other/collect", "HELD_OUT_STATE"), ("other/collect", "HELD_OUT_STATE"),
    ]  # fmt: skip
    assert found[-1] == ("other/area", "KEPT")
    alone = [why for name, why in reasons(table) if name == "other/collect"]
    assert alone[1:3] == ["KEPT", "KEPT"]


def test_the_next_edit_of_a_unit_is_no_repetition(tmp_path: Path, options: Options) -> None:
    steps: list[dict[str, str | None]] = [{"a.py": LONG}]
    for i, name in enumerate("abcdef"):
        steps.append({"a.py": LONG.replace(f"merge(total, row.{name}, {i})", f"merge(row.{name}, total)")})
    table = corpus(tmp_path, options, {"one": steps, "two": [{"x.py": SHORT}]})
    assert {why for _, why in reasons(table)} == {"KEPT"}


@pytest.fixture
def alike(tmp_path: Path, options: Options) -> EditTable:
    """Two repositories with many functions of several lengths, the second one's copies edited more and more."""
    draw = np.random.default_rng(7)
    calls = [
        f"{verb}_{noun}"
        for verb in ("read", "write", "drop", "find")
        for noun in ("row", "page", "key", "log")
    ]

    def body(size: int) -> list[str]:
        return [
            f"    x{draw.integers(9)} = {draw.choice(calls)}({draw.choice(calls)}, x{draw.integers(9)})"
            for _ in range(size)
        ]

    mine, theirs = {}, {}
    for i in range(120):
        lines = body(int(draw.integers(2, 12)))
        mine[f"m{i}.py"] = "\n".join([f"def f{i}(x0):", *lines]) + "\n"
        changed = [body(1)[0] if draw.random() < 0.04 * (i % 5) else line for line in lines]
        theirs[f"t{i}.py"] = "\n".join([f"def f{i}(x0):", *changed]) + "\n"
    return corpus(tmp_path, options, {"one": [mine], "two": [theirs]})


def by_hand(table: EditTable, a: int, b: int) -> float:
    marked = []
    for edit in (a, b):
        sides = []
        for state in (table.before[edit], table.after[edit]):
            tokens = [*table.tokens[table.offsets[state] : table.offsets[state + 1]].tolist(), 0, 0]
            sides.append({tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2)})
        before, after = sides
        changed = {("-", g) for g in before - after} | {("+", g) for g in after - before}
        marked.append((changed | {("=", g) for g in before & after}, changed))
    return min(len(x & y) / len(x | y) if x | y else 1.0 for x, y in zip(*marked, strict=True))


def test_the_similarity_is_that_of_the_sets(alike: EditTable) -> None:
    n = len(alike)
    draw = np.random.default_rng(0)
    a = np.concatenate([np.arange(n // 2), draw.integers(n, size=200)])
    b = np.concatenate([np.arange(n // 2) + n // 2, draw.integers(n, size=200)])
    expected = [by_hand(alike, i, j) for i, j in zip(a.tolist(), b.tolist(), strict=True)]
    assert deduplicate._similarity(alike, a, b) == pytest.approx(expected)
    assert len({round(e, 1) for e in expected}) > 5


def test_hardly_any_pair_is_missed(alike: EditTable, monkeypatch: pytest.MonkeyPatch) -> None:
    # In many chunks, which must not matter.
    monkeypatch.setattr(deduplicate, "_CHUNK_TOKENS", 500)
    half = len(alike) // 2
    pairs = [(i, j) for i in range(half) for j in range(half, 2 * half)]
    a, b = np.array(pairs).T
    wanted = deduplicate._wanted(alike, a, b)
    assert {*wanted.tolist()} == {deduplicate.SIMILARITY, deduplicate.LONG_SIMILARITY}
    similar = deduplicate._similarity(alike, a, b) >= wanted
    expected = {int(j) for j in b[similar]}
    found = find_repetitions(alike, np.ones(len(alike), int), np.ones(len(alike), bool))
    marked = set(np.flatnonzero(found != Reason.KEPT).tolist())
    assert marked <= expected
    assert len(expected) > 40
    assert len(expected - marked) <= 0.05 * len(expected)
    assert len(expected) < half


def test_what_is_not_usable_is_left_alone(tmp_path: Path, options: Options) -> None:
    table = corpus(
        tmp_path, options, {"one": [{"a.py": SHORT}], "two": [{"c.py": SHORT}], "three": [{"d.py": SHORT}]}
    )
    found = find_repetitions(table, np.ones(3, int), np.array([False, True, True]))
    assert found.tolist() == [Reason.KEPT, Reason.KEPT, Reason.COPIED]
    assert not find_repetitions(table, np.ones(3, int), np.zeros(3, bool)).any()
