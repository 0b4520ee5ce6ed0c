"""Claims: whole-file pairs are what Git has, in order, and described as the papers describe edits.

1. Every change of a Python file is an edit or counted by a cause; versions are stored once; other files are none.
2. Chains follow a file through changes and renames; times are those of the commits.
3. Edit type, scope and location follow from the two sides: a function that comes is scope function, a class is scope
   class, a function that grows is scope function, a renamed name is scope module.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import codewm_core as core
from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.papers import LONGEST, describe, file_pairs
from tests.helpers import GitRepo

NAMES = core.ACTIONS["v15"]
BODY = "def f(a):\n    return a\n"


def test_pairs_of_a_history(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    repo.commit("one", {"a.py": BODY, "notes.txt": "x", "empty.py": "\n"})
    repo.commit("two", {"a.py": BODY + "b = 1\n", "notes.txt": "y"})
    repo.git("mv", "a.py", "c.py")
    repo.commit("three", {"c.py": BODY + "b = g(1)\n"})
    repo.commit("four", {"big.py": "x = 1\n" * LONGEST})
    repo.git("rm", "-q", "c.py")
    repo.commit("five", {"notes.txt": "z"})
    with Repository.open(repo.path) as repository:
        pairs = file_pairs(repository)
    assert pairs.ledger["file changes"] == 6
    assert pairs.ledger["both sides blank"] == 1
    assert pairs.ledger["a side is too long or cannot be read"] == 1
    assert pairs.ledger["edits"] == len(pairs.before) == 4
    assert len(set(pairs.chain.tolist())) == 1
    assert pairs.step.tolist() == [0, 1, 2, 3]
    assert (np.diff(pairs.time) >= 0).all()
    assert (np.diff(pairs.commit) > 0).all()
    assert pairs.after[:-1].tolist() == pairs.before[1:].tolist()
    first = pairs.tokens[pairs.offsets[pairs.after[0]] : pairs.offsets[pairs.after[0] + 1]]
    assert first.tolist() == core.paper_tokens(BODY.encode()).tolist()
    types = pairs.action[:, :3].argmax(1).tolist()
    assert [NAMES[t] for t in types] == ["type_add", "type_modify", "type_modify", "type_delete"]


@pytest.mark.parametrize(
    ("old", "new", "kind", "scope", "location"),
    [
        ("", BODY, "type_add", "scope_function", 0),
        (BODY, "", "type_delete", "scope_function", 0),
        (BODY, BODY + "def g(): pass\n", "type_modify", "scope_function", 2 / 3),
        (BODY, BODY + "class C:\n    x = 1\n", "type_modify", "scope_class", 2 / 4),
        (BODY, BODY.replace("return a", "return a + a"), "type_modify", "scope_function", 1 / 2),
        ("x = 1\ny = a\n", "x = 1\ny = b\n", "type_modify", "scope_module", 1 / 2),
    ],
)
def test_actions_of_files(old: str, new: str, kind: str, scope: str, location: float) -> None:
    [action] = describe([(old.encode(), new.encode())])
    said = {name for name, value in zip(NAMES[:6], action[:6], strict=True) if value}
    assert said == {kind, scope}
    assert action[NAMES.index("location")] == pytest.approx(location)
    assert ((action >= 0) & (action <= 1)).all()


def test_a_repository_without_python(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    repo.commit("one", {"notes.txt": "x"})
    with Repository.open(repo.path) as repository, pytest.raises(UserError, match="no edit of a Python file"):
        file_pairs(repository)
