"""Edits that never were in, what they would have been measured as on their dates out.

An injected edit is a commit of its own, made after a commit of the past: it is measured by what was known then, and
teaches nothing to the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.history import name_hash
from codewm.model.scoring.channels import Edits, Seen, assemble
from codewm.model.scoring.ngrams import Bits, Walk

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.engine_model import ScoringModel
    from codewm.model.scoring.past import Past
    from codewm.model.scoring.settings import ScoreSettings

I64 = NDArray[np.int64]


def measure_alone(
    table: EditTable, past: Past, known: I64, model: ScoringModel, settings: ScoreSettings
) -> tuple[Edits, Seen]:
    """Measure each commit of the table [C] as if it followed the first `known` [C] commits of the past."""
    rows = np.flatnonzero((table.flags & core.FLAG_NOOP) == 0)
    of_use = known[np.repeat(table.commit, np.diff(table.name_offsets))]
    before = np.zeros(len(table.name_ids), np.int32)
    hashes = name_hash(table.names)
    walk = Walk(past.start_grams, settings.tokens)
    order = np.argsort(known[table.commit[rows]], kind="stable")
    at = known[table.commit[rows]][order]
    learnt = 0
    for date in np.unique(at).tolist():
        uses = of_use == date
        if uses.any():
            names = past.until(date - 1).names if date else past.start
            before[uses] = names.look_up(hashes[table.name_ids[uses]])
        low, high = np.searchsorted(past.grams_in, [learnt, date])
        walk.learn(past.grams[low:high])
        walk.measure(table, rows[order[at == date]])
        learnt = date
    bits = walk.bits()
    back = np.argsort(order, kind="stable")
    bits = Bits(bits.added.take(back), bits.removed.take(back), bits.gained, bits.gained_in)
    seen = Seen(before, past.gained[:0], past.gained_in[:0], bits)
    return assemble(model.engine, table, rows, seen, settings.names, settings.threads, settings.tokens), seen
