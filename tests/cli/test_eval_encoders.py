"""Claims about `codewm eval retrieval` and `codewm eval probe`, on real repositories:

1. stdout is the tables, or one document of codewm.eval/1 that holds what is printed; stderr is talk, and none with -q.
2. An encoder from a local folder is a row like any other, on the same edits.
3. A model is any number of them, each with rows of its own; what is compared does not depend on which.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import GitRepo, run_cli
from tests.model.evaluation import tiny_encoder
from tests.model.evaluation.related import build as related
from tests.model.evaluation.repository import build, module
from tests.scoring.random_model import write_random_model

QUICK = ("--resamples", "30", "--limit", "120", "--threads", "1")


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("clones")
    repo: GitRepo
    repo, _ = related(folder / "one")
    for version in range(30):
        names = [f"{m}{version % 10}" for m in ("x", "y")]
        files = {f"{name}.py": module(version, name) for name in names}
        repo.commit(f"version {version}, #{100 + version // 2}", files)
    other = build(folder / "two", commits=30)
    for version in range(10):
        other.commit(f"more {version}", {f"z{version}.py": module(version, f"z{version}")})
    return [str(repo.path), str(other.path)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_random_model(tmp_path_factory.mktemp("model") / "random.safetensors"))


def values(document: dict[str, Any]) -> dict[tuple[str, str, str, str], float]:
    return {(r["metric"], r["subset"], r["data"], r["encoder"]): r["value"] for r in document["rows"]}


def test_retrieval(clones: list[str], model: str, tmp_path: Path) -> None:
    out, plots = tmp_path / "r.json", tmp_path / "plots"
    asked = ("eval", "retrieval", *clones, "--model", model, *QUICK)
    ran = run_cli(*asked, "--json", str(out), "--plots", str(plots))
    assert ran.status == 0, ran.err
    for title in ("made from the action, as", "beside nine others", "not made from the action"):
        assert title in ran.out
    assert "class prior" in ran.out
    assert "same joint: " in ran.err
    document = json.loads(out.read_text())
    assert (document["suite"], document["finished"]) == ("retrieval", True)
    assert [m["name"] for m in document["model"]] == ["random.safetensors"]
    assert document["about"]["issues"] > 5
    assert all(r["nulls"] and "encoder" in r for r in document["rows"])
    assert len(list(plots.iterdir())) > 8
    assert str(tmp_path) not in out.read_text()
    shown = next(
        r for r in document["rows"]
        if (r["metric"], r["subset"], r["data"], r["encoder"])
        == ("reciprocal_rank_at_10", "same joint", "", "copy")
    )  # fmt: skip
    line = next(line for line in ran.out.splitlines() if line.startswith("copy"))
    assert f"{shown['value']:.3f}" in line
    quiet = run_cli(*asked, "--json", "-", "-q")
    assert quiet.err == ""
    assert json.loads(quiet.out)["rows"] == document["rows"]


def test_encoders_and_models_are_rows(clones: list[str], model: str, tmp_path: Path) -> None:
    tiny = str(tiny_encoder.write(tmp_path / "tiny"))
    second = str(write_random_model(tmp_path / "second.safetensors", seed=1))
    asked = ("eval", "retrieval", *clones, "--model", model, *QUICK, "--json", "-", "-q")
    without = values(json.loads(run_cli(*asked).out))
    ran = run_cli(*asked, "--model", second, "--encoder", tiny)
    assert ran.status == 0, ran.err
    document = json.loads(ran.out)
    found = values(document)
    assert document["about"]["edits"]["without_text"] == 0
    new = {key[3] for key in found} - {key[3] for key in without}
    assert new == {"tiny", *(f"second.safetensors {space}" for space in ("target", "online", "predicted"))}
    assert set(without) <= set(found)
    assert {key: found[key] for key in without} == without
    revert = found["reciprocal_rank_at_10", "revert", "", "tiny"]
    assert revert > found["reciprocal_rank_at_10", "revert", "", "random"]


def test_probe(clones: list[str], model: str, tmp_path: Path) -> None:
    tiny = str(tiny_encoder.write(tmp_path / "tiny"))
    out = tmp_path / "p.json"
    ran = run_cli("eval", "probe", *clones, "--model", model, *QUICK, "--encoder", tiny, "--json", str(out))
    assert ran.status == 0, ran.err
    for title in ("reads of counts", "beyond what the length says", "of effects and results"):
        assert title in ran.out
    assert "probing tiny" in ran.err
    document = json.loads(out.read_text())
    assert {r["encoder"] for r in document["rows"]} >= {"tiny", "length", "random.safetensors online"}
    assert all(r["nulls"] for r in document["rows"])
    assert document["about"]["tested"] == "each repository by probes of the others"
    alone = run_cli("eval", "probe", clones[0], "--model", model, *QUICK, "-q", "--json", "-")
    assert json.loads(alone.out)["about"]["tested"] == "the latest fifth by time of the one repository"
