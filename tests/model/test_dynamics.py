"""Claims about stage 3:

1. What is cached is what the encoder, r and t make of each state, and of each corrupted next state; a wrong edit on top
   begins where the real one began, one alone where it ended, each with its own action; one of every modified edit.
2. Corruptions have their share of a timed run, and no more; without any, training goes on.
3. The predictor's loss trains g alone, the critic's the critic alone, and neither the space.
4. The critic is shown real and wrong edits by the same predictor, which forgets nothing while it is asked, and reads
   all of them.
5. A kind of unit that stands for a scope has that scope.
6. What is read of a wrong edit, and of a null, is what stands where its own action says; torch reads what the engine
   reads. From a share of the edits it is hidden, while g is trained and nowhere else.
7. What errors are divided by is larger for edits that are expected to be larger, and on average as large as they are.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import codewm_core
from codewm.model.batches import TrainingData, prepare
from codewm.model.checkpoint import RunFolder
from codewm.model.dynamics import (
    Best,
    Targets,
    cache_targets,
    error_scale,
    foresee,
    kinds_of,
    target_of,
    terms,
    validate,
)
from codewm.model.evaluation import nulls
from codewm.model.export import packed
from codewm.model.jepa import JEPA
from codewm.model.latents import Latents
from codewm.model.session import Pace, Session
from codewm.model.space import cache_latents, choose_reading, choose_space
from tests.model.synthetic import PUT, edit_table, tiny_config, tiny_model


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return prepare([edit_table()], tiny_config())


def made(folder: Path, data: TrainingData, **values: Any) -> tuple[Session, JEPA, Targets]:
    """A model of random weights that says something, in its space, and what is cached of it."""
    session = Session(tiny_config(**values), tiny_model(), data, RunFolder(folder), lambda event: None)
    torch.manual_seed(0)
    model = JEPA(session.model_config)
    torch.nn.init.normal_(model.predictor.out.weight, std=0.1)
    choose_reading(session, model)
    cache = cache_latents(session, model)
    choose_space(session, model, cache, Pace(2, None))
    return session, model, cache_targets(session, model, cache)


def engine_of(model: JEPA) -> codewm_core.Engine:
    """What an export of the model computes."""
    return codewm_core.Engine.from_bytes(packed(model.state_dict(), model.config, "f32"))


def read_by_engine(model: JEPA, data: TrainingData, side: np.ndarray, action: np.ndarray) -> np.ndarray:
    """What it reads of states `side` [n], each edited as its action says."""
    return engine_of(model).read(*data.states(side), np.arange(len(side)), np.ascontiguousarray(action))[1]


def test_what_is_cached(tmp_path: Path, data: TrainingData) -> None:
    session, model, targets = made(tmp_path, data, corruptions=2)
    edits = np.concatenate([data.fit, data.validation])
    used = np.unique(np.concatenate([data.before[edits], data.after[edits]]))
    f = engine_of(model).encode(*data.states(used))
    np.testing.assert_allclose(targets.cache.f[used], f, atol=1e-5)
    read = read_by_engine(model, data, data.before[edits], data.action[edits])
    np.testing.assert_allclose(targets.cache.read(edits), read, atol=1e-5)
    np.testing.assert_allclose(targets.z[used], target_of(model, f), atol=1e-4)
    some = data.fit[:5]
    d = targets.z[data.after[some]] - targets.z[data.before[some]]
    np.testing.assert_array_equal(targets.displacement(session, some), d)

    wrong = targets.wrong
    modified = data.group[data.fit] == 0
    assert np.bincount(wrong.edit, minlength=len(data.fit)).tolist() == (2 * modified).tolist()
    assert (wrong.row[modified] >= 0).all()
    assert (wrong.row[~modified] == -1).all()
    for column in wrong.row[modified].T:
        assert np.array_equal(wrong.edit[column], np.flatnonzero(modified))
    names = codewm_core.ACTIONS["v15"]
    for action in (wrong.on_top, wrong.alone):
        assert action.shape == (len(wrong.edit), 15)
        assert (action[:, names.index("type_modify")] == 1).all()
    assert not np.array_equal(wrong.on_top, wrong.alone)
    # As corrupted states are other states, they are elsewhere.
    assert (
        np.abs(wrong.latent - targets.cache.f[data.after[data.fit[wrong.edit]]]).max(1) > 1e-6
    ).mean() > 0.95


def test_corruptions_have_their_share_of_the_time(tmp_path: Path, data: TrainingData) -> None:
    session, model, targets = made(tmp_path, data, minutes=1e-9, steps=None)
    assert len(targets.wrong.edit) == 0
    assert targets.wrong.on_top.shape == targets.wrong.alone.shape == (0, 15)
    assert (targets.wrong.row == -1).all()
    critic = {n: v.clone() for n, v in model.critic.state_dict().items()}
    foresee(session, model, targets, Pace(5, None), Best())
    assert all(torch.equal(v, critic[n]) for n, v in model.critic.state_dict().items())
    assert session.folder.weights.is_file()
    assert len(made(tmp_path, data, corruptions=0)[2].wrong.edit) == 0


def reached(model: JEPA, loss: torch.Tensor) -> dict[str, float]:
    """The part of the gradient that each part of the model gets."""
    model.zero_grad()
    loss.backward(retain_graph=True)
    norms: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            part = name.split(".")[0]
            norms[part] = norms.get(part, 0.0) + float(parameter.grad.norm())
    return norms


def test_what_is_trained(tmp_path: Path, data: TrainingData) -> None:
    session, model, targets = made(tmp_path, data)
    batch = np.arange(40)
    error, contrast, picked, doubt = terms(session, model, targets, batch, np.random.default_rng(0))
    for loss in (error, contrast):
        norms = reached(model, loss)
        assert set(norms) == {"predictor"}
        assert norms["predictor"] > 1e-4
    norms = reached(model, doubt)
    assert set(norms) == {"critic"}
    assert norms["critic"] > 1e-4
    assert 0 <= float(picked) <= 1


def test_real_and_wrong_edits_are_shown_alike(
    tmp_path: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, model, targets = made(tmp_path, data, dropout=0.5, unread=0.5, untold=0.0)
    shown: list[tuple[torch.Tensor, ...]] = []
    judge = model.doubt

    def seen(*told: torch.Tensor) -> torch.Tensor:
        shown.append(told)
        return judge(*told)

    monkeypatch.setattr(model, "doubt", seen)
    terms(session, model, targets, np.arange(40), np.random.default_rng(0))
    assert len(shown) == 2
    model.eval()
    real, wrong = shown
    chosen = data.fit[:40][data.group[data.fit[:40]] == 0]
    mine = targets.wrong.row[:40][data.group[data.fit[:40]] == 0, 0]
    there = np.concatenate([targets.wrong.read_on_top[mine], targets.wrong.read_alone[mine]])
    read = [torch.from_numpy(r) for r in (targets.cache.read(chosen), there)]
    for before, after, residual, action in shown:
        place = next(r for r in read if len(r) == len(before))
        with torch.no_grad():
            d = model.target(after) - model.target(before)
            torch.testing.assert_close(residual, d - model(before, place, action), atol=1e-4, rtol=1e-3)
    edits = data.fit[:40][data.group[data.fit[:40]] == 0]
    np.testing.assert_array_equal(real[3].numpy(), data.action[edits])
    assert len(wrong[0]) == 2 * len(edits)
    begun = np.concatenate([data.before[edits], data.after[edits]])
    np.testing.assert_array_equal(wrong[0].numpy(), targets.cache.f[begun])


def test_a_share_of_the_residuals_is_hidden_from_the_critic(
    tmp_path: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of real edits and of wrong ones alike: otherwise that it is hidden would tell them apart."""
    session, model, targets = made(tmp_path, data, untold=0.5)
    shown: list[tuple[bool, torch.Tensor]] = []
    judge = model.doubt

    def seen(*told: torch.Tensor) -> torch.Tensor:
        shown.append((model.critic.training, told[2]))
        return judge(*told)

    monkeypatch.setattr(model, "doubt", seen)
    rng = np.random.default_rng(0)
    for _ in range(2):
        terms(session, model, targets, np.arange(200), rng)
    assert all(training for training, _ in shown)
    assert not model.critic.training
    hidden = [~residual.any(1) for _, residual in shown]
    for real, wrong in (hidden[:2], hidden[2:]):
        assert 0.35 < float(real.float().mean()) < 0.65
        on_top, alone = wrong.chunk(2)
        assert 0.35 < float(on_top.float().mean()) < 0.65
        assert not torch.equal(on_top, alone)
    assert not torch.equal(hidden[0], hidden[2])


def test_wrong_edits_are_read_where_they_happen(tmp_path: Path, data: TrainingData) -> None:
    """On top of the edit in s, alone in s'; each by its own action."""
    _, model, targets = made(tmp_path, data, corruptions=2)
    wrong = targets.wrong
    fit = data.fit[wrong.edit]
    for side, action, read in (
        (data.before, wrong.on_top, wrong.read_on_top),
        (data.after, wrong.alone, wrong.read_alone),
    ):
        assert read.shape == (len(fit), model.config.read)
        np.testing.assert_allclose(read, read_by_engine(model, data, side[fit], action), atol=1e-5)
    real = targets.cache.read(fit)
    for read in (wrong.read_on_top, wrong.read_alone):
        assert (np.abs(read - real).max(1) > 1e-3).mean() > 0.5, "other edits are elsewhere"


def test_nulls_of_validation_edits_are_read_where_they_say(tmp_path: Path, data: TrainingData) -> None:
    _, model, targets = made(tmp_path, data)
    edits = data.validation
    assert set(targets.told) == {"", "zero_action", "shuffled_action"}
    np.testing.assert_array_equal(targets.told[""][0], data.action[edits])
    np.testing.assert_array_equal(targets.told["shuffled_action"][0], nulls.shuffled(data.action[edits]))
    own = targets.told[""][1]
    np.testing.assert_allclose(own, targets.cache.read(edits), atol=1e-5)
    for name, (action, read) in targets.told.items():
        want = read_by_engine(model, data, data.before[edits], action)
        np.testing.assert_allclose(read, want, atol=1e-5)
        assert (np.abs(read - own).max(1) > 1e-3).mean() > 0.5 or name == ""


def test_torch_reads_what_the_engine_reads(tmp_path: Path, data: TrainingData) -> None:
    """Where there is no engine, on other devices."""
    session, model, _ = made(tmp_path, data)
    latents = Latents(session, model)
    edited, states = np.arange(60)[::-1] % 20, data.states(np.arange(20))
    action = data.action[:60]
    f, read = latents.read(states, edited, action)
    object.__setattr__(latents, "_engine", None)
    by_torch = latents.read(states, edited, action)
    assert by_torch[1].shape == (60, 30)
    for a, b in zip(by_torch, (f, read), strict=True):
        np.testing.assert_allclose(a, b, atol=5e-5)
    assert not np.array_equal(by_torch[1], read), "by another"
    np.testing.assert_array_equal(latents.encode(states), by_torch[0])


def test_the_reading_is_hidden_in_training_only(
    tmp_path: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a share of the edits, drawn anew each time; whoever judges residuals is told those of a full reading."""
    session, model, targets = made(tmp_path, data, unread=0.5)
    told: list[tuple[bool, torch.Tensor]] = []
    predict = model.predictor.forward

    def seen(state: torch.Tensor, read: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        told.append((model.predictor.training, read))
        return predict(state, read, action)

    monkeypatch.setattr(model.predictor, "forward", seen)
    batch = np.arange(200)
    rng = np.random.default_rng(0)
    terms(session, model, targets, batch, rng)
    full = torch.from_numpy(targets.cache.read(data.fit[batch]))
    assert [training for training, _ in told] == [True, False, False]
    shown = told[0][1]
    hidden = ~shown.any(1)
    assert 0.35 < float(hidden.float().mean()) < 0.65
    assert torch.equal(shown[~hidden], full[~hidden])
    assert torch.equal(told[1][1], full)
    assert told[2][1].any(1).all()
    terms(session, model, targets, batch, rng)
    assert not torch.equal(~told[3][1].any(1), hidden)
    told.clear()
    validate(session, model, targets)
    assert len(told) == 3
    assert all(read.any(1).all() and not training for training, read in told)
    told.clear()
    whole = replace(session, config=replace(session.config, unread=0.0))
    terms(whole, model, targets, batch, rng)
    assert torch.equal(told[0][1], full)


def test_the_space_stays_and_the_rest_moves(tmp_path: Path, data: TrainingData) -> None:
    session, model, targets = made(tmp_path, data)
    before = {n: v.clone() for n, v in model.state_dict().items()}
    foresee(session, model, targets, Pace(4, None), Best())
    changed = {n.split(".")[0] for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == {"predictor", "critic"}


def test_kinds_of_scopes() -> None:
    names = codewm_core.ACTIONS["v15"]
    action = np.zeros((3, 15), np.float32)
    for i, scope in enumerate(("function", "class", "module")):
        action[i, names.index(f"scope_{scope}")] = 1
    kinds = kinds_of(action, "v15")
    assert [codewm_core.KINDS[k] for k in kinds] == ["function", "class", "module"]
    assert kinds_of(action[:0], "v15").dtype == np.uint8
    assert np.array_equal(kinds_of(action[:, :7], "v7"), kinds)
    one = np.array([9, 10], np.uint16), np.array([0, 1, 2], np.int64)
    other = np.array([10, 9], np.uint16), np.array([0, 1, 2], np.int64)
    told = codewm_core.describe_states(one, other, kinds[:2])
    scopes = [names.index(f"scope_{scope}") for scope in ("function", "class", "module")]
    np.testing.assert_array_equal(told[:, scopes], action[:2, scopes])


def test_what_errors_are_divided_by(tmp_path: Path, data: TrainingData) -> None:
    session, _, targets = made(tmp_path, data)
    assert (targets.scale > 0).all()
    group = data.group[data.fit]
    size = np.where(group == 0, 1, 80).astype(np.float32) * np.exp(data.action[data.fit, PUT])
    scale = error_scale(session, size.astype(np.float32))
    for kind in range(3):
        assert scale[group == kind].mean() == pytest.approx(size[group == kind].mean(), rel=0.05)
    put = data.action[data.fit, PUT] == 1
    assert scale[put & (group == 0)].mean() > 1.2 * scale[~put & (group == 0)].mean()
