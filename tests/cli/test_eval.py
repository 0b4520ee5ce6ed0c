"""Claims about `codewm eval`, on a real repository:

1. `readout` needs neither torch nor a harvest before: stdout is the table, or one document of codewm.eval/1, in
   which every row has nulls; stderr is talk. Injected edits come from the clone.
2. Charts are SVG: well-formed, labelled, without anything but drawing in them.
3. Stores and corpora are read as they are; a corpus has rows for each of its repositories.
4. `seeds` trains, keeps what it finished beside its JSON and says how far models of a recipe lie apart.
5. What cannot work is refused at once, with a hint, exit 2.
6. `codewm --help` lists it and imports nothing for it.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from codewm.cli.report import svg
from codewm.model.evaluation.registry import SUITES
from codewm.model.evaluation.result import Chart, Line, Mark, Trace
from tests.helpers import GitRepo, hermetic_env, run_cli
from tests.model.evaluation.repository import build
from tests.model.synthetic import TINY_SHAPE
from tests.scoring.random_model import write_random_model

QUICK = ("--resamples", "30", "--injections", "4", "--threads", "1")


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    return build(tmp_path_factory.mktemp("repo") / "bench", commits=70)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_random_model(tmp_path_factory.mktemp("model") / "random.safetensors"))


def test_readout_of_a_clone(repo: GitRepo, model: str, tmp_path: Path) -> None:
    out, plots = tmp_path / "r.json", tmp_path / "plots"
    ran = run_cli(
        "eval", "readout", "--model", model, *QUICK, "--json", str(out), "--plots", str(plots), cwd=repo.path
    )
    assert ran.status == 0, ran.err
    assert "displacement r2" in ran.out
    assert "edits of modified units (bench)" in ran.out
    assert "untrained kinds" in ran.out
    assert "reading random.safetensors" in ran.err
    document = json.loads(out.read_text())
    assert document["schema"] == "codewm.eval/1"
    assert (document["suite"], document["finished"]) == ("readout", True)
    assert document["model"]["name"] == "random.safetensors"
    assert document["data"][0]["name"] == "bench"
    assert document["data"][0]["tip"] == repo.git("rev-parse", "HEAD")
    metrics = {row["metric"] for row in document["rows"]}
    assert metrics >= {
        "displacement_r2", "delta_cosine", "same_action_rank", "knn_at_5", "edit_knn_at_1", "action_matters",
        "injected_auroc_size_matched", "injected_auroc_size_matched_unseen", "int8_worst_relative_loss",
    }  # fmt: skip
    assert all(row["nulls"] for row in document["rows"])
    assert all("int8" in row for row in document["rows"] if not row["metric"].startswith("int8"))
    assert str(tmp_path) not in out.read_text()
    names = {path.name for path in plots.iterdir()}
    assert names >= {"readout.svg", "readout-knn.svg", "readout-rank.svg", "readout-injected.svg"}
    for path in plots.iterdir():
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_stdout_is_data(repo: GitRepo, model: str) -> None:
    ran = run_cli(
        "eval", "readout", str(repo.path), "--model", model, *QUICK, "--no-int8", "--json", "-", "-q"
    )
    assert ran.err == ""
    rows = json.loads(ran.out)["rows"]
    again = run_cli(
        "eval", "readout", str(repo.path), "--model", model, *QUICK, "--no-int8", "--json", "-", "-q"
    )
    assert json.loads(again.out)["rows"] == rows


def test_readout_needs_no_torch(repo: GitRepo, model: str) -> None:
    code = (
        "import sys\nfrom codewm.cli.main import main\n"
        f"assert main(['eval', 'readout', '--model', {model!r}, '--no-int8', '--resamples', '20', '-q',"
        " '--injections', '2', '--threads', '1', '--json', '-']) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    env = hermetic_env(repo.path.parent / "home")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo.path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    code = "import sys\nfrom codewm.cli.main import main\nmain(['--help'])\n"
    code += "assert not {'torch', 'h5py', 'numpy', 'codewm.model'} & set(sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo.path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "eval" in done.stdout


def test_a_corpus_and_its_clones(repo: GitRepo, model: str, tmp_path: Path) -> None:
    other = build(tmp_path / "clones" / "second", commits=50)
    other.commit("its own", {"c.py": "y = 2\n"})
    corpus = tmp_path / "corpus.h5"
    assert run_cli("harvest", str(repo.path), str(other.path), "--out", str(corpus), "-q").status == 0
    asked = ("eval", "readout", str(corpus), "--model", model, *QUICK, "--no-int8", "--json", "-")
    ran = run_cli(*asked)
    assert "--clones" in ran.err
    rows = json.loads(ran.out)["rows"]
    assert {row["data"] for row in rows} == {"", "bench", "second"}
    assert not any("injected" in row["metric"] for row in rows)
    found = json.loads(run_cli(*asked, "--clones", str(tmp_path / "clones")).out)["rows"]
    assert any(row["metric"] == "injected_auroc_size_matched" for row in found)
    assert [r for r in found if "injected" not in r["metric"]] == rows
    table = run_cli(*asked[:-2]).out
    assert "by repository" in table
    store = repo.path / ".git" / "codewm" / "chains.h5"
    assert run_cli("eval", "readout", str(store), "--model", model, *QUICK, "--no-int8").status == 0


def test_seeds_are_trained_and_kept(repo: GitRepo, tmp_path: Path) -> None:
    out = tmp_path / "seeds.json"
    small = [
        f"--set={key}={value}" for key, value in {**TINY_SHAPE, "precision": "f32", "threads": 1}.items()
    ]
    asked = (
        "eval",
        "seeds",
        str(repo.path),
        "--seeds",
        "2",
        "--steps",
        "9",
        *small,
        *QUICK,
        "--json",
        str(out),
    )
    ran = run_cli(*asked)
    assert ran.status == 0, ran.err
    assert "full, seed 1: training" in ran.err
    assert "spread" in ran.out
    document = json.loads(out.read_text())
    row = next(r for r in document["rows"] if r["metric"] == "delta_cosine" and r["subset"] == "modified")
    assert len(row["seeds"]) == 2
    assert len(list((tmp_path / "seeds.runs").iterdir())) == 2
    again = run_cli(*asked)
    assert "training" not in again.err
    assert json.loads(out.read_text())["rows"] == document["rows"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("magic",), "there is no suite 'magic'"),
        (("readout", "--model", "nowhere.safetensors"), "there is no model"),
        (("readout", "--part", "late"), "only a divided corpus"),
        (("seeds", "--model", "base"), "one model has no spread"),
        (("seeds", "--minutes", "1", "--steps", "2"), "minutes or steps"),
        (("seeds", "--set", "lerning_rate=1"), "lerning_rate"),
        (("ablation", "--model", "base"), "trains its own"),
        (("ablation", "--only", "magic"), "no variation 'magic'"),
        (("readout", "nowhere"), "nowhere"),
        (("readout", "--encoder", "nowhere"), "no encoders of others"),
        (("retrieval", "--encoder", "nowhere"), "no folder with a model"),
    ],
)
def test_what_is_refused(repo: GitRepo, words: tuple[str, ...], said: str) -> None:
    ran = run_cli("eval", *words, "--injections", "0", cwd=repo.path)
    assert ran.status == 2
    assert said in ran.err
    assert "hint: " in ran.err
    assert ran.out == ""


def test_the_list_of_suites() -> None:
    ran = run_cli("eval", "list")
    assert ran.status == 0
    named = [line.split()[0] for line in ran.out.splitlines()]
    assert named == list(SUITES)
    assert {"readout", "seeds", "ablation", "rollout", "geometry", "audit", "quantisation", "latency"} <= set(
        named
    )


def test_a_trace() -> None:
    lines = [
        Line("first <b>", [0, 10, 20], [0.9, 0.95, math.nan], [0.8, 0.9, 0.9], [0.95, 0.99, 1.0]),
        Line("second", [0, 10, 20], [0.5, 0.4, 0.3]),
        Line("none", [], []),
    ]
    root = ElementTree.fromstring(svg.draw(Trace("name", "A & B", "step", "cosine", lines)))
    space = "{http://www.w3.org/2000/svg}"
    words = {node.text for node in root.iter(f"{space}text")}
    assert {"A & B", "step", "cosine", "first <b>", "second", "0", "20"} <= words
    assert "none" not in words
    drawn = [node.get("points", "").split() for node in root.iter(f"{space}polyline")]
    assert [len(points) for points in drawn] == [2, 3]
    down = [float(point.split(",")[1]) for point in drawn[1]]
    assert down == sorted(down), "what falls is drawn lower, and SVG counts from the top"
    assert len(list(root.iter(f"{space}polygon"))) == 1
    for empty in ([], [Line("flat", [0], [1.0])]):
        ElementTree.fromstring(svg.draw(Trace("name", "title", "step", "value", empty)))


def test_a_chart() -> None:
    marks = [
        Mark("first <b>\x1b[31m", 0.5, (0.4, 0.6), {"copy": 0.0, "linear_map": 0.45, "zero_action": -50.0}),
        Mark("second", 0.25, None, {"unknown": 1.0}),
        Mark("third", math.nan, (math.nan, 1.0)),
    ]
    text = svg.draw(Chart("name", "A & B", "value", marks))
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    words = [node.text for node in root.iter(f"{space}text")]
    assert "A & B" in words
    assert "value" in words
    assert {"copy", "linear map", "zero action", "model"} <= set(words)
    assert "first <b>\\x1b[31m" in words
    axis = [float(w) for w in words if w and w.replace(".", "").replace("-", "").isdigit()]
    assert min(axis) <= 0 < 0.6 <= max(axis)
    places = [float(node.get("cx", "0")) for node in root.iter(f"{space}circle")]
    assert places[0] > places[1] > 100
    assert len(list(root.iter(f"{space}polygon"))) == 1  # what lies far off is an arrow at the edge
    assert {node.tag.removeprefix(space) for node in root.iter()} <= {
        "svg", "title", "rect", "text", "line", "circle", "polygon",
    }  # fmt: skip
