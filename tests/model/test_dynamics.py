"""Claims about stage 3:

1. What is cached is what the encoder and t make of each state, and of each corrupted next state; a wrong edit on top
   begins where the real one began, one alone where it ended, each with its own action; one of every modified edit.
2. Corruptions have their share of a timed run, and no more; without any, training goes on.
3. The predictor's loss trains g alone, the critic's the critic alone, and neither the space.
4. The critic is shown real and wrong edits by the same predictor, which forgets nothing while it is asked.
5. A kind of unit that stands for a scope has that scope.
6. What errors are divided by is larger for edits that are expected to be larger, and on average as large as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import codewm_core
from codewm.model.batches import TrainingData, encode, prepare
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
)
from codewm.model.jepa import JEPA
from codewm.model.session import Pace, Session
from codewm.model.space import cache_latents, choose_space
from tests.model.synthetic import edit_table, tiny_config, tiny_model


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return prepare([edit_table()], tiny_config())


def made(folder: Path, data: TrainingData, **values: Any) -> tuple[Session, JEPA, Targets]:
    """A model of random weights that says something, in its space, and what is cached of it."""
    session = Session(tiny_config(**values), tiny_model(), data, RunFolder(folder), lambda event: None)
    torch.manual_seed(0)
    model = JEPA(session.model_config)
    torch.nn.init.normal_(model.predictor.out.weight, std=0.1)
    f = cache_latents(session, model)
    choose_space(session, model, f, Pace(2, None))
    return session, model, cache_targets(session, model, f)


def test_what_is_cached(tmp_path: Path, data: TrainingData) -> None:
    session, model, targets = made(tmp_path, data, corruptions=2)
    edits = np.concatenate([data.fit, data.validation])
    used = np.unique(np.concatenate([data.before[edits], data.after[edits]]))
    f = encode(model.encoder, data.tokens, data.offsets, used)
    np.testing.assert_allclose(targets.f[used], f, atol=1e-5)
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
    assert (np.abs(wrong.latent - targets.f[data.after[data.fit[wrong.edit]]]).max(1) > 1e-6).mean() > 0.95


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
    session, model, targets = made(tmp_path, data, dropout=0.5)
    shown: list[tuple[torch.Tensor, ...]] = []
    judge = model.doubt

    def seen(*told: torch.Tensor) -> torch.Tensor:
        shown.append(told)
        return judge(*told)

    monkeypatch.setattr(model, "doubt", seen)
    terms(session, model, targets, np.arange(40), np.random.default_rng(0))
    assert len(shown) == 2
    model.eval()
    for before, after, residual, action in shown:
        with torch.no_grad():
            d = model.target(after) - model.target(before)
            torch.testing.assert_close(residual, d - model(before, action), atol=1e-4, rtol=1e-3)
    real, wrong = shown
    edits = data.fit[:40][data.group[data.fit[:40]] == 0]
    np.testing.assert_array_equal(real[3].numpy(), data.action[edits])
    assert len(wrong[0]) == 2 * len(edits)
    begun = np.concatenate([data.before[edits], data.after[edits]])
    np.testing.assert_array_equal(wrong[0].numpy(), targets.f[begun])


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
    size = np.where(group == 0, 1, 80).astype(np.float32) * np.exp(data.action[data.fit, 3])
    scale = error_scale(session, size.astype(np.float32))
    for kind in range(3):
        assert scale[group == kind].mean() == pytest.approx(size[group == kind].mean(), rel=0.05)
    put = data.action[data.fit, 3] == 1
    assert scale[put & (group == 0)].mean() > 1.2 * scale[~put & (group == 0)].mean()
