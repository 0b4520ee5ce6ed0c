"""Claims about the channels and the knowledge they use, on real repositories:

1. As of the date: a name that appears later does not count as known, a name from before the history does.
2. A pasted exec/base64 payload weighs more than ordinary code; `re.compile` is no sink.
3. Names that nothing in the file defines are found; names imported or assigned by the same edit are not, nor
   are keywords of calls.
4. Removing code leaves the channel undefined.
5. Test files are told from others by path.
6. The critic says something of edits of units that were there before and after, and of no other.
7. A commit that touches too many files is left out of a history; a piece of a table is a table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import codewm_core as core
from codewm.corpus.git import Repository
from codewm.corpus.history import (
    NO_NAMES,
    HistoryLimit,
    commits_between,
    harvest_live,
    history,
    name_hash,
    names_of_tree,
    replay,
)
from codewm.corpus.table import EditTable
from codewm.model.scoring.channels import (
    CHANGES,
    CHANNELS,
    is_test_path,
    measure,
    new_identifiers,
    unresolved,
)
from codewm.model.scoring.settings import NameSettings
from codewm.model.scoring.sinks import sink_of
from tests.helpers import GitRepo

BASE = "import os\n\n\ndef f(a):\n    b = a + 1\n    return b\n\n\ndef g(a):\n    return os.getcwd() + a\n"


def edits_of(repo: GitRepo, revisions: str) -> EditTable:
    with Repository.open(repo.path) as repository:
        records = list(repository.commits(repository.parse_range(revisions)))
        return harvest_live(repository, records, window=256, action="v15")


def added(table: EditTable, row: int) -> dict[str, int]:
    part = slice(int(table.name_offsets[row]), int(table.name_offsets[row + 1]))
    return {
        table.names[i]: k
        for k, i in zip(range(part.start, part.stop), table.name_ids[part].tolist(), strict=True)
    }


def test_nothing_is_known_before_its_date(git_repo: GitRepo) -> None:
    git_repo.commit("start", {"a.py": BASE, "b.py": "old = 1\n"})
    git_repo.commit("early", {"a.py": BASE.replace("return b", "return later(b)")})
    git_repo.commit("defines", {"b.py": "old = 1\n\n\ndef later(x):\n    return x\n"})
    git_repo.commit("late", {"a.py": BASE.replace("return b", "return later(b, old)")})
    git_repo.commit("elsewhere", {"c.py": "def h():\n    return later\n"})
    with Repository.open(git_repo.path) as repository:
        root = repository.first_parents("HEAD")[0]
        names = names_of_tree(repository, root, HistoryLimit())
    assert names.look_up(name_hash(["old", "later", "os"])).tolist() == [1, 0, 1]
    table = edits_of(git_repo, "HEAD~4..HEAD")
    known = replay(names, table)
    seen: dict[tuple[int, str], int] = {
        (int(table.commit[row]), name): int(known.before[k])
        for row in range(len(table))
        for name, k in added(table, row).items()
    }
    assert seen[0, "later"] == 0  # first use
    assert seen[1, "later"] == 1  # a.py had it
    assert seen[2, "old"] == 1  # only the starting tree told
    assert seen[3, "later"] == 2
    after = names.plus(known.gained)
    assert after.look_up(name_hash(["later", "never"])).tolist() == [3, 0]


def scored(repo: GitRepo, before: str, after: str) -> tuple[EditTable, np.ndarray]:
    repo.commit("before", {"m.py": before})
    repo.commit("after", {"m.py": after})
    with Repository.open(repo.path) as repository:
        names = names_of_tree(repository, "HEAD~1", HistoryLimit())
    table = edits_of(repo, "HEAD")
    return table, new_identifiers(table, replay(names, table), NameSettings())


def test_a_payload_weighs_more_than_ordinary_code(make_git_repo: Callable[[str], GitRepo]) -> None:
    ordinary = BASE.replace("return b", "c = sorted(b)\n    return c.pop()")
    payload = BASE.replace("return b", "exec(__import__('base64').b64decode(a))\n    return b")
    _, usual = scored(make_git_repo("one"), BASE, ordinary)
    _, strange = scored(make_git_repo("two"), BASE, payload)
    assert strange.max() > 4 * usual.max() > 0


def test_sinks_depend_on_use() -> None:
    call, attribute = core.NAME_CALL, core.NAME_ATTRIBUTE
    assert sink_of("exec", call) is not None
    assert sink_of("compile", call | attribute) is None  # re.compile
    assert sink_of("system", call | attribute) is not None
    assert sink_of("system", call) is None
    assert sink_of("exec", call | core.NAME_IN_MODULE) is None
    assert sink_of("socket", core.NAME_BOUND) is None
    assert sink_of("ordinary", call) is None


def test_names_that_nothing_defines(git_repo: GitRepo) -> None:
    body = "for item in helper(b):\n        total = len(item)\n    import json\n    return json.dumps(total)"
    table, _ = scored(git_repo, BASE, BASE.replace("return b", body))
    strangers = {table.names[table.name_ids[k]] for k in np.flatnonzero(unresolved(table))}
    assert strangers == {"helper"}


def test_keywords_of_calls_belong_to_the_callee(git_repo: GitRepo) -> None:
    table, _ = scored(git_repo, BASE, BASE.replace("return b", "return sorted(b, key=stranger)"))
    strangers = {table.names[table.name_ids[k]] for k in np.flatnonzero(unresolved(table))}
    assert strangers == {"stranger"}


def test_a_removal_is_undefined(git_repo: GitRepo) -> None:
    table, value = scored(git_repo, BASE, BASE.replace("    b = a + 1\n    return b", "    pass"))
    assert len(table) == 1
    assert np.isnan(value[0])


def test_doubt_is_of_what_was_there_before_and_after(git_repo: GitRepo, model_file: Path) -> None:
    changed = BASE.replace("a + 1", "a - 1") + "\n\ndef new(x, y):\n    return x * y + 17\n"
    table, _ = scored(git_repo, BASE, changed)
    edits, _ = measure(core.Engine.from_file(model_file), table, NO_NAMES, NameSettings(), 1)
    doubt = edits.channels[:, CHANNELS.index("doubt")]
    assert [CHANGES[c] for c in edits.change] == ["modified", "created"]
    assert np.isfinite(doubt[0])
    assert np.isnan(doubt[1])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tests/x.py", True),
        ("src/pkg/testing/x.py", True),
        ("pkg/test_x.py", True),
        ("pkg/x_test.py", True),
        ("conftest.py", True),
        ("src/contest.py", False),
        ("src/latest/x.py", False),
        ("src/attest.py", False),
    ],
)
def test_paths_of_tests(path: str, expected: bool) -> None:
    assert is_test_path(path) is expected


def test_sweeping_commits_and_pieces_of_tables(git_repo: GitRepo) -> None:
    git_repo.commit("start", {"a.py": BASE})
    git_repo.commit("sweep", {f"v{i}.py": f"def f():\n    return {i}\n" for i in range(4)})
    git_repo.commit("more", {"a.py": BASE + "\nx = 1\n"})
    limit = HistoryLimit(files_per_commit=3)
    with Repository.open(git_repo.path) as repository:
        found = history(repository, repository.head(), limit, window=256, action="v15")
    assert found.before == ""
    assert found.source == "live"
    assert found.table.commits.subject == ["start", "sweep", "more"]
    assert set(found.table.commit.tolist()) == {0, 2}
    last = commits_between(found.table, 2, 2)
    last.check()
    assert last.commits.subject == ["more"]
    assert set(last.commit.tolist()) == {0}
    assert len(replay(NO_NAMES, last.select([])).before) == 0
