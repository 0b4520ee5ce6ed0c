"""Object ids in, contents out, in order: one `git cat-file --batch`, and what to do when it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codewm.corpus.git import Git, Process

BLOB_LIMIT = 1 << 20
"""Bytes; a larger file is generated or data, not something people edit."""
MISSING = -1
"""Instead of a size: the object is not here."""
DAMAGED = -2
"""Instead of a size: the object is here, but Git cannot read it."""
CHUNK = 1 << 18
"""Bytes read from a process at a time."""
# Requests under way at `cat-file`, if the pipe has room for them: writing must never have to wait.
_IN_FLIGHT = 512
_REQUEST = 65


class BlobReader:
    """One `git cat-file --batch` after another. Requests run ahead of the answers by a bounded number."""

    def __init__(
        self, git: Git, running: set[Process], fetch: Callable[[list[str]], object] | None = None
    ) -> None:
        """`running` always holds the process of the moment; `fetch` is called with what will be read next."""
        # What is too large for us anyhow is passed on in pieces, not held in memory.
        self._git = replace(git, settings=(f"core.bigFileThreshold={2 * BLOB_LIMIT}",))
        self._running = running
        self._fetch = fetch
        self._asked: deque[str] = deque()
        self._tried = ""
        self.process = self._start()
        self._most = max(min(_IN_FLIGHT, self.process.room // _REQUEST), 1)

    @property
    def idle(self) -> bool:
        """No answer is outstanding."""
        return not self._asked

    def read(self, oids: Iterable[str]) -> Iterator[tuple[str, bytes | None, int]]:
        """Yield (object id, content or None, size or `MISSING` or `DAMAGED`) in order."""
        waiting = iter(oids)
        asked = self._asked
        self._ask(waiting)
        while asked:
            try:
                answer = self._answer(asked[0])
            except EOFError:
                if not self._restart():
                    continue
                answer = (asked[0], None, DAMAGED)
            asked.popleft()
            yield answer
            if len(asked) <= self._most // 2:
                self._ask(waiting)

    def end(self) -> None:
        """End the process."""
        self.process.end()
        self._running.discard(self.process)

    def _start(self) -> Process:
        process = self._git.start("cat-file", "--batch", stdin=True)
        self._running.add(process)
        return process

    def _ask(self, waiting: Iterator[str]) -> None:
        more = list(islice(waiting, self._most - len(self._asked)))
        if not more:
            return
        if self._fetch is not None:
            self._fetch(more)
        self._asked.extend(more)
        self._send(more)

    def _send(self, oids: Iterable[str]) -> None:
        self.process.write("".join(f"{oid}\n" for oid in oids).encode("ascii"))

    def _answer(self, oid: str) -> tuple[str, bytes | None, int]:
        """Raises `EOFError` where Git has ended before or within this answer."""
        stdout = self.process.stdout
        line = stdout.readline()
        header = line.split()
        if not line.endswith(b"\n"):
            raise EOFError
        if len(header) != 3:
            return oid, None, DAMAGED if self._is_damaged(oid) else MISSING
        size = int(header[2])
        if size <= BLOB_LIMIT:
            content = stdout.read(size)
            if stdout.read(1) != b"\n":
                raise EOFError
            return (oid, content, size) if header[1] == b"blob" else (oid, None, MISSING)
        left = size + 1
        while left > 0:
            passed = len(stdout.read(min(left, CHUNK)))
            if passed == 0:
                raise EOFError
            left -= passed
        return oid, None, size if header[1] == b"blob" else MISSING

    def _is_damaged(self, oid: str) -> bool:
        """Git calls an object with a damaged head missing, too, and says so on stderr, for this or any other."""
        if not self.process.has_complained():
            return False
        said = self._git.done("cat-file", "-t", oid).stderr
        # Of an object that is not here it only says so, by `fatal:`; and a lost alternate is no damage.
        return b"error:" in said and b"alternate" not in said

    def _restart(self) -> bool:
        """Go on in a new process after the old one ended; True if the object in turn is damaged.

        Git ends at an object whose content is damaged, and names it.
        """
        oid = self._asked[0]
        status, said = self.process.wait(), self.process.said()
        self.end()
        damaged = status > 0 and oid.encode("ascii") in said.replace(b"/", b"")
        if not damaged:
            # Somebody ended it, or the machine had no memory; twice is no accident.
            if self._tried == oid:
                raise self._git.explained(said)
            self._tried = oid
        self.process = self._start()
        self._send(islice(self._asked, int(damaged), None))
        return damaged
