"""File changes that gave no edit in, counts by cause out: nothing is lost without a line here.

The rule, checked on every harvest: the Python file changes of a commit, counted before anything was looked
at, are its file changes with edits plus its lines in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codewm.corpus.causes import Cause
from codewm.corpus.commits import COMMIT_MERGE

if TYPE_CHECKING:
    # Only types: the first file changes are counted before numpy is imported.
    import numpy as np
    from numpy.typing import NDArray

    from codewm.corpus.table import EditTable

    I32 = NDArray[np.int32]

__all__ = ["Cause", "Ledger", "Sums", "sums"]


class Ledger:
    """Rows of (commit, cause, path), as rows of the edit table's commits and paths."""

    def __init__(self, rows: I32 | None = None) -> None:
        self._held = rows
        self._new: list[tuple[int, int, int]] = []

    def __len__(self) -> int:
        return len(self._new) + (0 if self._held is None else len(self._held))

    def add(self, commit: int, cause: Cause, path: int) -> None:
        """Count one file change."""
        self._new.append((commit, int(cause), path))

    def extend(self, changes: Iterable[tuple[int, Cause, int]]) -> None:
        """Count file changes: commit, cause, path of each."""
        self._new += changes

    def rows(self) -> I32:
        """[L, 3] commit, cause, path; sorted, whatever order they came in."""
        import numpy as np

        rows = np.array(self._new, np.int32).reshape(-1, 3)
        if self._held is not None:
            rows = np.concatenate([self._held, rows])
        return rows[np.lexsort((rows[:, 1], rows[:, 2], rows[:, 0]))]


@dataclass(frozen=True)
class Sums:
    """Python file changes of one kind of commit, added up from both ends."""

    commits: int
    file_changes: int
    """As counted from the raw diff."""
    with_edits: int
    skipped: dict[Cause, int]

    @property
    def balanced(self) -> bool:
        """Nothing was lost."""
        return self.file_changes == self.with_edits + sum(self.skipped.values())


def sums(table: EditTable, ledger: Ledger) -> dict[str, Sums]:
    """Add up the `non-merge` and the `merge` commits of a table, apart."""
    import numpy as np

    rows = ledger.rows()
    # One file change per commit and path: a path cannot be the target of two changes of one commit.
    width = max(len(table.paths), 1)
    places = np.sort(table.commit.astype(np.int64) * width + table.path)
    # `np.unique` would import all that numpy has for masked arrays.
    edited = places[np.diff(places, prepend=-1) != 0] // width
    merge = (table.commits.flags & COMMIT_MERGE) != 0
    found = {}
    for name, group in (("non-merge", ~merge), ("merge", merge)):
        causes = rows[group[rows[:, 0]], 1]
        found[name] = Sums(
            int(group.sum()),
            int(table.commits.file_changes[group].sum()),
            int(group[edited].sum()),
            {cause: n for cause in Cause if (n := int((causes == cause).sum()))},
        )
    return found
