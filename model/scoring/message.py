"""Commit messages and what the commits touched in, how little each message is about its change out, as of its date.

A word of the subject is explained by the pieces of what was touched (folders, files, units, kinds of edit) as a word of
a translation is (IBM model 1, Brown et al. 1993, eq. 6): by the mean over pieces t of P(word | t), counted over the
earlier commits of this repository; and where the word itself is a piece, or part of a name that comes in, by that. The
value of a message is the sum over its words of log P(word) - log P(word | touched). A word that neither earlier
messages nor earlier paths and units of this repository have says nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.channels import Edits
    from codewm.model.scoring.past import Past
    from codewm.model.scoring.settings import MessageSettings

Floats = NDArray[np.float64]
I64 = NDArray[np.int64]

_PIECE = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_REFERENCE = re.compile(r"\(?#\d+\)?|https?://\S+")
_ENDINGS = ("ing", "ed", "es", "s")
_SAY_NOTHING = frozenset(
    {
        "the", "and", "for", "with", "from", "are", "its", "this", "that", "not", "into", "when", "use",
        "us", "mak", "doe", "make", "more", "some", "all", "only", "now", "new", "via", "per", "also",
        "than", "then", "them", "they", "you", "can", "could", "should", "will", "would", "has", "have",
        "had", "but", "was", "were", "been", "being", "which", "there", "merge", "merg", "pull", "request",
        "branch",
    }
)  # fmt: skip
_CHANGES = ("<created>", "<deleted>", "<changed>")


@lru_cache(maxsize=50_000)
def pieces(text: str) -> frozenset[str]:
    """What a name or a text is made of: lower case, without endings."""
    return frozenset(_stem(word.lower()) for word in _PIECE.findall(text) if len(word) > 1)


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def words(subject: str) -> frozenset[str]:
    """The words of a message that can say something."""
    found = pieces(_REFERENCE.sub(" ", subject))
    return frozenset(word for word in found if len(word) > 2 and word not in _SAY_NOTHING)


@dataclass
class Told:
    """One commit."""

    words: frozenset[str] = frozenset()
    touched: set[str] = field(default_factory=set)
    """Pieces of paths and units, and kinds of edit; empty where there are no edits."""
    named: set[str] = field(default_factory=set)
    """Pieces of names that came in."""


def told_by(
    subjects: Sequence[str],
    edits: Edits,
    where: Sequence[frozenset[str]],
    named: Sequence[frozenset[str]] = (),
) -> list[Told]:
    """[C] commits with the edits [N] in them, at the places `where` [N], which bring pieces of names `named` [N]."""
    out = [Told(words(subject)) for subject in subjects]
    commits, changes = edits.commit.tolist(), edits.change.tolist()
    tests: list[bool] = edits.test.tolist()
    moves: list[bool] = np.any(edits.net, axis=1).tolist()
    for i, commit in enumerate(commits):
        one = out[commit]
        one.touched |= where[i]
        one.touched |= {
            _CHANGES[changes[i]],
            "<test>" if tests[i] else "<code>",
            "<structure>" if moves[i] else "<still>",
        }
        if named:
            one.named |= named[i]
    return out


def of_past(past: Past) -> list[Told]:
    """The commits of a past. Which names came in is not known any more."""
    at = zip(past.path.tolist(), past.unit.tolist(), strict=True)
    where = [_file(past.paths[p]) | pieces(past.units[u]) for p, u in at]
    return told_by(past.subjects, past.edits, where)


def of_table(table: EditTable, edits: Edits) -> list[Told]:
    """The commits of a table, of which `edits` are."""
    rows = edits.row.tolist()
    where = [_file(table.paths[table.path[r]]) | pieces(table.units[table.unit[r]]) for r in rows]
    named = []
    for r in rows:
        ids = table.name_ids[int(table.name_offsets[r]) : int(table.name_offsets[r + 1])]
        named.append(frozenset().union(*(pieces(table.names[i]) for i in ids.tolist())))
    return told_by(table.commits.subject, edits, where, named)


def _file(path: str) -> frozenset[str]:
    return pieces(path.removesuffix(".py"))


class Lore:
    """Which of the words that will be asked for went with which pieces."""

    def __init__(self, asked: frozenset[str], settings: MessageSettings) -> None:
        self._asked, self._settings = asked, settings
        self._commits = 0
        self._words: Counter[str] = Counter()
        self._pieces: Counter[str] = Counter()
        self._pairs: Counter[tuple[str, str]] = Counter()

    def learn(self, one: Told) -> None:
        """Let time pass by a commit."""
        if one.touched and one.words:
            self._commits += 1
            self._pieces.update(one.touched)
            known = one.words & self._asked
            self._words.update(known)
            self._pairs.update((word, piece) for word in known for piece in one.touched)

    def surprises(self, one: Told) -> dict[str, float]:
        """Of each word that says something: log P(word) - log P(word | touched). Empty while too little is known."""
        if not one.touched or self._commits < self._settings.least:
            return {}
        pseudo, literal = self._settings.pseudo, self._settings.literal
        out = {}
        for word in one.words:
            if not self._words[word] and not self._pieces[word]:
                continue
            usual = (self._words[word] + 0.5) / (self._commits + 10.0)
            given = sum(
                (self._pairs[word, t] + pseudo * usual) / (self._pieces[t] + pseudo) for t in one.touched
            )
            found = word in one.touched or word in one.named
            told = literal * found + (1.0 - literal) * given / len(one.touched)
            out[word] = float(np.log(usual / told))
        return out


def surprises(
    told: Sequence[Told], date: I64, known: Sequence[Told], settings: MessageSettings
) -> list[dict[str, float]]:
    """[C] surprise of each word of each commit by those of `known` before `date` [C]; none where few say anything."""
    out: list[dict[str, float]] = [{} for _ in told]
    lore, learnt = Lore(frozenset().union(*(one.words for one in told)), settings), 0
    for c in np.argsort(date, kind="stable").tolist():
        if not told[c].words:
            continue
        for one in known[learnt : int(date[c])]:
            lore.learn(one)
        learnt = max(learnt, int(date[c]))
        found = lore.surprises(told[c])
        out[c] = found if len(found) >= settings.words else {}
    return out


def mismatch(told: Sequence[Told], date: I64, known: Sequence[Told], settings: MessageSettings) -> Floats:
    """[C] sum of `surprises`; NaN for a message that says nothing."""
    found = surprises(told, date, known, settings)
    return np.array([sum(one.values()) if one else np.nan for one in found], np.float64)
