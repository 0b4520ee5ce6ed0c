"""Real Git repositories and real runs of the command line, cut off from the machine they run on."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# First commit of every test repository; each further commit is one hour later (unix seconds).
EPOCH = 1_700_000_000
HOUR = 3600


def hermetic_env(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a whole environment: no user or system Git configuration, no colours, no inherited GIT_*."""
    home.mkdir(parents=True, exist_ok=True)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "NO_COLOR": "1",
    }
    return env | dict(extra or {})


class GitRepo:
    """A real repository with fixed people and dates; `commit` moves the clock by one hour."""

    def __init__(self, path: Path, *, bare: bool = False) -> None:
        self.path = path
        self.home = path.parent / f"{path.name}-home"
        self.env = hermetic_env(self.home)
        self._clock = EPOCH
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main", *(["--bare"] if bare else []))
        for key, value in (
            ("user.name", "Ada"),
            ("user.email", "ada@example.com"),
            ("commit.gpgsign", "false"),
        ):
            self.git("config", key, value)

    def git(self, *args: str, input: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
        """Run git in the repository and return its output without the last newline."""
        done = self.git_result(*args, input=input, env=env)
        if done.returncode != 0:
            raise AssertionError(f"git {args} failed: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")

    def git_result(
        self, *args: str, input: bytes | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run git and return the finished process, whatever its status."""
        dates = {"GIT_AUTHOR_DATE": f"{self._clock} +0000", "GIT_COMMITTER_DATE": f"{self._clock} +0000"}
        return subprocess.run(
            ["git", *args],
            cwd=self.path,
            input=input,
            env=self.env | dates | dict(env or {}),
            capture_output=True,
            check=False,
        )

    def write(self, rel: str, content: str | bytes) -> Path:
        """Write one file of the work tree."""
        path = self.path / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def commit(
        self,
        subject: str = "change",
        files: Mapping[str, str | bytes | None] | None = None,
        *,
        author: str | None = None,
        when: int | None = None,
    ) -> str:
        """Write `files` (None deletes), stage everything, commit, and return the new commit's id.

        `author` is `Name <email>`; `when` is unix seconds, by default one hour after the commit before.
        """
        self.stage(files or {})
        self._clock = self._clock + HOUR if when is None else when
        who = ["--author", author] if author else []
        self.git(
            "commit",
            "-q",
            "--allow-empty",
            "--no-verify",
            "-F",
            "-",
            *who,
            input=subject.encode("utf-8", "surrogateescape"),
        )
        return self.git("rev-parse", "HEAD")

    def stage(self, files: Mapping[str, str | bytes | None]) -> None:
        """Write `files` (None deletes) and stage everything."""
        for rel, content in files.items():
            if content is None:
                (self.path / rel).unlink()
            else:
                self.write(rel, content)
        self.git("add", "-A")


@dataclass(frozen=True)
class Ran:
    """One finished run of the command line: exit status, stdout and stderr as text."""

    status: int
    out: str
    err: str


def run_cli(*args: str, cwd: Path | None = None) -> Ran:
    """Run `codewm` in this process: fast, and the error boundary is part of what runs."""
    from codewm.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    before = Path.cwd()
    os.chdir(cwd or before)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(list(args))
    finally:
        os.chdir(before)
    return Ran(status, out.getvalue(), err.getvalue())


def codewm_script() -> Path:
    """Return the installed console script of the environment that runs the tests."""
    return Path(sys.executable).parent / "codewm"


def run_codewm(
    *args: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,
    timeout: float = 120,
) -> Ran:
    """Run the console script with exactly `env` (default: hermetic, beside `cwd`); `timeout` in seconds."""
    exact = dict(env) if env is not None else hermetic_env(cwd.parent / f"{cwd.name}-home")
    done = subprocess.run(
        [str(codewm_script()), *args],
        cwd=cwd,
        env=exact,
        input=input,
        capture_output=True,
        check=False,
        timeout=timeout,
    )
    return Ran(
        done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    )
