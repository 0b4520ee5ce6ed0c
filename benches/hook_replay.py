"""The hook on a real repository: warnings on ordinary commits, on two planted edits, and seconds per check.

Usage: python benches/hook_replay.py REPOSITORY [COMMITS] [MODEL]. Works in a temporary clone. Replays the
last COMMITS (100) first-parent commits that change Python as staged edits, oldest first; aim: at most 5% of
them warned about. Then it stages, at the tip, a function body swapped for one from another module, and an
exec/base64 payload pasted into a function; aim: each warned about, naming the unit and the channel.
"""

from __future__ import annotations

import ast
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from codewm.cli.config import HookSettings
from codewm.corpus.git import Repository
from codewm.hooks.pre_commit import Outcome, check

PLANTED = 20  # of each sort
SEED = 0
PAYLOAD = "import base64\nexec(base64.b64decode('cHJpbnQoMSk=').decode())"
DEFAULTS = HookSettings()


def git(where: Path, *args: str) -> str:
    """Run git and return its output."""
    return subprocess.run(
        ["git", *args], cwd=where, check=True, capture_output=True, text=True
    ).stdout.strip()


def warned(where: Path, model: str | None) -> tuple[Outcome, float]:
    """Check what is staged in `where`; return the outcome and the seconds it took."""
    start = time.perf_counter()
    with Repository.open(where) as repo:
        outcome = check(
            repo,
            warn_above=DEFAULTS.warn_above,
            max_warnings=DEFAULTS.max_warnings,
            fail_above=None,
            model=model,
        )
    return outcome, time.perf_counter() - start


def replay(where: Path, commits: int, model: str | None) -> None:
    """Stage each past commit on its parent and count the warnings."""
    listed = git(where, "log", "--first-parent", "-m", "--format=%H", f"-{commits}", "--", "*.py").split()
    alarms, taken = 0, []
    for oid in reversed(listed):
        git(where, "checkout", "-q", "-f", "--detach", f"{oid}^")
        git(where, "read-tree", oid)
        outcome, seconds = warned(where, model)
        taken.append(seconds)
        alarms += bool(outcome.lines)
        for line in outcome.lines:
            print(f"  {oid[:8]} {line}")
    median, worst = statistics.median(taken[1:]), max(taken[1:])
    print(f"ordinary commits: {alarms} of {len(listed)} warned about (aim <= {len(listed) // 20})")
    print(f"seconds: first {taken[0]:.2f}, then median {median:.2f}, worst {worst:.2f}")


def functions(where: Path) -> list[tuple[Path, ast.FunctionDef]]:
    """List the functions and methods of the package that are units and have at least four statements."""
    found = []
    for path in sorted((where / "src").rglob("*.py")):
        module = ast.parse(path.read_text())
        classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
        for node in (*module.body, *(n for owner in classes for n in owner.body)):
            if isinstance(node, ast.FunctionDef) and len(node.body) >= 4:
                found.append((path, node))
    return found


def body_lines(node: ast.FunctionDef) -> tuple[int, int]:
    """Return the 0-based half-open line range of a function's body."""
    first = node.body[0]
    assert node.end_lineno is not None
    return first.lineno - 1, node.end_lineno


def planted(where: Path, tip: str, sort: str, model: str | None) -> None:
    """Plant edits of one sort, one at a time, and count the warnings that name their unit."""
    git(where, "checkout", "-q", "-f", "--detach", tip)
    pool, rng = functions(where), random.Random(SEED)
    hits = 0
    for _ in range(PLANTED):
        git(where, "reset", "-q", "--hard", tip)
        path, node = rng.choice(pool)
        lines = path.read_text().splitlines()
        low, high = body_lines(node)
        indent = lines[low][: len(lines[low]) - len(lines[low].lstrip())]
        if sort == "payload":
            lines[low:low] = [indent + line for line in PAYLOAD.splitlines()]
        else:
            other, donor = rng.choice([f for f in pool if f[0] != path])
            start, end = body_lines(donor)
            foreign = other.read_text().splitlines()[start:end]
            shift = len(foreign[0]) - len(foreign[0].lstrip())
            lines[low:high] = [indent + line[shift:] if line.strip() else line for line in foreign]
        path.write_text("\n".join(lines) + "\n")
        git(where, "add", "-A")
        outcome, _ = warned(where, model)
        named = re.compile(rf"edit of (\S+\.)?{node.name}(#\d+)? at ")
        hit = any(named.search(line) for line in outcome.lines)
        hits += hit
        print(f"  {'hit ' if hit else 'miss'} {path.name}::{node.name} {outcome.lines[:1]}")
    print(f"{sort}: {hits} of {PLANTED} warned about, naming the unit")


def main() -> None:
    """Measure and print."""
    commits = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    model = sys.argv[3] if len(sys.argv) > 3 else None
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", sys.argv[1], str(where)], check=True)
        tip = git(where, "rev-parse", "HEAD")
        replay(where, commits, model)
        for sort in ("payload", "swap"):
            planted(where, tip, sort, model)


if __name__ == "__main__":
    main()
