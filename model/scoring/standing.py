"""The past in, how unusual its own edits and commits are among themselves out: computed, or kept from the last run.

New edits are compared with that, so it has to be there first, and it takes longer than all that is new: each edit of
the past is compared with the others, channel by channel. It depends on nothing but what is hashed into its key (values
and sizes of the past, which the model, the settings and the base commit decide, and how they are compared), so a kept
one is the computed one, to the digit; anything else wrong with the file means that it is computed again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.distinct import distinct
from codewm.model.scoring.calibrate import Sample, calibrate, log_size
from codewm.model.scoring.channels import CHANNELS, Edits, strata
from codewm.model.scoring.combine import evidence, per_commit
from codewm.model.scoring.settings import ScoreSettings
from codewm.model.scoring.shelf import Entry, Shelf, floats

Floats = NDArray[np.float64]
SCHEMA = "codewm.standing/3"
"""To be counted up when the arithmetic of `calibrate` or `combine` changes, not only its settings."""
_PARTS = ("odds", "commits", "channels")


@dataclass(frozen=True)
class Standing:
    """How unusual n edits of c commits are, each among the others."""

    odds: Floats
    """[n] `combine.evidence`."""
    commits: Floats
    """[c] `combine.per_commit`."""
    channels: Floats
    """[len(CHANNELS), u] the same of each channel alone, for the u commits that have edits."""


class Matched:
    """Edits with what they are matched on."""

    def __init__(self, edits: Edits) -> None:
        self._sizes, self._strata = log_size(edits.size), strata(edits)

    def sample(self, values: Floats) -> Sample:
        """Return the sample of these values [n]."""
        return Sample(values, self._sizes, self._strata)


def standing(history: Edits, lines_added: NDArray[np.int32], settings: ScoreSettings) -> Standing:
    """Compare every edit of a past with the others; `lines_added` [c] is by commit."""
    cal, old, p_tail = settings.calibration, Matched(history), {}
    for i, name in enumerate(CHANNELS):
        sample = old.sample(history.channels[:, i])
        p_tail[name] = calibrate(sample, sample, cal.neighbours, cal, own=True).p_tail
    odds = evidence(p_tail, settings.combine)
    sample = old.sample(odds)
    units = calibrate(sample, sample, cal.neighbours, cal, own=True)
    rows, alone = distinct(history.commit), []
    for name in CHANNELS:
        strength = per_commit(p_tail[name], history.commit, len(lines_added), settings.combine)
        alone.append(strength[rows])
    commits = per_commit(units.p_tail, history.commit, len(lines_added), settings.combine)
    return Standing(odds, commits, np.stack(alone))


def recalled(
    place: Path, history: Edits, lines_added: NDArray[np.int32], settings: ScoreSettings
) -> Standing:
    """Return the same, from the file where it is there; else it is there the next time."""
    shelf = Shelf(place)
    key = key_of(SCHEMA, history, lines_added, settings.calibration, settings.combine)
    kept = shelf.find(key)
    if kept is not None:
        rows = len(distinct(history.commit))
        shapes = ((len(history),), (len(lines_added),), (len(CHANNELS), rows))
        found = [floats(kept, name, shape) for name, shape in zip(_PARTS, shapes, strict=True)]
        if all(part is not None for part in found):
            return Standing(*found)  # type: ignore[arg-type]
    computed = standing(history, lines_added, settings)
    shelf.put(key, Entry(arrays={name: getattr(computed, name) for name in _PARTS}))
    return computed


def key_of(schema: str, history: Edits, lines_added: NDArray[np.int32], *settings: object) -> str:
    """Hash everything that depends on a past's values, and the library that adds it up."""
    said = (schema, np.__version__, CHANNELS, settings, len(history))
    hasher = hashlib.sha256(repr(said).encode())
    columns = (history.commit, history.size, history.change, history.kind, history.test, history.channels)
    for values in (*columns, lines_added):
        hasher.update(f"{values.dtype.str}{values.shape}".encode())
        hasher.update(np.ascontiguousarray(values).tobytes())
    return hasher.hexdigest()
