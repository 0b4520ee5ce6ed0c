"""A past, a commit and the files of it that are known in, one row of evidence for every other file out.

Everything is counted over commits before that one; of the commit itself, only what it does to the known files is
looked at. Each signal is a column of `SIGNALS`; what they are worth together is fitted (`weights.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.distinct import distinct, is_among
from codewm.model.impact.past import GONE, IMPORT, Past
from codewm.model.impact.postings import I32, I64, Postings

F64 = NDArray[np.float64]

SIGNALS = (
    "together", "confidence", "support", "reverse", "lately", "alike", "units", "sibling",
    "active", "recency", "uses_changed", "defines_added", "uses_added", "imports_it", "is_imported", "vocabulary",
    "like_commits", "same_folder", "same_stem", "stem_words", "test_of", "both_tests", "is_test",
)  # fmt: skip
SWEEP = 60
"""Files: a larger commit says nothing about which of them belong together."""
HALF_LIFE = 300.0
"""Commits after which one counts half as evidence that files belong together."""
ACTIVE = 50.0
"""Commits, likewise, for how busy a file is."""


class View:
    """What there was before one commit."""

    def __init__(self, past: Past, until: int) -> None:
        self.past, self.until = past, until
        self.path = past.paths_before(until)
        table = past.path_table
        self.exists = self.path != GONE
        if len(table.paths):
            self.candidates = self.exists & table.python[self.path]
        else:
            self.candidates = self.exists
        self.count = int(self.candidates.sum())

    @cached_property
    def weights(self) -> F64:
        """[until] of a commit as evidence that its files belong together: less for larger and older ones."""
        sizes = self.past.sizes[: self.until]
        age = self.until - np.arange(self.until)
        weight = 1.0 / np.sqrt(np.maximum(sizes - 1, 1))
        weight[sizes > SWEEP] = 0.0
        decayed: F64 = weight * 0.5 ** (age / HALF_LIFE)
        return decayed

    @cached_property
    def changes(self) -> F64:
        """[F] commits that changed each file."""
        return np.bincount(self._files, minlength=self.past.files).astype(np.float64)

    @cached_property
    def _last(self) -> int:
        return int(self.past.first_change[self.until])

    @property
    def _files(self) -> I32:
        return self.past.changed[1][: self._last]

    @cached_property
    def recent_changes(self) -> F64:
        """[F] the same, decayed within some dozen commits."""
        age = self.until - self.past.changed[0][: self._last]
        sizes = self.past.sizes[self.past.changed[0][: self._last]]
        weight = np.where(sizes > SWEEP, 0.0, 0.5 ** (age / ACTIVE))
        counts: F64 = np.bincount(self._files, weights=weight, minlength=self.past.files)  # type: ignore[assignment]
        return counts

    @cached_property
    def last_change(self) -> F64:
        """[F] commits since each file was changed, `until` if it never was."""
        last = np.full(self.past.files, -1, np.int64)
        last[self._files] = self.past.changed[0][: self._last]
        return (self.until - np.where(last < 0, 0, last)).astype(np.float64)

    def frequency(self, postings: Postings, names: I32) -> tuple[I64, I32, F64]:
        """Rows of existing files for names [m]: index into names, file, and how rare the name is (1: one file)."""
        which, file, _ = postings.take(names, self.until)
        held = self.candidates[file]
        which, file = which[held], file[held]
        holders = np.bincount(which, minlength=len(names))
        rarity = 1.0 - np.log(np.maximum(holders, 1)) / np.log(self.count + 2)
        return which, file, rarity[which]


@dataclass(frozen=True)
class Known:
    """What is known of a change: some of its files, and what it does to them."""

    files: I32
    paths: I32
    units: I32
    """Chains changed in those files."""
    unit_names: I32
    """Their qualified names."""
    defined: I32
    """Names of the definitions changed there."""
    added: I32
    """Names that came to units there."""
    imported: I32
    """Names of imports that came there."""

    @classmethod
    def of_unit(cls, past: Past, commit: int, edit: int) -> Known:
        """Of a commit of the past, take what it did to one unit, that of row `edit` of the edits."""
        chain, unit = past.edits[2][edit : edit + 1], past.edits[3][edit : edit + 1]
        whole = cls.of(past, commit, past.edits[1][edit : edit + 1])
        low, high = past.first_mention[commit], past.first_mention[commit + 1]
        among = past.mentions[2][low:high] == chain[0]
        name, sort = past.mentions[3][low:high][among], past.mentions[4][low:high][among]
        defined = past.name_of_unit[unit]
        return replace(
            whole,
            units=chain,
            unit_names=unit,
            defined=defined[defined >= 0],
            added=distinct(name[sort != IMPORT]),
            imported=distinct(name[sort == IMPORT]),
        )

    @classmethod
    def of(cls, past: Past, commit: int, files: I32) -> Known:
        """Of a commit of the past, take what it did to `files`."""
        low, high = past.first_edit[commit], past.first_edit[commit + 1]
        among = is_among(past.edits[1][low:high], files)
        units = past.edits[2][low:high][among]
        unit_names = past.edits[3][low:high][among]
        names = past.name_of_unit[unit_names]
        low, high = past.first_mention[commit], past.first_mention[commit + 1]
        among = is_among(past.mentions[1][low:high], files)
        name, sort = past.mentions[3][low:high][among], past.mentions[4][low:high][among]
        # A file is called what it was called before, or after, if it is new.
        before, after = past.paths_before(commit), past.paths_before(commit + 1)
        paths = np.where(before[files] == GONE, after[files], before[files])
        return cls(
            files,
            paths[paths != GONE],
            distinct(units),
            distinct(unit_names),
            distinct(names[names >= 0]),
            distinct(name[sort != IMPORT]),
            distinct(name[sort == IMPORT]),
        )


def signals(view: View, known: Known) -> F64:
    """Evidence [F, len(SIGNALS)] for every file, from before the commit."""
    out = {name: np.zeros(view.past.files) for name in SIGNALS}
    about = commits_about(view.past, view.until, known)
    _together(view, known, about, out)
    _units(view, known, out)
    out["active"] = np.log1p(view.recent_changes)
    out["recency"] = -np.log1p(view.last_change)
    _names(view, known, about, out)
    _paths(view, known, out)
    return np.stack([out[name] for name in SIGNALS], axis=1)


def thinness(signals: F64) -> float:
    """How little is known of what the change's files change with, from [F, len(SIGNALS)]: 1 for nothing, down to 0."""
    return float(np.exp(-signals[:, SIGNALS.index("support")].max(initial=0.0)))


def _together(view: View, known: Known, about: F64, out: dict[str, F64]) -> None:
    past, until = view.past, view.until
    F = past.files
    for file in known.files:
        commits = past.commits_of_file.values(int(file), until)
        n = len(commits)
        if n == 0:
            continue
        which, others = past.together(commits)
        support = np.bincount(others, minlength=F).astype(np.float64)
        weight = view.weights[commits]
        decayed = np.bincount(others, weights=weight[which], minlength=F) / (weight.sum() + 0.3)
        last = np.full(F, -np.inf)
        last[others] = commits[which]
        for name, value in (
            ("together", np.sqrt(decayed)),
            ("confidence", np.log1p(10 * support) - np.log1p(n)),
            ("support", np.log1p(support)),
            ("reverse", support / (view.changes + 1)),
            ("lately", np.where(support > 0, 1.0 / np.sqrt(until - last), 0.0)),
        ):
            out[name] = value if file == known.files[0] else np.maximum(out[name], value)
        alike = weight * about[commits]
        if alike.any():
            row = np.bincount(others, weights=alike[which], minlength=F) / (alike.sum() + 0.05)
            out["alike"] = np.maximum(out["alike"], np.sqrt(row))
    # What changes with the files beside it; for new files this is all there is.
    table = past.path_table
    if len(known.paths):
        beside = np.flatnonzero(view.exists & is_among(table.folder[view.path], table.folder[known.paths]))
        _, commits, _ = past.commits_of_file.take(beside, until)
        commits = distinct(commits)[-400:]
        if len(commits):
            which, others = past.together(commits)
            weight = view.weights[commits]
            row = np.bincount(others, weights=weight[which], minlength=F) / (weight.sum() + 0.3)
            out["sibling"] = np.sqrt(row)


def commits_about(past: Past, until: int, known: Known) -> F64:
    """[until] how many of the names that the change brings, or is about, each commit brought, by their rarity."""
    about = distinct(np.concatenate([known.added[:300], known.defined]))
    if len(about) == 0 or len(past.names) == 0:
        return np.zeros(until)
    which, commits, _ = past.commits_of_name.take(about, until)
    often = np.bincount(which, minlength=len(about))
    rare: F64 = np.bincount(commits, weights=1.0 / often[which], minlength=until)  # type: ignore[assignment]
    return rare


def _units(view: View, known: Known, out: dict[str, F64]) -> None:
    past, until = view.past, view.until
    F = past.files
    if len(known.units) == 0 or len(known.units) > 200:
        return
    _, commits, _ = past.commits_of_unit.take(known.units, until)
    if len(commits) == 0:
        return
    # A commit counts as often as units of the change were in it.
    distinct, times = np.unique(commits, return_counts=True)
    weight = view.weights[distinct] * times
    at, others = past.together(distinct)
    rows = np.bincount(others, weights=weight[at], minlength=F)
    out["units"] = np.sqrt(rows / (weight.sum() + 0.3))


def _names(view: View, known: Known, about: F64, out: dict[str, F64]) -> None:
    past, until = view.past, view.until
    F = past.files
    if len(past.names) == 0:
        return
    _, file, rarity = view.frequency(past.users, known.defined)
    np.maximum.at(out["uses_changed"], file, rarity)
    added = known.added[:300]
    _, file, rarity = view.frequency(past.definers, added)
    out["defines_added"] = np.log1p(np.bincount(file, weights=rarity**3, minlength=F))
    _, file, rarity = view.frequency(past.users, added)
    out["uses_added"] = np.log1p(np.bincount(file, weights=rarity**2, minlength=F)) / np.sqrt(len(added) + 1)
    table = past.path_table
    held = view.path[view.candidates]
    stems = table.stem[held]
    shared = np.bincount(stems, minlength=len(table.stems))
    name_of_stem = past.name_of_stem
    own = distinct(table.stem[known.paths])
    for one in own:
        name = name_of_stem[one]
        if name >= 0:
            _, file, rarity = view.frequency(past.importers, np.array([name], np.int32))
            np.maximum.at(out["imports_it"], file, rarity / max(shared[one], 1))
    names: list[I32] = [past.names_of_file.values(int(f), until) for f in known.files]
    imports = distinct(
        np.concatenate([past.imports_of_file.values(int(f), until) for f in known.files] + [known.imported])
    )
    wanted = np.zeros(len(past.names) + 1, np.bool_)
    wanted[imports] = True
    of_stem = np.where(name_of_stem >= 0, wanted[name_of_stem], False)
    at = np.flatnonzero(view.candidates)
    out["is_imported"][at] = of_stem[stems] / np.maximum(shared[stems], 1)
    # Words in common, by how rare they are, as a cosine.
    mine = distinct(np.concatenate([*names, known.added]))
    if len(mine) > 800:
        mine = mine[:: len(mine) // 800 + 1]
    _, file, rarity = view.frequency(past.users, mine)
    shared_words = np.bincount(file, weights=rarity**2, minlength=F)
    size = np.bincount(past.names_of_file_rows[0][: past.names_of_file_rows[1][until]], minlength=F)
    out["vocabulary"] = np.sqrt(shared_words / np.sqrt((len(mine) + 10.0) * (size + 10.0)))
    # Commits that brought the same names, or were about the same definitions.
    best = np.argsort(-about)[:20]
    near: I32 = best[(about[best] > 0) & (past.sizes[best] <= SWEEP)].astype(np.int32)
    if len(near):
        at2, others = past.together(near)
        weight = about[near] * view.weights[near]
        row = np.bincount(others, weights=weight[at2], minlength=F) / (weight.sum() + 0.05)
        out["like_commits"] = np.sqrt(row)


def _paths(view: View, known: Known, out: dict[str, F64]) -> None:
    past = view.past
    table = past.path_table
    at = np.flatnonzero(view.exists)
    held = view.path[at]
    words, counts = table.words
    there = np.zeros(len(table.paths), np.bool_)
    there[held] = True
    for path in known.paths:
        same_folder = table.folder == table.folder[path]
        same_stem = table.stem == table.stem[path]
        mine = table.words_of.values(int(path), 1)
        which, other, _ = words.take(mine, 1)
        often = np.bincount(which[there[other]], minlength=len(mine))
        rarity = 1.0 - np.log(np.maximum(often, 1)) / np.log(len(held) + 2)
        shared = np.bincount(other, weights=rarity[which], minlength=len(table.paths))
        shared = (
            shared
            / np.maximum(rarity.sum(), 0.1)
            * np.sqrt(len(mine) / np.maximum(counts, 1).clip(len(mine)))
        )
        test_of = same_stem & (table.test != table.test[path])
        for name, value in (
            ("same_folder", same_folder), ("same_stem", same_stem), ("stem_words", shared),
            ("test_of", test_of), ("both_tests", table.test & table.test[path]),
        ):  # fmt: skip
            out[name][at] = np.maximum(out[name][at], value[held].astype(np.float64))
    out["is_test"][at] = table.test[held]


__all__ = ["SIGNALS", "SWEEP", "Known", "View", "signals", "thinness"]
