"""Claims about the channels that compare tokens and edits with earlier ones, on real repositories:

1. As of the date: what a commit adds costs its own commit more than the next one; the cache of a past that is cut back
   is the one of that date, whether or not it was stored in between.
2. Code that the repository never wrote costs more to add than code it writes all the time; removing what stands
   nowhere else costs more than removing what stands everywhere.
3. Names and values are nothing to the bits of syntax.
4. An edit like an earlier one is no novelty, another one is; with little history nothing is said.
5. A statement pasted beside itself is a repetition, one like it is not.
6. An edit that never was in is measured as a commit of its own at its date.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import codewm_core as core
from codewm.corpus.git import Repository
from codewm.corpus.history import harvest_live
from codewm.corpus.table import EditTable
from codewm.model.scoring.alone import measure_alone
from codewm.model.scoring.channels import CHANNELS, measure
from codewm.model.scoring.engine_model import load_model
from codewm.model.scoring.gather import build, measured
from codewm.model.scoring.ngrams import NO_LORE, bits_of, lores_of_tree, mean, total
from codewm.model.scoring.novelty import distance
from codewm.model.scoring.settings import NoveltySettings, ScoreSettings, TokenSettings
from codewm.model.scoring.syntax import SYNTAX
from tests.helpers import GitRepo

TOKENS = TokenSettings()
LOOP = "    for item in items:\n        total += item\n"
HEAD = "def f{n}(items):\n    total = 0\n"
USUAL = "".join(HEAD.format(n=n) + LOOP + "    return total\n\n\n" for n in range(12))


def table_of(repo: GitRepo, revisions: str) -> EditTable:
    with Repository.open(repo.path) as repository:
        records = list(repository.commits(repository.parse_range(revisions)))
        return harvest_live(repository, records, window=256, action="v15")


def channel(name: str, values: np.ndarray) -> np.ndarray:
    return values[:, CHANNELS.index(name)]


def costs(repo: GitRepo, after: str, syntax: bool = False) -> tuple[float, float]:
    """Bits a token of what the change of a.py adds, and bits of what it removes."""
    repo.commit("change", {"a.py": after})
    with Repository.open(repo.path) as repository:
        words, constructs = lores_of_tree(repository, "HEAD~1", TOKENS)
    table = table_of(repo, "HEAD")
    known, settings = (constructs, TOKENS.syntax) if syntax else (words, TOKENS.words)
    bits = bits_of(table, np.arange(len(table)), known, settings)
    repo.git("reset", "-q", "--hard", "HEAD~1")
    return float(np.nansum(mean(bits.added))), float(np.nansum(total(bits.removed)))


@pytest.fixture
def usual(git_repo: GitRepo) -> GitRepo:
    """A repository that does one thing all the time, and one thing once."""
    guard = "    if items is None:\n        raise ValueError('no items')\n"
    git_repo.commit(
        "start", {"a.py": USUAL + HEAD.format(n="x") + guard + LOOP + LOOP + "    return total\n"}
    )
    return git_repo


def test_strange_code_costs_more_than_usual_code(usual: GitRepo) -> None:
    source = (usual.path / "a.py").read_text()
    more, _ = costs(usual, source.replace("    return total\n", LOOP + "    return total\n", 1))
    strange = "    with socket.socket() as link:\n        link.sendall(secret)\n"
    most, _ = costs(usual, source.replace("    return total\n", strange + "    return total\n", 1))
    assert 0 < more < most / 2


def test_what_stands_nowhere_else_costs_more_to_remove(usual: GitRepo) -> None:
    source = (usual.path / "a.py").read_text()
    _, guard = costs(
        usual, source.replace("    if items is None:\n        raise ValueError('no items')\n", "")
    )
    _, loop = costs(usual, source.replace(LOOP + LOOP, LOOP))
    assert 0 < loop < guard / 2


def test_names_and_values_are_nothing_to_syntax(usual: GitRepo) -> None:
    source = (usual.path / "a.py").read_text()
    assert costs(usual, source.replace("total = 0", "amount = 7"), syntax=True) == (0.0, 0.0)
    assert costs(usual, source.replace("total = 0", "amount = 7"))[0] > 0
    assert len(set(SYNTAX[core.IDENT_FIRST : core.IDENT_LAST + 1].tolist())) == 1


def test_a_commit_does_not_know_itself(git_repo: GitRepo) -> None:
    body = "def load(path):\n    with open(path) as source:\n        return json.load(source)\n"
    git_repo.commit("start", {"a.py": USUAL})
    git_repo.commit("first", {"b.py": body})
    git_repo.commit("second", {"c.py": body})
    table = table_of(git_repo, "HEAD~2..HEAD")
    bits = bits_of(table, np.arange(len(table)), NO_LORE, TOKENS.words)
    first, second = mean(bits.added)
    assert second < first / 4
    assert set(bits.gained_in.tolist()) == {0, 1}


def test_a_past_cut_back_knows_what_was_known_then(long_history: GitRepo, model_file: Path) -> None:
    model = load_model(long_history.path, str(model_file))
    with Repository.open(long_history.path) as repo:
        whole = build(repo, repo.head(), model, ScoreSettings())
        cut = whole.until(len(whole) - 11)
        short = build(repo, repo.resolve("HEAD~10"), model, ScoreSettings())
    for name in ("words", "syntax"):
        ours, theirs = getattr(cut, name), getattr(short, name)
        np.testing.assert_array_equal(
            ours.start.plus(ours.gained).keys, theirs.start.plus(theirs.gained).keys
        )
        np.testing.assert_array_equal(ours.since(5).start.plus(ours.since(5).gained).counts,
                                      theirs.start.plus(theirs.gained).counts)  # fmt: skip
    np.testing.assert_array_equal(cut.edits.channels, short.edits.channels)


def test_alone_is_what_the_commit_was_measured_as(long_history: GitRepo, model_file: Path) -> None:
    model, settings = load_model(long_history.path, str(model_file)), ScoreSettings()
    with Repository.open(long_history.path) as repo:
        past = build(repo, repo.head(), model, settings)
        table = table_of(long_history, "HEAD~1..HEAD")
        before = past.until(len(past) - 2)
        edits, _ = measured(table, before, model, settings)
        alone, _ = measure_alone(table, past, np.array([len(past) - 1]), model, settings)
    np.testing.assert_array_equal(alone.channels, edits.channels)
    assert np.isfinite(channel("novelty", edits.channels)).any()


def test_without_a_past_there_is_nothing_to_say(usual: GitRepo, model_file: Path) -> None:
    usual.commit(
        "more", {"a.py": (usual.path / "a.py").read_text().replace("total = 0", "total = len(items)")}
    )
    with Repository.open(usual.path) as repo:
        names = build(
            repo, repo.resolve("HEAD~1"), load_model(usual.path, str(model_file)), ScoreSettings()
        ).names
    table, settings = table_of(usual, "HEAD"), ScoreSettings()
    edits, _ = measure(core.Engine.from_file(model_file), table, names, settings.names, 1)
    for name in ("bits_added", "bits_removed", "syntax", "novelty", "shape"):
        assert np.isnan(channel(name, edits.channels)).all(), name


def test_once_done_it_is_no_novelty() -> None:
    settings = NoveltySettings(memory=4, least=2)
    one, other = np.eye(2, dtype=np.float32)
    known = np.stack([one, one, other, one, one, one, one])
    queries = np.stack([one, other, other, one])
    date = np.array([2, 3, 7, 1])
    value = distance(queries, date, known, np.arange(7), 1, settings)
    # At 3 the edit at 2 was like it, at 7 it is forgotten; at 1 there is too little to say anything.
    np.testing.assert_allclose(value, [0.0, 0.0, 1.0, np.nan])


def test_a_statement_beside_itself_is_a_repetition(git_repo: GitRepo, model_file: Path) -> None:
    body = "def f(a, b):\n    a.start(b)\n    b.stop(a)\n    return a\n"
    git_repo.commit("start", {"a.py": body})
    git_repo.commit("twice", {"a.py": body.replace("    b.stop(a)\n", "    b.stop(a)\n    b.stop(a)\n")})
    git_repo.commit("alike", {"a.py": body.replace("    b.stop(a)\n", "    b.stop(a)\n    b.stop(b)\n")})
    git_repo.commit("new", {"b.py": body + body.replace("f(", "g(")})
    with Repository.open(git_repo.path) as repo:
        past = build(repo, repo.head(), load_model(git_repo.path, str(model_file)), ScoreSettings())
    twice, alike, *new = channel("repetition", past.edits.channels)
    assert twice > 4
    assert alike == 0
    assert np.isnan(new).all()
