"""Claims:

1. The same seed gives the same bytes; another seed does not.
2. A run that is interrupted in any stage, or killed, and resumed ends with the same bytes as one that was not.
3. Training learns synthetic dynamics: R2 above 0, better than copy, constant, zero and shuffled action; and the critic
   learns to tell a spoilt edit from a real one.
4. The held-out table is what the exported model computes in the engine.
5. A non-finite loss, in any stage, and a collapsed encoder stop training with an explanation.
6. Changed chains cannot be resumed upon; no run, no resume.
7. A run that starts from a file keeps its space, bit for bit, and has stage 3 alone.
8. Hold-out edits are later than all others and reach no stage.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import codewm_core
from codewm.corpus.errors import UserError
from codewm.model import corrupt, dynamics, export, latents, space, teacher, train as training
from codewm.model.batches import TrainingData, prepare
from codewm.model.checkpoint import RunFolder, latest_unfinished, load_tensors
from codewm.model.evaluation import metrics
from codewm.model.jepa import RULER
from codewm.model.session import TrainingStoppedError
from codewm.model.teacher import training_states
from codewm.model.train import Outcome, train
from tests.model.synthetic import TINY_SHAPE, edit_table, tiny_config


class KilledError(BaseException):
    """Nothing is saved any more."""


def go(
    folder: Path,
    data: TrainingData,
    stop: tuple[int, int] | None = None,
    resume: bool = False,
    by: type[BaseException] = KeyboardInterrupt,
    **values: Any,
) -> Outcome:
    """One run; `stop` is the (stage, step) whose event is answered with Ctrl-C, or something else."""

    def report(event: dict[str, Any]) -> None:
        if stop is not None and (event.get("stage"), event.get("step")) == stop:
            raise by

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


LONG = {"steps": 90, "evaluations": 4, "teacher_share": 0.3, "space_share": 0.25}  # 27, 22 and 41 steps


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data: TrainingData) -> tuple[Path, Outcome]:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, go(folder, data, **LONG)


@pytest.mark.parametrize("stop", [(1, 20), (2, 10), (3, 10), (3, 30)])
def test_resume_equals_uninterrupted(
    tmp_path: Path, data: TrainingData, whole: tuple[Path, Outcome], stop: tuple[int, int]
) -> None:
    straight, outcome = whole
    cut = go(tmp_path / "cut", data, stop=stop, **LONG)
    assert cut.interrupted
    # Until validation has been looked at, there is nothing to show.
    assert bool(cut.rows) == (stop == (3, 30))
    folder = latest_unfinished(tmp_path)
    assert folder.path == tmp_path / "cut"
    resumed = go(folder.path, data, resume=True, steps=9)  # its own settings win
    assert not resumed.interrupted
    assert digest(straight) == digest(tmp_path / "cut")
    assert [r.value for r in outcome.rows] == [r.value for r in resumed.rows]
    assert not folder.state.exists()


@pytest.mark.parametrize("stop", [(1, 20), (2, 20), (3, 30)])
def test_resume_after_a_kill(
    tmp_path: Path, data: TrainingData, whole: tuple[Path, Outcome], stop: tuple[int, int]
) -> None:
    with pytest.raises(KilledError):
        go(tmp_path / "cut", data, stop=stop, by=KilledError, **LONG)
    go(latest_unfinished(tmp_path).path, data, resume=True)
    assert digest(whole[0]) == digest(tmp_path / "cut")


def test_resume_in_bf16(tmp_path: Path, data: TrainingData) -> None:
    straight = {**LONG, "precision": "bf16"}
    go(tmp_path / "whole", data, **straight)
    go(tmp_path / "cut", data, stop=(3, 10), **straight)
    go(tmp_path / "cut", data, resume=True)
    assert digest(tmp_path / "whole") == digest(tmp_path / "cut")


def test_a_run_that_was_cut_twice(tmp_path: Path, data: TrainingData, whole: tuple[Path, Outcome]) -> None:
    go(tmp_path, data, stop=(1, 10), **LONG)
    go(tmp_path, data, stop=(3, 20), resume=True)
    assert not go(tmp_path, data, resume=True).interrupted
    assert digest(whole[0]) == digest(tmp_path)


def test_an_interrupted_run_has_its_table(tmp_path: Path, data: TrainingData) -> None:
    outcome = go(tmp_path, data, stop=(3, 30), **LONG)
    assert outcome.interrupted
    assert {r.metric for r in outcome.rows} >= {"displacement_r2", "delta_cosine"}
    assert (tmp_path / "model.safetensors").is_file()


def test_it_learns(tmp_path: Path) -> None:
    table = edit_table(1500)
    config = tiny_config(steps=700, teacher_share=0.25, space_share=0.15, lr=4e-3, dropout=0.0)
    data = prepare([table], config)
    outcome = train(data, config, RunFolder(tmp_path), output=tmp_path / "m.safetensors", shape=TINY_SHAPE)
    rows = {(r.metric, r.subset): r for r in outcome.rows}
    for subset in ("all", "modified"):
        r2, cosine = rows["displacement_r2", subset], rows["delta_cosine", subset]
        assert r2.value > 0.1
        assert {"copy", "constant_mean", "zero_action", "shuffled_action"} <= set(cosine.beats)
        assert set(r2.nulls) == {"copy", "constant_mean", "zero_action", "shuffled_action", "linear_map"}
    assert "delta_cosine" in (tmp_path / "card.md").read_text()
    assert export.load(tmp_path / "m.safetensors")[2]["quant"] == "int8"
    assert auroc_of_the_critic(tmp_path / "m.safetensors", data) > 0.65


def auroc_of_the_critic(path: Path, data: TrainingData) -> float:
    """How often it doubts a corrupted held-out edit more than a real one."""
    engine = codewm_core.Engine.from_file(path)
    edits = data.holdout[data.group[data.holdout] == 0]
    after = data.after[edits]
    spoilt = corrupt.corrupt_many(data.tokens, data.offsets, after, after, window=64, seed=9)
    before = data.states(data.before[edits])
    kinds = dynamics.kinds_of(data.action[edits], "v15")

    def doubt(states: tuple[np.ndarray, np.ndarray], action: np.ndarray) -> np.ndarray:
        f, read = engine.read(*before, np.arange(len(edits)), action)
        f_after = engine.encode(*states)
        d = engine.target(f_after) - engine.target(f)
        return engine.doubt(f, f_after, d - engine.predict(f, read, action), action)

    real = doubt(data.states(after), data.action[edits])
    wrong = doubt(spoilt, codewm_core.describe_states(before, spoilt, kinds))
    return float((wrong[:, None] > real).mean())


def test_the_held_out_table(tmp_path: Path, data: TrainingData) -> None:
    config = tiny_config(steps=40)
    outcome = train(data, config, RunFolder(tmp_path), output=tmp_path / "m", quant="f32", shape=TINY_SHAPE)
    rows = {(r.metric, r.subset): r for r in outcome.rows}
    engine = codewm_core.Engine.from_file(tmp_path / "m")
    for subset in ("all", "modified"):
        edits = data.holdout[data.group[data.holdout] == 0] if subset == "modified" else data.holdout
        action = np.ascontiguousarray(data.action[edits])
        f, read = engine.read(*data.states(data.before[edits]), np.arange(len(edits)), action)
        after = engine.encode(*data.states(data.after[edits]))
        z = engine.target(f)
        d, d_hat = engine.target(after) - z, engine.predict(f, read, action)
        row = rows["displacement_r2", subset]
        assert row.n == len(edits)
        assert row.value == pytest.approx(metrics.displacement_r2(d_hat, d), abs=1e-4)
        assert row.nulls["copy"] == pytest.approx(metrics.displacement_r2(0 * d, d), abs=1e-4)
        for name in ("delta_cosine", "nearer_than_copy"):
            value = getattr(metrics, name)(d_hat, d).mean()
            assert rows[name, subset].value == pytest.approx(value, abs=1e-4 if "cosine" in name else 0.02)


def test_stage_3_has_its_time_however_long_encoding_took(
    tmp_path: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on 144,000 edits: encoding used up the stage's time, and nothing was trained."""
    cache = training.cache_targets

    def slow(*args: Any) -> Any:
        time.sleep(5)
        return cache(*args)

    monkeypatch.setattr(training, "cache_targets", slow)
    seen: list[dict[str, Any]] = []
    config = tiny_config(steps=None, minutes=5 / 60, teacher_share=0.2, space_share=0.1)
    train(data, config, RunFolder(tmp_path), report=seen.append, shape=TINY_SHAPE)
    looks = [e for e in seen if e["event"] == "validation"]
    assert looks
    assert looks[-1]["step"] > 1


@pytest.mark.parametrize(
    ("stage", "module", "name"),
    [
        (1, teacher, "masked_loss"),
        (2, space, "_probe"),
        (3, dynamics.losses, "displacement_error"),
    ],
)
def test_a_non_finite_loss_stops(
    tmp_path: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch, stage: int, module: Any, name: str
) -> None:
    original = getattr(module, name)

    def spoilt(*args: Any, **kwargs: Any) -> Any:
        out = original(*args, **kwargs)
        if isinstance(out, torch.nn.Module):
            torch.nn.init.constant_(out[-1].bias, float("nan"))  # type: ignore[index]
            return out
        return out * float("nan")

    monkeypatch.setattr(module, name, spoilt)
    with pytest.raises(TrainingStoppedError, match=f"non-finite in stage {stage}"):
        go(tmp_path, data, steps=9)


def test_a_collapsed_encoder_stops(
    tmp_path: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = latents.Latents.read

    def flat(self: latents.Latents, states: latents.States, *edits: np.ndarray) -> tuple[np.ndarray, ...]:
        f, r = read(self, states, *edits)
        return np.outer(np.arange(len(f)), np.ones(32)).astype(np.float32), r

    monkeypatch.setattr(latents.Latents, "read", flat)
    with pytest.raises(TrainingStoppedError, match="collapsed"):
        go(tmp_path, data, steps=6)


def test_resume_needs_the_same_chains(tmp_path: Path, data: TrainingData) -> None:
    go(tmp_path / "run", data, stop=(1, 10), steps=60)
    with pytest.raises(UserError, match="changed since"):
        go(tmp_path / "run", prepare([edit_table(310)], tiny_config()), resume=True)
    with pytest.raises(UserError, match="no unfinished run"):
        latest_unfinished(tmp_path / "nowhere")


def test_what_is_started_from_keeps_its_space(tmp_path: Path, data: TrainingData) -> None:
    go(tmp_path / "base", data, steps=9)
    start = str(tmp_path / "base" / "model.safetensors")
    # At the rate of a real tuning, thirty steps of so small a model do not always beat what they started from.
    tuned = go(tmp_path / "tuned", data, steps=30, start=start, tuning_lr_scale=1.0)
    assert tuned.rows
    assert tuned.steps == 30
    events = [json.loads(line) for line in (tmp_path / "tuned" / "metrics.jsonl").read_text().splitlines()]
    assert {e["stage"] for e in events if "stage" in e} == {3}
    looks = [e for e in events if e["event"] == "validation"]
    assert (looks[0]["step"], looks[0]["best"]) == (0, True), "what it started from may be the best"
    assert len(looks) > 1
    base, _, _ = export.load(Path(start))
    new = load_tensors(tmp_path / "tuned" / "weights.safetensors")[0]
    for part in RULER:
        assert all(torch.equal(base[k], new[k]) for k in base if k.startswith(part))
    for part in ("predictor.", "critic."):
        assert any(not torch.equal(base[k], new[k]) for k in base if k.startswith(part))
    cut = go(tmp_path / "cut", data, steps=30, start=start, stop=(3, 20), evaluations=1)
    assert cut.interrupted
    go(tmp_path / "cut", data, resume=True)
    go(tmp_path / "once", data, steps=30, start=start, evaluations=1)
    assert digest(tmp_path / "cut") == digest(tmp_path / "once")


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
