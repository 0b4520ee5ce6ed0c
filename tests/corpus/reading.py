"""What the tests of reading repositories share: plain git in a folder, its records as we read them, its files."""

from __future__ import annotations

import subprocess
from pathlib import Path

from codewm.corpus.git import CommitRecord, Repository

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
