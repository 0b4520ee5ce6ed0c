"""`codewm harvest` beside PyDriller on the same commits, and its cost, latency and memory: clones in, bars out.

    python benches/harvest.py CLONE [CLONE ...]                 side by side with PyDriller 2.x, and other peers
    python benches/harvest.py --scale [CLONE]                   seconds against the number of commits
    python benches/harvest.py --latency CLONE                   nothing new, and one new commit
    python benches/harvest.py --import 5000                     one commit that adds so many Python files

The peers are no dependency of codewm: `pip install -e '.[bench]'` brings them. Work of the side by side: the
first-parent line of HEAD, oldest first; of each commit the changed files against the first parent, and of the
Python ones the source before and after. PyDriller shows no files for a merge, so its own objects are asked for
the difference with the first parent. codewm does more in its run: units, tokens, actions, chains, a store on
disk. The two take turns. The bar is on the work, in seconds from the first call once a process has imported its
modules: iterating commits is what is compared. The whole processes, start-up included, stand beside it: a short
history is over before Python's imports are forgotten. Of a clone, only its `.git/codewm` is written to.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from generated import Module, generate
from peers import PEERS, git, installed, line_of

SPEEDUP = 20.0
AIM = 40.0
MEMORY = 500.0  # MB (10^6 bytes), whole process tree
UNCHANGED = 0.3  # seconds
ONE_COMMIT = 0.5  # seconds
LINEAR_R2 = 0.98
DEARER = 1.5  # cost of a file change in the largest history over that in the smallest
SAMPLE = 0.01  # seconds between two looks at the memory
RUNS = 5  # of each latency
SCRIPT = Path(sys.executable).parent / "codewm"
WORKER = Path(__file__).with_name("peers.py")


@dataclass(frozen=True)
class Run:
    """One finished process and all its children: seconds, peak memory in MB, and what it printed."""

    seconds: float
    memory: float
    out: str


@dataclass
class Report:
    """Prints each row when it is known, and writes them all as `codewm.eval/1` at the end."""

    data: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    failed: int = 0

    def row(
        self, metric: str, value: float, n: int, *, of: str, spread: Sequence[float] = (), **nulls: float
    ) -> None:
        """Keep one measurement of the data called `of`; `spread` holds all rounds, `nulls` what it is set beside."""
        low, high = (min(spread), max(spread)) if spread else (value, value)
        rounded = {name: round(null, 4) for name, null in nulls.items()}
        self.rows.append(
            {"metric": metric, "data": of, "value": round(value, 4), "interval": [round(low, 4), round(high, 4)],
             "n": n, "nulls": rounded}
        )  # fmt: skip
        if of not in self.data:
            self.data.append(of)

    def bar(self, what: str, value: float, bar: float, *, least: bool = False, unit: str = "") -> None:
        """Print whether a value is at most (or, `least`, at least) its bar."""
        holds = value >= bar if least else value <= bar
        self.failed += not holds
        shown = f"{value:,.3f}{unit}, bar {'>=' if least else '<='} {bar:g}{unit}"
        print(f"  {'holds' if holds else 'fails'}  {what}: {shown}", flush=True)

    def write(self, path: Path) -> None:
        """Write every row as JSON."""
        about = {
            "codewm": importlib.metadata.version("codewm"),
            "python": sys.version.split()[0],
            "git": git(Path(), "version").removeprefix("git version "),
            "cores": os.cpu_count(),
            **{
                f"peer {name}": version
                for name in sorted(set(PEERS.values()))
                if (version := installed(name))
            },
        }
        document = {
            "schema": "codewm.eval/1", "suite": "harvest", "model": None, "data": self.data, "about": about,
            "rows": self.rows,
        }  # fmt: skip
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


# ---- processes, timed and weighed ----------------------------------------------------------------------------


def run(command: Sequence[str | Path], cwd: Path | None = None, *, weigh: bool = False) -> Run:
    """Run a command to its end; its memory is that of its largest process, as the system reports it.

    Weighed, it is the highest sum over itself and its children that was seen, where there is a /proc. The sum counts
    a page that two processes share twice, so it is an upper bound. Looking takes time: what is weighed is not timed.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(c) for c in command], cwd=cwd, stdout=out, stderr=err, env=_environment()
        )
        over = threading.Event()
        seen = [0.0]
        watcher = threading.Thread(target=_watch, args=(process.pid, over, seen), daemon=True)
        if weigh:
            watcher.start()
        # wait4 also says what the system saw between two samples; its children that ended are included.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        over.set()
        if weigh:
            watcher.join()
        text, talk = _text(out), _text(err)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{talk}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(seconds, max(seen[0], usage.ru_maxrss * unit / 1e6), text)


def _environment() -> dict[str, str]:
    # A shell that writes no bytecode has every process compile anew what was edited or just installed.
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _watch(pid: int, over: threading.Event, seen: list[float]) -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    while not over.wait(SAMPLE):
        seen[0] = max(seen[0], sum(_resident(p) for p in _tree(pid)) * page / 1e6)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    tasks = Path(f"/proc/{pid}/task")
    found: list[str] = []
    # It, or one of its threads, may end while we look.
    with contextlib.suppress(OSError):
        for task in tasks.iterdir():
            with contextlib.suppress(OSError), (task / "children").open() as children:
                found += children.read().split()
    for child in found:
        yield from _tree(int(child))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):  # it ended meanwhile
        return 0


def harvest(clone: Path, out: Path | None = None, *words: str, weigh: bool = False) -> Run:
    """Time `codewm harvest`."""
    place = () if out is None else ("--out", out)
    return run([SCRIPT, "harvest", clone, "-q", *words, *place], weigh=weigh)


def file_changes(clone: Path, out: Path) -> tuple[int, int]:
    """Ask the store what it holds: commits, Python file changes."""
    kinds = json.loads(harvest(clone, out, "--json").out)["file_changes"].values()
    return sum(k["commits"] for k in kinds), sum(k["file_changes"] for k in kinds)


def worker(peer: str, clone: Path, out: Path | None = None) -> Run:
    """Run one peer in a process of its own; it prints a line of JSON."""
    return run([sys.executable, WORKER, peer, clone, *([out] if out is not None else [])])


def _said(done: Run) -> dict[str, Any]:
    """Read a worker's last line: `codewm harvest` prints its table before it."""
    found: dict[str, Any] = json.loads(done.out.strip().splitlines()[-1])
    return found


# ---- side by side ------------------------------------------------------------------------------------------------


def side_by_side(report: Report, clone: Path, rounds: int, others: bool) -> None:
    """Time codewm and PyDriller in turns, then the other peers once each."""
    name = clone.resolve().name
    if not installed("pydriller"):
        raise SystemExit(
            "PyDriller is not installed: pip install -e '.[bench]' (or: pip install 'pydriller>=2')"
        )
    commits = len(line_of(clone))
    print(f"\n{name}: {commits:,} commits of the first-parent line, rounds in turns: {rounds}", flush=True)
    ours, theirs, bare, own = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "chains.h5"
        for i in range(rounds):
            theirs.append(worker("pydriller", clone))
            ours.append(harvest(clone, out, "--rebuild"))
            bare.append(_said(theirs[-1])["seconds"])
            own.append(_said(worker("codewm", clone, out))["seconds"])
            print(
                f"  round {i + 1}: PyDriller {theirs[-1].seconds:.2f} s ({bare[-1]:.2f} in-process), "
                f"codewm {ours[-1].seconds:.2f} s ({own[-1]:.2f}): {theirs[-1].seconds / ours[-1].seconds:.1f}x "
                f"({bare[-1] / own[-1]:.1f}x)",
                flush=True,
            )
        weighed = harvest(clone, out, "--rebuild", weigh=True).memory
        held, changes = file_changes(clone, out)
        seen = _said(theirs[-1])["file_changes"]
        agree = "equal" if (held, changes) == (commits, seen) else "NOT EQUAL: the work differs"
        report.failed += agree != "equal"
        print(f"  Python file changes: codewm {changes:,}, PyDriller {seen:,}: {agree}")
        slow = statistics.median(r.seconds for r in theirs)
        fast = statistics.median(r.seconds for r in ours)
        heavy, light = max(r.memory for r in theirs), max(weighed, *(r.memory for r in ours))
        inside = statistics.median(bare) / statistics.median(own)
        table = [
            ("PyDriller", slow, heavy, changes, slow / fast),
            ("codewm harvest", fast, light, changes, 1.0),
            ("  PyDriller, the work", statistics.median(bare), None, changes, inside),
            ("  codewm, the work", statistics.median(own), None, changes, 1.0),
        ]
        if others:
            table += _others(report, clone, name, fast)
    print(f"  {'medians':28} {'seconds':>9} {'commits/s':>10} {'changes/s':>10} {'MB':>7} {'ratio':>8}")
    for who, seconds, memory, n, ratio in table:
        print(
            f"  {who:28} {seconds:9.2f} {commits / seconds:10,.0f} {n / seconds:10,.0f} "
            f"{'' if memory is None else f'{memory:,.0f}':>7} {'' if ratio is None else f'{ratio:.1f}x':>8}"
        )
    best = min(r.seconds for r in theirs) / min(r.seconds for r in ours)
    print(
        f"  best round of each: {best:.1f}x; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    ratios = [t.seconds / o.seconds for t, o in zip(theirs, ours, strict=True)]
    report.row("harvest_speedup_over_pydriller", slow / fast, rounds, of=name, spread=ratios,
               pydriller_seconds=slow, codewm_seconds=fast)  # fmt: skip
    report.row("harvest_speedup_over_pydriller_in_process", inside, rounds, of=name,
               pydriller_seconds=statistics.median(bare), codewm_seconds=statistics.median(own))  # fmt: skip
    report.row("harvest_speedup_over_pydriller_best_rounds", best, rounds, of=name)
    report.row("harvest_peak_memory_mb", light, rounds, of=name, spread=[r.memory for r in ours],
               pydriller=heavy)  # fmt: skip
    report.row("harvest_python_file_changes", changes, 1, of=name, pydriller=seen)
    report.bar(f"{name}, PyDriller / codewm, the work", inside, SPEEDUP, least=True, unit="x")
    report.bar(f"{name}, the same, aim", inside, AIM, least=True, unit="x")
    print(f"         {name}, whole processes, start-up included: {slow / fast:.1f}x")
    report.bar(f"{name}, peak memory", light, MEMORY, unit=" MB")


def _others(
    report: Report, clone: Path, name: str, fast: float
) -> list[tuple[str, float, float | None, int, float | None]]:
    """Time the peers that are there for information, once each."""
    table: list[tuple[str, float, float | None, int, float | None]] = []
    for peer, module in list(PEERS.items())[1:]:
        if not installed(module):
            print(f"  {peer}: not installed (pip install -e '.[bench]')")
            continue
        done = worker(peer, clone)
        seen = _said(done)["file_changes"]
        whose = "all commits, no merges" if "plain" in peer else "same commits"
        print(f"  {peer}: {done.seconds:.2f} s, {seen:,} Python file changes ({whose})", flush=True)
        table.append((peer, done.seconds, done.memory, seen, done.seconds / fast))
        key = peer.replace(", ", "_")
        report.row(f"harvest_speedup_over_{key}", done.seconds / fast, 1, of=name, file_changes=seen)
    return table


# ---- cost against size -----------------------------------------------------------------------------------------


def scale(report: Report, clone: Path | None, sizes: Sequence[int], generated: Sequence[int]) -> None:
    """Harvest prefixes of a real and of a generated history, and fit seconds against file changes."""
    with tempfile.TemporaryDirectory() as folder:
        if clone is not None:
            _prefixes(report, clone, clone.resolve().name, sizes, Path(folder), bars=False)
        if generated:
            made, start = Path(folder) / "generated", time.perf_counter()
            generate(made, max(generated))
            size = sum(f.stat().st_size for f in made.rglob("*.pack")) / 1e6
            spent = time.perf_counter() - start
            print(f"\ngenerated {max(generated):,} commits in {spent:.0f} s, {size:.0f} MB", flush=True)
            _prefixes(report, made, "generated", generated, Path(folder), bars=True)


def _prefixes(
    report: Report, clone: Path, name: str, sizes: Sequence[int], folder: Path, *, bars: bool
) -> None:
    line = line_of(clone)
    steps = sorted({min(size, len(line)) for size in sizes})
    if max(sizes) > len(line):
        print(f"\n{name} has {len(line):,} commits on its first-parent line; the largest prefix is all of it")
    part = folder / f"{name}.git"
    # Borrowing the objects is as fast to read and costs nothing to make.
    git(folder, "clone", "-q", "--bare", "--shared", str(clone.resolve()), str(part))
    print(
        f"\n{name}: {'commits':>8} {'changes':>9} {'seconds':>9} {'commits/s':>10} {'changes/s':>10} {'MB':>7}"
    )
    points: list[tuple[int, float]] = []
    for step in steps:
        git(part, "update-ref", "--no-deref", "HEAD", line[step - 1])
        out = folder / "chains.h5"
        done = harvest(part, out, "--rebuild", weigh=True)
        held, changes = file_changes(part, out)
        assert held == step, f"{held} commits were harvested, not {step}"
        points.append((changes, done.seconds))
        print(
            f"  {step:{len(name) + 7}d} {changes:9,d} {done.seconds:9.2f} {step / done.seconds:10,.0f} "
            f"{changes / done.seconds:10,.0f} {done.memory:7,.0f}", flush=True,
        )  # fmt: skip
        report.row("harvest_seconds", done.seconds, 1, of=f"{name}, {step} commits", file_changes=changes,
                   memory_mb=done.memory)  # fmt: skip
    if len(points) < 2:
        return
    slope, start, r2 = fit(points)
    dearer = (points[-1][1] / points[-1][0]) / (points[0][1] / points[0][0])
    print(
        f"  fit: {start:.2f} s + {slope * 1e3:.3f} ms a file change, R2 {r2:.4f}; a file change in the largest "
        f"costs {dearer:.2f} times one in the smallest"
    )
    report.row("harvest_linear_r2", r2, len(points), of=name, seconds_per_file_change=slope)
    report.row("harvest_cost_growth", dearer, len(points), of=name)
    if bars:
        report.bar(f"{name}, linear in file changes (R2)", r2, LINEAR_R2, least=True)
        report.bar(f"{name}, cost of a file change, largest / smallest", dearer, DEARER, unit="x")
    report.bar(f"{name}, memory of the largest", done.memory, MEMORY, unit=" MB")


def fit(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Least squares of y on x: slope, intercept, R2."""
    xs, ys = zip(*points, strict=True)
    slope, start = statistics.linear_regression(xs, ys)
    mean = statistics.fmean(ys)
    total = sum((y - mean) ** 2 for y in ys)
    left = sum((y - start - slope * x) ** 2 for x, y in points)
    return slope, start, 1.0 - left / total if total else 1.0


# ---- latency -----------------------------------------------------------------------------------------------------


def latency(report: Report, clone: Path) -> None:
    """Time a run that finds nothing new, and a run that finds one new commit."""
    name = clone.resolve().name
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "clone"
        git(Path(folder), "clone", "-q", str(clone.resolve()), str(work))
        harvest(work)
        print(f"\n{name}: latency, medians of {RUNS}", flush=True)
        still = [harvest(work).seconds for _ in range(RUNS)]
        fresh = []
        for i in range(RUNS):
            _edit(work, i)
            fresh.append(harvest(work).seconds)
        _same_as_rebuilt(work, Path(folder) / "rebuilt.h5")
    for metric, what, taken, bar in (
        ("harvest_unchanged_seconds", "nothing new", still, UNCHANGED),
        ("harvest_one_commit_seconds", "one new commit", fresh, ONE_COMMIT),
    ):
        report.row(metric, statistics.median(taken), RUNS, of=name, spread=taken)
        report.bar(f"{name}, {what}", statistics.median(taken), bar, unit=" s")


def _edit(work: Path, number: int) -> None:
    """Commit a real edit: a statement more in the last function of a Python file of ordinary size."""
    files = sorted((p for p in work.rglob("*.py") if p.stat().st_size), key=lambda p: p.stat().st_size)
    place = files[len(files) // 2]
    with place.open("a", encoding="utf-8") as file:
        file.write(f"\n\ndef added_{number}(value):\n    total = value + {number}\n    return total\n")
    commit(work, f"edit {number}")


def commit(work: Path, subject: str) -> None:
    """Commit everything in the work tree."""
    git(work, "add", "-A")
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.com", "-c", "commit.gpgsign=false")
    git(work, *who, "commit", "-q", "--no-verify", "-m", subject)


def _same_as_rebuilt(work: Path, other: Path) -> None:
    """The appended store must hold what a harvest from scratch holds."""
    harvest(work, other, "--rebuild")
    grown = file_changes(work, work / ".git" / "codewm" / "chains.h5")
    assert grown == file_changes(work, other), "the store that was appended to holds something else"


# ---- one commit that adds thousands of files -----------------------------------------------------------------------


def big_import(report: Report, files: int) -> None:
    """Time a harvest whose newest commit adds `files` Python files, then one commit more (median)."""
    name = f"import of {files} files"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        generate(work, 50, modules=20)
        git(work, "reset", "-q", "--hard")
        harvest(work)
        rng = random.Random(1)
        size = 0
        for i in range(files):
            place = work / "vendor" / f"part{i % 50:02d}" / f"module{i:05d}.py"
            place.parent.mkdir(parents=True, exist_ok=True)
            size += place.write_bytes(Module(rng).render())
        commit(work, f"import {files} files")
        print(f"\n{name}: {size / 1e6:.0f} MB of Python in one commit", flush=True)
        whole = harvest(work, Path(folder) / "whole.h5", "--rebuild", weigh=True)
        added = harvest(work, weigh=True)
        once_more = []
        for i in range(RUNS):
            _edit(work, i)
            once_more.append(harvest(work))
        more = sorted(once_more, key=lambda run: run.seconds)[RUNS // 2]
        _same_as_rebuilt(work, Path(folder) / "rebuilt.h5")
    for what, done in (("whole history", whole), ("that commit appended", added), ("one commit more", more)):
        print(f"  {what:22} {done.seconds:8.2f} s {done.memory:8,.0f} MB")
        metric = f"harvest_import_{what.replace(' ', '_')}_seconds"
        report.row(metric, done.seconds, 1, of=name, memory_mb=done.memory)
    print(f"  {files / added.seconds:,.0f} files/s, {size / 1e6 / added.seconds:.1f} MB/s while importing")
    peak = max(done.memory for done in (whole, added, more))
    report.bar(f"{name}, peak memory", peak, MEMORY, unit=" MB")


def _sizes(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def main() -> None:
    """Measure what was asked for, print every bar, and write the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clones", metavar="CLONE", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=3, help="turns of the side by side (3)")
    parser.add_argument("--no-others", action="store_true", help="only PyDriller, none of the other peers")
    parser.add_argument("--scale", action="store_true", help="cost against the number of commits")
    parser.add_argument("--sizes", type=_sizes, default=[1000, 3000, 10000], help="prefixes of CLONE")
    parser.add_argument("--generated", type=_sizes, default=[1000, 3000, 10000, 100000],
                        help="prefixes of the generated repository; '' for none")  # fmt: skip
    parser.add_argument("--latency", action="store_true", help="nothing new, and one new commit")
    parser.add_argument("--import", dest="files", metavar="N", type=int, help="one commit that adds N files")
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the rows as codewm.eval/1")
    chosen = parser.parse_args()
    part = chosen.scale or chosen.latency or chosen.files is not None
    if not chosen.clones and not (chosen.scale or chosen.files is not None):
        parser.error("name a clone")
    if shutil.which("git") is None or not SCRIPT.is_file():
        parser.error("git, or the codewm script beside this python, is missing")
    report = Report()
    for clone in chosen.clones if not part else ():
        side_by_side(report, clone, chosen.rounds, not chosen.no_others)
    if chosen.scale:
        for clone in chosen.clones:
            scale(report, clone, chosen.sizes, [])
        scale(report, None, [], chosen.generated)
    for clone in chosen.clones if chosen.latency else ():
        latency(report, clone)
    if chosen.files is not None:
        big_import(report, chosen.files)
    print(f"\n{report.failed} of the bars above fail" if report.failed else "\nevery bar above holds")
    if chosen.json is not None:
        report.write(chosen.json)


if __name__ == "__main__":
    main()
