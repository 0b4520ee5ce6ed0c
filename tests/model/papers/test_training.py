"""Claims: a run is exact, whole and honest.

1. A run that is interrupted and resumed ends with the weights, bit for bit, of one that was not, dropout and all.
2. A term or gradient that is not finite stops the run and names it; text mode stops where the encoder gets no gradient.
3. Every step is in metrics.jsonl with every term, each network's gradient norm and the diagnostics with their nulls;
   in text mode the encoder's is above 0 at every step, in published mode without regularisers exactly 0 and the encoder
   stays as it was.
4. Both recipes train in both modes; windows of chains are trained on; forecast displacements, too.
5. Batches are all of one size, no edit comes twice in an epoch, and the order goes on where it was left.
6. Windows follow chains: consecutive edits of one unit whose states meet.
"""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codewm.corpus.errors import UserError
from codewm.model.checkpoint import RunFolder, load_tensors
from codewm.model.papers import train as training
from codewm.model.papers.config import RECIPES, Recipe, from_json, resolve
from codewm.model.papers.data import batches, chained
from codewm.model.papers.objective import Terms
from codewm.model.papers.world import load
from codewm.model.session import TrainingStoppedError
from tests.model.papers.made import data, flat, recipe


def steps_of(folder: RunFolder) -> list[dict[str, Any]]:
    """The step events of a run."""
    events = [json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines()]
    return [e for e in events if e["event"] == "step"]


def train(chosen: Recipe, path: Path, **values: Any) -> RunFolder:
    """A run on synthetic edits."""
    folder = RunFolder(path)
    training.train(data(chosen), chosen, folder, **values)
    return folder


@pytest.mark.parametrize("mode", ["published", "text"])
def test_an_interrupted_run_resumes_exactly(mode: str, tmp_path: Path) -> None:
    chosen = recipe("readout-repair", mode)
    whole = train(chosen, tmp_path / "whole")

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 4:
            signal.raise_signal(signal.SIGINT)

    halted = RunFolder(tmp_path / "halted")
    assert training.train(data(chosen), chosen, halted, report=stop).interrupted
    assert not halted.weights.is_file()
    # As if it had been killed two steps after that.
    halted.append({"event": "step", "step": 5, "loss": 0.0})
    again = training.train(data(chosen), chosen, halted, resume=True)
    assert again.steps == chosen.run.steps
    assert not halted.state.is_file()
    first, second = load_tensors(whole.weights)[0], load_tensors(halted.weights)[0]
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [e["loss"] for e in steps_of(whole)] == [e["loss"] for e in steps_of(halted)]


def test_what_is_not_finite_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = training.terms

    def spoilt(*args: Any) -> Terms:
        found = real(*args)
        return replace(found, values={**found.values, "direction": torch.tensor(float("nan"))})

    monkeypatch.setattr(training, "terms", spoilt)
    with pytest.raises(TrainingStoppedError, match="direction became non-finite at step 0"):
        train(recipe(), tmp_path / "run")


def test_text_mode_stops_without_a_gradient_to_the_encoder(tmp_path: Path) -> None:
    nothing = {"prediction_weight": 0.0, "direction_weight": 0.0, "spectral_weight": 0.0}
    with pytest.raises(TrainingStoppedError, match="no gradient reached the encoder at step 0"):
        train(recipe(**nothing), tmp_path / "run")


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("mode", ["published", "text"])
def test_both_recipes_train_in_both_modes(name: str, mode: str, tmp_path: Path) -> None:
    folder = train(recipe(name, mode), tmp_path / "run")
    steps = steps_of(folder)
    assert [e["step"] for e in steps] == list(range(1, 7))
    for e in steps:
        numbers = [v for v in e.values() if isinstance(v, int | float)]
        assert np.isfinite(numbers).all()
        assert {
            "loss_prediction",
            "loss_direction",
            "gradient_online",
            "gradient_action",
            "gradient_predictor",
        } <= set(e)
        for figure in (
            "copy_cosine", "unrelated_cosine", "mixed_delta_cosine", "mixed_constant", "delta_cosine", "delta_constant",
            "online_off_diagonal", "online_rank_entropy", "target_rank_squared", "predictor_rank_squared",
            "displacement_rank_entropy",
        ):  # fmt: skip
            assert f"batch_{figure}" in e
        assert e["gradient_online"] > 0, "covariance, VICReg or the equations"
    assert from_json(folder.config.read_text(encoding="utf-8")) == recipe(name, mode)
    world = load(folder.path)
    assert world.action == ("v7" if name == "encoder-collapse" else "v15")


def test_published_encoder_stays_as_it_was_without_regularisers(tmp_path: Path) -> None:
    chosen = recipe("encoder-collapse", "published", covariance_weight=0.0, ema=0.5)
    folder = train(chosen, tmp_path / "run")
    assert {e["gradient_online"] for e in steps_of(folder)} == {0.0}
    torch.manual_seed(chosen.run.seed)
    fresh = training.Networks(chosen.network).state_dict()
    kept = load_tensors(folder.weights)[0]
    moved = {name.split(".")[0] for name in fresh if not torch.equal(fresh[name], kept[name])}
    assert moved == {"action", "predictor", "projectors"}


@pytest.mark.parametrize("values", [{"delta_loss": "logcosh", "delta_loop": 1}, {"residual": True}])
def test_forecast_displacements_train(values: dict[str, Any], tmp_path: Path) -> None:
    world = load(train(recipe(forecast="delta", **values), tmp_path / "run").path)
    states = flat([np.arange(30, 40, dtype=np.uint16), np.arange(40, 45, dtype=np.uint16)])
    online, goal = world.online(*states), world.target(*states)
    assert online.shape == (2, 32)
    assert np.array_equal(world.target_of_online(online), goal)
    after, onward = world.step(online, np.zeros((2, 7), np.float32))
    assert after.shape == (2, 16)
    assert onward.shape == online.shape


def test_a_world_is_the_same_however_it_is_asked(tmp_path: Path) -> None:
    world = load(train(recipe("encoder-collapse", "published"), tmp_path / "run").path)
    rng = np.random.default_rng(0)
    states = [rng.integers(20, 200, n).astype(np.uint16) for n in (3, 40, 9, 64, 90)]
    whole = world.online(*flat(states))
    alone = np.concatenate([world.online(*flat([s])) for s in states])
    assert np.allclose(whole, alone, atol=1e-5)
    assert np.allclose(world.online(*flat([states[4][:64]])), whole[4:], atol=1e-5), "cut at the window"
    loops = world.loops(*flat(states))
    assert len(loops) == 7
    assert np.allclose(loops[-1], whole, atol=1e-5)
    assert world.target_of_online(whole) is None
    assert not world.one_space
    with pytest.raises(UserError, match="no run of a recipe"):
        load(tmp_path)


def test_batches_are_whole_and_go_on_where_they_were_left() -> None:
    held = data(recipe())
    size = 16
    stream = batches(held, size, 64, seed=3, skip=0)
    count = len(held.windows) // size
    epochs = [[next(stream) for _ in range(count)] for _ in range(2)]
    for epoch in epochs:
        rows = np.concatenate(epoch)[:, 0]
        assert len(np.unique(rows)) == len(rows) == count * size
    later = batches(held, size, 64, seed=3, skip=count + 1)
    assert np.array_equal(next(later), epochs[1][1])


def test_windows_follow_chains() -> None:
    chain = np.array([0, 1, 0, 0, 1, 0], np.int64)
    step = np.array([0, 0, 1, 2, 1, 3], np.int64)
    before = np.array([1, 9, 2, 3, 8, 7], np.int64)
    after = np.array([2, 8, 3, 4, 5, 6], np.int64)
    every = np.arange(6)
    assert chained(chain, step, before, after, every, 2).tolist() == [[0, 2], [2, 3], [1, 4]]
    assert chained(chain, step, before, after, every, 3).tolist() == [[0, 2, 3]]
    assert chained(chain, step, before, after, np.array([0, 3, 5]), 2).tolist() == []


def test_configs_refuse_what_they_do_not_know() -> None:
    for values, said in (
        ({"loop": 3}, "unknown recipe key: loop"), ({"readout": "mean"}, "no readout 'mean'"),
        ({"aux_loops": [6]}, "auxiliary ones come before the last"), ({"ema": 1.5}, "ema must lie in"),
        ({"projectors": True}, "belong together"), ({"steps": 0}, "steps must be at least 1"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            resolve("encoder-collapse", "text", 100, values)
    body = json.loads(recipe().to_json())
    body["network"]["width"] = 3
    with pytest.raises(UserError, match="unknown network key: width"):
        from_json(json.dumps(body))
