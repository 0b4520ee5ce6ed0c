"""A repository in, commit records and blob contents out: the only module that calls Git.

Discovery and object streams come from the git program, one process per stream, because it alone knows every
format and every refusal; GitPython reads the branch. Nothing a repository says is executed. Objects are read
through a Git folder of our own, which has the repository's objects but none of its configuration, attributes,
hooks, replacements and remotes; so none of these can change what is read, either. What needs the repository
itself (its configuration, revisions and index) runs with hooks, file-system monitors, filters, text
conversions, external diffs, pagers and fetching switched off. GIT_* variables are not inherited.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from codewm.corpus.blobs import BLOB_LIMIT, CHUNK, DAMAGED, MISSING, BlobReader
from codewm.corpus.complaints import explained, is_damage, is_lack, is_unreachable
from codewm.corpus.errors import UserError
from codewm.corpus.promisors import Promisors, addresses
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
from codewm.corpus.sandbox import (
    NEUTRAL,
    ScratchFolder,
    environment,
    fetching_environment,
    scratch_file,
    without_git_variables,
)
from codewm.corpus.worktree import is_same, read_file

if TYPE_CHECKING:
    import git

__all__ = ["BLOB_LIMIT", "DAMAGED", "MISSING", "CommitRecord", "FileChange", "Repository", "RevSpec"]

# What we ask the system to let a process write before it must wait for us.
_PIPE = 1 << 20
_SMALL_PIPE = 1 << 14  # what it holds at least, on systems that do not say
# Rename detection is fixed, whatever `diff.renames` and `diff.renameLimit` say: the result is data.
_DIFF = ("--raw", "-z", "-l1000", "--no-abbrev", "--no-ext-diff", "--no-textconv", "--no-color",
         "--no-relative", "-O/dev/null", "--ignore-submodules=none")  # fmt: skip
_SIMILAR, _SAME = "-M50%", "-M100%"
"""Renames as they are wanted, and those that can be told without the content of the files."""
_GITLINK = "160000"
_HEX = frozenset("0123456789abcdef")
_EMPTY_TREE = {
    40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}


class Repository:
    """A repository, open for reading. Close it, or use it as a context manager, to end its processes.

    Every method raises `UserError` where Git cannot read what it needs. A file that cannot be read is no
    error: `read_objects` says which it is, and why.
    """

    def __init__(
        self,
        git_dir: Path,
        common_dir: Path,
        work_tree: Path | None,
        object_format: str,
        allow_fetch: bool,
    ) -> None:
        self.git_dir = git_dir
        self.common_dir = common_dir
        self.work_tree = work_tree
        self._object_format = object_format
        self._allow_fetch = allow_fetch
        self._idle: BlobReader | None = None
        self._running: set[Process] = set()
        # Git lists paths from the top, so that is where it is run. The folder is named outright: from a work
        # tree that `core.worktree` puts elsewhere, Git would find another repository, or none.
        place = {"GIT_DIR": str(git_dir)} | ({"GIT_WORK_TREE": str(work_tree)} if work_tree else {})
        self._here = Git(work_tree or git_dir, environment() | place, NEUTRAL, self._explained)

    @classmethod
    def open(cls, path: str | os.PathLike[str] = ".", *, allow_fetch: bool = False) -> Repository:
        """Find the repository that `path` lies in. Raises `UserError` if there is none or Git refuses it.

        `allow_fetch` lets Git fetch what a partial clone left out, from the remote it was cloned from.
        """
        start = Path(path)
        if not start.is_dir():
            start_is = "is not a directory" if start.exists() else "does not exist"
            raise UserError(f"'{path}' {start_is}", "name the folder of a Git repository")
        runner = Git(start, environment(), NEUTRAL, lambda said: explained(said, start))
        asked = ("--is-bare-repository", "--show-object-format", "--git-dir", "--git-common-dir")
        absolute = ("rev-parse", "--path-format=absolute")
        # The last one fails in a bare repository and inside a .git folder, which is a fine place to harvest
        # from; the others have been answered then.
        done = runner.done(*absolute, *asked, "--show-toplevel")
        lines = done.stdout.split(b"\n")[:-1]
        if len(lines) < len(asked) or (done.returncode and b"work tree" not in done.stderr):
            raise runner.explained(done.stderr)
        if len(lines) > len(asked) + (not done.returncode):
            # A name has a line break in it.
            lines = [runner.run(*absolute, word).removesuffix(b"\n") for word in asked]
            if not done.returncode:
                lines.append(runner.run(*absolute, "--show-toplevel").removesuffix(b"\n"))
        object_format = lines[1].decode("ascii")
        git_dir, common_dir, *top = (Path(os.fsdecode(line)) for line in lines[2:])
        return cls(git_dir, common_dir, top[0] if top else None, object_format, allow_fetch)

    def __enter__(self) -> Repository:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that are still running."""
        self._idle = None
        for process in list(self._running):
            process.end()
        self._running.clear()
        if "_scratch" in self.__dict__:
            self._scratch.remove()
            for name in ("_scratch", "_objects", "_fetching"):
                self.__dict__.pop(name, None)

    @property
    def data_dir(self) -> Path:
        """Where codewm keeps what it learnt; shared by all work trees, never committed."""
        return self.common_dir / "codewm"

    @cached_property
    def root(self) -> str:
        """The oldest commit of HEAD's first-parent line: names the repository wherever it is cloned to."""
        asked = ("--first-parent", "--max-parents=0", "--end-of-options", self.head())
        return self._objects.run("rev-list", *asked).decode().split()[0]

    @cached_property
    def identity(self) -> str:
        """Short hash of the root commit, the same in every full clone. Raises `UserError` without commits."""
        return hashlib.sha256(f"codewm repository {self.root}".encode()).hexdigest()[:16]

    @cached_property
    def boundaries(self) -> frozenset[str]:
        """Commits whose parents a shallow clone left out."""
        shallow = self.common_dir / "shallow"
        return frozenset(shallow.read_bytes().decode("ascii", "replace").split() if shallow.is_file() else ())

    @property
    def is_shallow(self) -> bool:
        """Part of the history was left out when this was cloned."""
        return bool(self.boundaries)

    @property
    def is_partial(self) -> bool:
        """Objects were left out when this was cloned, to be fetched on demand."""
        return bool(self._promisors)

    @cached_property
    def _promisors(self) -> list[str]:
        return addresses(self._config())

    def config(self, section: str) -> dict[str, str]:
        """Every configured value below `section` (lower case) by its full name; the last one wins.

        Files that the configuration includes count. A key without a value is ''.
        """
        return {name: value for name, value in self._config().items() if name.startswith(f"{section}.")}

    def _config(self) -> dict[str, str]:
        # Without our overrides, which would be listed as well; listing runs nothing.
        out = replace(self._here, settings=()).run("config", "--list", "-z", "--includes")
        entries = (entry.decode("utf-8", "surrogateescape").partition("\n") for entry in split_nul([out]))
        return {name: value for name, _, value in entries}

    @property
    def branch(self) -> str | None:
        """The branch that HEAD is on, which need not exist yet; None when detached."""
        head = self._gitpython().head
        return None if head.is_detached else str(head.reference.name)

    def head(self) -> str:
        """The commit that HEAD names. Raises `UserError` if there is none yet."""
        oid = self._commit("HEAD")
        if oid is not None:
            return oid
        named = self._here.done("rev-parse", "--verify", "--quiet", "HEAD")
        if named.returncode == 0:
            # HEAD names a commit, but it is not here: let Git say what it misses.
            lost = named.stdout.decode("ascii").strip()
            raise self._explained(self._objects.done("cat-file", "commit", lost).stderr)
        raise UserError("the repository has no commits yet", "make a first commit, then try again")

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
        return self.begin_first_parents(tip)()

    def begin_first_parents(self, tip: str) -> Callable[[], list[str]]:
        """Have Git look up the first-parent line that ends in `tip`; what is returned waits for it."""
        asked = ("--first-parent", "--reverse", "--end-of-options", self._oid(tip))
        out = self._stream(self._objects, "rev-list", *asked)
        return lambda: b"".join(out).decode("ascii").split()

    def commits(
        self,
        spec: RevSpec | str,
        *,
        merges: str = "first-parent",
        max_count: int | None = None,
        suffix: bytes = b"",
    ) -> Iterator[CommitRecord]:
        """Walk first-parent history, oldest first, each commit with its changes against its first parent.

        A string is `A..B`, or one revision with all that came before it. `max_count` keeps the newest.
        `merges` is `first-parent` or `skip` (then the walk goes through merges but does not yield them).
        Changes of which neither path ends in `suffix` are left out of the records.

        A rename whose content changed is told by reading both files. Where one cannot be read, the commit's
        renames are only those with the same content.
        """
        if isinstance(spec, str):
            spec = self.parse_range(spec) if ".." in spec else RevSpec(self.resolve(spec))
        limit = 1 if spec.only else max_count
        args = ["--first-parent", "-m", "--root", "--reverse", f"--format={LOG_FORMAT}",
                "--encoding=UTF-8", "--no-mailmap", "--no-decorate", "--no-notes", "--no-show-signature"]  # fmt: skip
        if limit is not None:
            args.append(f"--max-count={limit}")
        if merges == "skip":
            args.append("--no-merges")
        since = [f"^{self._oid(spec.since)}"] if spec.since else []
        return self._log([*args, "--end-of-options", self._oid(spec.tip), *since, "--"], suffix)

    def _log(self, args: list[str], suffix: bytes) -> Iterator[CommitRecord]:
        fetch = self.may_fetch
        given = 0
        if not fetch:
            try:
                for record in self._records(self._objects, [_SIMILAR, *args], suffix):
                    yield record
                    given += 1
                return
            except UserError:
                # Git gives up on the whole walk where it cannot read one file that may have been renamed.
                # What keeps it from reading commits, too, comes up again.
                pass
        git = self._fetching if fetch else self._objects
        for record in islice(self._records(git, [_SAME, *args], b""), given, None):
            yield self._with_renames(record, suffix)

    def _records(self, git: Git, args: list[str], suffix: bytes) -> Iterator[CommitRecord]:
        return parse_log(split_nul(self._stream(git, "log", *_DIFF, *args)), self.boundaries, suffix)

    def _with_renames(self, record: CommitRecord, suffix: bytes) -> CommitRecord:
        """Look for renames with changed content, if all files that takes can be read."""
        changes = record.changes
        if record.parents and {"A", "D"} <= {c.status for c in changes}:
            if self.may_fetch:
                sides = (s for c in changes for s in ((c.old_mode, c.old_oid), (c.new_mode, c.new_oid)))
                self._fetch([oid for mode, oid in sides if oid is not None and mode != _GITLINK])
            trees = ("--end-of-options", record.parents[0], record.oid)
            done = self._objects.done("diff-tree", "-r", *_DIFF, _SIMILAR, *trees)
            if done.returncode == 0:
                changes = parse_raw(split_nul([done.stdout]))
            elif done.returncode < 0:
                raise self._explained(done.stderr)
        return record._replace(changes=tuple(c for c in changes if c.has_suffix(suffix)))

    def read_blobs(self, oids: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Read blobs in order from one long-lived process; None is what `read_objects` gives no content of."""
        for oid, content, _ in self.read_objects(oids):
            yield oid, content

    def begin_objects(self) -> None:
        """Start the process that `read_objects` asks, which takes a while to be ready."""
        if self._idle is None:
            self._idle = BlobReader(self._objects, self._running, self._fetch if self.may_fetch else None)

    def read_objects(self, oids: Iterable[str]) -> Iterator[tuple[str, bytes | None, int]]:
        """Yield (object id, content, size in bytes) in the order asked for.

        Content is None where the size is over `BLOB_LIMIT`, and where it is `MISSING` (nothing is fetched
        unless the repository was opened so; a tree or a commit counts as missing, too) or `DAMAGED`. Reads
        some hundred ids ahead of what it yields. Raises `UserError` if Git itself fails.
        """
        self.begin_objects()
        reader, self._idle = self._idle, None
        assert reader is not None
        try:
            yield from reader.read(oids)
        finally:
            # Left early, answers are still to come; and another reading may have come between.
            if reader.idle and self._idle is None and reader.process in self._running:
                self._idle = reader
            else:
                reader.end()

    def tree_python_blobs(self, rev: str) -> list[tuple[bytes, str, int]]:
        """List the Python files of a commit: path, object id, size in bytes (-1 if the file is not here)."""
        asked = ("ls-tree", "-r", "-z", "--long", "--full-tree", "--end-of-options", self._oid(rev))
        files = []
        for entry in split_nul([(self._fetching if self.may_fetch else self._objects).run(*asked)]):
            meta, _, path = entry.partition(b"\t")
            mode, kind, oid, size = meta.decode("ascii").split()
            if kind == "blob" and mode != "120000" and path.endswith(b".py"):
                files.append((path, oid, int(size) if size.isdecimal() else MISSING))
        return files

    def staged(self) -> CommitRecord:
        """What `git commit` would record now, as a record without an id; its parent is HEAD."""
        head = self._commit("HEAD")
        base = head or _EMPTY_TREE[64 if self._object_format == "sha256" else 40]
        asked = ("diff-index", "--cached", *_DIFF)
        trees = ("--end-of-options", base, "--")
        index = self._with_index()
        done = index.done(*asked, _SIMILAR, *trees)
        # As in a walk: what cannot be read is no rename.
        out = done.stdout if done.returncode == 0 else index.run(*asked, _SAME, *trees)
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
        for entry in split_nul([self._with_index().run("ls-files", "-s", "-z")]):
            meta, _, path = entry.partition(b"\t")
            mode, oid, _stage = meta.decode("ascii").split()
            if not path.endswith(b".py") or not mode.startswith("100"):
                continue
            content = read_file(self.work_tree, path)
            was = changes.get(path)
            if was is None:
                was = FileChange("M", path, path, oid, oid, mode, mode)
            if content is None:
                changes.pop(path, None)
                if was.old_path is not None:
                    gone.append(was._replace(status="D", new_path=None, new_oid=None, new_mode="000000"))
            elif not is_same(content, oid):
                changes[path] = was._replace(new_oid=None, content=content)
        both = sorted((*changes.values(), *gone), key=lambda c: c.path)
        return self._pending(staged.parents[0] if staged.parents else None, tuple(both), Source.WORKTREE)

    def _pending(self, head: str | None, changes: tuple[FileChange, ...], source: Source) -> CommitRecord:
        values = self.config("user")
        name, email = (_shown(values.get(f"user.{key}", "")) for key in ("name", "email"))
        now = int(time.time())
        parents = (head,) if head else ()
        return CommitRecord("", parents, name, email, now, now, "", changes, source=source)

    def _oid(self, rev: str) -> str:
        """Our own Git folder knows no names, only ids."""
        whole = 64 if self._object_format == "sha256" else 40
        return rev if len(rev) == whole and set(rev) <= _HEX else self.resolve(rev)

    def _commit(self, rev: str) -> str | None:
        asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
        done = self._here.done(*asked)
        if done.returncode and is_damage(done.stderr):
            raise self._explained(done.stderr)
        # `^x` is the same with a mark: not a commit, but what not to walk to.
        oid = done.stdout.decode("ascii").strip() if done.returncode == 0 else ""
        return oid if oid and set(oid) <= _HEX else None

    def _gitpython(self) -> git.Repo:
        import git

        with without_git_variables():
            return git.Repo(self.git_dir if self.work_tree is None else self.work_tree, expand_vars=False)

    def _with_index(self) -> Git:
        """Git with the index that a running hook was told to look at: `git commit -a` uses one of its own."""
        named = os.environ.get("GIT_INDEX_FILE")
        if not named:
            return self._here
        place = Path(os.path.normpath((self.work_tree or self.git_dir) / named))
        # Git sets GIT_PREFIX for what it runs. Without it the variable is a leftover, unless it names a file
        # of this repository.
        if "GIT_PREFIX" not in os.environ and self.git_dir not in place.parents:
            return self._here
        return replace(self._here, environment={**self._here.environment, "GIT_INDEX_FILE": str(place)})

    @cached_property
    def _scratch(self) -> ScratchFolder:
        return ScratchFolder(self._object_format, self.boundaries)

    @property
    def may_fetch(self) -> bool:
        """What a partial clone left out is fetched when it is read."""
        return self._allow_fetch and self.is_partial

    @cached_property
    def _objects(self) -> Git:
        """Git that sees the repository's objects alone, and fetches nothing."""
        # No configuration but our own; users' settings may change what is shown, too.
        hermetic = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        return self._over_objects(environment() | hermetic)

    @cached_property
    def _fetching(self) -> Git:
        """Git that sees the objects and fetches those left out, with the user's settings for networks."""
        return self._over_objects(fetching_environment(self._promisors))

    def _fetch(self, oids: list[str]) -> None:
        Promisors(self._objects, self._fetching, len(self._promisors)).fetch(oids)

    def _over_objects(self, variables: Mapping[str, str]) -> Git:
        folders = {
            "GIT_DIR": str(self._scratch.path),
            "GIT_OBJECT_DIRECTORY": str(self.common_dir / "objects"),
        }
        # Addresses of remotes may be relative to here.
        return Git(self.work_tree or self.git_dir, {**variables, **folders}, (), self._explained)

    def _explained(self, said: bytes) -> UserError:
        if is_lack(said) and not is_unreachable(said) and self.is_partial:
            if self._allow_fetch:
                hint = "the remote does not hand them out: 'git fetch --refetch --no-filter' may"
            else:
                hint = "--allow-fetch fetches them; so does 'git fetch --refetch --no-filter'"
            return UserError("objects are missing, because this is a partial clone", hint)
        return explained(said, self.work_tree or self.git_dir)

    def _stream(self, git: Git, *args: str) -> Iterator[bytes]:
        """Start a git process, and yield its output in chunks; explain a failure when it ends."""
        process = git.start(*args)
        self._running.add(process)
        return self._read(process)

    def _read(self, process: Process) -> Iterator[bytes]:
        try:
            while chunk := process.stdout.read1(CHUNK):
                yield chunk
            if process.wait() != 0:
                raise self._explained(process.said())
        finally:
            process.end()
            self._running.discard(process)


class Process:
    """A running Git: bytes in, bytes out. What it says on stderr goes to a file, where it cannot block it."""

    def __init__(self, command: list[str], environment: Mapping[str, str], stdin: bool) -> None:
        self._stderr = scratch_file()
        try:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=environment,
                bufsize=0,
            )
        except FileNotFoundError:
            self._stderr.close()
            raise _NO_GIT from None
        raw = self._popen.stdout
        assert isinstance(raw, io.RawIOBase)
        _widened(raw.fileno())
        self.stdout: io.BufferedReader = io.BufferedReader(raw, CHUNK)
        # Bytes that can be written before somebody reads them.
        self.room: int = _widened(self._popen.stdin.fileno()) if self._popen.stdin is not None else 0

    def write(self, data: bytes) -> None:
        """Send all of `data`; if the process has ended, its output says so."""
        assert self._popen.stdin is not None
        left = memoryview(data)
        with contextlib.suppress(BrokenPipeError):
            while left:
                left = left[self._popen.stdin.write(left) :]

    def wait(self) -> int:
        """Wait for its end, letting it read no more; return its status."""
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        return self._popen.wait()

    def has_complained(self) -> bool:
        """It has said anything on stderr so far."""
        return os.fstat(self._stderr.fileno()).st_size > 0

    def said(self) -> bytes:
        """What it said on stderr last."""
        # Git writes through the same file description: the place is moved only after its end.
        self._stderr.seek(max(os.fstat(self._stderr.fileno()).st_size - CHUNK, 0))
        return self._stderr.read()

    def end(self) -> None:
        """Kill it if it runs."""
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait()
        for stream in (self._popen.stdin, self.stdout, self._stderr):
            if stream is not None:
                stream.close()


@dataclass(frozen=True)
class Git:
    """A way to call Git: where, with what environment and settings, and how its complaints are explained."""

    where: Path
    environment: Mapping[str, str]
    settings: tuple[str, ...]
    explained: Callable[[bytes], UserError]
    pathspecs: tuple[str, ...] = ("--literal-pathspecs",)

    def start(self, *args: str, stdin: bool = False) -> Process:
        """Start a process to talk to."""
        return Process(self._command(args), self.environment, stdin)

    def done(self, *args: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run to the end, however that is."""
        try:
            return subprocess.run(
                self._command(args), input=input, capture_output=True, env=self.environment, check=False
            )
        except FileNotFoundError:
            raise _NO_GIT from None

    def run(self, *args: str) -> bytes:
        """Return the output. Raises `UserError` if Git fails."""
        done = self.done(*args)
        if done.returncode != 0:
            raise self.explained(done.stderr)
        return done.stdout

    def _command(self, args: tuple[str, ...]) -> list[str]:
        settings = [word for setting in self.settings for word in ("-c", setting)]
        return ["git", "--no-pager", *self.pathspecs, "-C", str(self.where), *settings, *args]


_NO_GIT = UserError("git is not installed, or not on the PATH", "install Git 2.31 or newer")


def _widened(descriptor: int) -> int:
    """Ask for a larger pipe, so that the two sides wait for each other less often; return its size in bytes."""
    if sys.platform != "linux":
        return _SMALL_PIPE
    import fcntl

    # Refused where the user has many pipes already.
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE)
    return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)


def _shown(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
