"""Edits of a repository and its earlier ones in, the scores of commits that rivals of codewm give out.

Every baseline knows what was committed before the block of commits that it scores, and nothing later, as codewm
itself does. Names and directions: higher is stranger.

    lines_added        lines added to Python files
    tokens_changed     tokens added and removed, of all edits of the commit
    bag_direction      1 - the mean cosine of an edit's change of the bag of tokens to the nearest earlier ones of the
                       repository; the highest and the mean over the commit's edits
    isolation_forest   scikit-learn's, on the change of the bag of syntax nodes, fitted on earlier edits; the highest
    trigram            bits of the trigrams of tokens that come in, under those that came in before; sum and mean
    fix_density        the highest share of fixes among the earlier commits that touched one of the files

Each was the best of its kind before codewm had a score of its own (docs/lab-log.md), and none needs a model.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.table import EditTable
from codewm.model.scoring.channels import unit_vectors

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
SIZES = ("lines_added", "tokens_changed")
FOREST = "isolation_forest"
_CHUNK = 4_000  # edits at a time; their bags are 25 MB
# What is not a node of the syntax tree: how deep it is, and what names, strings and numbers hash to.
_LEAVES = (
    (core.DEPTH_FIRST, core.DEPTH_LAST),
    (core.IDENT_FIRST, core.IDENT_LAST),
    (core.STRING_FIRST, core.STRING_LAST),
    (core.NUMBER_FIRST, core.NUMBER_LAST),
)


@dataclass(frozen=True)
class BaselineSettings:
    """What the rivals are set to."""

    window: int = 4_000
    """Earlier edits that directions and the forest know, the latest ones; as many as codewm compares with."""
    nearest: int = 5
    """Earlier edits that a direction is compared with."""
    trees: int = 100
    forest_minimum: int = 50
    """With fewer earlier edits there is no forest: every edit is as strange as another."""
    shares: tuple[float, float, float, float] = (0.6, 0.25, 0.1, 0.05)
    """Weights of trigram, bigram, unigram and of any token at all."""
    prior: float = 2.0
    """Commits without a fix that every file is taken to have had."""


def names() -> list[str]:
    """Which baselines there are here; the forest needs scikit-learn."""
    forest = [FOREST] if find_spec("sklearn") is not None else []
    return [*SIZES, "bag_direction", "bag_direction_mean", *forest, "trigram", "trigram_mean", "fix_density"]


def added_trigrams(table: EditTable, rows: I64) -> tuple[I64, I64, I64]:
    """Trigrams that occur more often after an edit than before: index into `rows`, trigram, how often, each [n].

    A trigram (a, b, c) is the number (a V + b) V + c; the first two of a state look back on padding.
    """
    size = core.VOCAB_SIZE
    parts: list[tuple[I64, I64, I64]] = []
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        keys, signs = [], []
        for side, sign in ((table.after, 1), (table.before, -1)):
            tokens, offsets = table.states(side[part])
            wide = tokens.astype(np.int64)
            edit = np.repeat(np.arange(len(part)), np.diff(offsets))
            at = np.arange(len(wide)) - offsets[:-1][edit]
            one = np.where(at >= 1, np.roll(wide, 1), core.PAD)
            two = np.where(at >= 2, np.roll(wide, 2), core.PAD)
            keys.append((edit * size + two) * size * size + one * size + wide)
            signs.append(np.full(len(wide), sign))
        distinct, where = np.unique(np.concatenate(keys), return_inverse=True)
        more = np.bincount(where.ravel(), weights=np.concatenate(signs), minlength=len(distinct))
        gained = np.flatnonzero(more > 0)
        which, trigram = np.divmod(distinct[gained], size**3)
        parts.append((which + start, trigram, more[gained].astype(np.int64)))
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return columns[0], columns[1], columns[2]


def bag_changes(table: EditTable, rows: I64) -> F32:
    """How often each token occurs after an edit, less how often before: [n, V]."""
    size = core.VOCAB_SIZE
    out = np.zeros((len(rows), size), np.float32)
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        for side, sign in ((table.after, 1), (table.before, -1)):
            tokens, offsets = table.states(side[part])
            edit = np.repeat(np.arange(len(part)), np.diff(offsets))
            count = np.bincount(edit * size + tokens, minlength=len(part) * size)
            out[start : start + len(part)] += sign * count.reshape(len(part), size).astype(np.float32)
    return out


def _nodes() -> NDArray[np.bool_]:
    """Mask over the vocabulary: nodes of the syntax tree and operators."""
    kept = np.ones(core.VOCAB_SIZE, bool)
    for first, last in _LEAVES:
        kept[first : last + 1] = False
    return kept


@dataclass
class Baselines:
    """What the rivals know so far. `learn` commits in order; `score` those that follow."""

    settings: BaselineSettings = field(default_factory=BaselineSettings)
    _changes: F32 = field(default_factory=lambda: np.zeros((0, core.VOCAB_SIZE), np.float32))
    _grams: tuple[Counter[int], Counter[int], Counter[int]] = field(
        default_factory=lambda: (Counter(), Counter(), Counter())
    )
    _pairs: Counter[int] = field(default_factory=Counter)
    _tokens: int = 0
    _touched: Counter[str] = field(default_factory=Counter)
    _fixed: Counter[str] = field(default_factory=Counter)
    _forest: Any = None

    def learn(self, table: EditTable) -> None:
        """Take in the commits of a table."""
        rows = _code(table)
        latest = rows[-self.settings.window :]
        self._changes = np.concatenate([self._changes, bag_changes(table, latest)])[-self.settings.window :]
        self._forest = None
        _, trigrams, counts = added_trigrams(table, rows)
        self._count(trigrams, counts)
        self._touch(table)

    def _count(self, trigrams: I64, counts: I64) -> None:
        size = core.VOCAB_SIZE
        three, two, one = self._grams
        for counter, keys in ((three, trigrams), (two, trigrams % size**2), (one, trigrams % size)):
            _tally(counter, keys, counts)
        _tally(self._pairs, trigrams // size, counts)
        self._tokens += int(counts.sum())

    def _touch(self, table: EditTable) -> None:
        """Count the commits of each file, and the fixes among them; a file that is renamed takes its counts along."""
        renames: dict[int, list[tuple[int, int]]] = {}
        for commit, old, new in table.renames.tolist():
            renames.setdefault(commit, []).append((old, new))
        pairs = np.unique(np.column_stack([table.commit, table.path]).astype(np.int64), axis=0)
        bounds = np.searchsorted(pairs[:, 0], np.arange(len(table.commits) + 1))
        for c in np.unique([*pairs[:, 0].tolist(), *renames]).astype(int).tolist():
            for old, new in renames.get(c, []):
                for counter in (self._touched, self._fixed):
                    counter[table.paths[new]] += counter.pop(table.paths[old], 0)
            for p in pairs[bounds[c] : bounds[c + 1], 1].tolist():
                self._touched[table.paths[p]] += 1
                self._fixed[table.paths[p]] += bool(table.commits.fixes[c])

    def score(self, table: EditTable) -> dict[str, F64]:
        """Score the commits of a table, which may be any that follow: name -> [C], 0 where no code was changed."""
        commits, rows = len(table.commits), _code(table)
        commit = table.commit[rows].astype(np.int64)
        changes = bag_changes(table, rows)
        changed = (table.tokens_added + table.tokens_removed)[rows]
        out: dict[str, F64] = {
            "lines_added": table.commits.lines_added.astype(np.float64),
            "tokens_changed": np.bincount(commit, weights=changed, minlength=commits).astype(np.float64),
        }
        direction = self._direction(changes)
        out["bag_direction"] = _highest(direction, commit, commits)
        out["bag_direction_mean"] = _mean(direction, commit, commits)
        if find_spec("sklearn") is not None:
            out[FOREST] = _highest(self._isolation(changes), commit, commits)
        out["trigram"], out["trigram_mean"] = self._bits(table, rows, commit)
        out["fix_density"] = self._density(table)
        return out

    def _direction(self, changes: F32) -> F64:
        if not len(self._changes) or not len(changes):
            return np.ones(len(changes))
        known, asked = unit_vectors(self._changes), unit_vectors(changes)
        most = min(self.settings.nearest, len(known))
        out = np.zeros(len(asked))
        for start in range(0, len(asked), _CHUNK):
            similar = asked[start : start + _CHUNK] @ known.T
            out[start : start + _CHUNK] = np.partition(similar, -most, axis=1)[:, -most:].mean(1)
        return 1 - out

    def _isolation(self, changes: F32) -> F64:
        if len(self._changes) < self.settings.forest_minimum or not len(changes):
            return np.zeros(len(changes))
        nodes = _nodes()
        if self._forest is None:
            from sklearn.ensemble import IsolationForest

            forest = IsolationForest(n_estimators=self.settings.trees, random_state=0)
            self._forest = forest.fit(self._changes[:, nodes])
        strange: F64 = -self._forest.score_samples(changes[:, nodes])
        return strange

    def _bits(self, table: EditTable, rows: I64, commit: I64) -> tuple[F64, F64]:
        """Sum and mean of -log2 p(c | a, b) over the trigrams that come in: [C] twice."""
        size = core.VOCAB_SIZE
        which, trigrams, counts = added_trigrams(table, rows)
        distinct, where = np.unique(trigrams, return_inverse=True)
        three, two, one = self._grams
        pairs, total = self._pairs, max(self._tokens, 1)
        first, second, third, rest = self.settings.shares
        share = np.empty(len(distinct))
        for i, key in enumerate(distinct.tolist()):
            b, c = key // size % size, key % size
            share[i] = (
                first * three[key] / max(pairs[key // size], 1)
                + second * two[b * size + c] / max(one[b], 1)
                + third * one[c] / total
                + rest / size
            )
        bits = -np.log2(share)[where.ravel()] * counts
        commits = len(table.commits)
        added = np.bincount(commit[which], weights=counts, minlength=commits)
        summed: F64 = np.bincount(commit[which], weights=bits, minlength=commits).astype(np.float64)
        return summed, summed / np.maximum(added, 1)

    def _density(self, table: EditTable) -> F64:
        out = np.zeros(len(table.commits))
        shares = np.array([self._share(path) for path in table.paths])
        np.maximum.at(out, table.commit, shares[table.path])
        return out

    def _share(self, path: str) -> float:
        return self._fixed.get(path, 0) / (self._touched.get(path, 0) + self.settings.prior)


def _code(table: EditTable) -> I64:
    """Rows that change code."""
    return np.flatnonzero((table.flags & core.FLAG_NOOP) == 0)


def _tally(counter: Counter[int], keys: I64, counts: I64) -> None:
    distinct, where = np.unique(keys, return_inverse=True)
    sums = np.bincount(where.ravel(), weights=counts, minlength=len(distinct)).astype(np.int64)
    for key, count in zip(distinct.tolist(), sums.tolist(), strict=True):
        counter[key] += count


def _highest(values: F64, commit: I64, commits: int) -> F64:
    out = np.zeros(commits)
    np.maximum.at(out, commit, values)
    return out


def _mean(values: F64, commit: I64, commits: int) -> F64:
    count = np.bincount(commit, minlength=commits)
    return np.bincount(commit, weights=values, minlength=commits) / np.maximum(count, 1)
