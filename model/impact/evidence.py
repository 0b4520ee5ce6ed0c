"""A suggested file in, the reasons to look at it out, each checked against what the file says now."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.distinct import distinct, shared
from codewm.model.impact.missing import Count
from codewm.model.impact.past import GONE
from codewm.model.impact.postings import I32, Postings
from codewm.model.impact.report import Evidence
from codewm.model.impact.signals import SIGNALS, Known, View

if TYPE_CHECKING:
    from codewm.corpus.git import Repository

_MOST_NAMES = 3
_MOST_COMMITS = 3
_COMMON = 0.35
"""A name in more files than this rarity allows is no evidence to show."""
_COLUMN = {name: i for i, name in enumerate(SIGNALS)}


class Witness:
    """Knows one change, and what the files beside it say before it."""

    def __init__(self, repo: Repository, base: str, view: View, known: Known) -> None:
        self._repo, self._view, self._known = repo, view, known
        self._oids: Mapping[bytes, str] = (
            {path: oid for path, oid, _ in repo.tree_python_blobs(base)} if base else {}
        )
        self._texts: dict[int, bytes] = {}

    def read(self, files: list[int]) -> None:
        """Read the files that will be asked about."""
        paths = self._view.past.paths
        wanted = {f: self._oids.get(_bytes(paths[self._view.path[f]])) for f in files}
        asked = {oid: f for f, oid in wanted.items() if oid is not None}
        for oid, content in self._repo.read_blobs(asked):
            if content is not None:
                self._texts[asked[oid]] = content

    def of_file(self, file: int, row: NDArray[np.float64], count: Count | None) -> tuple[Evidence, ...]:
        """Reasons for a file with that row of signals [len(SIGNALS)], the ones that can be checked first."""
        past, view, known = self._view.past, self._view, self._known
        found: list[Evidence] = []
        if count is not None:
            found.append(together(view, count))
        uses = self._names(past.users, known.defined, file)
        if uses:
            found.append(Evidence("uses", names=uses))
        defines = self._names(past.definers, known.added, file)
        if defines:
            found.append(Evidence("defines", names=defines))
        table = past.path_table
        stems = sorted({table.stems[s] for s in table.stem[known.paths].tolist()})
        if not uses and row[_COLUMN["imports_it"]] > 0:
            imported = tuple(s for s in stems if self._imports(file, s))
            if imported:
                found.append(Evidence("imports", names=imported[:_MOST_NAMES]))
        if row[_COLUMN["same_stem"]] > 0:
            found.append(Evidence("named"))
        if count is None and row[_COLUMN["like_commits"]] > 0:
            commits = self._like(file)
            if commits:
                found.append(Evidence("alike", commits=commits))
        if not found and row[_COLUMN["vocabulary"]] > 0.3:
            found.append(Evidence("words"))
        if not found:
            found.append(Evidence("active"))
        return tuple(found)

    def _names(self, postings: Postings, names: I32, file: int) -> tuple[str, ...]:
        """Of names [m], those that the file has by the postings and still holds, the rarest first."""
        which, files, rarity = self._view.frequency(postings, names)
        here = (files == file) & (rarity > _COMMON)
        order = np.argsort(-rarity[here], kind="stable")
        texts = [self._view.past.names[names[i]] for i in which[here][order]]
        return tuple(t for t in texts if not is_special(t) and self._holds(file, t))[:_MOST_NAMES]

    def _holds(self, file: int, name: str) -> bool:
        text = self._texts.get(file, b"")
        return re.search(rb"\b" + re.escape(_bytes(name)) + rb"\b", text) is not None

    def _imports(self, file: int, stem: str) -> bool:
        text = self._texts.get(file, b"")
        pattern = rb"(?m)^\s*(?:from|import)\b[^\n]*\b_?" + re.escape(_bytes(stem)) + rb"\b"
        return re.search(pattern, text) is not None

    def _like(self, file: int) -> tuple[str, ...]:
        """Past commits that brought the same names and changed the file."""
        view, known, past = self._view, self._known, self._view.past
        about = distinct(np.concatenate([known.added, known.defined]))
        which, commits, _ = past.commits_of_name.take(about, view.until)
        often = np.bincount(which, minlength=len(about))
        rare = distinct(commits[often[which] <= 5])
        mine = past.commits_of_file.values(file, view.until)
        return tuple(past.oids[c] for c in shared(rare, mine)[::-1][:_MOST_COMMITS])


def is_special(name: str) -> bool:
    """Every class has names like `__init__`: that they are used says nothing."""
    return name.startswith("__") and name.endswith("__")


def together(view: View, count: Count) -> Evidence:
    """A count as a reason."""
    past = view.past
    path = view.path[count.shown]
    return Evidence(
        "together",
        of=past.paths[path] if path != GONE else "",
        together=count.together,
        changes=count.changes,
        commits=tuple(past.oids[c] for c in count.commits[:_MOST_COMMITS]),
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
