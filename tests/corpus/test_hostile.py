"""Claims:

1. Whatever a repository's configuration, attributes and hooks name, none of it runs. Each trap is set alone, by
   settings that name a program, and where there is a git command that falls into it, that is shown, too.
2. No inherited variable runs anything, or changes what is read.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest
from tests.corpus.conftest import build
from tests.helpers import GitRepo, run_cli


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    folder = build("hostile.sh", tmp_path / "repo")
    _sprung(folder)
    return folder


def _sprung(folder: Path) -> list[str]:
    """Return the traps that went off since the last time."""
    log = folder.parent / "trap.log"
    lines = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def test_the_traps_work(hostile: Path) -> None:
    for args in (
        ["status"],
        ["diff"],
        ["diff", "--ext-diff"],
        ["log", "-1", "-p", "--textconv"],
        ["add", "a.py"],
    ):
        subprocess.run(["git", *args], cwd=hostile, capture_output=True, check=False, timeout=20)
    expected = {"fsmonitor", "hook-post-index-change", "process", "driver", "textconv"}
    assert expected <= set(_sprung(hostile))


def test_nothing_runs(hostile: Path, options: Options, tmp_path: Path) -> None:
    with Repository.open(hostile) as repo:
        assert repo.config("core")["core.fsmonitor"].endswith("fsmonitor")
        records = list(repo.commits("HEAD"))
        assert [r.subject for r in records] == ["first", "second"]
        assert [c.content for c in repo.worktree().changes] == [b"def f():\n    return 3\n"]
        assert repo.staged().changes == ()
        assert len(repo.tree_python_blobs("HEAD")) == 1
        assert harvest(repo, options).header.edits == 2
    assert run_cli("harvest", "--rebuild", str(hostile)).status == 0
    assert run_cli("info", str(hostile)).status == 0
    assert _sprung(hostile) == []


def _everything(place: Path, *, allow_fetch: bool = False) -> dict[str, object]:
    """Run every method that reads a repository."""
    with Repository.open(place, allow_fetch=allow_fetch) as repo:
        records = list(repo.commits("HEAD"))
        sides = [oid for r in records for c in r.changes for oid in (c.old_oid, c.new_oid) if oid]
        return {
            "records": records,
            "skipped": list(repo.commits("HEAD", merges="skip", max_count=1)),
            "range": list(repo.commits("HEAD~1..HEAD")),
            "objects": list(repo.read_objects(sides)),
            "missing": list(repo.read_blobs(["1" * 40])),
            "tree": repo.tree_python_blobs("HEAD"),
            "staged": repo.staged().changes,
            "worktree": repo.worktree().changes,
            "user": repo.config("user"),
            "branch": repo.branch,
            "line": repo.first_parents("HEAD"),
            "names": (
                repo.head(),
                repo.resolve("main"),
                repo.has(repo.root),
                repo.has("1" * 40),
                repo.identity,
            ),
            "kind": (repo.is_partial, repo.is_shallow),
        }


@dataclass(frozen=True)
class Trap:
    """Settings that name the program {t}, which writes down its first word, and what makes git run it."""

    settings: dict[str, str]
    springs: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    input: bytes = b""


HOOKS = ("pre-commit", "post-index-change", "reference-transaction", "post-checkout", "pre-auto-gc",
         "fsmonitor-watchman", "post-rewrite", "push-to-checkout")  # fmt: skip
COMMANDS = ("log", "cat-file", "rev-parse", "rev-list", "config", "diff-index", "diff-tree", "ls-files",
            "ls-tree", "fetch")  # fmt: skip
RUN_HOOK = '#!/bin/sh\nexec "{t}" hook\n'
DRIVEN = {".gitattributes": "*.py diff=evil filter=evil merge=evil\n"}
TRAPS = {
    "fsmonitor": Trap({"core.fsmonitor": "{t} x"}, ("status",)),
    "hooks": Trap(
        {}, ("commit", "-q", "--allow-empty", "-m", "x"), {f".git/hooks/{h}": RUN_HOOK for h in HOOKS}
    ),
    "hooksPath": Trap(
        {"core.hooksPath": "{r}/hooks"},
        ("commit", "-q", "--allow-empty", "-m", "x"),
        {f"hooks/{h}": RUN_HOOK for h in HOOKS},
    ),
    "external": Trap({"diff.external": "{t} x"}, ("diff",)),
    "driver": Trap({"diff.evil.command": "{t} x"}, ("diff",), DRIVEN),
    "textconv": Trap({"diff.evil.textconv": "{t} x", "diff.evil.cachetextconv": "true"}, ("diff",), DRIVEN),
    "clean": Trap({"filter.evil.clean": "{t} x", "filter.evil.required": "true"}, ("add", "a.py"), DRIVEN),
    "smudge": Trap({"filter.evil.smudge": "{t} x"}, ("checkout", "-f", "HEAD", "--", "a.py"), DRIVEN),
    "process": Trap({"filter.evil.process": "{t} x"}, ("add", "a.py"), DRIVEN),
    "attributesFile": Trap(
        {"filter.evil.clean": "{t} x", "core.attributesFile": "{r}/attributes"},
        ("add", "a.py"),
        {"attributes": "*.py filter=evil\n"},
    ),
    "merge": Trap({"merge.evil.driver": "{t} x"}, (), DRIVEN),
    "aliases": Trap({"alias.own": "!{t} x"} | {f"alias.{name}": "!{t} x" for name in COMMANDS}, ("own",)),
    "pagers": Trap({"core.pager": "{t} x"} | {f"pager.{name}": "{t} x" for name in COMMANDS}),
    "editors": Trap({"core.editor": "{t} x", "sequence.editor": "{t} x"}, ("commit", "--allow-empty")),
    "signatures": Trap({"log.showSignature": "true", "gpg.program": "{t}"}, ("log", "-1", "signed")),
    "ssh": Trap(
        {"core.sshCommand": "{t} x", "remote.origin.url": "ssh://nowhere.invalid/x"}, ("fetch", "origin")
    ),
    "proxy": Trap(
        {"core.gitProxy": "{t}", "remote.origin.url": "git://nowhere.invalid/x"}, ("fetch", "origin")
    ),
    "vcs": Trap({"remote.origin.vcs": "evil", "remote.origin.url": "x"}, ("fetch", "origin")),
    "ext": Trap({"protocol.ext.allow": "always", "remote.origin.url": "ext::{t} x"}, ("fetch", "origin")),
    "uploadpack": Trap(
        {"remote.origin.uploadpack": "{t} x", "remote.origin.url": "{r}"}, ("fetch", "origin")
    ),
    "promisor": Trap(
        {
            "core.repositoryFormatVersion": "1",
            "extensions.partialClone": "origin",
            "remote.origin.promisor": "true",
            "remote.origin.uploadpack": "{t} x",
            "remote.origin.url": "{r}",
        },
        ("fetch", "origin"),
    ),
    "credentials": Trap(
        {"credential.helper": "!{t} x", "credential.https://x.helper": "!{t} x", "core.askPass": "{t}"},
        ("credential", "fill"),
        input=b"protocol=https\nhost=x\n\n",
    ),
    "include": Trap(
        {"include.path": "{r}/included"}, ("status",), {"included": "[core]\n\tfsmonitor = {t} x\n"}
    ),
    "includeIf": Trap(
        {"includeIf.gitdir:{r}/.path": "{r}/included", "includeIf.onbranch:main.path": "{r}/included"},
        ("status",),
        {"included": "[core]\n\tfsmonitor = {t} x\n"},
    ),
    "alternateRefs": Trap(
        {"core.alternateRefsCommand": "{t} x"},
        ("rev-list", "--alternate-refs"),
        {".git/objects/info/alternates": "{o}/.git/objects\n"},
    ),
    "packObjects": Trap({"uploadpack.packObjectsHook": "{t} x", "gc.recentObjectsHook": "{t} x"}),
    "worktree": Trap({"core.worktree": "{o}"}),
    "worktreeConfig": Trap(
        {"extensions.worktreeConfig": "true", "core.repositoryFormatVersion": "1"},
        ("status",),
        {".git/config.worktree": "[core]\n\tfsmonitor = {t} x\n"},
    ),
    "submodule": Trap(
        {"submodule.sub.update": "!{t} x", "submodule.sub.url": "ext::{t} x", "submodule.recurse": "true"},
        (),
        {".gitmodules": '[submodule "sub"]\n\tpath = sub\n\turl = ext::{t} x\n\tupdate = !{t} x\n'},
    ),
}


@pytest.fixture
def plain(git_repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitRepo:
    """A repository with changes of every kind, and beside it the program, a helper for remotes and another one."""
    git_repo.commit("first", {"a.py": "x = 1\n", "b.py": "".join(f"y{i} = 1\n" for i in range(30))})
    git_repo.commit("move", {"b.py": None, "c.py": "".join(f"y{i} = 1\n" for i in range(31))})
    raw = git_repo.git("cat-file", "commit", "HEAD").partition("\n\n")
    signed = f"{raw[0]}\ngpgsig -----BEGIN PGP SIGNATURE-----\n x\n -----END PGP SIGNATURE-----\n\nmove\n"
    oid = git_repo.git("hash-object", "-t", "commit", "-w", "--stdin", input=signed.encode())
    git_repo.git("update-ref", "refs/heads/main", oid)
    git_repo.git("branch", "signed")
    git_repo.write("staged.py", "z = 1\n")
    git_repo.git("add", "staged.py")
    # Same size and an old time: Git has to compare the content, through filters.
    os.utime(git_repo.write("a.py", "x = 2\n"), (1, 1))
    trap = tmp_path / "trap"
    trap.write_text(f'#!/bin/sh\necho sprung >> "{trap}.log"\n')
    helper = tmp_path / "bin" / "git-remote-evil"
    helper.parent.mkdir()
    helper.write_text(f'#!/bin/sh\n"{trap}"\n')
    for program in (trap, helper):
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(helper.parent), prepend=os.pathsep)
    other = GitRepo(tmp_path / "other")
    other.commit("other", {"a.py": "x = 3\n"})
    other.git("config", "core.fsmonitor", f"{trap} x")
    return git_repo


@pytest.fixture
def plant(plain: GitRepo, tmp_path: Path) -> Callable[[Trap], None]:
    """Set a trap in the repository."""
    places = {"t": tmp_path / "trap", "r": plain.path, "o": tmp_path / "other"}

    def fill(text: str) -> str:
        for name, place in places.items():
            text = text.replace(f"{{{name}}}", str(place))
        return text

    def set_up(trap: Trap) -> None:
        for name, text in trap.files.items():
            plain.write(name, fill(text)).chmod(0o755)
        # By a file of its own, because git reads what is set already each time.
        for name, value in trap.settings.items():
            subprocess.run(
                ["git", "config", "-f", str(plain.path / ".git/config"), fill(name), fill(value)], check=True
            )

    return set_up


@pytest.mark.parametrize("name", TRAPS)
def test_no_trap_is_sprung(plain: GitRepo, plant: Callable[[Trap], None], name: str) -> None:
    trap = TRAPS[name]
    before = _everything(plain.path)
    plant(trap)
    for allow_fetch in (False, True):
        after = _everything(plain.path, allow_fetch=allow_fetch)
        assert _sprung(plain.path) == []
        if name == "worktree":
            assert after.pop("worktree") != before["worktree"]
        assert {k: after[k] for k in after if k != "kind"} == {k: before[k] for k in after if k != "kind"}
    if trap.springs:
        env = dict(os.environ) | {"GIT_AUTHOR_NAME": "x", "GIT_AUTHOR_EMAIL": "x"}
        subprocess.run(
            ["git", *trap.springs], cwd=plain.path, env=env, input=trap.input, capture_output=True, check=False,
            timeout=20,
        )  # fmt: skip
        assert _sprung(plain.path) != [], "git itself does not fall into this trap"


PROGRAMS = ("GIT_EXTERNAL_DIFF", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_PAGER", "GIT_ASKPASS", "GIT_EDITOR",
            "GIT_SEQUENCE_EDITOR", "GIT_PROXY_COMMAND")  # fmt: skip
PLACES = ("GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY",
          "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CEILING_DIRECTORIES", "GIT_NAMESPACE", "GIT_EXEC_PATH",
          "GIT_TEMPLATE_DIR", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE", "GIT_REPLACE_REF_BASE",
          "GIT_ATTR_SOURCE", "GIT_CONFIG", "GIT_CONFIG_SYSTEM", "GIT_QUARANTINE_PATH")  # fmt: skip
FILES = ("GIT_TRACE", "GIT_TRACE2", "GIT_TRACE2_EVENT", "GIT_TRACE_PACKET", "GIT_TRACE_SETUP", "GIT_TRACE_CURL",
         "GIT_TRACE_PERFORMANCE", "GIT_REDIRECT_STDERR", "GIT_REDIRECT_STDOUT")  # fmt: skip
SWITCHES = {
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "core.bare",
    "GIT_CONFIG_VALUE_0": "nonsense",
    "GIT_CONFIG_KEY_1": "user.name",
    "GIT_CONFIG_VALUE_1": "Eve",
    "GIT_CONFIG_PARAMETERS": "'user.name'='Eve'",
    "GIT_DIFF_OPTS": "-u9",
    "GIT_LITERAL_PATHSPECS": "0",
    "GIT_DEFAULT_HASH": "sha256",
    "GIT_NO_LAZY_FETCH": "0",
    "GIT_ALLOW_PROTOCOL": "ext",
    "GIT_OPTIONAL_LOCKS": "1",
    "GIT_ICASE_PATHSPECS": "1",
    "GIT_FLUSH": "0",
    "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1",
}


def test_no_inherited_variable_counts(
    plain: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _everything(plain.path)
    values = {name: f"{tmp_path}/trap {name}" for name in PROGRAMS}
    values |= {name: str(tmp_path / "nowhere") for name in PLACES}
    values |= {name: str(tmp_path / "traces" / name) for name in FILES} | SWITCHES
    (tmp_path / "traces").mkdir()
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert _everything(plain.path) == before
    assert _sprung(plain.path) == []
    assert list((tmp_path / "traces").iterdir()) == []
