"""What changed together and who mentions what, as of any commit: `Past`.

Files are followed through renames: a file is a number, and which path it has is a matter of date. Everything is
rows in order of commits, so that what was known before a commit is a prefix. Nothing here depends on what is
asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codewm.model.impact.paths import PathTable, words_of
from codewm.model.impact.postings import I32, I64, Postings, rows_of

USE, IMPORT, DEFINITION = 0, 1, 2
"""Sorts of mentions."""
GONE = -1
"""Instead of a path: the file does not exist."""


@dataclass(frozen=True)
class Past:
    """C commits, F files, H units (chains) and V names of a first-parent line, oldest first."""

    oids: list[str]
    """[C]"""
    times: I64
    """[C] committer time, unix seconds, never running backwards."""
    changed: tuple[I32, I32]
    """Commit and file [n] of every file change, in order of commits."""
    named: tuple[I32, I32, I32]
    """Commit, file and path (or `GONE`) [e] of every change of a file's path, in order of commits."""
    paths: list[str]
    """Bytes that are no UTF-8 are kept by `surrogateescape`."""
    names: list[str]
    """[V]"""
    units: list[str]
    edits: tuple[I32, I32, I32, I32, NDArray[np.bool_]]
    """Commit, file, chain, unit name, and whether the unit is gone [N], in order of commits."""
    mentions: tuple[I32, I32, I32, I32, NDArray[np.uint8]]
    """Commit, file, chain, name and sort [K]: a unit's first use, import or definition of a name."""
    whole: bool
    """The first commit is a root: nothing came before."""
    source: str
    """Where units and names come from: 'chains' or 'live'."""
    shallow: bool = False
    """It begins where a shallow clone ends."""

    def __len__(self) -> int:
        return len(self.oids)

    def before(self, until: int) -> Past:
        """What there was before commit `until`; numbers stay the same."""

        def cut(columns: tuple[Any, ...]) -> Any:
            last = int(np.searchsorted(columns[0], until))
            return tuple(column[:last] for column in columns)

        return replace(
            self,
            oids=self.oids[:until],
            times=self.times[:until],
            changed=cut(self.changed),
            named=cut(self.named),
            edits=cut(self.edits),
            mentions=cut(self.mentions),
        )

    @cached_property
    def files(self) -> int:
        """How many files there ever were."""
        return int(self.named[1].max()) + 1 if len(self.named[1]) else 0

    @cached_property
    def chains(self) -> int:
        """How many units there ever were."""
        return int(self.edits[2].max()) + 1 if len(self.edits[2]) else 0

    @cached_property
    def position(self) -> dict[str, int]:
        """Commit id -> row."""
        return {oid: i for i, oid in enumerate(self.oids)}

    @cached_property
    def path_table(self) -> PathTable:
        """What the paths say by themselves."""
        return PathTable(self.paths)

    @cached_property
    def commits_of_file(self) -> Postings:
        """File -> commits that changed it."""
        commit, file = self.changed
        return Postings.of(file, commit, commit, self.files)

    @cached_property
    def first_change(self) -> I64:
        """[C + 1] changes of commit c are rows `first_change[c]:first_change[c + 1]` of `changed`."""
        return np.searchsorted(self.changed[0], np.arange(len(self) + 1)).astype(np.int64)

    @cached_property
    def sizes(self) -> I64:
        """[C] files changed."""
        return np.diff(self.first_change)

    @cached_property
    def python_sizes(self) -> I64:
        """[C] files changed that are called `*.py` now, or were when they were last there."""
        last = np.full(self.files, GONE, np.int32)
        there = self.named[2] != GONE
        last[self.named[1][there]] = self.named[2][there]
        python = (last != GONE) & self.path_table.python[last]
        commit, file = self.changed
        return np.bincount(commit[python[file]], minlength=len(self))

    @cached_property
    def commits_of_unit(self) -> Postings:
        """Chain -> commits that changed it."""
        return Postings.of(self.edits[2], self.edits[0], self.edits[0], self.chains)

    @cached_property
    def first_edit(self) -> I64:
        """[C + 1] edits of commit c are rows `first_edit[c]:first_edit[c + 1]` of `edits`."""
        return np.searchsorted(self.edits[0], np.arange(len(self) + 1)).astype(np.int64)

    @cached_property
    def _file_mentions(self) -> tuple[I32, I32, I32, NDArray[np.uint8]]:
        """Commit, file, name, sort [m]: a file's first use, import or definition of a name."""
        commit, file, _, name, sort = self.mentions
        first = first_of((file.astype(np.int64) * len(self.names) + name) * 4 + sort)
        return commit[first], file[first], name[first], sort[first]

    def _by_name(self, sort: int) -> Postings:
        commit, file, name, sorts = self._file_mentions
        kept = sorts == sort
        return Postings.of(name[kept], file[kept], commit[kept], len(self.names))

    @cached_property
    def users(self) -> Postings:
        """Name -> files that use it (neither define nor import it)."""
        return self._by_name(USE)

    @cached_property
    def definers(self) -> Postings:
        """Name -> files that define it: as a function, method or class, or at the top of the module."""
        commit, file, chain, unit, _ = self.edits
        name = self.name_of_unit[unit]
        at_top = np.zeros(self.chains, np.bool_)
        at_top[chain] = self.is_module[unit]
        held, of_unit = (self.mentions[4] == DEFINITION) & at_top[self.mentions[2]], name >= 0
        commits = np.concatenate([commit[of_unit], self.mentions[0][held]])
        files = np.concatenate([file[of_unit], self.mentions[1][held]])
        names = np.concatenate([name[of_unit], self.mentions[3][held]])
        order = np.argsort(commits, kind="stable")
        commits, files, names = commits[order], files[order], names[order]
        first = first_of(files.astype(np.int64) * max(len(self.names), 1) + names)
        return Postings.of(names[first], files[first], commits[first], len(self.names))

    @cached_property
    def importers(self) -> Postings:
        """Name -> files with it in an import."""
        return self._by_name(IMPORT)

    @cached_property
    def names_of_file(self) -> Postings:
        """File -> names it has ever held, once for each of use, import and definition."""
        commit, file, name, _ = self._file_mentions
        return Postings.of(file, name, commit, self.files)

    @cached_property
    def names_of_file_rows(self) -> tuple[I32, I64]:
        """File [m] of its names in order of commits, and how many of them there are before each commit [C + 1]."""
        commit, file, _, _ = self._file_mentions
        return file, np.searchsorted(commit, np.arange(len(self) + 1)).astype(np.int64)

    @cached_property
    def imports_of_file(self) -> Postings:
        """File -> names in its imports."""
        commit, file, name, sort = self._file_mentions
        kept = sort == IMPORT
        return Postings.of(file[kept], name[kept], commit[kept], self.files)

    @cached_property
    def first_mention(self) -> I64:
        """[C + 1] mentions of commit c are rows `first_mention[c]:first_mention[c + 1]` of `mentions`."""
        return np.searchsorted(self.mentions[0], np.arange(len(self) + 1)).astype(np.int64)

    @cached_property
    def name_of_unit(self) -> I32:
        """[units] the last part of each qualified name as a name, -1 for runs of statements and unknown ones."""
        ids = self.name_ids
        return np.array([ids.get(u.rpartition(".")[2].partition("#")[0], -1) for u in self.units], np.int32)

    @cached_property
    def unit_sizes(self) -> I64:
        """[C] units changed."""
        return np.diff(self.first_edit)

    @cached_property
    def is_module(self) -> NDArray[np.bool_]:
        """[units] a run of module statements."""
        return np.array([u.startswith("<") for u in self.units], np.bool_)

    @cached_property
    def owner_of_unit(self) -> I32:
        """[units] number of the class or function that the unit is in, -1 at the top of a file."""
        known: dict[str, int] = {}
        owners = (u.rpartition(".")[0] for u in self.units)
        return np.array([known.setdefault(o, len(known)) if o else -1 for o in owners], np.int32)

    @cached_property
    def _unit_words(self) -> tuple[list[str], I32, I32]:
        known: dict[str, int] = {}
        unit: list[int] = []
        word: list[int] = []
        for number, name in enumerate(self.units):
            for w in dict.fromkeys(words_of(name.partition("#")[0])):
                unit.append(number)
                word.append(known.setdefault(w, len(known)))
        return list(known), np.array(unit, np.int32), np.array(word, np.int32)

    @property
    def words(self) -> list[str]:
        """Words that names of units are made of."""
        return self._unit_words[0]

    @cached_property
    def words_of_unit(self) -> tuple[Postings, I32, I32]:
        """Unit name -> words; and unit name and word of all of these, in order."""
        _, unit, word = self._unit_words
        return Postings.of(unit, word, np.zeros(len(unit)), len(self.units)), unit, word

    @cached_property
    def names_of_unit(self) -> Postings:
        """Chain -> names it mentions."""
        commit, _, chain, name, _ = self.mentions
        return Postings.of(chain, name, commit, self.chains)

    @cached_property
    def name_of_stem(self) -> I32:
        """[stems of paths] each stem as a name, -1 where nobody ever named it."""
        ids = self.name_ids
        return np.array([ids.get(s, ids.get(f"_{s}", -1)) for s in self.path_table.stems], np.int32)

    @cached_property
    def commits_of_name(self) -> Postings:
        """Name -> commits that brought it to a unit."""
        commit, _, _, name, _ = self.mentions
        first = first_of(name.astype(np.int64) * max(len(self), 1) + commit)
        return Postings.of(name[first], commit[first], commit[first], len(self.names))

    @cached_property
    def mentions_of_name(self) -> Postings:
        """Name -> chains that mention it."""
        commit, _, chain, name, _ = self.mentions
        return Postings.of(name, chain, commit, len(self.names))

    @cached_property
    def name_ids(self) -> dict[str, int]:
        """Name -> number."""
        return {name: i for i, name in enumerate(self.names)}

    def paths_before(self, until: int) -> I32:
        """[F] the path of each file before commit `until`, `GONE` where it does not exist then."""
        current = np.full(self.files, GONE, np.int32)
        commit, file, path = self.named
        last = int(np.searchsorted(commit, until))
        current[file[:last]] = path[:last]  # of repeated indices, numpy keeps the last
        return current

    def units_before(self, until: int) -> tuple[I32, I32, NDArray[np.bool_]]:
        """File, name and whether it exists, of each unit [H] before commit `until`."""
        commit, file, chain, unit, gone = self.edits
        last = int(np.searchsorted(commit, until))
        files, units = np.full(self.chains, -1, np.int32), np.full(self.chains, -1, np.int32)
        alive = np.zeros(self.chains, np.bool_)
        files[chain[:last]], units[chain[:last]], alive[chain[:last]] = file[:last], unit[:last], ~gone[:last]
        return files, units, alive

    def together(self, commits: I32) -> tuple[I64, I32]:
        """All file changes of commits [m]: index into `commits`, and file, each [r]."""
        which, rows = rows_of(self.first_change, commits)
        return which, self.changed[1][rows]


def first_of(key: I64) -> I64:
    """[n] -> rows where a key is met first, in order."""
    _, first = np.unique(key, return_index=True)
    return np.sort(first)
