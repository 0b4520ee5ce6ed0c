"""A repository in, commit records and blob contents out: the only module that calls Git.

Discovery and object streams come from the git program, one process per stream, because it alone knows every
format and every refusal; GitPython reads configuration and refs. Nothing a repository says is executed:
hooks, file-system monitors, filters, text conversions, external diffs, pagers, signature checks and fetching
are switched off, and GIT_* variables are not inherited.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

from codewm.corpus.errors import UserError
from codewm.corpus.records import (
    LOG_FORMAT,
    CommitRecord,
    FileChange,
    RevSpec,
    Source,
    parse_log,
    parse_raw,
    split_nul,
)

if TYPE_CHECKING:
    import git

__all__ = ["CommitRecord", "FileChange", "Repository", "RevSpec"]

BLOB_LIMIT = 1 << 20
"""Bytes; a larger file is generated or data, not something people edit."""
_CHUNK = 1 << 16
# A file of the work tree is never read through a link, and a named pipe must not make us wait.
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
# Requests under way at `cat-file`: few enough (65 bytes each) that writing them never fills the pipe.
_IN_FLIGHT = 512
# Overrides for what a repository's or a user's configuration could run or could change in our output.
_NEUTRAL = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.alternateRefsCommand=",
    "core.sshCommand=false",
    "core.askPass=",
    "credential.helper=",
    "log.showSignature=false",
    "log.showRoot=true",
    "diff.relative=false",
    "submodule.recurse=false",
)
# Rename detection is fixed, whatever `diff.renames` and `diff.renameLimit` say: the result is data.
_DIFF = ("--raw", "-z", "-M50%", "-l1000", "--no-abbrev", "--no-ext-diff", "--no-textconv", "--no-color",
         "--no-relative", "-O/dev/null", "--ignore-submodules=none")  # fmt: skip
_EMPTY_TREE = {
    40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}


class Repository:
    """A repository, open for reading. Close it, or use it as a context manager, to end its processes."""

    def __init__(self, start: Path, git_dir: Path, common_dir: Path, work_tree: Path | None) -> None:
        self.git_dir = git_dir
        self.common_dir = common_dir
        self.work_tree = work_tree
        self._start = start
        self._blobs: _BlobReader | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str] = ".") -> Repository:
        """Find the repository that `path` lies in. Raises `UserError` if there is none or Git refuses it."""
        start = Path(path)
        if not start.is_dir():
            start_is = "is not a directory" if start.exists() else "does not exist"
            raise UserError(f"'{path}' {start_is}", "name the folder of a Git repository")
        absolute = ("rev-parse", "--path-format=absolute")
        out = _run(start, *absolute, "--git-dir", "--git-common-dir", "--is-bare-repository")
        git_dir, common_dir, bare = out.decode("utf-8", "surrogateescape").splitlines()
        work_tree = None
        if bare == "false":
            # Fails inside a .git folder, which is a fine place to harvest from.
            top = _run(start, *absolute, "--show-toplevel", check=False)
            work_tree = Path(os.fsdecode(top.removesuffix(b"\n"))) if top else None
        # Git lists paths from the top, so that is where it is run.
        return cls(work_tree or start.resolve(), Path(git_dir), Path(common_dir), work_tree)

    def __enter__(self) -> Repository:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that are still running."""
        if self._blobs is not None:
            self._blobs.close()
            self._blobs = None

    @property
    def data_dir(self) -> Path:
        """Where codewm keeps what it learnt; shared by all work trees, never committed."""
        return self.common_dir / "codewm"

    @cached_property
    def root(self) -> str:
        """The oldest commit of HEAD's first-parent line: names the repository wherever it is cloned to."""
        out = self._git("rev-list", "--first-parent", "--max-parents=0", "--end-of-options", self.head())
        return out.decode().split()[0]

    @cached_property
    def identity(self) -> str:
        """Short hash of the root commit, the same in every full clone. Raises `UserError` without commits."""
        return hashlib.sha256(f"codewm repository {self.root}".encode()).hexdigest()[:16]

    @cached_property
    def boundaries(self) -> frozenset[str]:
        """Commits whose parents a shallow clone left out."""
        shallow = self.common_dir / "shallow"
        return frozenset(shallow.read_text().split()) if shallow.is_file() else frozenset()

    @property
    def is_shallow(self) -> bool:
        """Part of the history was left out when this was cloned."""
        return bool(self.boundaries)

    @cached_property
    def is_partial(self) -> bool:
        """Objects were left out when this was cloned, to be fetched on demand."""
        remotes = self.config("remote").items()
        return any(key.endswith(".promisor") and value.lower() == "true" for key, value in remotes)

    def config(self, section: str) -> dict[str, str]:
        """Every configured value below `section` (lower case) by its full name; the last one wins."""
        values: dict[str, str] = {}
        with self._gitpython().config_reader() as reader:
            for title in reader.sections():
                name, _, sub = title.partition(" ")
                if name.lower() != section:
                    continue
                prefix = ".".join(filter(None, (name.lower(), sub.strip('"'))))
                for key, value in reader.items(title):
                    values[f"{prefix}.{key.lower()}"] = "" if value is None else str(value)
        return values

    @property
    def branch(self) -> str | None:
        """The branch that HEAD is on, which need not exist yet; None when detached."""
        head = self._gitpython().head
        return None if head.is_detached else str(head.reference.name)

    def head(self) -> str:
        """The commit that HEAD names. Raises `UserError` if there is none yet."""
        oid = self._commit("HEAD")
        if oid is None:
            raise UserError("the repository has no commits yet", "make a first commit, then try again")
        return oid

    def resolve(self, rev: str) -> str:
        """The commit that a revision names. Raises `UserError` if it names none."""
        if not rev or rev.startswith("-") or "\0" in rev or "\n" in rev:
            raise UserError(f"'{rev}' is not a revision", "name a commit, a branch, a tag or a range A..B")
        oid = self._commit(rev)
        if oid is not None:
            return oid
        self.head()  # an empty repository is the better explanation
        hint = "see 'git log --oneline' for what there is"
        if self.is_shallow:
            hint = "this is a shallow clone: 'git fetch --unshallow' brings the rest (in CI: fetch-depth: 0)"
        raise UserError(f"unknown revision '{rev}'", hint)

    def parse_range(self, text: str) -> RevSpec:
        """Read `A..B` (a side left out is HEAD), or one revision, which means that commit alone."""
        if "..." in text:
            raise UserError(f"'{text}' is a symmetric difference", "write A..B")
        since, dots, tip = text.partition("..")
        if not dots:
            return RevSpec(self.resolve(text), only=True)
        return RevSpec(self.resolve(tip or "HEAD"), self.resolve(since or "HEAD"))

    def has(self, oid: str) -> bool:
        """The object is here, without asking anybody for it."""
        return self._commit(oid) is not None

    def first_parents(self, tip: str) -> list[str]:
        """The first-parent line that ends in `tip`, oldest first."""
        out = self._git("rev-list", "--first-parent", "--reverse", "--end-of-options", tip)
        return out.decode("ascii").split()

    def commits(
        self, spec: RevSpec | str, *, merges: str = "first-parent", max_count: int | None = None
    ) -> Iterator[CommitRecord]:
        """Walk first-parent history, oldest first, each commit with its changes against its first parent.

        A string is `A..B`, or one revision with all that came before it. `max_count` keeps the newest.
        `merges` is `first-parent` or `skip` (then the walk goes through merges but does not yield them).
        """
        if isinstance(spec, str):
            spec = self.parse_range(spec) if ".." in spec else RevSpec(self.resolve(spec))
        limit = 1 if spec.only else max_count
        args = ["log", "--first-parent", "-m", "--root", "--reverse", *_DIFF, f"--format={LOG_FORMAT}",
                "--encoding=UTF-8", "--no-mailmap", "--no-decorate", "--no-notes"]  # fmt: skip
        if limit is not None:
            args.append(f"--max-count={limit}")
        if merges == "skip":
            args.append("--no-merges")
        args += ["--end-of-options", spec.tip, *([f"^{spec.since}"] if spec.since else []), "--"]
        return parse_log(split_nul(self._stream(*args)), self.boundaries)

    def read_blobs(self, oids: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Read blobs in order from one long-lived process; None is missing or over `BLOB_LIMIT`.

        `read_objects` says which of the two. One reading at a time; one that is left early ends the process.
        """
        for oid, content, _ in self.read_objects(oids):
            yield oid, content

    def read_objects(self, oids: Iterable[str]) -> Iterator[tuple[str, bytes | None, int]]:
        """Like `read_blobs`, with the size in bytes; -1 is missing."""
        if self._blobs is None:
            self._blobs = _BlobReader(self)
        try:
            yield from self._blobs.read(oids)
        finally:
            if self._blobs is not None and not self._blobs.idle:
                self.close()

    def tree_python_blobs(self, rev: str) -> list[tuple[bytes, str, int]]:
        """List the Python files of a commit: path, object id, size in bytes."""
        out = self._git("ls-tree", "-r", "-z", "--long", "--full-tree", "--end-of-options", self.resolve(rev))
        files = []
        for entry in split_nul([out]):
            meta, _, path = entry.partition(b"\t")
            mode, kind, oid, size = meta.decode("ascii").split()
            if kind == "blob" and mode != "120000" and path.endswith(b".py"):
                files.append((path, oid, int(size)))
        return files

    def staged(self) -> CommitRecord:
        """What `git commit` would record now, as a record without an id; its parent is HEAD."""
        head = self._commit("HEAD")
        base = head or self._empty_tree()
        out = self._git("diff-index", "--cached", *_DIFF, "--end-of-options", base, "--", index=True)
        return self._pending(head, parse_raw(split_nul([out])), Source.INDEX)

    def worktree(self) -> CommitRecord:
        """Tracked files as they are on disk against HEAD, as a record without an id.

        The files are read here and not by Git, which would run the filters that a repository asks for.
        """
        if self.work_tree is None:
            raise UserError("a bare repository has no work tree", "name a range of commits instead")
        staged = self.staged()
        changes = {c.new_path: c for c in staged.changes if c.new_path is not None}
        gone = [c for c in staged.changes if c.new_path is None]
        for entry in split_nul([self._git("ls-files", "-s", "-z", index=True)]):
            meta, _, path = entry.partition(b"\t")
            mode, oid, _stage = meta.decode("ascii").split()
            if not path.endswith(b".py") or not mode.startswith("100"):
                continue
            content = self._on_disk(path)
            was = changes.get(path)
            if was is None:
                was = FileChange("M", path, path, oid, oid, mode, mode)
            if content is None:
                changes.pop(path, None)
                if was.old_path is not None:
                    gone.append(replace(was, status="D", new_path=None, new_oid=None, new_mode="000000"))
            elif not _same(content, oid):
                changes[path] = replace(was, new_oid=None, content=content)
        both = sorted((*changes.values(), *gone), key=lambda c: c.path)
        return self._pending(staged.parents[0] if staged.parents else None, tuple(both), Source.WORKTREE)

    def _on_disk(self, path: bytes) -> bytes | None:
        """Read a regular file of the work tree, never through a link, never more than the limit and a bit."""
        assert self.work_tree is not None
        place = os.path.join(os.fsencode(self.work_tree), path)  # noqa: PTH118 - bytes
        if os.path.realpath(os.path.dirname(place)) != os.path.dirname(place):  # noqa: PTH120
            return None
        try:
            descriptor = os.open(place, os.O_RDONLY | _NO_LINKS)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            return file.read(BLOB_LIMIT + 1)

    def _pending(self, head: str | None, changes: tuple[FileChange, ...], source: Source) -> CommitRecord:
        values = self.config("user")
        name, email = values.get("user.name", ""), values.get("user.email", "")
        now = int(_now())
        parents = (head,) if head else ()
        return CommitRecord("", parents, name, email, now, now, "", changes, source=source)

    def _empty_tree(self) -> str:
        name = self._git("rev-parse", "--show-object-format").decode().strip()
        return _EMPTY_TREE[64 if name == "sha256" else 40]

    def _commit(self, rev: str) -> str | None:
        asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
        out = _run(self._start, *asked, check=False)
        return out.decode("ascii").strip() or None

    def _gitpython(self) -> git.Repo:
        import git

        with _without_git_variables():
            return git.Repo(self.git_dir if self.work_tree is None else self.work_tree, expand_vars=False)

    def _git(self, *args: str, index: bool = False) -> bytes:
        return _run(self._start, *args, index=self._index() if index else None)

    def _index(self) -> Path | None:
        """The index that a running hook was told to look at: `git commit -a` uses one of its own."""
        named = os.environ.get("GIT_INDEX_FILE")
        return (self.work_tree or self.git_dir) / named if named else None

    def _stream(self, *args: str) -> Iterator[bytes]:
        """Yield the output of a git process in chunks; explain a failure when it ends."""
        process = _start(self._start, *args)
        assert process.stdout is not None
        try:
            while chunk := process.stdout.read1(_CHUNK):  # type: ignore[attr-defined]
                yield chunk
            complaint = _complaint(process)
            if process.wait() != 0:
                raise _explained(complaint, self._start)
        finally:
            _end(process)


class _BlobReader:
    """One `git cat-file --batch`. Requests run ahead of the answers by a bounded number."""

    def __init__(self, repository: Repository) -> None:
        self._where = repository._start
        self._process = _start(self._where, "cat-file", "--batch", stdin=True)
        self._asked: deque[str] = deque()

    @property
    def idle(self) -> bool:
        """No answer is outstanding."""
        return not self._asked

    def read(self, oids: Iterable[str]) -> Iterator[tuple[str, bytes | None, int]]:
        """Yield (object id, content or None, size or -1) in order."""
        waiting = iter(oids)
        self._ask(waiting)
        while self._asked:
            yield self._answer(self._asked.popleft())
            if len(self._asked) <= _IN_FLIGHT // 2:
                self._ask(waiting)

    def close(self) -> None:
        """End the process."""
        _end(self._process)

    def _ask(self, waiting: Iterator[str]) -> None:
        more = []
        for oid in waiting:
            more.append(oid)
            if len(self._asked) + len(more) >= _IN_FLIGHT:
                break
        if not more:
            return
        self._asked.extend(more)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("".join(f"{oid}\n" for oid in more).encode("ascii"))
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def _answer(self, oid: str) -> tuple[str, bytes | None, int]:
        stdout: IO[bytes] | None = self._process.stdout
        assert stdout is not None
        header = stdout.readline().split()
        if len(header) == 2 and header[1] == b"missing":
            self._refuse_damage(oid)
            return oid, None, -1
        if len(header) != 3:
            raise self._died()
        kind, size = header[1], int(header[2])
        if size > BLOB_LIMIT:
            left = size + 1
            while left > 0:
                got = len(stdout.read(min(left, _CHUNK)))
                if got == 0:
                    raise self._died()
                left -= got
            return oid, None, size
        content = stdout.read(size + 1)
        if len(content) != size + 1:
            raise self._died()
        return oid, (content[:-1] if kind == b"blob" else None), (size if kind == b"blob" else -1)

    def _refuse_damage(self, oid: str) -> None:
        """Git calls a damaged object missing, too, and says so on stderr; that must not be skipped."""
        damage = _stderr(self._where, "cat-file", "-t", oid)
        if b"error:" in damage:
            raise _explained(damage, self._where)

    def _died(self) -> UserError:
        _close(self._process.stdin)
        self._process.wait()
        return _explained(_complaint(self._process), self._where)


def _environment() -> dict[str, str]:
    """The environment without what steers Git; then what keeps it from asking, locking and fetching."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"):
        # Which configuration is the user's own is for the user to say; a repository cannot set these.
        if name in os.environ:
            kept[name] = os.environ[name]
    return kept | {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_GRAFT_FILE": os.devnull,
        # Git before 2.45 knows no GIT_NO_LAZY_FETCH; every transport refused comes to the same.
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_PAGER": "cat",
    }


@contextlib.contextmanager
def _without_git_variables() -> Iterator[None]:
    """GitPython obeys GIT_WORK_TREE and friends, which a hook inherits from `git commit`."""
    taken = {k: os.environ.pop(k) for k in list(os.environ) if k.startswith("GIT_")}
    try:
        os.environ["GIT_PYTHON_REFRESH"] = "quiet"
        yield
    finally:
        os.environ.pop("GIT_PYTHON_REFRESH", None)
        os.environ.update(taken)


def _command(where: Path, args: tuple[str, ...]) -> list[str]:
    settings = [word for setting in _NEUTRAL for word in ("-c", setting)]
    return ["git", "--no-pager", "--literal-pathspecs", "-C", str(where), *settings, *args]


def _start(where: Path, *args: str, stdin: bool = False) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            _command(where, args),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            bufsize=1 << 20,
        )
    except FileNotFoundError:
        raise UserError("git is not installed, or not on the PATH", "install Git 2.31 or newer") from None


def _run(where: Path, *args: str, check: bool = True, index: Path | None = None) -> bytes:
    """Return the output; '' where git failed and that was to be expected (not `check`)."""
    done = _done(where, args, index)
    if done.returncode == 0:
        return done.stdout
    if check or b"dubious ownership" in done.stderr:
        raise _explained(done.stderr, where)
    return b""


def _stderr(where: Path, *args: str) -> bytes:
    return _done(where, args, None).stderr


def _done(where: Path, args: tuple[str, ...], index: Path | None) -> subprocess.CompletedProcess[bytes]:
    environment: Mapping[str, str] = _environment()
    if index is not None:
        environment = {**environment, "GIT_INDEX_FILE": str(index)}
    try:
        return subprocess.run(
            _command(where, args), stdin=subprocess.DEVNULL, capture_output=True, env=environment, check=False
        )
    except FileNotFoundError:
        raise UserError("git is not installed, or not on the PATH", "install Git 2.31 or newer") from None


def _complaint(process: subprocess.Popen[bytes]) -> bytes:
    return process.stderr.read(_CHUNK) if process.stderr is not None else b""


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        _close(stream)


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with contextlib.suppress(BrokenPipeError):
            stream.close()


def _explained(stderr: bytes, where: Path) -> UserError:
    """Turn what Git said into what to do about it."""
    said = stderr.decode("utf-8", "replace").strip()
    first = next((line for line in said.splitlines() if line.startswith(("fatal:", "error:"))), said)
    first = first.removeprefix("fatal: ").removeprefix("error: ").partition("\n")[0]
    if "dubious ownership" in said:
        return UserError(
            f"Git refuses '{where}': it belongs to somebody else",
            f"if you trust it: git config --global --add safe.directory '{where}'",
        )
    if "not a git repository" in said:
        return UserError(f"'{where}' is not in a Git repository", "run this inside one, or name its folder")
    if "promisor" in said or "lazy fetching" in said or "transport" in said:
        return UserError(
            "objects are missing, because this is a partial clone",
            "'git fetch --refetch --no-filter' brings them; codewm never fetches",
        )
    if any(word in said for word in ("does not have any commits", "bad default revision")):
        return UserError("the repository has no commits yet", "make a first commit, then try again")
    return UserError(
        f"Git cannot read the repository: {first or 'it ended without a word'}",
        "'git fsck' says what is damaged; a fresh clone usually mends it",
    )


def _same(content: bytes, oid: str) -> bool:
    """The file is the blob, or would be after the line-ending conversion that Git itself may do."""
    return any(_blob_oid(c, oid) == oid for c in (content, content.replace(b"\r\n", b"\n")))


def _blob_oid(content: bytes, like: str) -> str:
    algorithm = "sha256" if len(like) == 64 else "sha1"
    header = f"blob {len(content)}\0".encode()
    return hashlib.new(algorithm, header + content, usedforsecurity=False).hexdigest()


def _now() -> float:
    import time

    return time.time()
