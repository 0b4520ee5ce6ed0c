"""`codewm doctor`: a folder in; what codewm needs there, what was found, and how to mend it, out.

Every check stands alone: one that fails, or that finds something broken, never stops the next. Nothing is
changed, nothing of the repository is executed, nothing is fetched.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from codewm.cli import config, console
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from codewm.corpus.git import Repository
    from codewm.corpus.store import Header
    from codewm.model.scoring.engine_model import ScoringModel

SCHEMA = "codewm.doctor/1"
OK: Literal["ok"] = "ok"
NOTE: Literal["note"] = "note"
PROBLEM: Literal["problem"] = "problem"
GIT_NEEDED = (2, 31)
# `git fetch --refetch`, which completes a partial clone; releases before also lack the check of who owns a repository.
GIT_REFETCH = (2, 36)
PYTHON_NEEDED = (3, 10)
LITTLE_ROOM = 100 * 10**6  # bytes; less is worth saying even where no store tells what is needed
FILE_LIMIT = 1 << 20  # bytes; larger attribute files, ref lists and hook configurations are read no further
ALTERNATES_DEEP = 5  # Git follows no more, either
_REINSTALL = "install codewm again: pip install ./rust . in a clone of it"


@dataclass(frozen=True)
class Check:
    """One row: what was looked at, whether it is well, what was found, and what to do ('' is nothing)."""

    name: str
    status: Literal["ok", "note", "problem"]
    found: str
    fix: str = ""


def run(
    repo: Annotated[Path, typer.Argument(metavar="[REPO]", help="A folder inside the repository.")] = Path(),
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 when there is a problem.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> int:
    """Check the installation, the repository, the store, the model and the hook, and say how to mend each.

    A 'problem' keeps codewm from working here; a 'note' is worth knowing. Nothing is changed.
    """
    checks = list(_installation())
    no_repository: UserError | None = None
    try:
        checks += _in_repository(repo)
    except UserError as e:
        no_repository = e
        checks.append(Check("repository", PROBLEM, e.message, e.hint))
    if as_json:
        console.data(json.dumps({"schema": SCHEMA, "checks": [asdict(c) for c in checks]}, indent=2))
    else:
        _print(checks)
    if no_repository is not None:
        raise no_repository
    problems = sum(c.status == PROBLEM for c in checks)
    if not as_json:
        notes = sum(c.status == NOTE for c in checks)
        console.say(f"{len(checks)} checks: {_many(problems, 'problem')}, {_many(notes, 'note')}")
    return 1 if strict and problems else 0


def _print(checks: list[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("what to do", overflow="fold")
    colours = {OK: "green", NOTE: "yellow", PROBLEM: "bold red"}
    for check in checks:
        texts = (Text(console.inert(text)) for text in (check.found, check.fix))
        table.add_row(check.name, Text(check.status, style=colours[check.status]), *texts)
    console.render(table)


def _many(n: int, word: str) -> str:
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def _guarded(name: str, check: Callable[..., Iterator[Check]], *args: Any) -> Iterator[Check]:
    """Pass on the rows of one check; turn whatever stops it into a row."""
    try:
        yield from check(*args)
    except UserError as e:
        yield Check(name, PROBLEM, e.message, e.hint)
    except Exception as e:
        # The rest must still be said, and this is the command that people run when something is broken.
        yield Check(
            name, PROBLEM, f"could not be checked: {type(e).__name__}: {e}", "if it stays, please report it"
        )


# ---- the installation ------------------------------------------------------------------------------------------


def _installation() -> Iterator[Check]:
    for name, check in (("python", _python), ("packages", _packages), ("core", _core), ("torch", _torch),
                        ("git", _git)):  # fmt: skip
        yield from _guarded(name, check)


def _python() -> Iterator[Check]:
    found = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info < PYTHON_NEEDED:
        yield Check("python", PROBLEM, found, f"codewm needs Python {_dotted(PYTHON_NEEDED)} or newer")
    else:
        yield Check("python", OK, found)


def _packages() -> Iterator[Check]:
    """What codewm asks for in its metadata, whether it is there, and whether the compiled ones load."""
    held, bad = [], []
    for name, least in _required():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            bad.append(f"{name} is missing")
            continue
        held.append(f"{name} {version}")
        if _numbers(version) < _numbers(least):
            bad.append(f"{name} {version} is older than {least}")
    for name in ("numpy", "h5py"):
        try:
            import_module(name)
        except Exception as e:  # a binary that does not fit raises anything
            bad.append(f"{name} cannot be loaded: {e}")
    found = "; ".join((*bad, ", ".join(held)))
    yield Check("packages", PROBLEM, found, _REINSTALL) if bad else Check("packages", OK, found)


def _required() -> Iterator[tuple[str, str]]:
    """The packages that every command needs, with the least version; without extras and other Pythons."""
    for text in metadata.requires("codewm") or ():
        match = re.match(r"([A-Za-z0-9_.-]+)>=([0-9.]+)[^;]*$", text)
        if match:
            yield match[1], match[2]


def _core() -> Iterator[Check]:
    ours, core = metadata.version("codewm"), metadata.version("codewm-core")
    wanted = next(
        (r.partition("==")[2] for r in metadata.requires("codewm") or () if r.startswith("codewm-core==")),
        core,
    )
    import codewm_core

    found = f"codewm {ours}, codewm-core {core}, tokeniser {codewm_core.TOKENIZER_ID}"
    if core != wanted:
        yield Check("core", PROBLEM, f"{found}; codewm {ours} belongs to codewm-core {wanted}", _REINSTALL)
    else:
        yield Check("core", OK, found)


def _torch() -> Iterator[Check]:
    # Loading it takes seconds; that it is there is enough.
    if find_spec("torch") is None:
        found = "not installed: everything works but 'train' and 'export'"
        yield Check("torch", NOTE, found, "to train: pip install 'codewm[train]'")
    else:
        yield Check("torch", OK, f"{metadata.version('torch')}; only 'train' and 'export' load it")


def _git() -> Iterator[Check]:
    place = shutil.which("git")
    if place is None:
        yield Check(
            "git", PROBLEM, "not installed, or not on the PATH", f"install Git {_dotted(GIT_NEEDED)} or newer"
        )
        return
    import git

    # Away from any repository: the version depends on none.
    version = tuple(git.Git(Path(place).parent).version_info)
    found = f"{_dotted(version)} at {place}"
    if version < GIT_NEEDED:
        lacks = "lacks absolute paths from 'git rev-parse', so no repository can be opened"
        yield Check("git", PROBLEM, f"{found}: {lacks}", f"install Git {_dotted(GIT_NEEDED)} or newer")
    elif version < GIT_REFETCH:
        lacks = (
            "lacks 'git fetch --refetch' for partial clones, and may lack the check of who owns a repository"
        )
        yield Check("git", NOTE, f"{found}: {lacks}", f"Git {_dotted(GIT_REFETCH)} or newer has both")
    else:
        yield Check("git", OK, found)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


# ---- the repository --------------------------------------------------------------------------------------------


def _in_repository(path: Path) -> Iterator[Check]:
    """Every check of one repository. Raises `UserError` if there is none at all."""
    from codewm.corpus.git import Repository

    try:
        repository = Repository.open(path)
    except UserError as e:
        if not _resembles_repository(path):
            raise
        # There is one, and Git refuses it: who owns it, or a damage, or Git itself.
        yield Check("repository", PROBLEM, e.message, e.hint)
        return
    with repository:
        for name, check in (
            ("repository", _where), ("commits", _commits), ("shallow", _shallow), ("partial", _partial),
            ("replacements", _replacements), ("alternates", _alternates), ("lfs", _lfs),
            ("submodules", _submodules), ("python files", _python_files), ("settings", _settings),
            ("store", _store), ("lock", _lock), ("room", _room), ("folder", _folder), ("model", _model),
            ("base model", _base_model), ("hook", _hook), ("pre-commit", _framework),
        ):  # fmt: skip
            yield from _guarded(name, check, repository)


def _resembles_repository(path: Path) -> bool:
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
    lines = _start_of(repository.common_dir / "packed-refs").decode("utf-8", "replace").splitlines()
    return [line.partition(" ")[2] for line in lines if line[:1] not in ("#", "^")]


def _shallow(repository: Repository) -> Iterator[Check]:
    if repository.is_shallow:
        found = f"the history ends at {_many(len(repository.boundaries), 'commit')} whose parents are missing"
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
        line for line in _start_of(repository.common_dir / "info" / "grafts").splitlines() if line.strip()
    ]
    present = [_many(len(names), "replace ref")] if names else []
    present += [_many(sum(not line.startswith(b"#") for line in grafts), "graft")] if grafts else []
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
    for line in _start_of(objects / "info" / "alternates").splitlines():
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
    if any(b"filter=lfs" in _start_of(p) for p in places) or (repository.common_dir / "lfs").is_dir():
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
            "python files", OK, f"{len(files):,} in HEAD, {_size(sum(max(s, 0) for _, _, s in files))}"
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


# ---- what codewm keeps there -------------------------------------------------------------------------------------


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
    held = f"{header.commits:,} commits, {header.edits:,} edits, {_size(path.stat().st_size)}"
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
    yield from _guarded("store age", _store_age, repository, header)


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
            "store age", NOTE, f"HEAD is {_many(behind, 'commit')} ahead", "'codewm harvest' appends them"
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

    path = store_path(repository)
    holder = _holder(path.with_name(f"{path.name}.lock"))
    left = [p for p in path.parent.glob(".*.tmp") if not _in_use(p, path.name, holder is not None)]
    if holder is not None:
        yield Check("lock", NOTE, f"a harvest is running (process {holder})", "wait until it is done")
    elif left:
        size = _size(sum(p.lstat().st_size for p in left))
        found = f"killed runs left {_many(len(left), 'file')} of {size}: {', '.join(sorted(p.name for p in left))}"
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
    size = path.stat().st_size if path.is_file() else 0
    found = f"{_size(free)} free"
    if free < size:
        fix = "make room, or name another place with --out"
        yield Check(
            "room",
            PROBLEM,
            f"{found}, and the store of {_size(size)} is written anew beside the old one",
            fix,
        )
    elif free < max(2 * size, LITTLE_ROOM):
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
        yield from _guarded("model age", _model_age, repository, model)


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
        found = f"the store has {_many(behind, 'commit')} more than it was trained on"
        yield Check("model age", NOTE, found, "'codewm train' when there are many")
    else:
        yield Check("model age", OK, "trained on all that the store holds")


def _base_model(repository: Repository) -> Iterator[Check]:
    from codewm.model.scoring.engine_model import BASE_NAME, load_model

    yield Check("base model", OK, load_model(repository.data_dir, BASE_NAME).sentence)


# ---- the hook ----------------------------------------------------------------------------------------------------


def _hook(repository: Repository) -> Iterator[Check]:
    from codewm.hooks import install as hooks

    if repository.work_tree is None:
        yield Check("hook", OK, "a bare repository has no staged changes to check")
        return
    status = hooks.status(repository)
    hook = status.folder.path / hooks.HOOK
    where = f"{hook} (core.hooksPath)" if status.folder.redirected else str(hook)
    force = "" if status.folder.inside else " --force, for every repository that uses that folder"
    again = f"'codewm hook install'{force}"
    if status.state == "absent":
        yield Check(
            "hook", NOTE, f"not installed at {where}", f"{again} warns about unusual edits before a commit"
        )
    elif status.state == "foreign":
        found = f"another tool's hook is at {where}"
        yield Check("hook", NOTE, found, f"{again} keeps it and runs it first")
    elif status.state == "ours, edited":
        fix = "'codewm hook install --force' replaces it; move your lines away first"
        yield Check("hook", NOTE, f"{where} was edited by hand", fix)
    elif not os.access(hook, os.X_OK):
        yield Check(
            "hook", PROBLEM, f"{where} cannot be executed, so Git passes it over", f"chmod +x '{hook}'"
        )
    elif status.script is None or hook.read_bytes() != hooks.rendered(status.script):
        yield Check("hook", NOTE, f"{where} is of another version of codewm", again)
    elif not status.script.is_file():
        found = f"{where} calls {status.script}, which is gone; codewm on the PATH is used instead, if any"
        yield Check("hook", NOTE, found, again)
    else:
        kept = f", runs {hooks.LEGACY} first" if status.legacy else ""
        yield Check("hook", OK, f"installed at {where}{kept}")


def _framework(repository: Repository) -> Iterator[Check]:
    from codewm.hooks import install as hooks

    tree = repository.work_tree
    text = b"" if tree is None else _start_of(tree / ".pre-commit-config.yaml")
    ours = re.search(rb"^[\s-]*id:\s*['\"]?codewm['\"]?\s*(#.*)?$", text, re.MULTILINE) is not None
    if not text:
        yield Check("pre-commit", OK, "the framework is not used here")
        return
    native = hooks.status(repository)
    called = b"pre-commit" in _start_of(native.folder.path / hooks.HOOK) or b"pre-commit" in _start_of(
        native.folder.path / hooks.LEGACY
    )
    installed = native.state in ("ours", "ours, edited")
    if ours and installed:
        yield Check(
            "pre-commit", NOTE, "both the framework and Git's own hook call codewm", "'codewm hook uninstall'"
        )
    elif ours and not called:
        yield Check(
            "pre-commit",
            NOTE,
            "codewm is configured, but the framework is not installed",
            "'pre-commit install'",
        )
    elif ours:
        yield Check("pre-commit", OK, "the framework calls codewm")
    elif installed:
        yield Check("pre-commit", OK, "the framework is used; codewm has a hook of its own")
    else:
        fix = "add the hook 'codewm' to .pre-commit-config.yaml, or 'codewm hook install'"
        yield Check("pre-commit", NOTE, "the framework is used, without codewm", fix)


# ---- files -------------------------------------------------------------------------------------------------------


def _start_of(path: Path) -> bytes:
    """Read a regular file up to the limit, never through a link; b'' where there is none."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return file.read(FILE_LIMIT)
    return b""


def _size(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:,.1f} TB"
