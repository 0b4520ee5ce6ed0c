"""Claims:

1. Times are of the calls: what takes three times as long takes about three times as many milliseconds, and the first
   call counts for nothing. A stage that takes too long is cut short, for all contenders alike.
2. Engine and torch do the same work: they give the same residuals for a commit, which are those of the equations.
3. Every stage and contender has its row, on one thread, with torch beside it; afterwards torch has its threads back.
4. A world that is no engine's is timed, too.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from codewm.model.evaluation import latency
from codewm.model.evaluation.held_out import Source, hold_out
from codewm.model.evaluation.result import Request
from codewm.model.evaluation.world import load
from tests.model.evaluation.made_world import LinearWorld, chained
from tests.model.synthetic import edit_table
from tests.scoring.random_model import write_random_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model") / "model.safetensors")


def test_times_are_of_the_calls() -> None:
    first = [True]

    def slow() -> None:
        time.sleep(0.2 if first else 0.009)
        first.clear()

    rows = latency.timed({"engine": [lambda: time.sleep(0.003)], "torch": [slow]}, "made", "x", 30)
    by = {r.metric: r for r in rows}
    engine = by["made_p50_ms_engine"]
    assert engine.value >= 3
    assert 9 <= engine.nulls["torch"] < 150
    assert engine.more["times_faster_than_torch"] == pytest.approx(engine.nulls["torch"] / engine.value)
    assert by["made_p95_ms_engine"].value >= engine.value
    assert 3 <= engine.more["undisturbed"] <= engine.value
    ratio = by["made_p50_ms_torch"].more["undisturbed"] / engine.more["undisturbed"]
    assert engine.more["times_faster_than_torch_undisturbed"] == pytest.approx(ratio)
    assert "torch" not in by["made_p50_ms_torch"].nulls


def test_a_stage_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(
        latency, "time", SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: now[0] / 4)
    )
    called = {"engine": 0, "torch": 0}

    def call(name: str, seconds: float) -> None:
        called[name] += 1
        now[0] += seconds

    calls = {n: [partial(call, n, s)] * 16 for n, s in (("engine", 0.001), ("torch", latency.SECONDS / 2))}
    rows = latency.timed(calls, "made", "x", 30)
    assert called == {"engine": 17, "torch": 1 + latency.FEWEST}
    assert {r.n for r in rows} == {latency.FEWEST}
    assert {r.more["rounds"] for r in rows} == {1}
    took = {r.more["contender"]: r.more["processor"] for r in rows}
    assert took == pytest.approx({"engine": 0.25, "torch": latency.SECONDS / 8 * 1e3})


def test_contenders_do_the_same_work(model: Path) -> None:
    world = load(str(model), threads=1)
    held_out = hold_out([Source("a", edit_table(300))])
    runners = latency.contenders(world, 1)
    assert set(runners) == {"engine", "engine int8", "torch"}
    for tokens, offsets, before, after, action in latency.commits(world, held_out)[:5]:
        made = {n: latency._commit(r, tokens, offsets, before, after, action) for n, r in runners.items()}
        assert np.allclose(made["engine"], made["torch"], atol=1e-3)
        t = world.target(tokens, offsets)
        said = world.foresee(tokens, offsets, before, action)[0]
        assert np.allclose(made["engine"], np.linalg.norm(t[after] - said, axis=1), atol=1e-3)


def test_every_stage_has_its_row(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "ROUNDS", 2)
    monkeypatch.setattr(latency, "LENGTHS", (4, 8, 10_000))
    before = torch.get_num_threads()
    request = Request(sources=[Source("a", edit_table(300))], models=[str(model)], resamples=20, threads=1)
    outcome = latency.run(request, lambda rows: None)
    assert torch.get_num_threads() == before
    found = {(r.metric, r.subset): r for r in outcome.rows}
    for stage, subset in (
        ("encoder", "4 tokens, one thread"), ("encoder", "8 tokens, one thread"), ("predictor", "one thread"),
        ("target", "one thread"), ("pipeline", "one thread"),
    ):  # fmt: skip
        for which in ("p50", "p95"):
            row = found[f"{stage}_{which}_ms_engine", subset]
            assert row.value > 0
            assert row.nulls["torch"] == found[f"{stage}_{which}_ms_torch", subset].value
    assert ("action_p50_ms_core", "one thread") in found
    assert not any("10000" in r.subset for r in outcome.rows)
    assert outcome.charts


def test_another_world_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "ROUNDS", 1)
    monkeypatch.setattr(latency, "LENGTHS", (4,))
    world = LinearWorld()
    held_out, _ = chained(world, 20)
    rows = latency.stages(world, held_out, 1, "one thread", 20)
    assert {r.metric for r in rows} >= {
        "encoder_p50_ms_torch",
        "pipeline_p50_ms_torch",
        "predictor_p95_ms_torch",
    }
    runner = latency.contenders(world, 1)["torch"]
    tokens, offsets, before, after, action = latency.commits(world, held_out)[0]
    assert np.allclose(latency._commit(runner, tokens, offsets, before, after, action), 0, atol=1e-3)
