"""A repository and a commit in, the `Past` up to it out: from the cache if possible, extended or read if not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from codewm.corpus.table import COMMIT_ROOT
from codewm.model.impact import cache
from codewm.model.impact.past import Past
from codewm.model.impact.reading import empty_past, extended
from codewm.model.impact.settings import ImpactSettings

if TYPE_CHECKING:
    from codewm.corpus.git import Repository
    from codewm.corpus.records import CommitRecord
    from codewm.corpus.table import EditTable

Warn = Callable[[str], None]


def past_before(repo: Repository, base: str, settings: ImpactSettings, warn: Warn) -> Past:
    """Return the past whose last commit is `base` ('': nothing). A copy is left where the place is writable.

    Units and names come from chains.h5 where that holds the commit, else the latest commits are read on the fly.
    """
    if not base:
        return empty_past()
    place = repo.data_dir / cache.FILE_NAME
    try:
        stored = cache.load(place)
    except cache.CacheDamagedError:
        warn("the stored past was damaged and is read again")
        stored = None
    if stored is not None:
        at = stored.position.get(base)
        if at is not None:
            return stored if at + 1 == len(stored) else stored.before(at + 1)
        longer = _followed(repo, base, stored, settings)
        if longer is not None:
            # A commit beside the line of the stored past is looked at once; the past of the line stays.
            if longer.oids[: len(stored)] == stored.oids:
                cache.save(place, longer)
            return longer
    past = read(repo, base, settings, warn)
    cache.save(place, past)
    return past


def read(repo: Repository, base: str, settings: ImpactSettings, warn: Warn) -> Past:
    """Read the past up to `base` from Git and, where they hold it, from the chains."""
    records = list(repo.commits(base, max_count=settings.most_commits))
    table = _stored_chains(repo, base)
    source = "live" if table is None else "chains"
    if table is None:
        table = _read_units(repo, records, settings)
    first = records[0]
    whole = not first.parents and not first.boundary
    start = [] if whole or first.boundary else [path for path, _, _ in repo.tree_python_blobs(first.parents[0])]
    if not whole and not repo.is_shallow and len(records) == settings.most_commits:
        warn(f"only the latest {settings.most_commits} commits are looked at")
    return extended(empty_past(whole=whole, source=source), records, table, start=start)


def _stored_chains(repo: Repository, base: str) -> EditTable | None:
    path = repo.data_dir / "chains.h5"
    if not path.is_file():
        return None
    from codewm.corpus import store

    table = store.read(path)
    if base not in table.commits.oid:
        return None
    # Chains of a part of the history (--since, --path) know a part of its names.
    return table if len(table.commits) and table.commits.flags[0] & COMMIT_ROOT else None


def _read_units(repo: Repository, records: list[CommitRecord], settings: ImpactSettings) -> EditTable:
    """Edits of the latest commits, after one that holds all there was before them."""
    from codewm.corpus.history import harvest_live

    kept: list[CommitRecord] = []
    files = 0
    for record in reversed(records):
        touched = sum(change.is_python for change in record.changes)
        if touched > settings.sweep:
            record, touched = record._replace(changes=()), 0
        files += touched
        if kept and files > settings.live_files:
            break
        kept.append(record)
    kept.reverse()
    return harvest_live(repo, kept, window=settings.window, action=settings.action)


def _followed(repo: Repository, base: str, stored: Past, settings: ImpactSettings) -> Past | None:
    """The stored past up to where the line of `base` leaves it, and what followed there; None if that is much."""
    from codewm.corpus.history import harvest_live
    from codewm.corpus.records import RevSpec

    fresh: list[CommitRecord] = []
    at = -1
    last = stored.oids[-1] if stored.oids else ""
    line = repo.first_parents(base)[-settings.most_new :] if not last or not repo.has(last) else None
    if line is None:
        from codewm.corpus.scope import following

        line = following(repo, base, last)
        if not line:
            line = repo.first_parents(base)[-settings.most_new - 1 :]
        else:
            at = len(stored) - 1
    if at < 0:
        known = [i for i, oid in enumerate(line) if oid in stored.position]
        if not known:
            return None
        at, line = stored.position[line[known[-1]]], line[known[-1] + 1 :]
    if not line or len(line) > settings.most_new:
        return None
    fresh = list(repo.commits(RevSpec(line[-1], stored.oids[at])))
    if [record.oid for record in fresh] != line:
        return None
    python = [
        r if sum(c.is_python for c in r.changes) <= settings.sweep else r._replace(changes=()) for r in fresh
    ]
    table = harvest_live(repo, python, window=settings.window, action=settings.action)
    return extended(stored.before(at + 1), fresh, table)


def with_change(repo: Repository, past: Past, record: CommitRecord, settings: ImpactSettings) -> Past:
    """The past, and after it the change itself as its last commit."""
    from codewm.corpus.history import harvest_live

    named = record if record.oid else record._replace(oid="")
    table = harvest_live(repo, [named], window=settings.window, action=settings.action)
    return extended(past, [named], table)


__all__ = ["past_before", "read", "replace", "with_change"]
