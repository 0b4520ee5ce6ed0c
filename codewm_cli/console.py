"""Text and tables in, bytes on stdout (data) and stderr (talk) out: the only module that prints.

Whatever came out of a repository (names, subjects, paths) goes through `inert` first, and nothing is ever
read as rich markup. Rich is imported only when a table or a progress bar is really drawn.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, TaskID

# Width for tables that go to a file or a pipe, where there is no terminal to ask.
PIPE_WIDTH = 120
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Control, format (bidi overrides, zero-width, tags), surrogate, line and paragraph separators.
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Joins emoji families; harmless on its own, and subjects are full of emoji.
_ZERO_WIDTH_JOINER = "\u200d"


class ProgressBar(Protocol):
    """What `progress` hands out."""

    def advance(self, n: float = 1) -> None:
        """Move the bar by `n` units of its total."""


def inert(s: str | bytes) -> str:
    """Make text from a repository harmless to print: one line, no control, bidi or escape characters.

    Each such character becomes its visible backslash form (`\\x1b`, `\\u202e`, `\\n`); undecodable bytes,
    including those smuggled by `surrogateescape`, become `\\xff`.
    """
    text = s.decode("utf-8", "surrogateescape") if isinstance(s, bytes) else s
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(c) for c in text)


def _visible(c: str) -> str:
    if c in _NAMED:
        return _NAMED[c]
    if c == _ZERO_WIDTH_JOINER or unicodedata.category(c) not in _HARMFUL:
        return c
    code = ord(c)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def data(text: str) -> None:
    """Write one piece of primary output to stdout, ended by a newline, as it is."""
    sys.stdout.write(text + "\n")


def say(text: str, quiet: bool = False) -> None:
    """Write narration to stderr; `quiet` silences it."""
    if not quiet:
        _talk("\n".join(inert(line) for line in text.split("\n")))


def warn(text: str) -> None:
    """Write one `warning:` line to stderr."""
    _talk(_label("warning", "33") + inert(text))


def error(message: str, hint: str = "") -> None:
    """Write an `error:` line and, when there is something to do about it, a `hint:` line to stderr."""
    _talk(_label("error", "31") + inert(message))
    if hint:
        _talk(_label("hint", "36") + inert(hint))


def render(renderable: RenderableType) -> None:
    """Draw a rich renderable (a table, a panel) on stdout."""
    out().print(renderable)


def out() -> Console:
    """The rich console on stdout: strings are text, never markup, emoji codes or highlighted."""
    return _console(sys.stdout)


def err() -> Console:
    """The rich console on stderr."""
    return _console(sys.stderr)


def is_watched() -> bool:
    """Somebody would see progress: stderr is a terminal."""
    return sys.stderr.isatty()


@contextmanager
def progress(description: str, total: float | None, unit: str = "") -> Iterator[ProgressBar]:
    """Show a progress bar on stderr while the block runs; silent when stderr is no terminal.

    `total` is in any unit; None means unknown. With the unit's name, the rate is shown, too.
    """
    if not is_watched():
        yield _Silent()
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            """Show how many per second, lately."""
            elapsed = task.elapsed or 0.0
            # At first there is no "lately".
            speed = task.finished_speed or task.speed or (task.completed / elapsed if elapsed else 0.0)
            return Text(f"{speed:,.0f} {unit}/s" if unit and speed else "")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err(), transient=True) as bar:
        yield _Bar(bar, bar.add_task(inert(description), total=total))


class _Silent:
    def advance(self, n: float = 1) -> None:
        """Do nothing."""


class _Bar:
    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def advance(self, n: float = 1) -> None:
        """Move the bar by `n`."""
        self._bar.advance(self._task, n)


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    console = Console(file=stream, markup=False, emoji=False, highlight=False, soft_wrap=False)
    if not console.is_terminal:
        # Rich falls back to 80 columns off a terminal and would cut subjects and paths.
        console.width = max(console.width, PIPE_WIDTH)
    return console


def _talk(text: str) -> None:
    sys.stderr.write(text + "\n")


def _label(word: str, colour: str) -> str:
    return f"\x1b[1;{colour}m{word}:\x1b[0m " if sys.stderr.isatty() else f"{word}: "
