"""An open repository in; rows on what codewm keeps there out: the store, its lock and room, the models."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from codewm.cli import config
from codewm.cli.checks.check import NOTE, OK, PROBLEM, Check, guarded, many, size
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from codewm.corpus.git import Repository
    from codewm.corpus.store import Header
    from codewm.model.scoring.engine_model import ScoringModel

LITTLE_ROOM = 100 * 10**6  # bytes; less is worth saying even where no store tells what is needed


def _store(repository: Repository) -> Iterator[Check]:
    from codewm.corpus.harvest import store_path
    from codewm.corpus.store import read_store

    path = store_path(repository)
    if not os.path.lexists(path):
        found = "none; 'score' reads the history that it needs by itself"
        yield Check("store", NOTE, found, "'codewm harvest' keeps it, which makes 'train' and 'score' faster")
        return
    # All of it is read, and checked against its checksum.
    header = read_store(path).header
    held = f"{header.commits:,} commits, {header.edits:,} edits, {size(path.stat().st_size)}"
    if header.repositories > 1:
        found = (
            f"a corpus of {header.repositories} repositories stands where this one's store belongs: {held}"
        )
        yield Check(
            "store", NOTE, found, "move it away; 'codewm harvest' makes the chains of this repository"
        )
        return
    if limits := [*header.paths, *([f"after {header.since[:12]}"] if header.since else [])]:
        held += f"; limited to {', '.join(limits)}"
    yield Check("store", OK, f"whole: {held}")
    yield from guarded("store age", _store_age, repository, header)


def _store_age(repository: Repository, header: Header) -> Iterator[Check]:
    line = repository.first_parents(repository.head())
    ours = metadata.version("codewm")
    chosen = config.for_repository(repository).harvest
    asked = {"window": (header.window, chosen.window), "merges": (header.merges, chosen.merges)}
    other = [f"{name} {held} instead of {now}" for name, (held, now) in asked.items() if held != now]
    if header.repository != repository.identity and not repository.is_shallow and not header.shallow:
        found = "it holds another repository, or the first commit was rewritten"
        yield Check("store age", NOTE, found, "'codewm harvest' makes it anew")
    elif header.tip not in line:
        found = f"its newest commit {header.tip[:12]} is not on HEAD's line: another branch, or a rewritten history"
        yield Check("store age", NOTE, found, "'codewm harvest' redoes what follows the last common commit")
    elif header.tool != ours:
        yield Check(
            "store age",
            NOTE,
            f"written by codewm {header.tool}, this is {ours}",
            "'codewm harvest' makes it anew",
        )
    elif other:
        yield Check(
            "store age",
            NOTE,
            f"made with other settings: {', '.join(other)}",
            "'codewm harvest' makes it anew",
        )
    elif behind := len(line) - 1 - line.index(header.tip):
        yield Check(
            "store age", NOTE, f"HEAD is {many(behind, 'commit')} ahead", "'codewm harvest' appends them"
        )
    elif header.shallow and header.root not in repository.boundaries:
        yield Check(
            "store age",
            NOTE,
            "made in a shallow clone that has more history now",
            "'codewm harvest' reads it",
        )
    else:
        yield Check("store age", OK, "up to HEAD")


def _lock(repository: Repository) -> Iterator[Check]:
    """A harvest under way, and what killed ones left behind."""
    from codewm.corpus.harvest import store_path
    from codewm.corpus.lock import lock_path

    path = store_path(repository)
    holder = _holder(lock_path(path))
    left = [p for p in path.parent.glob(".*.tmp") if not _in_use(p, path.name, holder is not None)]
    if holder is not None:
        yield Check("lock", NOTE, f"a harvest is running (process {holder})", "wait until it is done")
    elif left:
        room = size(sum(p.lstat().st_size for p in left))
        found = (
            f"killed runs left {many(len(left), 'file')} of {room}: {', '.join(sorted(p.name for p in left))}"
        )
        ours = all(p.name.startswith(f".{path.name}.") for p in left)
        yield Check(
            "lock", NOTE, found, "the next harvest that writes removes them" if ours else "delete them"
        )
    else:
        yield Check("lock", OK, "no harvest is running, nothing was left behind")


def _holder(lock: Path) -> str | None:
    """Who holds the lock, None if nobody does. A lock that is held is not disturbed by asking."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    try:
        said = os.read(descriptor, 32).decode("ascii", "replace").strip()
        # A process that is gone holds nothing; its number may have been given to another.
        if said.isdigit() and not _alive(int(said)):
            return None
        return (said or "unknown") if _is_locked(descriptor) else None
    finally:
        os.close(descriptor)


if sys.platform == "win32":

    def _is_locked(descriptor: int) -> bool:
        return True

    def _alive(pid: int) -> bool:
        return True
else:
    import fcntl

    def _is_locked(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False

    def _alive(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except OSError:
            return True  # somebody else's
        return True


def _in_use(temporary: Path, store: str, harvesting: bool) -> bool:
    if temporary.name.startswith(f".{store}."):
        return harvesting
    pid = temporary.name.split(".")[-2]
    return pid.isdigit() and _alive(int(pid))


def _room(repository: Repository) -> Iterator[Check]:
    """A harvest writes a whole new store beside the old one before it replaces it."""
    from codewm.corpus.harvest import store_path

    path = store_path(repository)
    free = shutil.disk_usage(_nearest(path.parent)).free
    held = path.stat().st_size if path.is_file() else 0
    found = f"{size(free)} free"
    if free < held:
        fix = "make room, or name another place with --out"
        yield Check(
            "room",
            PROBLEM,
            f"{found}, and the store of {size(held)} is written anew beside the old one",
            fix,
        )
    elif free < max(2 * held, LITTLE_ROOM):
        yield Check("room", NOTE, f"{found}, which is little", "make room, or name another place with --out")
    else:
        yield Check("room", OK, found)


def _folder(repository: Repository) -> Iterator[Check]:
    folder = repository.data_dir
    nearest = _nearest(folder)
    if not nearest.is_dir():
        yield Check(
            "folder",
            PROBLEM,
            f"{nearest} stands where the folder for chains and model belongs",
            "move it away",
        )
    elif not os.access(nearest, os.W_OK | os.X_OK):
        fix = "mend its permissions, or name another place with --out"
        yield Check("folder", PROBLEM, f"{nearest} cannot be written to", fix)
    else:
        yield Check("folder", OK, f"{folder} can be {'written to' if nearest == folder else 'made'}")


def _nearest(folder: Path) -> Path:
    """The folder, or what is there of the way to it."""
    return next(p for p in (folder, *folder.parents) if os.path.lexists(p))


def _model(repository: Repository) -> Iterator[Check]:
    from codewm.model.scoring.engine_model import load_model

    model = load_model(repository.data_dir)
    quant = model.engine.metadata.get("quant", "")
    yield Check(
        "model", OK, ", ".join(filter(None, (model.sentence, quant, model.action, f"window {model.window}")))
    )
    if model.source == "local":
        yield from guarded("model age", _model_age, repository, model)


def _model_age(repository: Repository, model: ScoringModel) -> Iterator[Check]:
    from codewm.corpus.harvest import store_path
    from codewm.corpus.store import read_header

    try:
        header = read_header(store_path(repository))
    except (UserError, OSError):
        return  # the rows on the store have said it
    sources = json.loads(model.engine.metadata.get("provenance", "{}")).get("sources", [])
    tips = [s.get("tip") for s in sources if s.get("root") == header.root]
    line = repository.first_parents(header.tip)
    if not tips:
        yield Check(
            "model age",
            NOTE,
            "it was not trained on the history in the store",
            "'codewm train' fits it to this one",
        )
    elif (tip := tips[-1]) not in line:
        found = "it was trained on a history that has been rewritten since, or on another branch"
        yield Check("model age", NOTE, found, "'codewm train' fits it to this one")
    elif behind := len(line) - 1 - line.index(tip):
        found = f"the store has {many(behind, 'commit')} more than it was trained on"
        yield Check("model age", NOTE, found, "'codewm train' when there are many")
    else:
        yield Check("model age", OK, "trained on all that the store holds")


def _base_model(repository: Repository) -> Iterator[Check]:
    from codewm.model.scoring.engine_model import BASE_NAME, load_model

    yield Check("base model", OK, load_model(repository.data_dir, BASE_NAME).sentence)


CHECKS: tuple[tuple[str, Callable[[Repository], Iterator[Check]]], ...] = (
    ("store", _store), ("lock", _lock), ("room", _room), ("folder", _folder), ("model", _model),
    ("base model", _base_model),
)  # fmt: skip
