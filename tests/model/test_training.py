"""Claims:

1. The same seed gives the same bytes; another seed does not.
2. A run interrupted in any stage and resumed ends with the same bytes as one that was not.
3. Training learns synthetic dynamics: R2 above 0, and better than copy, constant, zero and shuffled action.
4. A non-finite loss stops training with an explanation.
5. Changed chains cannot be resumed upon; no run, no resume.
6. Fine-tuning from a file keeps its target, bit for bit.
7. Hold-out edits are later than all others and reach neither stage.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codewm.corpus.errors import UserError
from codewm.model import dynamics, export
from codewm.model.batches import TrainingData, prepare
from codewm.model.checkpoint import RunFolder, latest_unfinished, load_tensors
from codewm.model.jepa import JEPA
from codewm.model.session import Session, TrainingStoppedError
from codewm.model.teacher import settle, training_states
from codewm.model.train import Outcome, train
from tests.model.synthetic import TINY_SHAPE, edit_table, tiny_config, tiny_model


def go(
    folder: Path, data: TrainingData, stop: tuple[int, int] | None = None, resume: bool = False, **values: Any
) -> Outcome:
    """One run; `stop` is the (stage, step) whose event is answered with Ctrl-C."""

    def report(event: dict[str, Any]) -> None:
        if stop is not None and (event.get("stage"), event.get("step")) == stop:
            raise KeyboardInterrupt

    return train(
        data, tiny_config(**values), RunFolder(folder), report=report, resume=resume,
        output=folder / "model.safetensors", shape=TINY_SHAPE,
    )  # fmt: skip


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return prepare([edit_table()], tiny_config())


def test_seeds(tmp_path: Path, data: TrainingData) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        go(tmp_path / name, data, seed=seed, steps=12)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")
    assert not (tmp_path / "a" / "state.safetensors").exists()


@pytest.mark.parametrize("stop", [(1, 20), (2, 10), (3, 10)])
def test_resume_equals_uninterrupted(tmp_path: Path, data: TrainingData, stop: tuple[int, int]) -> None:
    values = {"steps": 75, "evaluations": 2}
    whole = go(tmp_path / "whole", data, **values)
    cut = go(tmp_path / "cut", data, stop=stop, **values)
    assert cut.interrupted
    assert cut.steps < whole.steps
    folder = latest_unfinished(tmp_path)
    assert folder.path == tmp_path / "cut"
    resumed = go(folder.path, data, resume=True, steps=9)  # its own settings win
    assert not resumed.interrupted
    assert digest(tmp_path / "whole") == digest(tmp_path / "cut")
    assert [r.value for r in whole.rows] == [r.value for r in resumed.rows]


def test_it_learns(tmp_path: Path) -> None:
    table = edit_table(1500)
    config = tiny_config(steps=500, dynamics_share=0.5, lr=4e-3, joint_lr=1e-3)
    outcome = train(
        prepare([table], config),
        config,
        RunFolder(tmp_path),
        output=tmp_path / "m.safetensors",
        shape=TINY_SHAPE,
    )
    rows = {(r.metric, r.subset): r for r in outcome.rows}
    for subset in ("all", "modified"):
        r2, cosine = rows["displacement_r2", subset], rows["delta_cosine", subset]
        assert r2.value > 0.1
        assert {"copy", "constant_mean", "zero_action", "shuffled_action"} <= set(cosine.beats)
        assert set(r2.nulls) == {"copy", "constant_mean", "zero_action", "shuffled_action", "linear_map"}
    assert "delta_cosine" in (tmp_path / "card.md").read_text()
    assert export.load(tmp_path / "m.safetensors")[2]["quant"] == "int8"


def test_the_predictor_trains_however_long_encoding_took(
    tmp_path: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on 144,000 edits: encoding used up the stage's time, and nothing was trained."""
    encode = dynamics.fixed_latents

    def slow(*args: Any) -> Any:
        time.sleep(0.4)
        return encode(*args)

    monkeypatch.setattr(dynamics, "fixed_latents", slow)
    seen: list[dict[str, Any]] = []
    config = tiny_config(steps=None, minutes=2.5 / 60, teacher_share=0.2, dynamics_share=0.2)
    train(data, config, RunFolder(tmp_path), report=seen.append, shape=TINY_SHAPE)
    assert any(e["event"] == "step" and e["stage"] == 2 for e in seen)


def test_latents_of_an_untouched_online_encoder_come_from_the_targets(
    tmp_path: Path, data: TrainingData
) -> None:
    config = tiny_config()
    torch.manual_seed(0)
    model = JEPA(tiny_model())
    session = Session(config, model.config, data, RunFolder(tmp_path), lambda event: None)
    settle(session, model, training_states(session))
    model.start_online_from_target()
    targets = dynamics.cache_targets(session, model)
    ours = dynamics.fixed_latents(session, model, targets, data.fit)
    np.testing.assert_allclose(ours, dynamics.online_latents(session, model, data.fit), atol=1e-4)
    with torch.no_grad():
        model.online.norm.bias += 1
    np.testing.assert_allclose(dynamics.fixed_latents(session, model, targets, data.fit), ours + 1, atol=1e-4)


def test_a_non_finite_loss_stops(tmp_path: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        dynamics.losses, "displacement_error", lambda *a: torch.tensor(float("nan"), requires_grad=True)
    )
    with pytest.raises(TrainingStoppedError, match="non-finite in stage 2"):
        go(tmp_path, data, steps=6)


def test_a_collapsed_teacher_stops(
    tmp_path: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flat(*args: Any, **kwargs: Any) -> np.ndarray:
        return np.outer(np.arange(len(args[3])), np.ones(16)).astype(np.float32)

    monkeypatch.setattr("codewm.model.teacher.encode", flat)
    with pytest.raises(TrainingStoppedError, match="teacher collapsed"):
        go(tmp_path, data, steps=6)


def test_resume_needs_the_same_chains(tmp_path: Path, data: TrainingData) -> None:
    go(tmp_path / "run", data, stop=(1, 10), steps=60)
    with pytest.raises(UserError, match="changed since"):
        go(tmp_path / "run", prepare([edit_table(310)], tiny_config()), resume=True)
    with pytest.raises(UserError, match="no unfinished run"):
        latest_unfinished(tmp_path / "nowhere")


def test_fine_tuning_keeps_the_target(tmp_path: Path, data: TrainingData) -> None:
    go(tmp_path / "base", data, steps=9)
    tuned = go(tmp_path / "tuned", data, steps=9, start=str(tmp_path / "base" / "model.safetensors"))
    assert tuned.rows
    base, _, _ = export.load(tmp_path / "base" / "model.safetensors")
    new = load_tensors(tmp_path / "tuned" / "weights.safetensors")[0]
    assert all(torch.equal(base[k], new[k]) for k in base if k.startswith("target."))
    assert any(not torch.equal(base[k], new[k]) for k in base if k.startswith("predictor."))


def test_the_hold_out_is_later_and_unseen() -> None:
    table = edit_table()
    data = prepare([table, edit_table(240, seed=5)], tiny_config())
    for low, high in ((0, 100), (100, 180)):  # commits of the two tables
        inside = [
            ids[(data.commit[ids] >= low) & (data.commit[ids] < high)]
            for ids in (data.fit, data.validation, data.holdout)
        ]
        assert data.commit[inside[0]].max() < data.commit[inside[1]].min()
        assert data.commit[inside[1]].max() < data.commit[inside[2]].min()
    assert not set(data.fit) & set(data.holdout)

    class Fake:
        pass

    session = Fake()
    session.data = data  # type: ignore[attr-defined]
    allowed = set(data.before[data.fit]) | set(data.after[data.fit])
    assert set(training_states(session)) <= allowed  # type: ignore[arg-type]
    kept = ("training", "training edits not drawn", "validation", "held out")
    left_out = (
        "no-op",
        "identical windowed states",
        "repeated training pair",
        "held-out pair seen in training",
    )
    assert sum(data.ledger[k] for k in (*kept, *left_out)) == data.ledger["edits"]


def test_too_little_history() -> None:
    with pytest.raises(UserError, match="too little history"):
        prepare([edit_table(30)], tiny_config())
