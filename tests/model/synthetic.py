"""Seeds in, small edit tables with learnable dynamics out: statements of fixed tokens, one of them replaced."""

from __future__ import annotations

import numpy as np

import codewm_core
from codewm.corpus.table import CommitTable, EditTable
from codewm.model.config import ModelConfig, TrainConfig

NAMES = codewm_core.ACTIONS["v15"]
ACTION_DIM = len(NAMES)
LOCATION, SIZE_DELTA = NAMES.index("location"), NAMES.index("size_delta")
PUT = SIZE_DELTA + 1
"""First of the four dimensions that say which statement was put in."""
TINY_SHAPE = {
    "dim": 16, "heads": 2, "mlp": 32, "predictor": 32, "loops": 2, "latent": 8, "reading": 6, "critic": 16,
}  # fmt: skip


def tiny_model(**values: int) -> ModelConfig:
    """A ModelConfig that trains in seconds."""
    return ModelConfig(**{"vocab_size": codewm_core.VOCAB_SIZE, "window": 64, **TINY_SHAPE, **values})  # type: ignore[arg-type]


def tiny_config(**values: object) -> TrainConfig:
    """A TrainConfig of a few dozen steps."""
    base = {
        "minutes": None, "steps": 30, "threads": 1, "start": "scratch", "precision": "f32", "tokens_per_batch": 512,
        "edits_per_step": 32, "bootstrap": 50, "evaluations": 3, "whiten_states": 500,
    }  # fmt: skip
    return TrainConfig(**{**base, **values})  # type: ignore[arg-type]


def edit_table(edits: int = 300, seed: int = 0, per_commit: int = 3) -> EditTable:
    """Edits of units of 3-9 statements; the action says which of four statements was put in, and where, as real ones
    do, or that the unit was created or deleted."""
    rng = np.random.default_rng(seed)
    words = rng.integers(codewm_core.IDENT_FIRST, codewm_core.IDENT_LAST, size=(12, 4)).astype(np.uint16)
    depth = np.uint16(codewm_core.DEPTH_FIRST)

    def unit(rows: list[int]) -> np.ndarray:
        body = [np.concatenate([[depth + min(i, 1)], words[r]]) for i, r in enumerate(rows)]
        return np.concatenate(body).astype(np.uint16)

    states: dict[bytes, int] = {}
    flat: list[np.ndarray] = []

    def state(tokens: np.ndarray) -> int:
        key = tokens.tobytes()
        if key not in states:
            states[key] = len(flat)
            flat.append(tokens)
        return states[key]

    empty = np.array([codewm_core.EMPTY], np.uint16)
    before, after, flags = [], [], []
    action = np.zeros((edits, ACTION_DIM), np.float32)
    for i in range(edits):
        rows = rng.integers(12, size=rng.integers(3, 10)).tolist()
        kind = rng.random()
        if kind < 0.1:
            before.append(state(empty))
            after.append(state(unit(rows)))
            flags.append(codewm_core.FLAG_CREATED)
            action[i, 0] = 1
        elif kind < 0.2:
            before.append(state(unit(rows)))
            after.append(state(empty))
            flags.append(codewm_core.FLAG_DELETED)
            action[i, 1] = 1
        else:
            put = int(rng.integers(4))
            where = int(rng.integers(1, len(rows)))
            before.append(state(unit(rows)))
            after.append(state(unit([*rows[:where], put, *rows[where + 1 :]])))
            flags.append(codewm_core.FLAG_NOOP if before[-1] == after[-1] else 0)
            action[i, 2] = 1
            action[i, PUT + put] = 1
        old, new = flat[before[-1]], flat[after[-1]]
        longest, both = max(len(old), len(new)), min(len(old), len(new))
        differs = old[:both] != new[:both]
        action[i, LOCATION] = (int(differs.argmax()) if differs.any() else both) / longest
        action[i, SIZE_DELTA] = 0.5 + 0.5 * (len(new) - len(old)) / longest
    commit = np.arange(edits, dtype=np.int32) // per_commit
    commits = int(commit[-1]) + 1
    zeros = np.zeros(edits, np.int32)
    lengths = np.array([0, *[len(t) for t in flat]])
    return EditTable(
        tokens=np.concatenate(flat), offsets=np.cumsum(lengths).astype(np.int64),
        state_hash=np.array([hash(k) % 2**63 for k in states], np.uint64),
        before=np.array(before, np.int32), after=np.array(after, np.int32), action=action, commit=commit,
        path=zeros, unit=zeros, unit_before=zeros, kind=zeros.astype(np.uint8), chain=zeros, step=zeros,
        flags=np.array(flags, np.uint16), tokens_added=zeros, tokens_removed=zeros,
        lines=np.ones((edits, 2), np.int32), first_changed_line=zeros, name_offsets=np.zeros(edits + 1, np.int64),
        name_ids=np.zeros(0, np.int32), name_flags=np.zeros(0, np.uint8), name_lines=np.zeros(0, np.int32),
        commits=CommitTable(
            oid=[f"{i:040x}" for i in range(commits)], parent=[""] * commits, author=[""] * commits,
            time=np.arange(commits, dtype=np.int64), committer_time=np.arange(commits, dtype=np.int64),
            subject=[""] * commits, flags=np.zeros(commits, np.uint8), file_changes=np.ones(commits, np.int32),
            lines_added=np.ones(commits, np.int32), lines_deleted=np.ones(commits, np.int32),
            reverts=np.full(commits, -1, np.int32), fixes=np.zeros(commits, bool),
        ),
        renames=np.zeros((0, 3), np.int32), paths=["a.py"], units=["f"], names=[],
        tokenizer_id=codewm_core.TOKENIZER_ID, action_id="v15", window=64,
    )  # fmt: skip
