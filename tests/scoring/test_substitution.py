"""Claims about what takes the place of something else:

1. A comparison that this repository always writes the other way round costs more than the one that stood there; putting
   it right costs less. Both are found in an edit that does other things, too, at their places.
2. Where nothing takes the place of anything, or a whole statement that of another one, nothing is said.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import codewm_core as core
from codewm.corpus.git import Repository
from codewm.model.scoring.channels import CHANNELS
from codewm.model.scoring.engine_model import load_model
from codewm.model.scoring.gather import build
from codewm.model.scoring.ngrams import NO_LORE, bits_of
from codewm.model.scoring.score import Target, score
from codewm.model.scoring.settings import ScoreSettings, TokenSettings
from codewm.model.scoring.substitution import substitutions
from tests.helpers import GitRepo
from tests.scoring.test_tokens import table_of

UNIT = "def f{n}(items, limit):\n    if len(items) == limit:\n        return items\n    return items[:limit]\n\n\n"
MANY = "".join(UNIT.format(n=n) for n in range(60))
WRONG = MANY.replace("==", "!=", 1)


def channel(repo: GitRepo, model: Path, name: str = "substitution") -> np.ndarray:
    """The values of the last commit's edits."""
    with Repository.open(repo.path) as repository:
        past = build(repository, repository.head(), load_model(repo.path, str(model)), ScoreSettings())
    edits = past.edits
    return edits.channels[edits.commit == len(past) - 1, CHANNELS.index(name)]


def test_a_comparison_turned_around_is_dearer_and_put_right_cheaper(
    git_repo: GitRepo, model_file: Path
) -> None:
    git_repo.commit("start", {"a.py": MANY})
    git_repo.commit("wrong", {"a.py": WRONG})
    (wrong,) = channel(git_repo, model_file)
    git_repo.commit("right", {"a.py": MANY})
    (right,) = channel(git_repo, model_file)
    assert wrong > 4
    assert right < -1


def test_it_is_found_beside_other_changes_and_named(git_repo: GitRepo, model_file: Path) -> None:
    git_repo.commit("start", {"a.py": MANY})
    more = WRONG.replace("    return items[:limit]\n", "    print(items)\n    return items[:limit]\n", 1)
    git_repo.commit("wrong", {"a.py": more})
    table = table_of(git_repo, "HEAD~1..HEAD")
    bits = bits_of(table, np.arange(len(table)), NO_LORE, TokenSettings().words)
    found = substitutions(bits.added, bits.removed)
    assert found.edit.tolist() == [0]
    assert found.dearest(0) == 0
    vocabulary = core.vocabulary()
    old, new = (table.tokens[int(table.offsets[s]) :] for s in (table.before[0], table.after[0]))
    assert (vocabulary[old[found.gone[0]]], vocabulary[new[found.come[0]]]) == ("==", "!=")
    with Repository.open(git_repo.path) as repository:
        report = score(
            repository, Target(revisions="HEAD~1..HEAD"), load_model(git_repo.path, str(model_file))
        )
    (unit,) = report.commits[0].units
    assert unit.channels["substitution"].raw is not None
    assert unit.channels["substitution"].raw > 4


def test_without_a_replacement_nothing_is_said(git_repo: GitRepo, model_file: Path) -> None:
    git_repo.commit("start", {"a.py": MANY})
    git_repo.commit("more", {"a.py": MANY.replace("    return items\n", "    return items, limit\n", 1)})
    assert np.isnan(channel(git_repo, model_file)).all()
    longer = "        for item in items:\n            print(item)\n"
    git_repo.commit("other", {"a.py": MANY.replace("        return items\n", longer, 1)})
    assert np.isnan(channel(git_repo, model_file)).all()
