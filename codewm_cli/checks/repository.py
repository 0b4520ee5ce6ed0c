"""An open repository in; rows on what kind it is, what its history lacks, and its settings out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from codewm.cli import config
from codewm.cli.checks.check import NOTE, OK, PROBLEM, Check, many, size, start_of
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from codewm.corpus.git import Repository

ALTERNATES_DEEP = 5  # Git follows no more, either


def resembles_repository(path: Path) -> bool:
    """Return whether a folder, or one above it, looks like a repository, whatever Git says of it."""
    start = path.absolute()
    if not start.is_dir():
        return False
    for folder in (start, *start.parents):
        if os.path.lexists(folder / ".git") or (
            (folder / "HEAD").is_file() and (folder / "objects").is_dir()
        ):
            return True
    return False


def _where(repository: Repository) -> Iterator[Check]:
    if repository.work_tree is None:
        kind = f"bare, or inside the Git folder: {repository.git_dir}"
    elif repository.git_dir != repository.common_dir:
        kind = f"linked work tree {repository.work_tree}, with the store in {repository.common_dir}"
    elif "modules" in repository.git_dir.parts and (repository.work_tree / ".git").is_file():
        kind = f"submodule {repository.work_tree}, with its own history and store"
    else:
        kind = f"work tree {repository.work_tree}"
    form = repository.config("extensions").get("extensions.objectformat", "")
    kind += f", {form} object names" if form not in ("", "sha1") else ""
    if repository.branch is None:
        found = f"{kind}, HEAD is detached: harvest and score follow it, not a branch"
        yield Check("repository", NOTE, found, "'git switch BRANCH' to follow a branch")
    else:
        yield Check("repository", OK, f"{kind}, on {repository.branch}")


def _commits(repository: Repository) -> Iterator[Check]:
    try:
        line = repository.first_parents(repository.head())
    except UserError as e:
        if repository.branch is not None and not _branch_exists(repository, repository.branch):
            yield Check("commits", PROBLEM, "none yet", "make a first commit")
        else:
            fsck = "'git fsck' says what is damaged; a fresh clone usually mends it"
            yield Check("commits", PROBLEM, f"what HEAD names cannot be read: {e.message}", fsck)
        return
    if repository.boundaries.issuperset(line):
        found = "one, and its parent was left out of a shallow clone"
        yield Check("commits", PROBLEM, found, "'git fetch --unshallow' (in CI: fetch-depth: 0)")
    else:
        yield Check("commits", OK, f"{len(line):,} on the first-parent line of HEAD, newest {line[-1][:12]}")


def _branch_exists(repository: Repository, branch: str) -> bool:
    name = f"refs/heads/{branch}"
    return (repository.common_dir / name).exists() or name in _packed_refs(repository)


def _packed_refs(repository: Repository) -> list[str]:
    lines = start_of(repository.common_dir / "packed-refs").decode("utf-8", "replace").splitlines()
    return [line.partition(" ")[2] for line in lines if line[:1] not in ("#", "^")]


def _shallow(repository: Repository) -> Iterator[Check]:
    if repository.is_shallow:
        found = f"the history ends at {many(len(repository.boundaries), 'commit')} whose parents are missing"
        fix = "'git fetch --unshallow' brings the rest (in CI: fetch-depth: 0)"
        yield Check("shallow", NOTE, found, fix)
    else:
        yield Check("shallow", OK, "no, the history is whole")


def _partial(repository: Repository) -> Iterator[Check]:
    if repository.is_partial:
        found = "objects were left out of this clone, and codewm does not fetch them by itself"
        fix = (
            "'codewm harvest --allow-fetch' brings what it reads, 'git fetch --refetch --no-filter' all of it"
        )
        yield Check("partial", NOTE, found, fix)
    else:
        yield Check("partial", OK, "no, every object was cloned")


def _replacements(repository: Repository) -> Iterator[Check]:
    names = {name for name in _packed_refs(repository) if name.startswith("refs/replace/")}
    folder = repository.common_dir / "refs" / "replace"
    names |= {f"refs/replace/{p.relative_to(folder)}" for p in folder.rglob("*") if p.is_file()}
    grafts = [
        line for line in start_of(repository.common_dir / "info" / "grafts").splitlines() if line.strip()
    ]
    present = [many(len(names), "replace ref")] if names else []
    present += [many(sum(not line.startswith(b"#") for line in grafts), "graft")] if grafts else []
    if present:
        found = f"{' and '.join(present)}, ignored: the store holds the history as it was recorded"
        yield Check(
            "replacements", NOTE, found, "nothing, unless 'git log' showing another history surprises you"
        )
    else:
        yield Check("replacements", OK, "none")


def _alternates(repository: Repository) -> Iterator[Check]:
    here, gone = _borrowed(repository.common_dir / "objects", ALTERNATES_DEEP)
    if gone:
        found = f"objects are borrowed from {', '.join(gone)}, and that is gone"
        fix = "put it back, or name its new place in objects/info/alternates, or clone again without --shared"
        yield Check("alternates", PROBLEM, found, fix)
    elif here:
        found = f"objects are borrowed from {', '.join(here)}"
        yield Check("alternates", OK, found)
    else:
        yield Check("alternates", OK, "none: all objects are here")


def _borrowed(objects: Path, deep: int) -> tuple[list[str], list[str]]:
    """Follow `info/alternates`: the folders that are there, and those that are not."""
    here: list[str] = []
    gone: list[str] = []
    for line in start_of(objects / "info" / "alternates").splitlines():
        if not line.strip() or line.startswith(b"#"):
            continue
        place = objects / os.fsdecode(line.strip(b'"'))
        if not place.is_dir():
            gone.append(str(place))
            continue
        here.append(str(place))
        if deep > 1:
            more, lost = _borrowed(place, deep - 1)
            here, gone = here + more, gone + lost
    return here, gone


def _lfs(repository: Repository) -> Iterator[Check]:
    places = [repository.common_dir / "info" / "attributes"]
    if repository.work_tree is not None:
        places.append(repository.work_tree / ".gitattributes")
    if any(b"filter=lfs" in start_of(p) for p in places) or (repository.common_dir / "lfs").is_dir():
        found = "in use; a Python file kept there is counted as a pointer, never fetched"
        yield Check("lfs", NOTE, found, "nothing, unless Python files are kept in Git LFS")
    else:
        yield Check("lfs", OK, "not in use")


def _submodules(repository: Repository) -> Iterator[Check]:
    if repository.work_tree is not None and (repository.work_tree / ".gitmodules").is_file():
        found = "there are some; their history is their own and is not read here"
        yield Check("submodules", NOTE, found, "'codewm harvest SUBMODULE' reads the history of one")
    else:
        yield Check("submodules", OK, "none")


def _python_files(repository: Repository) -> Iterator[Check]:
    try:
        head = repository.head()
    except UserError:
        return  # the row on commits has said it
    files = repository.tree_python_blobs(head)
    if files:
        yield Check(
            "python files", OK, f"{len(files):,} in HEAD, {size(sum(max(s, 0) for _, _, s in files))}"
        )
    else:
        yield Check(
            "python files", NOTE, "HEAD has none, so there is little to learn", "codewm reads *.py only"
        )


def _settings(repository: Repository) -> Iterator[Check]:
    sound = True
    layers: list[Callable[[], object]] = [lambda: config.load(repository.work_tree)]
    # One at a time, so that a second mistake is seen, too.
    for key, value in repository.config("codewm").items():
        layers.append(lambda key=key, value=value: config.load(None, {key: value}))  # type: ignore[misc]
    for layer in layers:
        try:
            layer()
        except UserError as e:
            sound = False
            yield Check("settings", PROBLEM, e.message, e.hint)
    if sound:
        rows = config.for_repository(repository).rows()
        own = [f"{key} ({origin})" for key, _, origin, _ in rows if origin != config.DEFAULT]
        yield Check("settings", OK, f"set here: {', '.join(own)}" if own else "all at their defaults")


CHECKS: tuple[tuple[str, Callable[[Repository], Iterator[Check]]], ...] = (
    ("repository", _where), ("commits", _commits), ("shallow", _shallow), ("partial", _partial),
    ("replacements", _replacements), ("alternates", _alternates), ("lfs", _lfs), ("submodules", _submodules),
    ("python files", _python_files), ("settings", _settings),
)  # fmt: skip
