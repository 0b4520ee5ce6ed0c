"""Command-line words in, an exit status out: the parser, the lazy verbs and the error boundary.

Exit status: 0 clean, 1 findings (only where a gate was asked for), 2 usage or input, 3 our own bug,
130 interrupted, 141 the reader of our output went away. Tracebacks go to a file, never to the terminal.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from codewm.cli import console
from codewm.cli.commands import VERBS
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from types import ModuleType

CLEAN, FINDINGS, USAGE, BUG, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 3, 130, 141
# Objects made between two searches for garbage. Start-up makes many, and none of them is garbage.
GARBAGE = 100_000
# Newer typers carry click inside, older ones import it; the grandparent of BadParameter is right either way.
_ClickException: type[BaseException] = typer.BadParameter.__mro__[2]


class _PipeClosedError(Exception):
    """The reader of stdout went away; typer itself would turn this into exit status 1."""


class LazyGroup(TyperGroup):
    """The top-level group: knows every verb and its one-line help, imports a verb when it is invoked."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the verb's module and turn its `app` or `run` into a command."""
        verb = VERBS.get(cmd_name)
        return None if verb is None else _command(cmd_name, importlib.import_module(verb.module))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the verbs for `--help` without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Refuse an unknown verb with the nearest one as the hint."""
        word = args[0]
        if word not in VERBS and not word.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(word, VERBS, n=1)
            raise UserError(
                f"there is no command '{word}'",
                f"did you mean 'codewm {near[0]}'?" if near else "run 'codewm --help' for the list",
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; keep a broken pipe away from typer's own handling."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as e:
            raise _PipeClosedError from e


# Plain help: rich help would double the start-up time (benches/startup.py).
app = typer.Typer(
    name="codewm", cls=LazyGroup, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        console.data(f"codewm {version('codewm')}")
        raise typer.Exit(CLEAN)


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Learn how this repository's code moves, and say which edits landed somewhere unexpected."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `codewm` with `argv` and return the exit status; never raises. Without `argv`, it is the process's.

    Then it ends the process, too.
    """
    collects = gc.isenabled()
    if argv is None:
        gc.set_threshold(GARBAGE)
    status = _run(argv)
    if argv is None:
        _end(status)
    elif collects:
        gc.enable()
    return status


def _end(status: int) -> None:
    """End the process as the interpreter would, but do not take every object apart first: a harvest has many.

    Somebody's thread is waited for, so that is left to the interpreter.
    """
    gc.freeze()
    if any(not t.daemon for t in threading.enumerate() if t is not threading.main_thread()):
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _run(argv: Sequence[str] | None) -> int:
    """Run a command; the only place where exceptions become messages."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A terminal in another encoding shows \u2026 instead of stopping the run.
            reconfigure(errors="backslashreplace")
    try:
        status = typer.main.get_command(app).main(
            args=list(sys.argv[1:] if argv is None else argv), prog_name="codewm", standalone_mode=False
        )
        sys.stdout.flush()
    except (_PipeClosedError, BrokenPipeError):
        return _pipe_closed()
    except SystemExit:
        # Typer exits by itself only when the pipe breaks while help is being printed.
        return _pipe_closed()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as e:
        return _report(e)
    if status == INTERRUPTED:
        console.say("Interrupted.")
    return status if isinstance(status, int) else CLEAN


def _command(name: str, module: ModuleType) -> Any:
    sub = getattr(module, "app", None)
    if sub is None:
        sub = typer.Typer(rich_markup_mode=None, add_completion=False)
        sub.command(name=name, help=module.run.__doc__)(module.run)
    command = typer.main.get_command(sub)
    command.name = name
    return command


def _report(e: Exception) -> int:
    """Print one error for a person and return its exit status."""
    if isinstance(e, UserError):
        console.error(e.message, e.hint)
        return USAGE
    if isinstance(e, typer.Abort):
        console.say("Interrupted.")
        return INTERRUPTED
    if isinstance(e, _ClickException):
        return _report_usage(e)
    if _is_core_error(e):
        console.error(str(e), "run 'codewm info' to see which files are in use")
        return USAGE
    log = _write_log(e)
    console.error(
        f"codewm failed unexpectedly: {type(e).__name__}: {e}",
        f"this is our bug; please report it with {log}",
    )
    return BUG


def _report_usage(e: Any) -> int:
    if type(e).__name__ == "NoArgsIsHelpError":
        console.say(e.format_message())
        return USAGE
    context = getattr(e, "ctx", None)
    path = "codewm" if context is None else context.command_path
    console.error(e.format_message(), f"run '{path} --help'")
    return USAGE


def _is_core_error(e: Exception) -> bool:
    # Only if the core was imported can it have raised; importing it here would cost its load time.
    core = sys.modules.get("codewm_core")
    return core is not None and isinstance(e, core.CoreError)


def _write_log(e: Exception) -> str:
    """Write the traceback to a new temporary file and return its path."""
    import tempfile
    import traceback

    try:
        handle, path = tempfile.mkstemp(prefix="codewm-error-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as f:
            f.write(f"python {sys.version}\nplatform {sys.platform}\nargv {sys.argv}\n")
            f.writelines(traceback.format_exception(e))
    except OSError:
        return "the message above (no log file could be written)"
    return path


def _pipe_closed() -> int:
    # The interpreter flushes stdout on the way out and would complain about the same pipe again.
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, sys.stdout.fileno())
    except (OSError, ValueError):
        pass
    finally:
        os.close(devnull)
    return PIPE_CLOSED
