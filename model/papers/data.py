"""Edit tables in, windows of chained edits in exactly equal batches out.

What is trained on, watched and held out is what `batches.prepare` says; here the training edits become windows of
T edits that follow each other in one chain, each with both its states within the length asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codewm.corpus.errors import UserError
from codewm.corpus.table import EditTable
from codewm.model.batches import WIDTHS, prepare
from codewm.model.config import TrainConfig
from codewm.model.evaluation.subject import columns
from codewm.model.papers.config import NetworkConfig, Recipe
from codewm.model.papers.objective import Batch
from codewm.model.papers.tokens import vocabulary

I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class PaperData:
    """N edits over U states; windows of T edits to train on, and edits to watch."""

    tokens: U16
    offsets: I64
    """[U + 1]"""
    before: I64
    after: I64
    """[N] state ids."""
    action: F32
    """[N, A], as the recipe is told."""
    windows: I64
    """[n, T] edits to train on."""
    watched: I64
    """[m] later edits of modified units of the same repositories, never trained on; 98.8% of the papers' edits
    modify, and a created unit's state is always new."""
    vocab_size: int
    tokenizer_id: str
    pad: int
    commit: I64
    """[N] unique over repositories."""
    ledger: dict[str, int] = field(default_factory=dict)

    @property
    def lengths(self) -> I64:
        """Tokens of every state: [U]."""
        return np.diff(self.offsets)

    def fingerprint(self) -> str:
        """A short text that changes when the training windows do; guards resuming."""
        parts = (len(self.before), len(self.offsets), int(self.tokens.sum()), len(self.windows))
        return ":".join(str(p) for p in (*parts, int(self.windows.sum())))

    def batch(self, windows: I64, config: NetworkConfig, device: str = "cpu") -> Batch:
        """Windows [B, T] as tensors, all states padded to the width of the longest."""
        states = np.concatenate([self.before[windows[:, :1]], self.after[windows]], 1)  # [B, T + 1]
        tokens, lengths = grid(self.tokens, self.offsets, states.T.ravel(), config.window, self.pad)
        action = torch.from_numpy(np.ascontiguousarray(self.action[windows.T]))
        return Batch(tokens.to(device), lengths.to(device), action.to(device))


def grid(tokens: U16, offsets: I64, ids: I64, window: int, pad: int) -> tuple[Tensor, Tensor]:
    """States `ids` [B] -> token ids [B, S] (int64) and lengths [B], cut at `window`; S is one of `WIDTHS`."""
    start = offsets[ids]
    lengths = np.minimum(offsets[ids + 1] - start, window)
    wide = width(int(lengths.max(initial=1)), window)
    column = np.arange(wide)
    inside = column < lengths[:, None]
    filled = np.where(inside, tokens[np.where(inside, start[:, None] + column, 0)], pad)
    return torch.from_numpy(filled.astype(np.int64)), torch.from_numpy(lengths)


def width(length: int, window: int) -> int:
    """The padded width of a state: one of few, and never more than the window."""
    return min(next((w for w in WIDTHS if w >= length), length), window)


def gather(tables: Sequence[EditTable], recipe: Recipe) -> PaperData:
    """Windows to train on and edits to watch, from chains in codewm's own tokens. Raises `UserError`."""
    run = recipe.run
    settings = TrainConfig(
        minutes=None, steps=run.steps + 3, seed=run.seed, holdout=run.holdout, validation=run.validation,
        max_edits=run.max_edits, max_validation=50 * run.watched,
    )  # fmt: skip
    base = prepare(tables, settings)
    kept = columns(recipe.network.action, base.action_id)
    chain, step, first = [], [], 0
    for table in tables:
        chain.append(table.chain.astype(np.int64) + first)
        step.append(table.step.astype(np.int64))
        first += int(table.chain.max(initial=-1)) + 1
    longest = np.maximum(base.lengths[base.before], base.lengths[base.after])
    fit = base.fit[longest[base.fit] <= run.max_tokens]
    windows = chained(
        np.concatenate(chain), np.concatenate(step), base.before, base.after, fit, run.transitions
    )
    modified = base.validation[base.group[base.validation] == 0]
    watched = modified[longest[modified] <= run.max_tokens]
    watched = np.sort(np.random.default_rng(0).permutation(watched)[: run.watched])
    ledger = {
        **base.ledger, "longer than max_tokens": len(base.fit) - len(fit), "windows": len(windows),
        "watched": len(watched),
    }  # fmt: skip
    if len(windows) < run.batch or len(watched) < 4:
        raise UserError(
            f"too little history: {len(windows)} windows of {run.transitions} edits for batches of {run.batch}",
            "train over more repositories with --corpus, or with a smaller batch or fewer transitions",
        )
    return PaperData(
        base.tokens, base.offsets, base.before, base.after, np.ascontiguousarray(base.action[:, kept]),
        windows, watched, *vocabulary("codewm"), base.commit, ledger,
    )  # fmt: skip


def chained(chain: I64, step: I64, before: I64, after: I64, fit: I64, count: int) -> I64:
    """Windows [n, count] of the edits `fit` that follow each other: same chain, and the state that one left is the
    state that the next one found. Windows overlap, as the papers' do."""
    order = fit[np.lexsort((step[fit], chain[fit]))]
    if count == 1:
        return np.sort(fit)[:, None]
    linked = (chain[order[1:]] == chain[order[:-1]]) & (after[order[:-1]] == before[order[1:]])
    run = np.ones(max(len(order) - count + 1, 0), bool)
    for k in range(count - 1):
        run &= linked[k : k + len(run)]
    starts = np.flatnonzero(run)
    found: I64 = order[starts[:, None] + np.arange(count)]
    return found


def batches(data: PaperData, size: int, window: int, seed: int, skip: int) -> Iterator[I64]:
    """Windows [B, T] for ever, exactly B at a time, starting at batch `skip`: the order follows from the seed alone.

    Each epoch is shuffled, sorted by padded width, cut into batches and shuffled again; what does not fill the last
    batch waits for the next epoch. Every batch is as large as any other, because the terms are over a batch.
    """
    longest = np.maximum(data.lengths[data.before], data.lengths[data.after])[data.windows].max(1)
    wide = np.array([width(int(n), window) for n in range(int(longest.max()) + 1)])[longest]
    count = len(wide) // size
    epoch, skip = divmod(skip, count)
    while True:
        rng = np.random.default_rng([seed, 11, epoch])
        order = rng.permutation(len(wide))
        order = order[np.argsort(wide[order], kind="stable")]
        rest = len(order) - count * size
        order = np.delete(order, rng.choice(len(order), rest, replace=False)) if rest else order
        for batch in rng.permutation(order.reshape(count, size))[skip:]:
            yield data.windows[batch]
        epoch, skip = epoch + 1, 0
