"""What the tests of reading repositories share: plain git in a folder, its records as we read them, its files."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np

from codewm.corpus import store
from codewm.corpus.division import Division
from codewm.corpus.git import CommitRecord, Repository
from codewm.corpus.split import boundaries

LINES = "".join(f"line_{i} = {i}\n" for i in range(40))


def git_in(folder: Path, *args: str, input: bytes | None = None) -> str:
    """Run plain git, as a user would; what it printed."""
    done = subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, input=input)
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def records_of(place: Path) -> list[CommitRecord]:
    """Every record of HEAD's first-parent line."""
    with Repository.open(place) as repo:
        return list(repo.commits("HEAD"))


def files_below(place: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with its size and time of change."""
    files = (p for p in place.rglob("*") if not p.is_symlink())
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in files}


def divided(place: Path, folder: Path) -> bytes:
    """The store as if it were a corpus that was divided, so that it has something in every array."""
    whole = store.read_store(place)
    table = whole.table
    first = boundaries(table)
    division = Division(
        role=np.zeros(1, np.uint8),
        boundary=first,
        boundary_time=table.commits.committer_time[first],
        reason=np.zeros(len(table), np.uint8),
        rules='{"hold_out": 0.2}',
    )
    store.write(folder / "divided.h5", replace(table, division=division), whole.ledger, whole.header)
    return (folder / "divided.h5").read_bytes()
