"""Claim: the core may be loaded by any thread, and used by others after that one has ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys, threading

def in_threads(work, count):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

def load():
    import codewm_core
    codewm_core.units(b"x = 1")

in_threads(load, 1)
import codewm_core
source = open(sys.argv[1], "rb").read()
for _ in range(50):
    in_threads(lambda: codewm_core.units(source), 3)
print(len(codewm_core.units(source)))
"""


def test_the_thread_that_loads_the_core_may_end() -> None:
    """mimalloc 3 belongs to the thread that loads it: this ended in a segmentation fault."""
    source = Path(__file__).parents[2] / "corpus" / "edits.py"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(source)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 10
