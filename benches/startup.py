"""How long `codewm --help` takes beside a bare `python -c pass`, and where it goes.

Usage: python benches/startup.py [RUNS]. Prints medians, their ratio (aim: at most 8) and the import time
of each top-level package (`-X importtime`, own time summed over its modules).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

AIM = 8.0
TOP = 12


def seconds(command: list[str], runs: int) -> list[float]:
    """Time `runs` runs of `command`, in seconds, after one warm-up."""
    taken = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return taken[1:]


def imports(command: list[str]) -> list[tuple[str, int, int]]:
    """Return (package, own microseconds, modules) from `-X importtime`, by top-level package."""
    done = subprocess.run(
        [*command[:1], "-X", "importtime", *command[1:]], check=True, capture_output=True, text=True
    )
    own: dict[str, tuple[int, int]] = {}
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            top = ".".join(parts[2].strip().split(".")[:1])
            spent, count = own.get(top, (0, 0))
            own[top] = spent + int(parts[0]), count + 1
    return sorted(((name, *value) for name, value in own.items()), key=lambda row: -row[1])


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    script = str(Path(sys.executable).parent / "codewm")
    rows = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "codewm --help": [sys.executable, script, "--help"],
        "codewm --version": [sys.executable, script, "--version"],
        "import typer": [sys.executable, "-c", "import typer"],
        "import typer, rich.console": [sys.executable, "-c", "import typer, rich.console"],
    }
    medians = {name: statistics.median(seconds(command, runs)) for name, command in rows.items()}
    base = medians["python -c pass"]
    for name, value in medians.items():
        print(f"{name:28} {value * 1000:7.1f} ms  {value / base:5.1f}x")
    ratio = medians["codewm --help"] / base
    print(f"ratio {ratio:.1f} (aim <= {AIM:g}): {'met' if ratio <= AIM else 'missed'}")
    print("\nwhere codewm --help spends its imports (own time, by top-level package):")
    for name, spent, count in imports(rows["codewm --help"])[:TOP]:
        print(f"{name:28} {spent / 1000:7.1f} ms  {count} modules")


if __name__ == "__main__":
    main()
