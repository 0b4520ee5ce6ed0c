"""A repository and a base commit in, the `Past` up to it out: from the cache if possible, extended or built
if not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

import codewm_core as core
from codewm.corpus.history import History, harvest_live, history, names_of_tree
from codewm.corpus.table import COMMIT_ROOT
from codewm.model.scoring import cache
from codewm.model.scoring.channels import Edits, Seen, measure
from codewm.model.scoring.ngrams import lores_of_tree
from codewm.model.scoring.past import Past, empty_past, take

if TYPE_CHECKING:
    from codewm.corpus.git import Repository
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.engine_model import ScoringModel
    from codewm.model.scoring.landings import Kept
    from codewm.model.scoring.settings import ScoreSettings


def past_before(
    repo: Repository, base: str, model: ScoringModel, settings: ScoreSettings, warn: Callable[[str], None]
) -> tuple[Past, str]:
    """Return the past whose last commit is `base` ('': before the root), and 'cache', 'chains' or 'live'.

    A copy is left for the next run where the place is writable.
    """
    if not base:
        return empty_past(), "live"
    place, key = repo.data_dir / cache.FILE_NAME, _key(model, settings)
    try:
        stored = cache.load(place, key)
    except cache.CacheDamagedError:
        warn("the stored calibration was damaged and is built again")
        stored = None
    if stored is not None:
        past = _reach(repo, base, stored, model, settings)
        if past is not None and _is_enough(past, stored):
            if base not in stored.position:
                cache.save(place, past, key)
            return past, "cache"
    past = build(repo, base, model, settings)
    cache.save(place, past, key)
    return past, past.source


def build(
    repo: Repository,
    base: str,
    model: ScoringModel,
    settings: ScoreSettings,
) -> Past:
    """Measure the history before `base`, `base` included."""
    found = history(repo, base, settings.history, window=model.window, action=model.action)
    return past_of(repo, found, model, settings)


def past_of(repo: Repository, found: History, model: ScoringModel, settings: ScoreSettings) -> Past:
    """Measure a history."""
    names = names_of_tree(repo, found.before, settings.history)
    lores = lores_of_tree(repo, found.before, settings.tokens)
    start = empty_past(names, from_root=not found.before, source=found.source, lores=lores)
    edits, known = measured(found.table, start, model, settings)
    # The first commit of a repository puts things there; it is no example of how they move.
    moving = (found.table.commits.flags[edits.commit] & COMMIT_ROOT) == 0
    return start.plus(found.table, take(edits, np.flatnonzero(moving)), known).trimmed(settings.history)


def measured(
    table: EditTable, past: Past, model: ScoringModel, settings: ScoreSettings, kept: Kept | None = None
) -> tuple[Edits, Seen]:
    """Measure the edits of a table that follows the past; `kept` knows where some of them landed."""
    return measure(
        model.engine,
        table,
        past.names,
        settings.names,
        settings.threads,
        past=past,
        tokens=settings.tokens,
        novelty=settings.novelty,
        kept=kept,
        messages=settings.messages,
    )


def _reach(
    repo: Repository, base: str, stored: Past, model: ScoringModel, settings: ScoreSettings
) -> Past | None:
    """Cut the stored past back to `base`, or extend it to `base`; None where it is too far away."""
    if base in stored.position:
        return stored.until(stored.position[base])
    records = list(repo.commits(base, max_count=settings.extend_commits))
    anchor = next((i for i in reversed(range(len(records))) if records[i].oid in stored.position), None)
    if anchor is None:
        return None
    past = stored.until(stored.position[records[anchor].oid])
    table = harvest_live(repo, records[anchor + 1 :], window=model.window, action=model.action)
    edits, known = measured(table, past, model, settings)
    return past.plus(table, edits, known).trimmed(settings.history)


def _is_enough(past: Past, stored: Past) -> bool:
    """Cut back too far, a stored past would compare with less than a fresh one could."""
    return past.from_root or len(past) >= len(stored) * 3 // 4


def _key(model: ScoringModel, settings: ScoreSettings) -> str:
    """Name everything that raw values depend on."""
    limits = (settings.history, settings.names, settings.tokens, settings.novelty, settings.messages)
    parts = (model.digest, core.TOKENIZER_ID, model.window, model.action, *limits)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
