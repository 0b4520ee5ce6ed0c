"""Claims: unit edits are found, paired and described as a reader of the diff would say; the answer does not
depend on the number of threads or on how pairs are batched; bad arguments raise the one exception family.
"""

from __future__ import annotations

import sysconfig
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import codewm_core as core

BEFORE = b'''"""Doc."""
import os

LIMIT = 10


class Cache:
    size = 0

    def get(self, key):
        return self.data[key]

    def put(self, key, value):
        self.data[key] = value
        self.size += 1


def load(path):
    with open(path) as f:
        return f.read()
'''
AFTER = b'''"""Doc, again."""
import os
import json

LIMIT = 10


class Cache:
    size = 0

    def get(self, key):
        # A comment changes no token.
        return self.data[key]

    def store(self, key, value):
        self.data[key] = value
        self.size += 1


def load(path):
    with open(path) as f:
        return json.loads(f.read())


def save(path, value):
    with open(path, "w") as f:
        json.dump(value, f)
'''


def named(batch: core.EditBatch) -> dict[tuple[str, str], int]:
    return {
        (b, a): int(flags)
        for b, a, flags in zip(batch.before_unit, batch.after_unit, batch.flags, strict=True)
    }


def test_each_kind_of_change_is_told_apart() -> None:
    batch = core.diff_units([(BEFORE, AFTER)])
    assert named(batch) == {
        ("<module>", "<module>"): 0,
        ("Cache.get", "Cache.get"): core.FLAG_NOOP,
        ("Cache.put", "Cache.store"): core.FLAG_MOVED,
        ("load", "load"): 0,
        ("", "save"): core.FLAG_CREATED,
    }
    assert [core.KINDS[k] for k in batch.kind] == ["module", "method", "method", "function", "function"]
    assert batch.pair_lines.tolist() == [[10, 3]]
    created = batch.after_unit.index("save")
    assert batch.before_tokens[
        batch.before_offsets[created] : batch.before_offsets[created + 1]
    ].tolist() == [core.EMPTY]
    names = [batch.names[i] for i in batch.name_ids[batch.name_offsets[3] : batch.name_offsets[4]]]
    assert names == ["json", "loads"]


def test_actions_have_names_and_v7_is_the_head_of_v15() -> None:
    v15 = core.diff_units([(BEFORE, AFTER), (None, BEFORE), (BEFORE, None)], action="v15").action
    v7 = core.diff_units([(BEFORE, AFTER), (None, BEFORE), (BEFORE, None)], action="v7").action
    assert v15.shape[1] == len(core.ACTIONS["v15"]) == 15
    assert core.ACTIONS["v15"][:7] == core.ACTIONS["v7"]
    np.testing.assert_array_equal(v15[:, :7], v7)
    assert v15.min() >= 0.0
    assert v15.max() <= 1.0
    kinds = dict(zip(core.ACTIONS["v15"], v15[0], strict=True))
    assert kinds["imports_added"] == pytest.approx(0.2)
    assert kinds["type_modify"] == kinds["scope_module"] == 1.0


def test_threads_and_batching_do_not_change_the_answer() -> None:
    library = Path(sysconfig.get_paths()["stdlib"])
    sources = [p.read_bytes() for p in sorted(library.glob("*.py"))[:40]]
    pairs = list(pairwise(sources))
    one = core.diff_units(pairs, threads=1)
    many = core.diff_units(pairs, threads=4)
    for field in fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(many, field.name))
    halves = [core.diff_units(pairs[:20]), core.diff_units(pairs[20:])]
    assert one.after_unit == halves[0].after_unit + halves[1].after_unit
    np.testing.assert_array_equal(one.after_tokens, np.concatenate([h.after_tokens for h in halves]))
    assert not len(core.diff_units([(s, s) for s in sources]))


def test_identifiers_count_the_sources_that_hold_them() -> None:
    names, counts = core.identifiers([BEFORE, AFTER])
    known = dict(zip(names, counts.tolist(), strict=True))
    assert known["load"] == 2
    assert known["json"] == 1
    assert "Doc" not in known


def test_bad_arguments_are_one_family_of_errors() -> None:
    for arguments in ({"action": "v99"}, {"window": 0}, {"window": 1 << 20}):
        with pytest.raises(core.InvalidInput) as caught:
            core.diff_units([(BEFORE, AFTER)], **arguments)  # type: ignore[arg-type]
        assert isinstance(caught.value, core.CoreError)
