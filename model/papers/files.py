"""Whole-file edits in the papers' tokens in, windows to train on and edits to watch out; split by time."""

from __future__ import annotations

import numpy as np

import codewm_core
from codewm.corpus.errors import UserError
from codewm.corpus.papers import FilePairs
from codewm.model.papers.config import Recipe
from codewm.model.papers.data import PaperData, chained
from codewm.model.papers.tokens import vocabulary


def of_pairs(pairs: FilePairs, recipe: Recipe) -> PaperData:
    """The latest `holdout` of the commits' edits is left alone, the latest `validation` of the rest is watched.

    Edits that cannot be seen in the window are dropped and counted; the papers trained on them. Raises `UserError`.
    """
    run = recipe.run
    kept = [codewm_core.ACTIONS["v15"].index(name) for name in codewm_core.ACTIONS[recipe.network.action]]
    lengths = np.diff(pairs.offsets)
    hidden = np.array(
        [_same(pairs, a, b) for a, b in zip(pairs.before.tolist(), pairs.after.tolist(), strict=True)]
    )
    usable = np.flatnonzero(
        ~hidden & (np.maximum(lengths[pairs.before], lengths[pairs.after]) <= run.max_tokens)
    )
    # Whole commits: what is later than the boundary is not trained on.
    boundary = np.quantile(pairs.time, 1 - run.holdout, method="lower")
    taught = usable[pairs.time[usable] < boundary]
    late = np.quantile(pairs.time[taught], 1 - run.validation, method="lower") if len(taught) else 0
    fit, watched = taught[pairs.time[taught] < late], taught[pairs.time[taught] >= late]
    if len(fit) > run.max_edits:
        fit = np.sort(np.random.default_rng([run.seed, 1]).choice(fit, run.max_edits, replace=False))
    modify = pairs.action[watched, codewm_core.ACTIONS["v15"].index("type_modify")] > 0
    watched = np.sort(np.random.default_rng(0).permutation(watched[modify])[: run.watched])
    windows = chained(pairs.chain, pairs.step, pairs.before, pairs.after, fit, run.transitions)
    ledger = {
        **pairs.ledger, "not visible in the window": int(hidden.sum()), "held out": int((pairs.time >= boundary).sum()),
        "windows": len(windows), "watched": len(watched),
    }  # fmt: skip
    if len(windows) < run.batch or len(watched) < 4:
        raise UserError(
            f"too little history: {len(windows)} windows of {run.transitions} edits for batches of {run.batch}",
            "name a repository with more of it, or use a smaller batch or fewer transitions",
        )
    return PaperData(
        pairs.tokens, pairs.offsets, pairs.before, pairs.after, np.ascontiguousarray(pairs.action[:, kept]), windows,
        watched, *vocabulary(recipe.network.tokenizer), pairs.commit, ledger,
    )  # fmt: skip


def _same(pairs: FilePairs, a: int, b: int) -> bool:
    first = pairs.tokens[pairs.offsets[a] : pairs.offsets[a + 1]]
    return np.array_equal(first, pairs.tokens[pairs.offsets[b] : pairs.offsets[b + 1]])
