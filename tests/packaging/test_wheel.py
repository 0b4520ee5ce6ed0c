"""Claims about what is installed and what may import what.

1. The wheel's only top-level names are `codewm` and its metadata; the core's only one is `codewm_core`.
   Every module of the tree is in the wheel, with the hook template and the type markers.
2. The command line, run inside a repository that has its own `model/`, `corpus/`, `hooks/` and `codewm_cli/`
   and with PYTHONPATH=. on top, runs our code and none of theirs.
3. `codewm --help` and the modules behind `score` and `hook` import neither torch nor h5py.
4. core <- corpus <- model; hooks and the command line stand on those; nobody imports the command line.
   torch is imported only in model/ (not in model/scoring/), h5py only in corpus/store.py, and processes are
   started only in corpus/git.py.
5. No source file is longer than 600 lines.
"""

from __future__ import annotations

import ast
import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers import ROOT, GitRepo, codewm_script, hermetic_env, run_codewm

FOLDERS = {
    "codewm_cli": "codewm.cli",
    "corpus": "codewm.corpus",
    "hooks": "codewm.hooks",
    "model": "codewm.model",
}
MAY_IMPORT = {
    "codewm.corpus": {"codewm.corpus"},
    "codewm.model": {"codewm.model", "codewm.corpus"},
    "codewm.hooks": {"codewm.hooks", "codewm.model", "codewm.corpus"},
    "codewm.cli": {"codewm.cli", "codewm.hooks", "codewm.model", "codewm.corpus"},
}
ONLY_IN: dict[str, Callable[[str], bool]] = {
    "torch": lambda rel: rel.startswith("model/") and not rel.startswith(("model/scoring/", "model/base/")),
    "h5py": lambda rel: rel == "corpus/store.py",
    "subprocess": lambda rel: rel == "corpus/git.py",
}
LINE_LIMIT = 600


def sources() -> list[str]:
    """List the Python files of the four packages, relative to the root."""
    found = (p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))
    return sorted(p.relative_to(ROOT).as_posix() for p in found if "__pycache__" not in p.parts)


def imported(rel: str) -> Iterator[str]:
    """Yield every module name that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse((ROOT / rel).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{rel} uses a relative import"
            yield node.module or ""
            # `from codewm import cli` names a package in the second half.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.fixture(scope="session")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build the wheel from a copy of the tree, without a network, and list its files."""
    copy = tmp_path_factory.mktemp("tree with spaces")
    for name in [*FOLDERS, "pyproject.toml", "README.md", "LICENSE"]:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", build, "out"], cwd=copy, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    [wheel] = (copy / "out").iterdir()
    return zipfile.ZipFile(wheel).namelist()


def test_top_level_names_of_the_wheel(wheel_names: list[str]) -> None:
    top = {name.split("/")[0] for name in wheel_names}
    assert "codewm" in top
    assert {name for name in top if name != "codewm" and not name.endswith(".dist-info")} == set()


def test_the_wheel_holds_every_module(wheel_names: list[str]) -> None:
    expected = set()
    for rel in sources():
        folder, _, rest = rel.partition("/")
        expected.add(f"{FOLDERS[folder].replace('.', '/')}/{rest}")
    assert expected <= set(wheel_names)
    markers = {f"{name.replace('.', '/')}/py.typed" for name in FOLDERS.values()}
    assert markers | {"codewm/hooks/pre-commit.sh"} <= set(wheel_names)
    assert "codewm/model/base/base.safetensors" in wheel_names


def test_top_level_names_of_the_core() -> None:
    files = importlib.metadata.files("codewm-core") or []
    top = {Path(str(f)).parts[0] for f in files}
    # `maturin develop` installs a path file instead of the package.
    assert {n for n in top if not n.endswith((".dist-info", ".pth"))} <= {"codewm_core"}


@pytest.fixture
def hostile(git_repo: GitRepo) -> GitRepo:
    """Give a repository whose packages have our folders' names and bite when they are imported."""
    bite = "import pathlib, sys\npathlib.Path('BITTEN').write_text(__name__)\nsys.exit(66)\n"
    names = ["model", "corpus", "hooks", "codewm_cli", "tests", "benches", "config", "console", "main"]
    files = {f"{name}/__init__.py": bite for name in names}
    git_repo.commit("hostile", files)
    git_repo.commit("work", {"work.py": "def work(a):\n    return a + 1\n"})
    git_repo.commit("more work", {"work.py": "def work(a, b):\n    return a + b\n"})
    return git_repo


@pytest.mark.parametrize("path", [None, "."], ids=["plain", "PYTHONPATH=."])
@pytest.mark.parametrize(
    "words", [["--help"], ["hook", "status"], ["info"], ["score"], ["hook", "run", "--strict"]]
)
def test_a_hostile_repository_is_not_imported(hostile: GitRepo, path: str | None, words: list[str]) -> None:
    env = hermetic_env(hostile.home, {"PYTHONPATH": path} if path else None)
    ran = run_codewm(*words, cwd=hostile.path, env=env)
    assert not (hostile.path / "BITTEN").exists()
    assert ran.status == 0, ran.err


def test_the_module_form_with_safe_path(hostile: GitRepo) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("python -P is new in 3.11")
    command = [sys.executable, "-P", "-m", "codewm.cli", "--help"]
    done = subprocess.run(command, cwd=hostile.path, env=hostile.env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert not (hostile.path / "BITTEN").exists()


def test_the_hook_calls_no_module_form() -> None:
    assert " -m " not in (ROOT / "hooks" / "pre-commit.sh").read_text()
    assert codewm_script().is_file()


def test_score_and_hook_import_neither_torch_nor_h5py(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "import codewm.cli.main, codewm.cli.commands.score, codewm.cli.commands.hook\n"
        "import codewm.hooks.pre_commit, codewm.hooks.install, codewm.model.scoring.score\n"
        "bad = {'torch', 'h5py'} & set(sys.modules)\n"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    command, env = [sys.executable, "-c", code], hermetic_env(tmp_path / "home")
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("rel", sources())
def test_import_rule(rel: str) -> None:
    own = FOLDERS[rel.split("/")[0]]
    for name in imported(rel):
        root = name.split(".")[0]
        assert root not in FOLDERS, (
            f"{rel} imports {name}: the bare name is shadowed inside users' repositories"
        )
        if name.startswith("codewm.") and not name.startswith("codewm_core"):
            package = ".".join(name.split(".")[:2])
            assert package in MAY_IMPORT[own], f"{rel} imports {name}"
        if root in ONLY_IN:
            assert ONLY_IN[root](rel), f"{rel} imports {name}"


def test_no_file_is_too_long() -> None:
    done = subprocess.run(
        ["git", "ls-files", "-z", "*.py", "*.rs", "*.sh"], cwd=ROOT, capture_output=True, check=False
    )
    listed = [name for name in done.stdout.decode().split("\0") if name] or sources()
    lengths = {
        name: len((ROOT / name).read_bytes().splitlines()) for name in listed if (ROOT / name).is_file()
    }
    assert {name: n for name, n in lengths.items() if n > LINE_LIMIT} == {}
