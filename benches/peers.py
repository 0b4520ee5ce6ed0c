"""One of the tools that harvest is set beside and a clone in; seconds and Python file changes, a line of JSON, out.

    python benches/peers.py PEER CLONE [OUT]

`benches/harvest.py` starts one process of this for each measurement; OUT is where codewm writes its store. What
the work is stands there.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import pkgutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

PEERS = {"pydriller": "pydriller", "pydriller, plain": "pydriller", "gitpython": "git", "pygit2": "pygit2"}


def git(where: Path, *args: str) -> str:
    """Run git and return its output without the last newline."""
    done = subprocess.run(["git", *args], cwd=where, check=True, capture_output=True)
    return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


def installed(module: str) -> str:
    """Return the version of a peer, '' if it is not there."""
    if importlib.util.find_spec(module) is None:
        return ""
    names = {"git": "GitPython"}
    return importlib.metadata.version(names.get(module, module))


def line_of(clone: Path, limit: int | None = None) -> list[str]:
    """List the first-parent line of HEAD, oldest first."""
    return git(clone, "rev-list", "--first-parent", "--reverse", "HEAD").split()[:limit]


def _python(*paths: str | None) -> bool:
    return any(path is not None and path.endswith(".py") for path in paths)


def _pydriller(clone: str) -> Iterator[tuple[Any, ...]]:
    import pydriller

    repo = pydriller.Git(clone)
    for oid in line_of(Path(clone)):
        commit = repo.get_commit(oid)
        if commit.merge:
            raw = commit._c_object
            files = commit._parse_diff(raw.parents[0].diff(raw, create_patch=True))
        else:
            files = commit.modified_files
        for file in files:
            if _python(file.old_path, file.new_path):
                yield file.source_code_before, file.source_code


def _pydriller_plain(clone: str) -> Iterator[tuple[Any, ...]]:
    import pydriller

    for commit in pydriller.Repository(clone).traverse_commits():
        for file in commit.modified_files:
            if _python(file.old_path, file.new_path):
                yield file.source_code_before, file.source_code


def _gitpython(clone: str) -> Iterator[tuple[Any, ...]]:
    import git as gitpython

    repo = gitpython.Repo(clone)
    for oid in line_of(Path(clone)):
        commit = repo.commit(oid)
        diffs = commit.parents[0].diff(commit) if commit.parents else commit.diff(gitpython.NULL_TREE)
        for diff in diffs:
            if _python(diff.a_path, diff.b_path):
                yield tuple(blob.data_stream.read() for blob in (diff.a_blob, diff.b_blob) if blob)


def _pygit2(clone: str) -> Iterator[tuple[Any, ...]]:
    import pygit2

    repo: Any = pygit2.Repository(clone)
    for oid in line_of(Path(clone)):
        commit = repo[oid]
        if commit.parents:
            diff = commit.parents[0].tree.diff_to_tree(commit.tree)
        else:
            diff = commit.tree.diff_to_tree(swap=True)
        diff.find_similar()
        for delta in diff.deltas:
            if _python(delta.old_file.path, delta.new_file.path):
                sides = (delta.old_file, delta.new_file)
                yield tuple(repo[side.id].data for side in sides if side.id in repo)


def _work(peer: str, clone: str, out: str | None) -> None:
    """Do a peer's work once and print seconds without the imports, and the Python file changes seen."""
    if peer == "codewm":
        # Everything that a harvest loads, so that only its work is timed.
        import codewm.corpus

        for module in pkgutil.iter_modules(codewm.corpus.__path__, "codewm.corpus."):
            importlib.import_module(module.name)
        for name in ("codewm.cli.commands.harvest", "git", "h5py"):
            importlib.import_module(name)
        from codewm.cli.main import main

        start = time.perf_counter()
        status = main(["harvest", clone, "--rebuild", "-q", "--out", str(out)])
        seconds, changes = time.perf_counter() - start, None
        if status:
            raise SystemExit(status)
    else:
        importlib.import_module(PEERS[peer])
        work: dict[str, Callable[[str], Iterable[Any]]] = {
            "pydriller": _pydriller, "pydriller, plain": _pydriller_plain, "gitpython": _gitpython,
            "pygit2": _pygit2,
        }  # fmt: skip
        start = time.perf_counter()
        changes = sum(1 for _ in work[peer](clone))
        seconds = time.perf_counter() - start
    sys.stderr.flush()
    print("\n" + json.dumps({"seconds": seconds, "file_changes": changes}))


if __name__ == "__main__":
    _work(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
