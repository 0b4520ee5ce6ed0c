"""The base model's own calibration: a sample of ordinary edits from the repositories it was trained on.

A repository with little history has nothing to compare with. Then this sample, stored as JSON in the model's
metadata (`calibration`), joins the repository's own edits, and the report says so. It went through the same
channels with the same weights, so it means the same thing; only 'for this repository' is lost.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codewm.model.scoring.channels import CHANNELS, Edits
from codewm.model.scoring.past import Past, no_edits, take

SCHEMA = "codewm.reference/2"
_FORMER = {"codewm.reference/1": ("substitution",)}
"""Schemas that are still read, and the channels whose values meant something else then."""


@dataclass(frozen=True)
class Reference:
    """N edits of C commits, from several repositories; `edits.displacement` is empty."""

    edits: Edits
    lines_added: NDArray[np.int32]
    """[C]"""


def parse_reference(text: str) -> Reference | None:
    """Read the metadata entry; None where the model carries none (`{}`) or another kind of it."""
    try:
        stored = json.loads(text)
        if stored.get("schema") not in (SCHEMA, *_FORMER) or not set(stored["channels"]) <= set(CHANNELS):
            return None
        for name in _FORMER.get(stored["schema"], ()):
            stored.pop(name, None)
        n = len(stored["commit"])
        # Of a channel that is younger than the sample, or meant something else in it, nothing is known.
        given = [stored.get(name, [None] * n) for name in CHANNELS]
        raw = [np.array([np.nan if v is None else v for v in values], np.float64) for values in given]
        edits = Edits(
            row=np.arange(n),
            commit=np.asarray(stored["commit"], np.int32),
            size=np.asarray(stored["size"], np.int32),
            change=np.asarray(stored["change"], np.uint8),
            kind=np.asarray(stored["kind"], np.uint8),
            test=np.asarray(stored["test"], np.bool_),
            channels=np.column_stack(raw),
            displacement=np.empty((n, 0), np.float16),
            length=np.zeros(n, np.float32),
            predicted=np.zeros(n, np.float32),
            net=np.empty((n, 0), np.int8),
            action=np.empty((n, 0), np.float32),
        )
        lines = np.asarray(stored["lines_added"], np.int32)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    columns = (edits.commit, edits.size, edits.change, edits.kind, edits.test)
    if any(len(c) != n for c in columns) or (
        n and (edits.commit.min() < 0 or edits.commit.max() >= len(lines))
    ):
        return None
    if n and (edits.kind.max() > 3 or edits.change.max() > 2):
        return None
    return Reference(edits, lines)


def dump_reference(pasts: Sequence[Past], commits: int = 150, most: int = 12) -> str:
    """Write the metadata entry from the pasts of several repositories.

    Takes `commits` commits at equal distances over all of them, so that no repository and no era dominates, and the
    first `most` edits of each: with the weights it has to stay below 1 MB.
    """
    rows: list[Edits] = []
    lines: list[int] = []
    for past in pasts:
        scored = np.unique(past.edits.commit)
        wanted = max(1, commits // len(pasts))
        chosen = (
            scored[np.unique(np.linspace(0, len(scored) - 1, wanted).astype(np.int64))]
            if len(scored)
            else scored
        )
        for c in chosen:
            part = take(past.edits, np.flatnonzero(past.edits.commit == c))
            rows.append(take(part, np.arange(min(len(part), most))))
            lines.append(int(past.lines_added[c]))
    counts = [len(r) for r in rows]
    every = rows or [no_edits(0)]
    column = {
        k: np.concatenate([vars(r)[k] for r in every]).tolist() for k in ("size", "change", "kind", "test")
    }
    channels = np.concatenate([r.channels for r in every])
    return json.dumps(
        {
            "schema": SCHEMA,
            "channels": list(CHANNELS),
            "commit": np.repeat(np.arange(len(counts)), counts).tolist(),
            "lines_added": lines,
            **column,
            **{name: [_number(v) for v in channels[:, i]] for i, name in enumerate(CHANNELS)},
        },
        separators=(",", ":"),
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.3g}")
