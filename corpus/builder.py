"""Commits, file changes and versions of files in, one `EditTable` out.

Everything is numbered by first appearance, so that a table that was built in steps is the table that is built
at once, and so that the first commits of a table are a prefix of all its arrays (`truncate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from codewm.corpus.commits import COLUMNS, Fresh
from codewm_core import Miner, assign_chains

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from codewm.corpus.table import CommitTable, EditTable

    I32 = NDArray[np.int32]


class TableBuilder:
    """A table that grows by whole commits. Rows of edits, states, units and names are numbered by the core.

    Until there is a table to return, or to go on from, it needs no numpy.
    """

    def __init__(
        self,
        *,
        tokenizer_id: str,
        action_id: str,
        window: int,
        base: EditTable | None = None,
        threads: int = 0,
    ) -> None:
        self._tokenizer_id = tokenizer_id
        self._action_id = action_id
        self._window = window
        self._base = base
        self._miner = Miner(window=window, action=action_id, threads=threads)
        self._commits: list[tuple[Any, ...]] = []
        self._paths: list[bytes] = []
        self._renames: list[tuple[int, int, int]] = []
        # Commits of changes, and the lines that these added and deleted.
        self._lines: tuple[list[int], list[int], list[int]] = ([], [], [])
        if base is not None:
            self._miner.resume(base.tokens, base.offsets, base.units, base.names)

    def add_commits(self, fresh: Fresh) -> None:
        """Append commits, and the paths and renames of their changes."""
        self._commits += fresh.commits
        self._paths += fresh.paths
        self._renames += fresh.renames

    def add_edits(
        self,
        blobs: Sequence[tuple[str, bytes]],
        changes: Sequence[tuple[int, int, str | None, str | None]],
    ) -> list[int]:
        """Append the edits of changes: commit, path, version before, version after. Return those without any.

        Versions go by the keys of `blobs`, of this call or of one before.
        """
        edits, added, deleted = self._miner.add(blobs, changes)
        commits, more, fewer = self._lines
        commits += [commit for commit, *_ in changes]
        more += added
        fewer += deleted
        return [i for i, count in enumerate(edits) if not count]

    def forget(self, keys: Sequence[str]) -> None:
        """Let go of versions that no later change names, or that will be given again."""
        self._miner.forget(keys)

    def table(self) -> EditTable:
        """Return the table so far, with its chains."""
        import numpy as np

        from codewm.corpus.table import EditTable

        new = self._miner.columns()
        base = self._base
        moved = new.pop("moved")
        lengths, names = new.pop("state_lengths"), new.pop("name_counts")
        tokens, hashes = new.pop("state_tokens"), new.pop("state_hashes")
        units, texts = new.pop("units"), new.pop("names")
        paths = [p.decode("utf-8", "surrogateescape") for p in self._paths]
        column: dict[str, Any] = new
        renames = _int32(chain.from_iterable(self._renames), 3 * len(self._renames)).reshape(-1, 3)
        known = np.zeros(0, np.int32)
        chains, step = known, known
        if base is not None:
            column = {name: np.concatenate([getattr(base, name), rows]) for name, rows in new.items()}
            moved += len(base)
            lengths = np.concatenate([np.diff(base.offsets), lengths])
            names = np.concatenate([np.diff(base.name_offsets), names])
            tokens = np.concatenate([base.tokens, tokens])
            hashes = np.concatenate([base.state_hash, hashes])
            renames = np.concatenate([base.renames, renames])
            units, texts = [*base.units, *units], [*base.names, *texts]
            paths = [*base.paths, *paths]
            chains, step = base.chain, base.step
        column["chain"], column["step"] = assign_chains(
            column["commit"],
            column["path"],
            column["unit"],
            column["unit_before"],
            column["flags"],
            renames,
            chains,
            step,
            moved,
        )
        return EditTable(
            tokens=tokens,
            offsets=_offsets(lengths),
            state_hash=hashes,
            name_offsets=_offsets(names),
            commits=self._commit_table(),
            renames=renames,
            paths=paths,
            units=units,
            names=texts,
            window=self._window,
            tokenizer_id=self._tokenizer_id,
            action_id=self._action_id,
            **column,
        )

    def _commit_table(self) -> CommitTable:
        import numpy as np

        from codewm.corpus.table import COMMIT_TYPES, CommitTable

        held = self._base.commits if self._base is not None else None
        first = len(held) if held is not None else 0
        columns: dict[str, Any] = dict.fromkeys(COLUMNS, ())
        columns |= zip(COLUMNS, zip(*self._commits, strict=True), strict=False)
        commits, *lines = (_int32(column, len(column)) for column in self._lines)
        for name, counts in zip(("lines_added", "lines_deleted"), lines, strict=True):
            columns[name] = np.bincount(commits - first, counts, len(self._commits))
        for name, values in columns.items():
            kind = COMMIT_TYPES.get(name)
            if kind is None:
                columns[name] = [*(getattr(held, name) if held is not None else ()), *values]
            else:
                new = np.array(values).astype(kind)
                columns[name] = np.concatenate([getattr(held, name), new]) if held is not None else new
        return CommitTable(**columns)


def _int32(values: Iterable[int], count: int) -> I32:
    import numpy as np

    return np.fromiter(values, np.int32, count)


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    import numpy as np

    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def truncate(table: EditTable, ledger: I32, commits: int) -> tuple[EditTable, I32]:
    """Return the table and the ledger rows [L, 3] as they were after the first `commits` commits."""
    from codewm.corpus.table import CommitTable

    kept = table.select(table.commit < commits)
    rows = ledger[ledger[:, 0] < commits]
    renames = table.renames[table.renames[:, 0] < commits]
    states = 1 + _highest(kept.before, kept.after)
    paths = 1 + _highest(kept.path, rows[:, 2], renames[:, 1:])
    end = int(table.offsets[states])
    held = {f.name: getattr(table.commits, f.name)[:commits] for f in fields(CommitTable)}
    return (
        replace(
            kept,
            tokens=table.tokens[:end],
            offsets=table.offsets[: states + 1],
            state_hash=table.state_hash[:states],
            commits=CommitTable(**held),
            renames=renames,
            paths=table.paths[:paths],
            units=table.units[: 1 + _highest(kept.unit, kept.unit_before)],
            names=table.names[: 1 + _highest(kept.name_ids)],
        ),
        rows,
    )


def _highest(*ids: I32) -> int:
    return max((int(i.max()) for i in ids if i.size), default=-1)
