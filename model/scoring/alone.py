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
from codewm.model.scoring import message
from codewm.model.scoring.channels import Edits, Seen, add_message, add_novelty, assemble
from codewm.model.scoring.ngrams import bits_alone

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
    for date in np.unique(of_use).tolist():
        uses = of_use == date
        names = past.until(date - 1).names if date else past.start
        before[uses] = names.look_up(hashes[table.name_ids[uses]])
    at = known[table.commit[rows]]
    words, syntax = (
        bits_alone(table, rows, at, lore, grams)
        for lore, grams in ((past.words, settings.tokens.words), (past.syntax, settings.tokens.syntax))
    )
    seen = Seen(before, past.gained[:0], past.gained_in[:0], words, syntax)
    edits = assemble(model.engine, table, rows, seen, settings.names, settings.threads)
    dates = past.edits.commit.astype(np.int64)
    add_novelty(edits, at, [past.edits], dates, table.action_id, settings.novelty)
    add_message(edits, message.of_table(table, edits), known, message.of_past(past), settings.messages)
    return edits, seen
