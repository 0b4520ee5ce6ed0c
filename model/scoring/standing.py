"""The past in, how unusual its own edits and commits are among themselves out: computed, or kept from the last run.

New edits are compared with that, so it has to be there first, and it takes longer than all that is new: each edit of
the past is compared with the others, channel by channel. It depends on nothing but what is hashed into its key (values
and sizes of the past, which the model, the settings and the base commit decide, and how they are compared), so a kept
one is the computed one, to the digit; anything else wrong with the file means that it is computed again.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.atomic import replace_file
from codewm.corpus.distinct import distinct
from codewm.model.scoring.calibrate import Sample, calibrate, log_size
from codewm.model.scoring.channels import CHANNELS, Edits, strata
from codewm.model.scoring.combine import evidence, per_commit
from codewm.model.scoring.settings import ScoreSettings

Floats = NDArray[np.float64]
SCHEMA = "codewm.standing/2"
"""To be counted up when the arithmetic of `calibrate` or `combine` changes, not only its settings."""
FILE_NAME = "standing.json"
_PARTS = ("odds", "commits", "channels")
KEPT = 16
"""Pasts that are kept, the latest ones: the hook, a range and a pull request each have a base of their own, and where
`drift` looks twice, what came before the step has one, too."""


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
    key = _key(history, lines_added, settings)
    entries = _read(place)
    for entry in entries:
        if entry.get("key") == key:
            found = _parse(entry, len(history), len(lines_added), len(distinct(history.commit)))
            if found is not None:
                return found
    computed = standing(history, lines_added, settings)
    others = [entry for entry in entries if entry.get("key") != key]
    stored = {"schema": SCHEMA, "standings": [_entry(key, computed), *others[: KEPT - 1]]}
    replace_file(place, json.dumps(stored, separators=(",", ":")).encode("ascii"))
    return computed


def _key(history: Edits, lines_added: NDArray[np.int32], settings: ScoreSettings) -> str:
    """Hash everything that a standing depends on, and the library that adds it up."""
    said = (SCHEMA, np.__version__, CHANNELS, settings.calibration, settings.combine, len(history))
    hasher = hashlib.sha256(repr(said).encode())
    columns = (history.commit, history.size, history.change, history.kind, history.test, history.channels)
    for values in (*columns, lines_added):
        hasher.update(f"{values.dtype.str}{values.shape}".encode())
        hasher.update(np.ascontiguousarray(values).tobytes())
    return hasher.hexdigest()


def _read(place: Path) -> list[dict[str, object]]:
    """The entries of the file; none where there is no such file, or it is another thing."""
    try:
        stored = json.loads(place.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
        return []
    entries = stored.get("standings")
    if not isinstance(entries, list):
        return []
    return [e for e in entries if isinstance(e, dict) and isinstance(e.get("key"), str)][:KEPT]


def _entry(key: str, found: Standing) -> dict[str, object]:
    raw = {name: getattr(found, name).astype("<f8").tobytes() for name in _PARTS}
    texts = {name: base64.b64encode(part).decode() for name, part in raw.items()}
    return {"key": key, "check": _check(key, *raw.values()), **texts}


def _parse(entry: dict[str, object], edits: int, commits: int, scored: int) -> Standing | None:
    """Read an entry back; None where it is damaged."""
    try:
        raw = [base64.b64decode(str(entry[name]), validate=True) for name in _PARTS]
    except (KeyError, ValueError):
        return None
    sizes = [8 * edits, 8 * commits, 8 * len(CHANNELS) * scored]
    if entry.get("check") != _check(str(entry["key"]), *raw) or [len(r) for r in raw] != sizes:
        return None
    odds, strengths, channels = (np.frombuffer(r, "<f8").astype(np.float64) for r in raw)
    return Standing(odds, strengths, channels.reshape(len(CHANNELS), scored))


def _check(key: str, *parts: bytes) -> str:
    return hashlib.sha256(b"".join((key.encode(), *parts))).hexdigest()
