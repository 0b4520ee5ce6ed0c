"""Claims about `codewm.model.evaluation.baselines`, on a real repository:

1. What comes in is counted as trigrams that an edit has more of than before; a trigram seen often costs few bits.
2. An edit like earlier ones is near them in direction, another one is not; the order of commits before does not count.
3. Fix density is that of earlier commits, and goes along with a renamed file.
4. What is scored is not learnt, and what comes later changes nothing.
"""

from __future__ import annotations

import numpy as np
import pytest

import codewm_core as core
from codewm.corpus.git import Repository
from codewm.corpus.history import commits_between, harvest_live
from codewm.corpus.table import EditTable
from codewm.model.evaluation.baselines import FOREST, Baselines, BaselineSettings, added_trigrams, names
from tests.helpers import GitRepo

BODY = "def f{i}(x):\n    y = x + {i}\n    return y\n\n\n"


def _table(repo: GitRepo) -> EditTable:
    with Repository.open(repo.path) as opened:
        return harvest_live(opened, list(opened.commits("HEAD", suffix=b".py")), window=256, action="v15")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> EditTable:
    repo = GitRepo(tmp_path_factory.mktemp("rivals") / "repo")
    text = "".join(BODY.format(i=i) for i in range(8))
    repo.commit("start", {"a.py": text, "b.py": "z = 1\n"})
    for i in range(6):
        text = text.replace(f"    y = x + {i}\n", f"    log(x)\n    y = x + {i}\n")
        repo.commit("fix a bug" if i % 2 else "log", {"a.py": text})
    repo.commit("move", {"a.py": None, "c.py": text})
    repo.commit("log", {"c.py": text.replace("    y = x + 6\n", "    log(x)\n    y = x + 6\n")})
    repo.commit(
        "odd", {"b.py": "import os\n\nclass Z(os.PathLike):\n    w = [lambda: {1: 2} for _ in range(9)]\n"}
    )
    return _table(repo)


def _rivals(table: EditTable, last: int) -> Baselines:
    rivals = Baselines(BaselineSettings(nearest=2))
    rivals.learn(commits_between(table, 0, last))
    return rivals


def test_trigrams_that_come_in(table: EditTable) -> None:
    rows = np.flatnonzero((table.flags & core.FLAG_NOOP) == 0)
    which, trigrams, counts = added_trigrams(table, rows)
    for i, row in enumerate(rows.tolist()):
        found: dict[int, int] = {}
        for state, sign in ((table.after[row], 1), (table.before[row], -1)):
            tokens = [
                core.PAD,
                core.PAD,
                *table.tokens[table.offsets[state] : table.offsets[state + 1]].tolist(),
            ]
            for a, b, c in zip(tokens, tokens[1:], tokens[2:], strict=False):
                key = (a * core.VOCAB_SIZE + b) * core.VOCAB_SIZE + c
                found[key] = found.get(key, 0) + sign
        mine = which == i
        expected = {k: n for k, n in found.items() if n > 0}
        assert dict(zip(trigrams[mine].tolist(), counts[mine].tolist(), strict=True)) == expected


def test_the_usual_is_cheap_and_near(table: EditTable) -> None:
    rivals = _rivals(table, 7)
    scores = rivals.score(commits_between(table, 8, 9))
    assert set(scores) == set(names())
    usual, odd = 0, 1
    for name in ("bag_direction", "bag_direction_mean", "trigram", "trigram_mean"):
        assert scores[name][usual] < scores[name][odd], name
    assert scores["bag_direction"][usual] < 0.05
    assert scores["lines_added"].tolist() == [1, 4]
    assert (scores["tokens_changed"] > 0).all()


def test_the_forest_is_there_with_scikit_learn(table: EditTable) -> None:
    pytest.importorskip("sklearn")
    rivals = Baselines(BaselineSettings(forest_minimum=5))
    rivals.learn(commits_between(table, 0, 7))
    usual, odd = rivals.score(commits_between(table, 8, 9))[FOREST].tolist()
    assert usual < odd


def test_fix_density_is_of_the_past_and_moves_along(table: EditTable) -> None:
    fixes = [bool(f) for f in table.commits.fixes]
    assert fixes[:7] == [False, False, True, False, True, False, True]
    settings = BaselineSettings()
    # Seven commits touched a.py, three of them fixes; c.py takes its place.
    density = _rivals(table, 7).score(commits_between(table, 8, 9))["fix_density"]
    assert density.tolist() == pytest.approx([3 / (7 + settings.prior), 0])
    early = _rivals(table, 1).score(commits_between(table, 2, 2))["fix_density"]
    assert early.tolist() == [0]


def test_scoring_learns_nothing(table: EditTable) -> None:
    rivals = _rivals(table, 6)
    part = commits_between(table, 8, 9)
    first, second = rivals.score(part), rivals.score(part)
    assert all(np.array_equal(first[k], second[k]) for k in first)
    one = rivals.score(commits_between(table, 8, 8))
    assert all(one[k][0] == pytest.approx(first[k][0]) for k in first)


def test_without_a_past_every_edit_is_as_new(table: EditTable) -> None:
    scores = Baselines().score(commits_between(table, 8, 9))
    assert scores["bag_direction"].tolist() == [1, 1]
    assert scores["trigram_mean"][0] == pytest.approx(scores["trigram_mean"][1])
    assert np.isfinite(scores["trigram"]).all()
