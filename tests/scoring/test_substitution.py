"""Claims about what takes the place of something else:

1. A comparison turned around is found in an edit that does other things, too, at its place; so is a `not` that comes or
   goes by itself.
2. The rarer such a thing is among ordinary edits the stranger it is, and of things equally rare the one that this
   repository does not write there: another number counts for more than another name, a wrong turn for more than a
   right one.
3. Where nothing takes the place of anything, or a whole statement that of another one, the value is 0, which is below
   that of every edit that replaces something; created units have none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import codewm_core as core
from codewm.corpus.git import Repository
from codewm.model.scoring import substitution
from codewm.model.scoring.channels import CHANNELS
from codewm.model.scoring.engine_model import load_model
from codewm.model.scoring.gather import build
from codewm.model.scoring.ngrams import NO_LORE, bits_of
from codewm.model.scoring.score import Target, score
from codewm.model.scoring.settings import ScoreSettings, TokenSettings
from codewm.model.scoring.substitution import NOTHING, Substitutions, substitutions
from tests.helpers import GitRepo
from tests.scoring.test_tokens import table_of

UNIT = (
    "def f{n}(items, limit):\n    if len(items) == limit:\n        print('many', 3)\n        return items\n"
    "    return items[:limit]\n\n\n"
)
MANY = "".join(UNIT.format(n=n) for n in range(60))
WRONG = MANY.replace("==", "!=", 1)


def channel(repo: GitRepo, model: Path, name: str = "substitution") -> np.ndarray:
    """The values of the last commit's edits."""
    with Repository.open(repo.path) as repository:
        past = build(repository, repository.head(), load_model(repo.path, str(model)), ScoreSettings())
    edits = past.edits
    return edits.channels[edits.commit == len(past) - 1, CHANNELS.index(name)]


def found_in(repo: GitRepo, after: str) -> Substitutions:
    """What is found in the edit from `MANY` to this."""
    repo.commit("start", {"a.py": MANY})
    repo.commit("edit", {"a.py": after})
    table = table_of(repo, "HEAD~1..HEAD")
    rows = np.arange(len(table))
    bits = bits_of(table, rows, NO_LORE, TokenSettings().words)
    return substitutions(table, rows, bits.added, bits.removed)


def test_a_wrong_turn_is_stranger_than_one_put_right(git_repo: GitRepo, model_file: Path) -> None:
    git_repo.commit("start", {"a.py": MANY})
    git_repo.commit("wrong", {"a.py": WRONG})
    (wrong,) = channel(git_repo, model_file)
    git_repo.commit("right", {"a.py": MANY})
    (right,) = channel(git_repo, model_file)
    assert wrong > right + 4
    assert right > 0


def test_it_is_found_beside_other_changes_and_named(git_repo: GitRepo, model_file: Path) -> None:
    more = WRONG.replace("    return items[:limit]\n", "    print(items)\n    return items[:limit]\n", 1)
    found = found_in(git_repo, more)
    assert found.edit.tolist() == [0]
    assert found.strangest(0) == 0
    assert found.strangest(1) == -1
    table, vocabulary = table_of(git_repo, "HEAD~1..HEAD"), core.vocabulary()
    old, new = (table.state(s[0]) for s in (table.before, table.after))
    assert (vocabulary[old[found.gone[0]]], vocabulary[new[found.come[0]]]) == ("==", "!=")
    with Repository.open(git_repo.path) as repository:
        report = score(
            repository, Target(revisions="HEAD~1..HEAD"), load_model(git_repo.path, str(model_file))
        )
    (unit,) = report.commits[0].units
    assert unit.channels["substitution"].raw is not None
    assert unit.channels["substitution"].raw > 10


def test_a_not_by_itself_turns_it_around(git_repo: GitRepo) -> None:
    found = found_in(git_repo, MANY.replace("if len", "if not len", 1))
    assert found.kind.tolist() == [substitution.TURNED]
    assert found.gone.tolist() == [NOTHING]
    git_repo.commit("back", {"a.py": MANY})
    table = table_of(git_repo, "HEAD~1..HEAD")
    bits = bits_of(table, np.arange(1), NO_LORE, TokenSettings().words)
    back = substitutions(table, np.arange(1), bits.added, bits.removed)
    assert back.kind.tolist() == [substitution.TURNED]
    assert (back.come.tolist(), back.gone[0]) == ([NOTHING], found.come[0])
    assert back.bits[0] == 0 < found.bits[0]


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("==", "!=", substitution.TURNED),
        ("==", "is", substitution.TOKEN),
        ("items, limit)", "items, top)", substitution.NAME),
        ("'many'", "'few'", substitution.STRING),
        ("3", "13", substitution.NUMBER),
        ("3", "None", substitution.OTHER_VALUE),
        ("'many'", "items", substitution.OTHER_VALUE),
    ],
)
def test_what_was_replaced_is_told(git_repo: GitRepo, old: str, new: str, kind: int) -> None:
    assert found_in(git_repo, MANY.replace(old, new, 1)).kind.tolist() == [kind]


def test_a_rarer_kind_is_stranger_at_the_same_cost() -> None:
    kinds = np.argsort(substitution.SHARE)
    n = len(kinds)
    same = Substitutions(np.arange(n), np.zeros(n, int), np.zeros(n, int), np.full(n, 1.5), kinds)
    assert (np.diff(same.strangeness) < 0).all()
    cheap = Substitutions(np.arange(n), np.zeros(n, int), np.zeros(n, int), np.full(n, -30.0), kinds)
    assert (cheap.strangeness > 0).all()


def test_without_a_replacement_it_is_nought(git_repo: GitRepo, model_file: Path) -> None:
    git_repo.commit("start", {"a.py": MANY})
    git_repo.commit(
        "more", {"a.py": MANY.replace("        return items\n", "        return items, limit\n", 1)}
    )
    assert channel(git_repo, model_file).tolist() == [0.0]
    longer = "        for item in items:\n            print(item)\n"
    git_repo.commit("other", {"a.py": MANY.replace("        return items\n", longer, 1)})
    assert channel(git_repo, model_file).tolist() == [0.0]
    git_repo.commit("new", {"b.py": "def g(a):\n    return a\n"})
    assert np.isnan(channel(git_repo, model_file)).all()
