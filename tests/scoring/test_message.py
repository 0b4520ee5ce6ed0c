"""Claims about messages and what they are about:

1. After some history a message about another part of the repository is stranger than one about what was touched, be
   the words those of paths and units or only ever used beside them; its strange words are named.
2. A message without words that say something, no message, and a young repository get no value.
3. As of the date: what is said later explains nothing earlier.
4. On a real history: the commit whose message is about something else has the highest value.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codewm.corpus.git import Repository
from codewm.model.scoring.channels import CHANNELS
from codewm.model.scoring.engine_model import load_model
from codewm.model.scoring.gather import build
from codewm.model.scoring.message import Told, mismatch, pieces, surprises, words
from codewm.model.scoring.score import Target, score
from codewm.model.scoring.settings import MessageSettings, ScoreSettings
from tests.helpers import GitRepo

SETTINGS = MessageSettings()


def told(subject: str, *touched: str) -> Told:
    return Told(words(subject), set().union(*map(pieces, touched)))


HISTORY = [
    told("Fix cookie expiry in sessions" if i % 2 else "Faster table rendering", "sessions", "load") if i % 2
    else told("Faster table rendering", "layout", "draw")
    for i in range(60)
]  # fmt: skip


def values(*new: Told, known: list[Told] | None = None) -> np.ndarray:
    known = HISTORY if known is None else known
    return mismatch(new, np.full(len(new), len(known), np.int64), known, SETTINGS)


def test_a_message_about_something_else_is_stranger() -> None:
    subject = "Repair cookie expiry"  # words of messages, not of code
    right, wrong = values(told(subject, "sessions", "load"), told(subject, "layout", "draw"))
    assert right < 0 < wrong
    literal, foreign = values(
        told("Rename draw of sessions", "layout", "draw"), told("Rename draw of sessions", "setup")
    )
    assert literal < foreign
    found = surprises([told(subject, "layout", "draw")], np.array([60]), HISTORY, SETTINGS)[0]
    assert sorted(found) == ["cookie", "expiry"]
    assert min(found.values()) > 0


@pytest.mark.parametrize("subject", ["", "wip", "Merge pull request #12", "xyzzy plugh", "v1.2.3"])
def test_a_message_that_says_nothing_gets_no_value(subject: str) -> None:
    assert np.isnan(values(told(subject, "layout", "draw"))).all()


def test_a_young_repository_says_nothing_and_later_commits_explain_nothing() -> None:
    one = told("Repair cookie expiry", "sessions", "load")
    assert np.isnan(values(one, known=HISTORY[: SETTINGS.least - 1])).all()
    early, late = mismatch([one, one], np.array([31, 60]), HISTORY, SETTINGS)
    assert early == values(one, known=HISTORY[:31])[0] != late


def test_the_commit_whose_message_is_about_something_else_stands_out(
    git_repo: GitRepo, model_file: Path
) -> None:
    files = {
        "cookies.py": "def parse_cookie(text):\n    return {n}\n",
        "layout.py": "def draw_table(rows):\n    return {n}\n",
    }
    git_repo.commit("start", {path: text.format(n=0) for path, text in files.items()})
    said = {"cookies.py": "Fix parsing of cookie {n}", "layout.py": "Draw the table {n} times wider"}
    for n in range(1, 41):
        path = list(files)[n % 2]
        git_repo.commit(said[path].format(n=n), {path: files[path].format(n=n)})
    git_repo.commit(said["cookies.py"].format(n=99), {"layout.py": files["layout.py"].format(n=99)})
    model = load_model(git_repo.path, str(model_file))
    with Repository.open(git_repo.path) as repo:
        past = build(repo, repo.head(), model, ScoreSettings())
        report = score(repo, Target(revisions="HEAD~1..HEAD"), model)
    value = past.edits.channels[:, CHANNELS.index("message")]
    assert np.nanargmax(value) == len(value) - 1
    assert np.nanmax(value[:-1]) < value[-1]
    assert np.isnan(value[past.edits.commit < SETTINGS.least]).all()
    reasons = report.commits[0].units[0].reasons
    assert any(r.startswith("message: ") and "cooki" in r for r in reasons), reasons
