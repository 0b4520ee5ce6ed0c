"""Claims about `codewm eval anomaly`, on real repositories and with a random model:

1. Commits are scored as of their block: what comes later changes no score; cases know nothing of each other.
2. Labels are what the history says: reverted commits, commits blamed by fixes, and cases with their text.
3. A tool that knows the labels has 1 in every row, a constant 0.5; a gap in its scores is refused.
4. Every score has every row, with intervals; what cannot be told from chance is said.
5. The same command again reads what was replayed; other settings do not.
6. Mistakes of the finer kinds parse, differ, and are what they are called.
7. Around reverts, the blocks that hold a reverted commit are scored and no others, each as when all are.
"""

from __future__ import annotations

import csv
import json
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from codewm.cli.commands.eval import _of_clone
from codewm.corpus.split import boundaries
from codewm.model.evaluation.anomaly import SEEN, _seen
from codewm.model.evaluation.baselines import names as rivals
from codewm.model.evaluation.injection import Function, corrupted
from codewm.model.evaluation.mistakes import ALL, MORE
from codewm.model.evaluation.replay import (
    Scored,
    Window,
    blocks_around,
    joined,
    replay,
    replay_blocks,
    window_of,
)
from codewm.model.scoring.channels import CHANNELS
from codewm.model.scoring.engine_model import load_model
from codewm.model.scoring.settings import ScoreSettings
from tests.helpers import GitRepo, run_cli
from tests.model.evaluation.repository import build, module
from tests.scoring.random_model import write_random_model

QUICK = ("--resamples", "30", "--threads", "1", "--set", "share=0.5", "--set", "block=25")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model") / "random.safetensors")


def _history(path: Path) -> GitRepo:
    """Versions, then reverts and fixes of some of them."""
    repo = build(path, 60)
    for round_ in range(4):
        wrong = repo.commit(f"break {round_}", {"a.py": module(round_, "a").replace("- scale", "+ scale")})
        repo.commit(f'Revert "break {round_}"\n\nThis reverts commit {wrong}.', {"a.py": module(round_, "a")})
        repo.commit(f"slip {round_}", {"b.py": module(round_, "b").replace("min(", "max(")})
        repo.commit(f"fix the total {round_}", {"b.py": module(round_, "b")})
    return repo


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> list[GitRepo]:
    folder = tmp_path_factory.mktemp("repos")
    return [_history(folder / name) for name in ("one", "two")]


def _replay(repo: GitRepo, model: Path, window: Window, injections: int = 0) -> tuple[Scored, Scored]:
    source = _of_clone(repo.path, quiet=True)
    scoring = load_model(repo.path / "none", str(model))
    return replay(source, window, scoring, ScoreSettings(threads=1), block=20, injections=injections)


def test_scores_are_as_of_their_date(repos: list[GitRepo], model: Path) -> None:
    first, _ = _replay(repos[0], model, Window(30, 49))
    more, _ = _replay(repos[0], model, Window(30, 69))
    n = len(first)
    assert n == 20
    assert more.oid[:n] == first.oid
    assert set(first.values) == {"surprise", "surprise_at_size", *CHANNELS, *rivals()}
    for name, values in first.values.items():
        assert more.values[name][:n] == pytest.approx(values), name


def test_cases_do_not_know_each_other(repos: list[GitRepo], model: Path) -> None:
    _, few = _replay(repos[0], model, Window(30, 69), 1)
    _, many = _replay(repos[0], model, Window(30, 69), 3)
    assert {case.kind for case in few.case} >= {"ordinary", "drop", "payload", "message", "wrong file"}
    assert all(case.before != case.after for case in few.case)
    place = {(oid, case): i for i, (oid, case) in enumerate(zip(many.oid, many.case, strict=True))}
    shared = [
        (i, place[oid, case])
        for i, (oid, case) in enumerate(zip(few.oid, few.case, strict=True))
        if (oid, case) in place
    ]
    assert len(shared) > 10
    for name, values in few.values.items():
        if name not in ("surprise", "surprise_at_size"):
            for i, j in shared:
                assert values[i] == pytest.approx(many.values[name][j]), name


def test_the_window_is_the_latest_part_and_its_beginning(repos: list[GitRepo]) -> None:
    table = _of_clone(repos[0].path, quiet=True).table
    whole = window_of(table, 0.5, 10_000)
    late = int((table.commit >= whole.first).sum())
    assert len(table) / 2 <= late <= len(table) / 2 + 10
    assert whole.last == len(table.commits) - 1
    part = window_of(table, 0.5, 7)
    assert part.first == whole.first
    inside = int(((table.commit >= part.first) & (table.commit <= part.last)).sum())
    assert 0 < inside <= 7


def test_blocks_around_some_commits_are_scored_as_among_all(repos: list[GitRepo], model: Path) -> None:
    source = _of_clone(repos[0].path, quiet=True)
    table, window = source.table, Window(20, len(source.table.commits) - 1)
    wanted = {table.commits.oid[25], table.commits.oid[55]}
    blocks = blocks_around(table, window, 10, wanted, 10_000)
    assert blocks == [Window(20, 29), Window(50, 59)]
    assert blocks_around(table, window, 10, wanted, 1) == blocks[:1]
    scoring, settings = load_model(repos[0].path / "none", str(model)), ScoreSettings(threads=1)
    some = replay_blocks(source, blocks, scoring, settings)
    every, _ = replay(source, window, scoring, settings, block=10, injections=0)
    at = [every.oid.index(oid) for oid in some.oid]
    assert set(some.oid) == {table.commits.oid[c] for b in blocks for c in range(b.first, b.last + 1)}
    for name in ("surprise", *CHANNELS, "lines_added", "bag_direction"):
        assert some.values[name] == pytest.approx(every.values[name][at]), name


def test_what_the_model_was_trained_on_is_known_by_its_own_word(repos: list[GitRepo], model: Path) -> None:
    source = _of_clone(repos[0].path, quiet=True)
    table = source.table
    scored = replace(joined("one", []), oid=list(table.commits.oid))
    unknown = load_model(repos[0].path / "none", str(model))
    assert unknown.trained_on == []
    assert [SEEN[s] for s in _seen(unknown, source, scored)] == ["unseen"] * len(table.commits)
    root = {"root": table.repositories[0].root, "role": "train"}
    knows = SimpleNamespace(trained_on=[root])
    said = [SEEN[s] for s in _seen(knows, source, scored)]  # type: ignore[arg-type]
    late = int(boundaries(table, 0.2)[0])
    assert said == ["trained"] * late + ["late"] * (len(said) - late)
    held = SimpleNamespace(trained_on=[{**root, "role": "held-out"}])
    assert set(_seen(held, source, scored).tolist()) == {0}  # type: ignore[arg-type]


def test_around_reverts_reports_reverts_alone(repos: list[GitRepo], model: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    asked = ("eval", "anomaly", *_places(repos), "--model", str(model), "--resamples", "30", "--threads", "1")
    asked = (*asked, "--set", "share=0.6", "--set", "block=4", "--around", "reverts", "--json", str(out))
    ran = run_cli(*asked)
    assert ran.status == 0, ran.err
    document = json.loads(out.read_text())
    assert [d["revert"] for d in document["data"]] == [4, 4]
    assert all(d["commits"] < 30 for d in document["data"])
    said = {r["metric"] for r in document["rows"]}
    assert "revert_auroc_size_time_matched" in said
    assert not any(metric.startswith(("szz", "injected")) for metric in said)
    again = run_cli(*asked)
    assert again.err.count("replayed before") == 2
    refused = run_cli(*asked[:3], "--around", "fixes")
    assert refused.status == 2
    assert "no blocks around 'fixes'" in refused.err


def _places(repos: list[GitRepo]) -> list[str]:
    return [str(repo.path) for repo in repos]


def test_rows_labels_and_the_scores_of_others(repos: list[GitRepo], model: Path, tmp_path: Path) -> None:
    out, labels, work = tmp_path / "r.json", tmp_path / "labels", tmp_path / "work"
    asked = ("eval", "anomaly", *_places(repos), "--model", str(model), *QUICK, "--injections", "3")
    asked = (*asked, "--work", str(work), "--json", str(out))
    ran = run_cli(*asked, "--labels", str(labels))
    assert ran.status == 0, ran.err
    assert "caught among the strangest" in ran.out
    assert "not told from chance" in ran.err
    assert "evidence that a commit will be fixed: AUROC at size " in ran.err
    document = json.loads(out.read_text())
    assert document["suite"] == "anomaly"
    assert [d["name"] for d in document["data"]] == ["one", "two"]
    assert all(d["revert"] == 4 and d["szz"] >= 4 for d in document["data"])
    with (labels / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    _check_labels(rows, repos[0])
    cases = [json.loads(line) for line in (labels / "cases.jsonl").read_text().splitlines()]
    spoilt = [r for r in rows if r["unit"]]
    assert [(c["repository"], c["commit"], c["unit"], c["kind"]) for c in cases] == [
        (r["repository"], r["commit"], r["unit"], r["kind"]) for r in spoilt
    ]
    assert {r["kind"] for r in spoilt if r["label"] == "0"} == {"ordinary"}
    _check_rows(document["rows"])
    # Another tool, that knows the labels; and one that has no idea. Nothing is replayed again.
    knows, idle = tmp_path / "oracle.csv", tmp_path / "idle.csv"
    _write_scores(knows, rows, lambda r: float(r["label"]))
    _write_scores(idle, rows, lambda r: 1.0)
    again = run_cli(*asked, "--scores", str(knows), "--scores", str(idle))
    assert again.status == 0, again.err
    assert again.err.count("replayed before") == 2
    document = json.loads(out.read_text())
    found = {(r["metric"], r["subset"]): r for r in document["rows"] if not r["data"]}
    for metric in (
        "injected_auroc_size_matched",
        "revert_auroc_size_matched",
        "revert_auroc_size_time_matched",
    ):
        assert found[metric, "oracle"]["value"] == 1.0, metric
        assert found[metric, "idle"]["value"] == 0.5, metric
        assert "oracle" not in found[metric, "surprise"]["beats"]
    assert found["revert_caught_in_top_50", "oracle"]["value"] == 1.0
    # With a commit left out, it is refused.
    first = rows[0]["commit"]
    _write_scores(knows, [r for r in rows if r["commit"] != first], lambda r: float(r["label"]))
    refused = run_cli(*asked, "--scores", str(knows))
    assert refused.status == 2
    assert "no score for one" in refused.err


def _check_labels(rows: list[dict[str, str]], repo: GitRepo) -> None:
    """Those of the first repository, against what its history says."""
    mine = [r for r in rows if r["repository"] == "one" and not r["unit"]]
    assert {r["fold"] for r in mine} == {"0"}
    said = {oid: repo.git("log", "-1", "--format=%s", oid) for oid in {r["commit"] for r in mine}}
    reverted = {r["commit"] for r in mine if r["kind"] == "revert" and r["label"] == "1"}
    assert reverted == {oid for oid, subject in said.items() if subject.startswith("break")}
    blamed = {r["commit"] for r in mine if r["kind"] == "szz" and r["label"] == "1"}
    assert blamed >= {oid for oid, subject in said.items() if subject.startswith("slip")}
    assert not blamed & {oid for oid, subject in said.items() if subject.startswith("Revert")}


def _check_rows(rows: list[dict[str, object]]) -> None:
    scores = {"surprise", "surprise_at_size", *CHANNELS, *rivals()}
    for name in ("szz", "revert"):
        for metric in ("auroc", "auroc_size_matched", "auroc_time_matched", "auprc", "caught_in_top_10"):
            mine = [r for r in rows if r["metric"] == f"{name}_{metric}" and not r["data"]]
            assert {r["subset"] for r in mine} == scores
            assert all(r["interval"] is not None for r in mine)
            surprise = next(r for r in mine if r["subset"] == "surprise")
            assert set(surprise["nulls"]) == scores - {"surprise"}  # type: ignore[call-overload]
        assert {r["data"] for r in rows if r["metric"] == f"{name}_auroc_size_matched"} == {"", "one", "two"}
    metrics = {r["metric"] for r in rows}
    assert metrics >= {
        "injected_auroc_size_matched", "injected_auroc_size_matched_unseen",
        "injected_auroc_size_matched_worst_kind", "spearman_with_lines_added", "alert_rate",
    }  # fmt: skip


def _write_scores(path: Path, rows: list[dict[str, str]], score: object) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("repository", "commit", "unit", "kind", "score"))
        # A commit has a row for each label set; an oracle is asked about reverts here.
        for r in sorted(rows, key=lambda r: r["kind"] == "revert"):
            writer.writerow((r["repository"], r["commit"], r["unit"], r["kind"], score(r)))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "blocks=3"), "no setting 'blocks'"),
        (("--set", "share=2"), "share must be between 0 and 1"),
        (("--set", "block=x"), "no value for block"),
        (("--scores", "missing.csv"), "cannot read 'missing.csv'"),
    ],
)
def test_what_cannot_work_is_refused(
    repos: list[GitRepo], model: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    asked = (
        "eval",
        "anomaly",
        str(repos[0].path),
        "--model",
        str(model),
        "--injections",
        "0",
        "--limit",
        "5",
    )
    ran = run_cli(*asked, *words, "--work", str(tmp_path))
    assert ran.status == 2
    assert said in ran.err


SOURCE = '''\
async def work(items, limit):
    """Say nothing."""
    total = limit + 3 * 4
    try:
        await items.close(True)
    except ValueError:
        raise RuntimeError("no")
    if limit > 3 and total:
        return None
    return total
'''
DONOR = "    def other(self, name):\n        path = find(name)\n        return path.read()\n"


@pytest.mark.parametrize(
    ("kind", "gone", "come"),
    [
        ("operator", None, None),
        ("comparator", "limit > 3", "limit <= 3"),
        ("constant", None, None),
        ("await", "await", "    items.close(True)"),
        ("except", "try:", "    await items.close(True)"),
        ("broad except", "ValueError", "except Exception:"),
        ("raise", "raise RuntimeError", "pass"),
        ("wrong file", None, "def other(self, name):"),
    ],
)
def test_finer_mistakes(kind: str, gone: str | None, come: str | None) -> None:
    function, donor = Function(SOURCE.split("\n")[:-1]), Function(DONOR.split("\n")[:-1])
    seen = set()
    for seed in range(20):
        lines = corrupted(function, kind, [donor], random.Random(seed), ALL)
        assert lines is not None
        text = "\n".join(lines)
        Function(lines)  # parses
        seen.add(text)
        assert '"""Say nothing."""' in text
        if gone is not None:
            assert gone not in text
        if come is not None:
            assert come in text
    if kind in ("operator", "constant"):
        assert len(seen) > 1
    assert kind in MORE


def test_every_kind_is_counted_once() -> None:
    assert len(ALL) >= 21
    assert {k for k in MORE if not MORE[k].trained} == {"await", "except", "broad except"}
    assert np.unique(list(ALL)).size == len(ALL)
