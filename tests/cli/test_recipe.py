"""Claims about `codewm train --recipe`, on a real repository:

1. It trains in either mode; stdout is the table with each figure's nulls, or one document; stderr is talk; the run is a
   folder beside our own, whose config says what was done.
2. With the papers' tokeniser whole files are read out of Git; what cannot be seen in the window is counted.
3. A run is not written over, and what a recipe does not take is refused at once.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codewm.model.papers.config import from_json
from codewm.model.papers.world import load
from tests.helpers import GitRepo, run_cli
from tests.model.evaluation.repository import build

QUICK = [
    part
    for pair in ("dim=16", "heads=2", "mlp=32", "projector_hidden=16", "batch=8", "watch=2", "precision=f32")
    for part in ("--set", pair)
]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    return build(tmp_path_factory.mktemp("repo") / "bench", commits=70)


def test_a_recipe_in_its_two_modes(repo: GitRepo, tmp_path: Path) -> None:
    asked = ("train", "--recipe", "encoder-collapse", "--steps", "4", *QUICK)
    ran = run_cli(*asked, "--mode", "published", cwd=repo.path)
    assert ran.status == 0, ran.err
    assert "mixed spaces" in ran.out
    assert "constant target" in ran.out
    assert "step 4: mixed delta cosine" in ran.err
    [run] = (repo.path / ".git" / "codewm" / "runs").glob("*-encoder-collapse-published-s0")
    recipe = from_json((run / "config.json").read_text())
    assert recipe.objective.detach
    assert recipe.run.steps == 4
    assert load(run).action == "v7"

    place = tmp_path / "run"
    ran = run_cli(*asked, "--mode", "text", "--json", "-q", "-o", str(place), cwd=repo.path)
    assert ran.status == 0, ran.err
    assert ran.err == ""
    document = json.loads(ran.out)
    assert document["schema"] == "codewm.papers-run/1"
    assert document["watched"]["unrelated_cosine"] <= 1
    assert not document["recipe"]["objective"]["detach"]
    again = run_cli(*asked, "-o", str(place), cwd=repo.path)
    assert again.status == 2
    assert "holds a run already" in again.err


def test_the_papers_tokeniser_reads_whole_files(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "files")
    for version in range(60):
        # The papers' tokens leave out which number it is: every third edit cannot be seen.
        called = version - version // 3
        repo.commit(f"version {version}", {"a.py": f"value = call_{called}({version})\n"})
    asked = ("train", "--recipe", "readout-repair", "--tokenizer", "paper", "--steps", "2", *QUICK)
    ran = run_cli(*asked, "--json", "-o", str(tmp_path / "run"), cwd=repo.path)
    assert ran.status == 0, ran.err
    document = json.loads(ran.out)
    assert document["recipe"]["network"]["vocab_size"] == 662
    assert document["recipe"]["network"]["window"] == 512
    assert document["ledger"]["edits"] == 60
    assert document["ledger"]["not visible in the window"] == sum(
        v - v // 3 == v - 1 - (v - 1) // 3 for v in range(1, 60)
    )
    assert load(tmp_path / "run").tokenizer == "paper"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--recipe", "ours"), "there is no recipe 'ours'"),
        (("--recipe", "readout-repair", "--mode", "both"), "there is no mode 'both'"),
        (("--recipe", "readout-repair", "--minutes", "3"), "takes no --minutes"),
        (("--recipe", "readout-repair", "--tokenizer", "bpe"), "there is no tokeniser 'bpe'"),
        (("--recipe", "readout-repair", "--set", "loop=3"), "unknown recipe key: loop"),
        (("--recipe", "readout-repair", "--resume"), "no unfinished run"),
        (("--mode", "published"), "--recipe"),
    ],
)
def test_what_cannot_be_asked_is_refused(repo: GitRepo, args: tuple[str, ...], said: str) -> None:
    ran = run_cli("train", *args, cwd=repo.path)
    assert ran.status == 2
    assert said in ran.err
