"""A repository and a commit in, the `Past` up to it out: from the cache if possible, extended or read if not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from codewm.corpus.records import RevSpec
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
    """Return the past whose last commit is `base` ('': nothing).

    That of HEAD is read once, kept beside the chains where the place is writable, and added to as HEAD moves.
    """
    if not base:
        return empty_past()
    stored = _stored(repo, warn)
    if stored is not None and base in stored.position:
        return stored.before(stored.position[base] + 1)
    whole = _of_head(repo, stored, settings, warn)
    at = whole.position.get(base)
    if at is not None:
        return whole if at + 1 == len(whole) else whole.before(at + 1)
    return _followed(repo, base, whole, settings) or read(repo, base, settings, warn)


def _stored(repo: Repository, warn: Warn) -> Past | None:
    """The past that the last run left, unless more can be known now."""
    try:
        stored = cache.load(repo.data_dir / cache.FILE_NAME)
    except cache.CacheDamagedError:
        warn("the stored past was damaged and is read again")
        return None
    return None if stored is None or _is_outdated(repo, stored) else stored


def _of_head(repo: Repository, stored: Past | None, settings: ImpactSettings, warn: Warn) -> Past:
    head = repo.head()
    place = repo.data_dir / cache.FILE_NAME
    if stored is not None:
        at = stored.position.get(head)
        if at is not None:
            return stored.before(at + 1)
        longer = _followed(repo, head, stored, settings)
        if longer is not None:
            cache.save(place, longer)
            return longer
    past = read(repo, head, settings, warn)
    cache.save(place, past)
    return past


def _is_outdated(repo: Repository, stored: Past) -> bool:
    """More can be known now: somebody harvested, or brought what a shallow clone left out."""
    harvested = stored.source == "live" and (repo.data_dir / "chains.h5").is_file()
    return harvested or (not stored.whole and not repo.is_shallow and bool(stored.oids) and stored.shallow)


def read(repo: Repository, base: str, settings: ImpactSettings, warn: Warn) -> Past:
    """Read the past up to `base` from Git; units and names from the chains, if they hold the commit, or on the fly."""
    records = list(repo.commits(base, max_count=settings.most_commits))
    table = _stored_chains(repo, base)
    source = "live" if table is None else "chains"
    if table is None:
        table = _read_units(repo, records, settings)
    first = records[0]
    whole = not first.parents
    start: list[bytes] = []
    if not whole and not first.boundary:
        start = [path for path, _, _ in repo.tree_python_blobs(first.parents[0])]
        warn(f"only the latest {len(records)} commits are looked at")
    empty = empty_past(whole=whole, source=source, shallow=first.boundary)
    return extended(empty, records, table, start=start)


def _stored_chains(repo: Repository, base: str) -> EditTable | None:
    path = repo.data_dir / "chains.h5"
    if not path.is_file():
        return None
    from codewm.corpus import store

    table = store.read(path)
    return table if base in table.commits.oid else None


def _read_units(repo: Repository, records: list[CommitRecord], settings: ImpactSettings) -> EditTable:
    """Edits of the latest commits, as many as can be read in some seconds."""
    from codewm.corpus.history import harvest_live

    kept: list[CommitRecord] = []
    files = 0
    for record in reversed(records):
        record = _unless_sweep(record, settings)
        files += sum(change.is_python for change in record.changes)
        if kept and files > settings.live_files:
            break
        kept.append(record)
    return harvest_live(repo, kept[::-1], window=settings.window, action=settings.action)


def _unless_sweep(record: CommitRecord, settings: ImpactSettings) -> CommitRecord:
    sweeping = sum(change.is_python for change in record.changes) > settings.sweep
    return record._replace(changes=()) if sweeping else record


def _followed(repo: Repository, tip: str, stored: Past, settings: ImpactSettings) -> Past | None:
    """The stored past up to where the line of `tip` leaves it, and what followed there; None if that is too much."""
    at, line = _branch(repo, tip, stored, settings)
    if at < 0 or not 0 < len(line) <= settings.most_new:
        return None
    fresh = list(repo.commits(RevSpec(tip, stored.oids[at])))
    if [record.oid for record in fresh] != line:
        # The first-parent line does not pass the commit by; it only can be reached from there.
        return None
    return with_commits(repo, stored.before(at + 1), fresh, settings)


def _branch(repo: Repository, tip: str, stored: Past, settings: ImpactSettings) -> tuple[int, list[str]]:
    """The last commit that the line of `tip` shares with the stored past, by row (-1: none), and what follows."""
    from codewm.corpus.scope import following

    line = following(repo, tip, stored.oids[-1])
    if line:
        return len(stored) - 1, line
    line = repo.first_parents(tip)[-settings.most_new - 1 :]
    for i in range(len(line) - 1, -1, -1):
        if line[i] in stored.position:
            return stored.position[line[i]], line[i + 1 :]
    return -1, []


def with_commits(repo: Repository, past: Past, records: list[CommitRecord], settings: ImpactSettings) -> Past:
    """The past, and after it commits, or the change at hand, which has no id yet."""
    from codewm.corpus.history import harvest_live

    lean = [_unless_sweep(record, settings) for record in records]
    table = harvest_live(repo, lean, window=settings.window, action=settings.action)
    return extended(past, records, table)
