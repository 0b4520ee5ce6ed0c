"""The same for units: one row of evidence for every other function, method, class header or run of statements."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.distinct import distinct, is_among
from codewm.model.impact.past import Past
from codewm.model.impact.postings import I32, I64, rows_of
from codewm.model.impact.signals import ACTIVE, F64, HALF_LIFE, Known, commits_about

UNIT_SIGNALS = (
    "together", "confidence", "support", "lately", "active", "recency", "file", "same_file", "same_class",
    "same_file_active", "uses_changed", "changed_uses", "defines_added", "like_commits", "same_name", "words",
    "is_test", "both_tests", "is_module", "file_together",
)  # fmt: skip
SWEEP_UNITS = 100
"""A commit that changes more units says nothing about which of them belong together."""


class UnitView:
    """What units there were before one commit."""

    def __init__(self, past: Past, until: int) -> None:
        self.past, self.until = past, until
        self.file, self.name, self.exists = past.units_before(until)

    @cached_property
    def _last(self) -> int:
        return int(self.past.first_edit[self.until])

    @cached_property
    def weights(self) -> F64:
        """[until] of a commit as evidence, less for larger and older ones."""
        sizes = self.past.unit_sizes[: self.until]
        weight = 1.0 / np.sqrt(np.maximum(sizes - 1, 1))
        weight[sizes > SWEEP_UNITS] = 0.0
        decayed: F64 = weight * 0.5 ** ((self.until - np.arange(self.until)) / HALF_LIFE)
        return decayed

    @cached_property
    def changes(self) -> F64:
        """[H] commits that changed each unit."""
        return np.bincount(self.past.edits[2][: self._last], minlength=self.past.chains).astype(np.float64)

    @cached_property
    def recent_changes(self) -> F64:
        """[H] the same, decayed within some dozen commits."""
        commit = self.past.edits[0][: self._last]
        sweeping = self.past.unit_sizes[commit] > SWEEP_UNITS
        weight = np.where(sweeping, 0.0, 0.5 ** ((self.until - commit) / ACTIVE))
        chain = self.past.edits[2][: self._last]
        counts: F64 = np.bincount(chain, weights=weight, minlength=self.past.chains)  # type: ignore[assignment]
        return counts

    @cached_property
    def last_change(self) -> F64:
        """[H] commits since each unit was changed, `until` if it never was."""
        last = np.zeros(self.past.chains, np.int64)
        last[self.past.edits[2][: self._last]] = self.past.edits[0][: self._last]
        return (self.until - last).astype(np.float64)

    @cached_property
    def is_test(self) -> NDArray[np.bool_]:
        """[H] in a file of tests."""
        path = self.past.paths_before(self.until)
        of_file = (path >= 0) & self.past.path_table.test[np.maximum(path, 0)]
        return np.where(self.file >= 0, of_file[np.maximum(self.file, 0)], False)


def unit_signals(view: UnitView, known: Known, file_scores: F64, file_together: F64) -> F64:
    """Evidence [H, len(UNIT_SIGNALS)] for every unit, given the scores and the confidence of every file [F]."""
    past, until = view.past, view.until
    H = past.chains
    out = {name: np.zeros(H) for name in UNIT_SIGNALS}
    file = np.maximum(view.file, 0)
    for number, unit in enumerate(known.units):
        commits = past.commits_of_unit.values(int(unit), until)
        n = len(commits)
        if n == 0:
            continue
        which, others = units_of(past, commits)
        support = np.bincount(others, minlength=H).astype(np.float64)
        weight = view.weights[commits]
        decayed = np.bincount(others, weights=weight[which], minlength=H) / (weight.sum() + 0.3)
        last = np.full(H, -np.inf)
        last[others] = commits[which]
        for name, value in (
            ("together", np.sqrt(decayed)),
            ("confidence", np.log1p(10 * support) - np.log1p(n)),
            ("support", np.log1p(support)),
            ("lately", np.where(support > 0, 1.0 / np.sqrt(until - last), 0.0)),
        ):
            out[name] = value if number == 0 else np.maximum(out[name], value)
    out["active"] = np.log1p(view.recent_changes)
    out["recency"] = -np.log1p(view.last_change)
    same_file = is_among(view.file, known.files)
    out["same_file"] = same_file.astype(np.float64)
    out["same_file_active"] = same_file * out["active"]
    # Files of the change itself have no score of their own; they are told apart by `same_file`.
    out["file"] = np.where(same_file, 0.0, file_scores[file])
    out["file_together"] = np.where(same_file, 0.0, file_together[file])
    owner = past.owner_of_unit
    owners = distinct(owner[known.unit_names]) if len(known.unit_names) else np.zeros(0, np.int32)
    out["same_class"] = (same_file & is_among(owner[view.name], owners[owners >= 0])).astype(np.float64)
    _unit_names(view, known, out)
    test = view.is_test
    out["is_test"] = test.astype(np.float64)
    known_test = bool(len(known.paths)) and bool(past.path_table.test[known.paths].all())
    out["both_tests"] = (test & known_test).astype(np.float64)
    out["is_module"] = past.is_module[view.name].astype(np.float64)
    return np.stack([out[name] for name in UNIT_SIGNALS], axis=1)


def _unit_names(view: UnitView, known: Known, out: dict[str, F64]) -> None:
    past, until = view.past, view.until
    if len(past.names) == 0:
        return
    H = past.chains
    own = past.name_of_unit[view.name]
    _, unit, rarity = _holders(view, known.defined)
    np.maximum.at(out["uses_changed"], unit, rarity)
    added = known.added[:300]
    wanted = np.zeros(len(past.names) + 1)
    holders = np.bincount(own[view.exists & (own >= 0)], minlength=len(past.names))
    wanted[:-1][added] = 1.0 / np.maximum(holders[added], 1)
    out["defines_added"] = wanted[own]
    # What the changed units mention, whether they did before or do now.
    mentioned = [past.names_of_unit.values(int(u), until) for u in known.units[:50]]
    wanted = np.zeros(len(past.names) + 1)
    if mentioned:
        names = distinct(np.concatenate(mentioned))
        wanted[:-1][names] = 1.0 / np.maximum(holders[names], 1)
    out["changed_uses"] = wanted[own]
    like = commits_about(past, until, known)
    best = np.argsort(-like)[:20]
    near: I32 = best[(like[best] > 0) & (past.unit_sizes[best] <= SWEEP_UNITS)].astype(np.int32)
    if len(near):
        at, others = units_of(past, near)
        weight = like[near] * view.weights[near]
        row = np.bincount(others, weights=weight[at], minlength=H) / (weight.sum() + 0.05)
        out["like_commits"] = np.sqrt(row)
    words, of_unit, word = past.words_of_unit
    mine = np.zeros(len(past.words), np.bool_)
    for name in known.unit_names:
        mine[words.values(int(name), 1)] = True
    there = np.zeros(len(past.units), np.bool_)
    there[view.name[view.exists]] = True
    often = np.bincount(word[there[of_unit]], minlength=len(mine))
    rarity_of = mine * (1.0 - np.log(np.maximum(often, 1)) / np.log(there.sum() + 2))
    by_unit = np.bincount(of_unit, weights=rarity_of[word], minlength=len(past.units))
    out["words"] = by_unit[view.name] / max(float(rarity_of.sum()), 0.1)
    out["same_name"] = is_among(own, known.defined[known.defined >= 0]).astype(np.float64)


def _holders(view: UnitView, names: I32) -> tuple[I64, I32, F64]:
    which, unit, _ = view.past.mentions_of_name.take(names, view.until)
    held = view.exists[unit]
    which, unit = which[held], unit[held]
    often = np.bincount(which, minlength=len(names))
    rarity = 1.0 - np.log(np.maximum(often, 1)) / np.log(view.exists.sum() + 2)
    return which, unit, rarity[which]


def units_of(past: Past, commits: I32) -> tuple[I64, I32]:
    """All units changed in commits [m]: index into `commits`, and chain, each [r]."""
    which, rows = rows_of(past.first_edit, commits)
    return which, past.edits[2][rows]


__all__ = ["UNIT_SIGNALS", "UnitView", "unit_signals", "units_of"]
