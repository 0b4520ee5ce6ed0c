"""Claims about the miner, on versions of real files: its rows are those of comparing each pair of versions parsed
whole; they do not depend on batches, threads, or on what was forgotten; numbers go on from a table made before; and
units that move between files keep their chain.
"""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codewm_core as core
from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest
from codewm.corpus.store import read
from tests.helpers import GitRepo

Change = tuple[int, int, str | None, str | None]
FILES, VERSIONS = 14, 12


def _mutated(source: bytes, rng: random.Random, other: bytes) -> bytes:
    """The next version: lines deleted, repeated, changed, or brought in from another file."""
    lines = source.splitlines(keepends=True)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(max(len(lines), 1))
        kind = rng.randrange(5)
        if kind == 0:
            del lines[at : at + rng.randrange(1, 4)]
        elif kind == 1:
            lines[at:at] = lines[at : at + rng.randrange(1, 12)]
        elif kind == 2 and lines:
            lines[at] = lines[at].replace(b"self", b"that").replace(b"1", b"2").replace(b"=", b"==", 1)
        elif kind == 3:
            foreign = other.splitlines(keepends=True)
            start = rng.randrange(max(len(foreign), 1))
            lines[at:at] = foreign[start : start + rng.randrange(1, 15)]
        else:
            lines.insert(
                at,
                rng.choice([b"x = 1\n", b"    # why\n", b"\n", b"def new(a):\n    return a\n", b'"""x"""\n']),
            )
    return b"".join(lines)


def _history() -> tuple[dict[str, bytes], list[Change]]:
    """Versions by key, and the changes of commits that each touch a few files: created, edited, deleted."""
    rng = random.Random(5)
    library = Path(sysconfig.get_paths()["stdlib"])
    found = sorted(p for p in library.glob("*.py") if 2_000 < p.stat().st_size < 30_000)
    sources = [p.read_bytes() for p in rng.sample(found, FILES)]
    now: list[str | None] = [None] * FILES
    versions: dict[str, bytes] = {}
    changes: list[Change] = []
    for commit in range(FILES * VERSIONS // 3):
        for path in sorted(rng.sample(range(FILES), 3)):
            before = now[path]
            if before is not None and rng.random() < 0.04:
                changes.append((commit, path, before, None))
                now[path] = None
                continue
            source = versions[before] if before is not None else sources[path]
            after = f"{commit}.{path}"
            versions[after] = _mutated(source, rng, rng.choice(sources)) if before is not None else source
            changes.append((commit, path, before, after))
            now[path] = after
    return versions, changes


VERSION, CHANGES = _history()


def _batches(size: int) -> list[list[Change]]:
    """Whole commits, at least `size` of them at a time."""
    last = CHANGES[-1][0]
    starts = range(0, last + 1, size)
    return [[c for c in CHANGES if a <= c[0] < a + size] for a in starts]


def _mine(
    batches: Sequence[list[Change]], threads: int = 0, keep: bool = True
) -> tuple[dict[str, Any], list[int]]:
    miner = core.Miner(window=64, action="v15", threads=threads)
    held: set[str] = set()
    edits: list[int] = []
    for batch in batches:
        needed = {key for change in batch for key in change[2:] if key is not None}
        miner_edits, _, _ = miner.add([(k, VERSION[k]) for k in sorted(needed - held)], batch)
        edits += miner_edits
        held |= needed
        if not keep:
            miner.forget(sorted(held))
            held = set()
    return miner.columns(), edits


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(np.array_equal(a[k], b[k]) if isinstance(a[k], np.ndarray) else a[k] == b[k] for k in a)


def test_rows_are_those_of_whole_parses() -> None:
    rows, edits = _mine(_batches(7))
    pairs = [tuple(VERSION[k] if k is not None else None for k in change[2:]) for change in CHANGES]
    whole = core.diff_units(pairs, window=64, action="v15")
    assert edits == np.bincount(whole.pair, minlength=len(pairs)).tolist()
    assert len(whole) > 500
    commit, path = (np.array([c[i] for c in CHANGES])[whole.pair] for i in (0, 1))
    assert (rows["commit"] == commit).all()
    assert (rows["path"] == path).all()
    moved = ~np.uint16(core.FLAG_MOVED)
    across = np.zeros(len(whole), bool)
    across[rows["moved"].ravel()] = True
    assert (rows["flags"][~across] == whole.flags[~across]).all()
    assert ((rows["flags"] & moved) == (whole.flags & moved)).all()
    for name in ("kind", "action", "tokens_added", "tokens_removed", "lines", "first_changed_line"):
        assert (rows[name] == getattr(whole, name)).all(), name
    assert (rows["name_counts"] == np.diff(whole.name_offsets)).all()
    assert (rows["name_flags"] == whole.name_flags).all()
    assert (rows["name_lines"] == whole.name_lines).all()
    assert [rows["names"][i] for i in rows["name_ids"]] == [whole.names[i] for i in whole.name_ids]
    offsets = np.concatenate([[0], np.cumsum(rows["state_lengths"])])
    state = [tuple(rows["state_tokens"][a:b].tolist()) for a, b in pairwise(offsets.tolist())]
    assert len(set(state)) == len(state)
    for name in ("before", "after"):
        tokens, bounds = getattr(whole, f"{name}_tokens"), getattr(whole, f"{name}_offsets").tolist()
        assert [state[i] for i in rows[name]] == [tuple(tokens[a:b].tolist()) for a, b in pairwise(bounds)]
    created, deleted = (whole.flags & f != 0 for f in (core.FLAG_CREATED, core.FLAG_DELETED))
    for name, missing, other in (
        ("before_unit", created, whole.after_unit),
        ("after_unit", deleted, whole.before_unit),
    ):
        column = rows["unit_before" if name == "before_unit" else "unit"]
        expected = [o if m else n for n, m, o in zip(getattr(whole, name), missing, other, strict=True)]
        assert [rows["units"][i] for i in column] == expected


@pytest.mark.parametrize(("size", "threads", "keep"), [(1, 1, True), (3, 4, False), (10**6, 2, True)])
def test_rows_do_not_depend_on_how_they_were_made(size: int, threads: int, keep: bool) -> None:
    assert _same(_mine(_batches(7))[0], _mine(_batches(size), threads, keep)[0])


def test_numbers_go_on_from_a_table_made_before() -> None:
    whole, _ = _mine(_batches(7))
    batches = _batches(7)
    first, _ = _mine(batches[:3])
    miner = core.Miner(window=64, action="v15")
    offsets = np.concatenate([[0], np.cumsum(first["state_lengths"])])
    miner.resume(first["state_tokens"], offsets, first["units"], first["names"])
    for batch in batches[3:]:
        needed = sorted({key for change in batch for key in change[2:] if key is not None})
        miner.add([(k, VERSION[k]) for k in needed], batch)
    rest = miner.columns()
    moved = rest.pop("moved") + len(first["before"])
    assert np.array_equal(np.concatenate([first["moved"], moved]), whole["moved"])
    for name, rows in rest.items():
        both = first[name] + rows if isinstance(rows, list) else np.concatenate([first[name], rows])
        assert np.array_equal(both, whole[name]), name


def test_a_version_that_was_not_given_is_an_error() -> None:
    miner = core.Miner(window=64, action="v15")
    with pytest.raises(core.InvalidInput, match="unknown"):
        miner.add([("known", b"x = 1\n")], [(0, 0, "unknown", "known")])
    with pytest.raises(core.InvalidInput, match="window"):
        core.Miner(window=2, action="v15")


BODY = "    total = 0\n    for item in items:\n        total += item.price * item.count\n    return total\n"


def test_a_unit_that_moves_to_another_file_keeps_its_chain(git_repo: GitRepo) -> None:
    price, other = f"def price(items):\n{BODY}", f"def cost(items):\n{BODY}"
    git_repo.commit("made", {"a.py": f"import b\n\n\n{price}", "b.py": "x = 1\n"})
    git_repo.commit("moved", {"a.py": "import b\n", "b.py": f"x = 1\n\n\n{price}"})
    git_repo.commit("edited", {"b.py": f"x = 1\n\n\n{price.replace('total = 0', 'total = 1')}"})
    git_repo.commit("gone and another came", {"b.py": "x = 1\n", "c.py": other.replace("price", "weight")})
    options = Options(window=64, action="v15", merges="first-parent", jobs=1)
    with Repository.open(git_repo.path) as repo:
        table = read(harvest(repo, options).path)
    rows = [
        (table.commits.subject[c], table.units[u], int(chain), int(step), bool(flags & core.FLAG_MOVED))
        for c, u, chain, step, flags in zip(
            table.commit, table.unit, table.chain, table.step, table.flags, strict=True
        )
        if table.units[u] in ("price", "cost")
    ]
    made = rows[0][2]
    assert rows == [
        ("made", "price", made, 0, False),
        ("moved", "price", made, 1, True),
        ("moved", "price", made, 2, True),
        ("edited", "price", made, 3, False),
        ("gone and another came", "price", made, 4, False),
        ("gone and another came", "cost", rows[-1][2], 0, False),
    ]
    assert rows[-1][2] != made
