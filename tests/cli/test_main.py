"""Claims about the command line's frame.

1. `--help` lists every verb with its one line and imports no verb, and neither torch, h5py, numpy nor rich.
2. Every verb's module exists, has `run` or `app`, and its `--help` works.
3. Usage errors are one `error:` and one `hint:` line and status 2; a misspelt verb gets the nearest one.
4. A UserError or an error of the core exits 2; anything else exits 3 with the path of a log that holds the
   traceback, and no traceback is shown; Ctrl-C exits 130; a closed pipe is quiet.
5. Nothing that is printed lets a control character, a bidi override or rich markup from a repository act.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from codewm.cli import console
from codewm.cli.commands import VERBS, Verb
from codewm.corpus.errors import UserError
from tests.helpers import Ran, codewm_script, hermetic_env, run_cli, run_codewm


@pytest.fixture
def explode(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], Ran]:
    """Give a verb that raises the error it is given, and run it."""

    def raising(error: BaseException) -> Ran:
        def run() -> int:
            """Explode."""
            raise error

        module = ModuleType("codewm_test_explode")
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(VERBS, "explode", Verb(module.__name__, "Explode."))
        return run_cli("explode")

    return raising


def test_help_lists_every_verb() -> None:
    ran = run_cli("--help")
    assert ran.status == 0
    for name, verb in VERBS.items():
        assert f"  {name} " in ran.out
        assert verb.help.split()[0] in ran.out


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from codewm.cli.main import main; main(['--help']);"
        "bad = {'torch', 'h5py', 'numpy', 'rich', 'git', 'codewm_core'} & set(sys.modules);"
        "verbs = [m for m in sys.modules if m.startswith('codewm.cli.commands.')];"
        "sys.exit(f'imported {bad} {verbs}' if bad or verbs else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=hermetic_env(tmp_path / "h"),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_has_help(verb: str) -> None:
    module = importlib.import_module(VERBS[verb].module)
    assert hasattr(module, "run") or hasattr(module, "app")
    ran = run_cli(verb, "--help")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: codewm {verb}")


def test_version() -> None:
    ran = run_cli("--version")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("codewm 0.")


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["scor"], "there is no command 'scor'", "did you mean 'codewm score'?"),
        (["zzzzzz"], "there is no command 'zzzzzz'", "run 'codewm --help' for the list"),
        (["--nope"], "No such option: --nope", "run 'codewm --help'"),
        (["hook", "run", "--nope"], "No such option: --nope", "run 'codewm hook run --help'"),
    ],
)
def test_usage_errors(words: list[str], error: str, hint: str) -> None:
    ran = run_cli(*words)
    assert ran.status == 2
    assert ran.out == ""
    lines = ran.err.splitlines()
    assert lines[0].startswith(f"error: {error}")
    assert lines[1] == f"hint: {hint}"
    assert len(lines) == 2


def test_no_verb_shows_the_help_and_is_a_usage_error() -> None:
    ran = run_cli()
    assert (ran.status, ran.out) == (2, "")
    assert "Commands:" in ran.err


def test_user_error_is_two_lines_even_with_a_hostile_message(explode: Callable[[BaseException], Ran]) -> None:
    ran = explode(UserError("no file 'a\x1b[31m\nb'", "look [bold]there[/bold]"))
    assert ran.status == 2
    assert ran.err == "error: no file 'a\\x1b[31m\\nb'\nhint: look [bold]there[/bold]\n"


def test_core_error_exits_two(explode: Callable[[BaseException], Ran]) -> None:
    core = pytest.importorskip("codewm_core")
    ran = explode(core.InvalidInput("bad bytes"))
    assert ran.status == 2
    assert ran.err.startswith("error: bad bytes\n")


def test_our_bug_exits_three_and_leaves_a_log(
    explode: Callable[[BaseException], Ran], tmp_path: Path
) -> None:
    ran = explode(ZeroDivisionError("a secret"))
    assert ran.status == 3
    assert "Traceback" not in ran.err
    log = Path(ran.err.rsplit(" ", 1)[-1].strip())
    assert "ZeroDivisionError: a secret" in log.read_text()
    log.unlink()


def test_interrupt_exits_130(explode: Callable[[BaseException], Ran]) -> None:
    ran = explode(KeyboardInterrupt())
    assert ran.status == 130
    assert ran.err == "Interrupted.\n"


def test_closed_pipe_in_a_verb_is_quiet(explode: Callable[[BaseException], Ran]) -> None:
    ran = explode(BrokenPipeError())
    assert (ran.status, ran.err) == (141, "")


def test_closed_pipe_of_a_process_is_quiet(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" --help | true', str(codewm_script())],
        env=hermetic_env(tmp_path / "h"), capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


def test_console_script_and_module_agree(tmp_path: Path) -> None:
    script = run_codewm("--help", cwd=tmp_path)
    module = subprocess.run(
        [sys.executable, "-m", "codewm.cli", "--help"],
        cwd=tmp_path, env=hermetic_env(tmp_path / "h"), capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert script.status == 0
    assert script.out == module.stdout


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("über 👩‍💻", "über 👩‍💻"),
        ("a\x1b]0;title\x07b", "a\\x1b]0;title\\x07b"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("abc\u202etxt.exe", "abc\\u202etxt.exe"),
        ("\u2066\u200b\u2028\u0085\x9b", "\\u2066\\u200b\\u2028\\x85\\x9b"),
        ("tag\U000e0041", "tag\\U000e0041"),
        (b"caf\xe9\xff", "caf\\xe9\\xff"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("[red]x[/red] :smile:", "[red]x[/red] :smile:"),
    ],
)
def test_inert(raw: str | bytes, shown: str) -> None:
    assert console.inert(raw) == shown
    assert console.inert(shown) == shown


def test_rich_output_never_reads_markup(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    table = Table("subject")
    table.add_row("[red]x[/red] :smile: [link=http://a]b[/link]")
    console.render(table)
    assert "[red]x[/red] :smile: [link=http://a]b[/link]" in capsys.readouterr().out


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("reading", 10) as bar:
        bar.advance()
        bar.advance(3)
    assert capsys.readouterr() == ("", "")


def test_quiet_narration(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("not this", quiet=True)
    console.say("this\x1b[2J")
    console.warn("and\nthis")
    console.data("data")
    assert capsys.readouterr() == ("data\n", "this\\x1b[2J\nwarning: and\\nthis\n")
