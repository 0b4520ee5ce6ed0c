"""Edit tables in, seeded length-bucketed batches and cached latents out.

States are content-addressed, so each unique one is encoded once however many edits share it; a batch holds
states of nearly one length, so little of it is padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import codewm_core
from codewm.corpus.errors import UserError
from codewm.corpus.split import by_time
from codewm.corpus.table import EditTable, take_states
from codewm.model.config import TrainConfig

Index = NDArray[np.int64]
GROUPS = ("modified", "created", "deleted")
WIDTHS = (8, 16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 224, 256)


@dataclass(frozen=True)
class TrainingData:
    """Edits of one or several repositories over one set of unique states.

    tokens u16 flat, offsets i64 [U+1]; before, after i64 [N] (state ids); action f32 [N, A]; group i64 [N] (index
    into GROUPS); commit i64 [N] (unique over repositories); fit, validation, holdout: indices into the edits.
    """

    tokens: NDArray[np.uint16]
    offsets: Index
    before: Index
    after: Index
    action: NDArray[np.float32]
    group: Index
    commit: Index
    fit: Index
    validation: Index
    holdout: Index
    tokenizer_id: str
    action_id: str
    window: int
    ledger: dict[str, int] = field(default_factory=dict)

    @property
    def lengths(self) -> Index:
        """Tokens of every state: [U]."""
        return np.diff(self.offsets)

    def states(self, ids: Index) -> tuple[NDArray[np.uint16], Index]:
        """Those states as (flat tokens, offsets [n + 1]), repetitions and all."""
        return take_states(self.tokens, self.offsets, ids)

    def fingerprint(self) -> str:
        """A short text that changes when the training edits do; guards --resume."""
        parts = (len(self.before), len(self.offsets), int(self.tokens.sum()), int(self.after.sum()))
        return ":".join(str(p) for p in (*parts, len(self.fit), len(self.holdout)))


def prepare(tables: Sequence[EditTable], config: TrainConfig) -> TrainingData:
    """Merge tables, split each, drop what cannot teach, and draw at most the edits there is time for.

    A corpus that was divided is used as it says, everything else is split by time.
    """
    first = tables[0]
    for table in tables:
        if (table.tokenizer_id, table.action_id) != (first.tokenizer_id, first.action_id):
            raise UserError(
                "the corpora were made with different tokenisers or actions", "harvest them again"
            )
        if table.tokenizer_id != codewm_core.TOKENIZER_ID:
            raise UserError("the corpus was made with another tokeniser", "run `codewm harvest` again")
    tokens, offsets, maps = _merge_states(tables)
    before = np.concatenate([m[t.before] for m, t in zip(maps, tables, strict=True)])
    after = np.concatenate([m[t.after] for m, t in zip(maps, tables, strict=True)])
    flags = np.concatenate([t.flags for t in tables])
    action = np.concatenate([t.action for t in tables]).astype(np.float32)
    commit_base = np.cumsum([0] + [len(t.commits.oid) for t in tables])
    commit = np.concatenate(
        [t.commit.astype(np.int64) + base for t, base in zip(tables, commit_base, strict=False)]
    )
    taught, held = map(np.concatenate, zip(*(_parts(t, config.holdout) for t in tables), strict=True))
    group = np.where(flags & codewm_core.FLAG_CREATED, 1, np.where(flags & codewm_core.FLAG_DELETED, 2, 0))

    noop = (flags & codewm_core.FLAG_NOOP) != 0
    same = ~noop & (before == after)
    pair = before * len(offsets) + after
    usable = ~(noop | same)
    train = np.flatnonzero(usable & taught)
    _, first_of_pair = np.unique(pair[train], return_index=True)
    repeated = len(train) - len(first_of_pair)
    train = train[np.sort(first_of_pair)]
    holdout = np.flatnonzero(usable & held)
    seen = np.isin(pair[holdout], pair[train])
    holdout = holdout[~seen]

    late = _late_share(train, commit, tables, commit_base, config.validation)
    fit, validation = train[~late], train[late]
    rng = np.random.default_rng([config.seed, 1])
    home = _repositories(tables, commit)
    cap = config.max_edits
    if config.minutes is not None:
        cap = min(cap, max(1_000, int(config.edits_per_minute * config.minutes)))
    drawn = _draw(fit, home[fit], cap, rng)
    # What is watched and reported must not depend on the weight seed.
    fixed = np.random.default_rng(0)
    validation = _draw(validation, home[validation], config.max_validation, fixed)
    ledger = {
        "edits": len(before),
        "no-op": int(noop.sum()),
        "identical windowed states": int(same.sum()),
        "left out by the corpus": int((usable & ~taught & ~held).sum()),
        "repeated training pair": repeated,
        "held-out pair seen in training": int(seen.sum()),
        "training edits not drawn": len(fit) - len(drawn),
        "training": len(drawn),
        "validation": len(validation),
        "held out": len(holdout),
    }
    most = config.max_evaluation
    if config.minutes is not None:
        most = min(most, max(1_000, int(config.evaluations_per_minute * config.minutes)))
    holdout = _draw_commits(holdout, commit, most, fixed)
    ledger["held out and evaluated"] = len(holdout)
    if len(drawn) < 50 or len(validation) < 5 or len(holdout) < 5:
        raise UserError(
            f"too little history to train on: {len(drawn)} training and {len(holdout)} held-out edits",
            "use the base model as it is (`codewm score` does), or train over more repositories with --corpus",
        )
    return TrainingData(
        tokens=tokens, offsets=offsets, before=before, after=after, action=action, group=group, commit=commit,
        fit=drawn, validation=validation, holdout=holdout, tokenizer_id=first.tokenizer_id,
        action_id=first.action_id, window=max(t.window for t in tables), ledger=ledger,
    )  # fmt: skip


def _parts(table: EditTable, share: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks over the edits: what may be trained on, and what is held out to test on.

    Of a divided corpus that is the late part of the held-out repositories, or, if it has none, of the others.
    """
    train, held = np.zeros(len(table), bool), np.zeros(len(table), bool)
    if table.division is None:
        held[by_time(table, share).held_out] = True
        return ~held, held
    if share != table.division.hold_out:
        raise UserError(
            f"the corpus has {table.division.hold_out} of each repository held out, not {share}",
            "its division is stored in it: leave holdout as it is, or build another corpus",
        )
    parts = table.division.parts(table)
    train[parts.train] = True
    held[parts.unseen if len(parts.unseen) else parts.late] = True
    return train, held


def _merge_states(tables: Sequence[EditTable]) -> tuple[NDArray[np.uint16], Index, list[Index]]:
    """One flat token array without repeats, its offsets, and each table's state id -> merged state id."""
    if len(tables) == 1:
        ids = np.arange(len(tables[0].offsets) - 1, dtype=np.int64)
        return tables[0].tokens, tables[0].offsets.astype(np.int64), [ids]
    hashes = np.concatenate([t.state_hash for t in tables])
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    table_of = np.concatenate([np.full(len(t.state_hash), i) for i, t in enumerate(tables)])[first]
    base = np.cumsum([0] + [len(t.state_hash) for t in tables])
    local = first - base[table_of]
    lengths = np.concatenate([np.diff(t.offsets) for t in tables])[first]
    flat = [
        tables[i].tokens[tables[i].offsets[j] : tables[i].offsets[j + 1]]
        for i, j in zip(table_of.tolist(), local.tolist(), strict=True)
    ]
    maps = [inverse[base[i] : base[i + 1]].astype(np.int64) for i in range(len(tables))]
    return np.concatenate(flat), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), maps


def _late_share(
    train: Index, commit: Index, tables: Sequence[EditTable], commit_base: Index, share: float
) -> NDArray[np.bool_]:
    """The latest share of each repository's training edits, by whole commits: mask over `train`."""
    late = np.zeros(len(train), bool)
    for i, table in enumerate(tables):
        here = np.flatnonzero((commit[train] >= commit_base[i]) & (commit[train] < commit_base[i + 1]))
        rows = commit[train[here]] - commit_base[i]
        repository = table.commits.repository[rows]
        for r in np.unique(repository):
            mine = here[repository == r]
            times = table.commits.committer_time[rows[repository == r]]
            late[mine] = times > np.quantile(times, 1 - share, method="lower")
    return late


def _repositories(tables: Sequence[EditTable], commit: Index) -> Index:
    """Which repository each edit is of, numbered over all tables: [N]."""
    counts = np.cumsum([0] + [int(t.commits.repository.max(initial=0)) + 1 for t in tables])
    of_commit = [
        t.commits.repository.astype(np.int64) + first for t, first in zip(tables, counts, strict=False)
    ]
    home: Index = np.concatenate(of_commit)[commit]
    return home


def _draw(ids: Index, home: Index, most: int, rng: np.random.Generator) -> Index:
    """At most `most` of the edits, as many of each repository `home` [n] as of any other that has them.

    Drawn alike, the ten largest of our corpus would be half of what is learned.
    """
    if len(ids) <= most:
        return ids
    counts = np.bincount(home)
    # The largest share that, where there are as many, fits: fill up from the smallest.
    room, share = most, 0
    sizes = np.sort(counts[counts > 0])
    for i, size in enumerate(sizes):
        share = room // (len(sizes) - i)
        if size > share:
            break
        room -= int(size)
    kept = [
        mine if len(mine) <= share else rng.choice(mine, share, replace=False)
        for mine in (ids[home == r] for r in np.flatnonzero(counts))
    ]
    return np.sort(np.concatenate(kept))


def _draw_commits(ids: Index, commit: Index, most: int, rng: np.random.Generator) -> Index:
    """At most about `most` edits, by whole commits: the bootstrap resamples commits."""
    if len(ids) <= most:
        return ids
    commits, counts = np.unique(commit[ids], return_counts=True)
    order = rng.permutation(len(commits))
    kept = commits[order[np.cumsum(counts[order]) <= most]]
    return ids[np.isin(commit[ids], kept)]


def width(length: int) -> int:
    """The padded width for a state of this length: one of a few, because every new shape of a bf16 product costs
    the CPU backend a compilation of its own (a second a step instead of a tenth; docs/lab-log.md)."""
    return next((w for w in WIDTHS if w >= length), length)


def pad(tokens: NDArray[np.uint16], offsets: Index, ids: Index, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """States `ids` [B] -> token ids [B, S] (int64, PAD-filled) and lengths [B]; S is one of WIDTHS."""
    start = offsets[ids]
    lengths = offsets[ids + 1] - start
    column = np.arange(width(int(lengths.max())))
    inside = column < lengths[:, None]
    grid = np.where(inside, tokens[np.where(inside, start[:, None] + column, 0)], codewm_core.PAD)
    return torch.from_numpy(grid.astype(np.int64)).to(device), torch.from_numpy(lengths).to(device)


def length_batches(
    lengths: Index, tokens: int, rows: int, rng: np.random.Generator | None = None
) -> list[Index]:
    """Positions 0..n-1 in batches of one padded width, each at most `tokens` padded tokens and `rows` rows.

    With a generator, positions are shuffled within their width and batches come in random order. Whatever the
    order, an epoch has at most two shapes for each width.
    """
    widths = np.array(WIDTHS)
    bucket = np.searchsorted(widths, lengths)
    longest = int(lengths.max(initial=1))
    batches: list[Index] = []
    for b in np.unique(bucket):
        members = np.flatnonzero(bucket == b)
        if rng is not None:
            members = rng.permutation(members)
        wide = int(widths[b]) if b < len(widths) else longest
        size = max(1, min(rows, tokens // wide))
        batches += [members[i : i + size] for i in range(0, len(members), size)]
    if rng is not None:
        rng.shuffle(batches)  # type: ignore[arg-type]
    return batches
