"""Pinned repositories and local clones in, one divided corpus out.

The clones are only read. Each is looked at through a Git folder of ours that borrows its objects and whose HEAD
is the pinned commit, so it does not matter where the clone has got to since. What is in a store already is not
harvested again, and a corpus that was built of the very same stores and list is left as it is.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from codewm.corpus.causes import Cause
from codewm.corpus.divide import RULES, divide, of_tests
from codewm.corpus.division import PARTS, Reason
from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.harvest import Harvest, Options, Progress, harvest
from codewm.corpus.lock import clean, exclusive
from codewm.corpus.merge import Merger, held_at, identity_of
from codewm.corpus.pins import Pin
from codewm.corpus.store import Store, read_store, write
from codewm.corpus.table import EditTable

_CONFIG = """\
[core]
\trepositoryFormatVersion = 1
\tbare = true
[extensions]
\tobjectFormat = {object_format}
"""


def find_clones(pins: Sequence[Pin], folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """By name: the clone of each repository that has its pinned commit, and what is wrong with the others."""
    if not folder.is_dir():
        raise UserError(f"'{folder}' is not a folder", "name the folder that the clones are in")
    found: dict[str, Path] = {}
    wrong: dict[str, str] = {}
    for pin in pins:
        places = [p for p in _places(pin, folder) if p.is_dir()]
        trouble = "there is no clone" if not places else ""
        for place in places:
            trouble = _trouble(pin, place)
            if not trouble:
                found[pin.name] = place
                break
        if trouble:
            wrong[pin.name] = trouble
    return found, wrong


def harvest_pin(
    pin: Pin, clone: Path, stores: Path, options: Options, progress: Progress | None = None
) -> Harvest:
    """Bring the store of one repository, in the folder `stores`, to its pinned commit.

    Raises `UserError` if anything in its history could not be read: another clone would give another corpus.
    """
    with _pinned(pin, clone) as repository:
        done = harvest(repository, options, store_of(pin, stores), progress)
    kinds = done.header.file_changes.values()
    unread = sum(
        kind["skipped"].get(cause.key, 0) for kind in kinds for cause in (Cause.MISSING, Cause.DAMAGED)
    )
    if unread:
        # With a better clone it has to be read again, which no new commit would bring about.
        done.path.unlink()
        raise UserError(
            f"'{clone}' is not whole: {unread} changes of files could not be read", "clone it again, whole"
        )
    return done


def store_of(pin: Pin, stores: Path) -> Path:
    """Where the chains of a repository are, in a folder of many."""
    return stores / f"{pin.file_name}.h5"


def build(pins: Sequence[Pin], stores: Path, out: Path) -> tuple[Store, bool]:
    """Merge and divide the stores of `pins`; the corpus, and whether it had to be written."""
    if len(pins) < 2:
        raise UserError("a corpus has two repositories at least", "name more in the list")
    files = [store_of(pin, stores) for pin in pins]
    identity = identity_of(files, f"{pins}{RULES}")
    with exclusive(out):
        clean(out)
        held = held_at(out)
        if held is not None and (held.repository, held.tool) == (identity, version("codewm")):
            return read_store(out), False
        merger = Merger(identity)
        for pin, file in zip(pins, files, strict=True):
            merger.add(_named(read_store(file), pin), str(file))
        merged = merger.store()
        del merger
        table = replace(merged.table, division=divide(merged.table, pins))
        table.check()
        corpus = replace(merged, table=table)
        write(out, corpus.table, corpus.ledger, corpus.header)
    return corpus, True


def summarise(table: EditTable, pins: Sequence[Pin]) -> list[dict[str, Any]]:
    """What came of each repository of a divided corpus, as numbers of edits.

    `edits` is all of them, `left_out` counts by reason, `test_share` is that of the training part.
    """
    assert table.division is not None
    parts = table.division.parts(table)
    repository = table.commits.repository[table.commit]
    tests = of_tests(table)
    rows: list[dict[str, Any]] = []
    for i, pin in enumerate(pins):
        mine = repository == i
        used = {name: int(mine[getattr(parts, name)].sum()) for name in PARTS}
        reasons = np.bincount(table.division.reason[mine], minlength=len(Reason)).tolist()
        train = parts.train[mine[parts.train]]
        rows.append(
            {
                "name": pin.name,
                "role": pin.role,
                "licence": pin.licence,
                "commit": pin.commit,
                "commits": table.repositories[i].commits,
                "edits": int(mine.sum()),
                "left_out": {r.name.lower(): reasons[r] for r in Reason if r},
                **used,
                "test_share": float(tests[train].mean()) if len(train) else 0.0,
            }
        )
    return rows


def _named(store: Store, pin: Pin) -> Store:
    """The store with the name that the list has for its repository, instead of that of a folder."""
    if len(store.table.repositories) != 1 or store.header.tip != pin.commit:
        raise UserError(f"the store of {pin.name} does not end at {pin.commit}", "harvest it again")
    origin = replace(store.table.repositories[0], name=pin.name)
    return replace(store, table=replace(store.table, repositories=(origin,)))


@contextmanager
def _pinned(pin: Pin, clone: Path) -> Iterator[Repository]:
    """The repository as if its HEAD were the pinned commit."""
    with Repository.open(clone) as whole, tempfile.TemporaryDirectory(prefix="codewm-pin-") as folder:
        view = Path(folder) / "repository.git"
        for part in ("refs", "objects/info", "objects/pack", "codewm"):
            (view / part).mkdir(parents=True)
        object_format = "sha256" if len(pin.commit) == 64 else "sha1"
        (view / "config").write_text(_CONFIG.format(object_format=object_format), "ascii")
        (view / "HEAD").write_text(f"{pin.commit}\n", "ascii")
        objects = whole.common_dir / "objects"
        (view / "objects" / "info" / "alternates").write_bytes(
            f"{objects}\n".encode("utf-8", "surrogateescape")
        )
        # The same for everybody, so that a rebuilt corpus is the same file. Whoever has the clone can name the
        # authors of its commits anyway.
        salt = hashlib.sha256(f"codewm corpus {pin.name}".encode()).hexdigest()
        (view / "codewm" / "salt").write_text(salt, "ascii")
        with Repository.open(view) as repository:
            yield repository


def _places(pin: Pin, folder: Path) -> Iterator[Path]:
    """Where a clone may be: OWNER+NAME or OWNER/NAME, with or without .git, or in there as `repo`."""
    for name in (pin.file_name, pin.name):
        yield from (folder / name / "repo", folder / name, folder / f"{name}.git")


def _trouble(pin: Pin, place: Path) -> str:
    """Why a folder is not the clone that is needed; '' if it is."""
    try:
        with Repository.open(place) as repository:
            top = (repository.work_tree or repository.git_dir).resolve()
            if place.resolve() not in (top, repository.git_dir.resolve()):
                return f"'{place}' is no repository"
            if repository.is_shallow:
                return f"'{place}' is a shallow clone"
            if repository.is_partial:
                return f"'{place}' is a partial clone"
            if not repository.has(pin.commit):
                return f"'{place}' has no commit {pin.commit}"
    except UserError as e:
        return e.message
    return ""
