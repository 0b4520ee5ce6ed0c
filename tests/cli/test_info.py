"""Claims about `codewm info` (its other claims are in tests/corpus/test_commands.py):

1. Of a corpus, it shows each repository with its own counts, which add up to those of the whole.
2. `--chains` works outside any repository; without it, a repository is needed.
3. `behind` counts from the repository that one stands in, and from no other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import GitRepo, run_cli

SOURCE = "def add(a, b):\n    return a + b\n"


@pytest.fixture
def repositories(tmp_path: Path) -> tuple[GitRepo, GitRepo]:
    """Give two repositories, of two commits and of one."""
    first, second = GitRepo(tmp_path / "first"), GitRepo(tmp_path / "se\x1b[31mcond")
    first.commit("one", {"a.py": SOURCE})
    first.commit("two", {"a.py": SOURCE.replace("a + b", "b + a")})
    second.commit("one", {"b.py": SOURCE})
    return first, second


@pytest.fixture
def corpus(repositories: tuple[GitRepo, GitRepo], tmp_path: Path) -> Path:
    """Give a corpus of the two."""
    place = tmp_path / "corpus.h5"
    ran = run_cli("harvest", "-q", *(str(r.path) for r in repositories), "--out", str(place))
    assert ran.status == 0, ran.err
    return place


def info(*words: str, cwd: Path) -> dict[str, Any]:
    """Run `codewm info --json`."""
    ran = run_cli("info", "--json", *words, cwd=cwd)
    assert ran.status == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_a_corpus_outside_any_repository(
    corpus: Path, repositories: tuple[GitRepo, GitRepo], tmp_path: Path
) -> None:
    found = info("--chains", str(corpus), cwd=tmp_path)
    assert "not in a Git repository" in found["repository"]["problem"]
    assert found["model"]["from"] == "base"
    chains = found["chains"]
    rows = chains["repositories"]
    assert [(row["commits"], row["edits"], row["chains"]) for row in rows] == [(2, 2, 1), (1, 1, 1)]
    for key in ("commits", "edits", "chains"):
        assert chains[key] == sum(row[key] for row in rows)
    for row, repository in zip(rows, repositories, strict=True):
        assert row["tip"] == repository.git("rev-parse", "HEAD")
        assert row["root"] == repository.git("rev-list", "--max-parents=0", "HEAD")
        assert row["behind"] is None
    assert rows[0]["identity"] != rows[1]["identity"]


def test_the_table_names_each_repository(corpus: Path, tmp_path: Path) -> None:
    ran = run_cli("info", "--chains", str(corpus), cwd=tmp_path)
    lines = ran.out.splitlines()
    at = lines.index(next(line for line in lines if line.startswith("repositories of the chains")))
    assert lines[at + 2].split()[0] == "first"
    assert lines[at + 3].split()[0].startswith("se\\x1b[31mcond")
    assert "\x1b" not in ran.out


def test_behind_is_counted_where_one_stands(corpus: Path, repositories: tuple[GitRepo, GitRepo]) -> None:
    first, second = repositories
    first.commit("three")
    assert [r["behind"] for r in info("--chains", str(corpus), cwd=first.path)["chains"]["repositories"]] == [
        1,
        None,
    ]
    assert [
        r["behind"] for r in info("--chains", str(corpus), cwd=second.path)["chains"]["repositories"]
    ] == [None, 0]


def test_a_store_of_one_repository(repositories: tuple[GitRepo, GitRepo]) -> None:
    first, _ = repositories
    assert run_cli("harvest", "-q", "--path", "a.py", cwd=first.path).status == 0
    chains = info(cwd=first.path)["chains"]
    assert (chains["behind"], chains["paths"], chains["since"]) == (0, ["a.py"], "")
    [row] = chains["repositories"]
    assert (row["tip"], row["behind"], row["edits"]) == (chains["tip"], 0, chains["edits"])
    ran = run_cli("info", cwd=first.path)
    assert "2, of which 2 with edits and 0 skipped" in ran.out
    assert "repositories of the chains" not in ran.out


def test_without_chains_a_repository_is_needed(corpus: Path, tmp_path: Path) -> None:
    ran = run_cli("info", cwd=tmp_path)
    assert (ran.status, ran.out) == (2, "")
    found = info("--chains", str(tmp_path / "nothing.h5"), cwd=tmp_path)
    assert "there are no chains" in found["chains"]["problem"]
