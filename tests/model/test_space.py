"""Claims about stage 2:

1. Directions come in the order of the share of their displacement that is foreseen, whatever the coordinates; what
   hardly moves is no direction that is foreseen well.
2. t and x are white over the training states, but for what the floors hold back; EMPTY lies among the states, also in
   what is cached of it, latents and readings; all is fixed. The encoder moves in nothing but EMPTY; g and the critic
   are as they were. The same seed gives the same space.
3. The other kind of space is that of the first principal components.
4. More of a displacement can be foreseen in the space that is chosen for it.
5. Latents that span one direction stop the run; without edits of modified units there is nothing to foresee.
6. Readings have variance 1 over what stands where training edits happen, means of embeddings as much as of features;
   empty ranges are not among it. The probe reads them.
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
from codewm.model.encoder import principal
from codewm.model.export import packed
from codewm.model.jepa import JEPA, RULER
from codewm.model.latents import Latents
from codewm.model.session import Pace, Session, TrainingStoppedError
from codewm.model.space import Cache, cache_latents, choose_reading, choose_space, foreseen_directions
from tests.model.synthetic import edit_table, tiny_config, tiny_model


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return prepare([edit_table(900)], tiny_config())


def chosen(
    folder: Path, data: TrainingData, steps: int = 4, **values: Any
) -> tuple[Session, JEPA, Cache, list[dict[str, Any]]]:
    """A model of random weights in its space, what is cached of it, and what was said."""
    events: list[dict[str, Any]] = []
    session = Session(
        tiny_config(whiten_states=5_000, **values), tiny_model(), data, RunFolder(folder), events.append
    )
    torch.manual_seed(0)
    model = JEPA(session.model_config)
    choose_reading(session, model)
    cache = cache_latents(session, model)
    choose_space(session, model, cache, Pace(steps, None))
    return session, model, cache, events


def given(data: TrainingData, f: np.ndarray, width: int = 30) -> Cache:
    """These latents [U, W], and nothing read of any edit."""
    return Cache(f.astype(np.float32), np.zeros((1, width), np.float32), np.zeros(len(data.before), np.int64))


def of(data: TrainingData, edits: np.ndarray) -> np.ndarray:
    """The states of edits that are there."""
    ids = np.unique(np.concatenate([data.before[edits], data.after[edits]]))
    return ids[data.lengths[ids] > 1]


@pytest.mark.parametrize("turned", [False, True])
def test_directions_by_the_share_that_is_foreseen(turned: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    known = torch.tensor([0.1, 0.9, 0.5, 0.0]).sqrt() * torch.tensor([9.0, 1.0, 2.0, 4.0])
    unknown = torch.tensor([0.9, 0.1, 0.5, 1.0]).sqrt() * torch.tensor([9.0, 1.0, 2.0, 4.0])
    e_hat = torch.randn(40_000, 4, generator=generator) * known
    e = e_hat + torch.randn(40_000, 4, generator=generator) * unknown
    mix = torch.randn(4, 4, generator=generator) + 2 * torch.eye(4) if turned else torch.eye(4)
    directions, shares = foreseen_directions(e_hat @ mix, e @ mix)
    torch.testing.assert_close(shares, torch.tensor([0.9, 0.5, 0.1, 0.0]), atol=0.02, rtol=0)
    found = e @ mix @ directions
    torch.testing.assert_close(found.T @ found / len(found), torch.eye(4), atol=1e-3, rtol=0)
    # They are the directions that were put in: second, third, first, last.
    same = torch.nn.functional.cosine_similarity(found[:, :3], e[:, [1, 2, 0]], dim=0)
    assert float(same.abs().min()) > 0.98


def test_what_hardly_moves_is_not_foreseen_well() -> None:
    generator = torch.Generator().manual_seed(0)
    e = torch.randn(5_000, 2, generator=generator) * torch.tensor([1.0, 1e-4])
    directions, shares = foreseen_directions(e * torch.tensor([0.5, 1.0]), e)
    torch.testing.assert_close(shares, torch.tensor([0.5, 1e-4]), atol=1e-2, rtol=0)
    assert abs(float(directions[0, 0])) > abs(float(directions[1, 0]))


def test_a_space_is_white(tmp_path: Path, data: TrainingData) -> None:
    torch.manual_seed(1)
    spread = torch.diag(torch.linspace(0.3, 2, 32)) @ torch.linalg.qr(torch.randn(32, 32)).Q
    f = torch.randn(len(data.offsets) - 1, 32) @ spread + 3
    session = Session(
        tiny_config(whiten_states=5_000), tiny_model(), data, RunFolder(tmp_path), lambda e: None
    )
    model = JEPA(session.model_config)
    choose_space(session, model, given(data, f.numpy()), Pace(4, None))
    sample = f[of(data, data.fit)]
    with torch.no_grad():
        for white in (model.target(sample), model.state(sample)):
            torch.testing.assert_close(white.mean(0), torch.zeros(white.shape[1]), atol=1e-3, rtol=0)
            torch.testing.assert_close(torch.cov(white.T), torch.eye(white.shape[1]), atol=1e-3, rtol=0)


def test_what_a_space_leaves_behind(tmp_path: Path, data: TrainingData) -> None:
    torch.manual_seed(0)
    fresh = JEPA(tiny_model()).state_dict()
    _, model, cache, events = chosen(tmp_path, data)
    states = of(data, data.fit)
    latents = torch.from_numpy(cache.f[states])
    with torch.no_grad():
        t = model.target(latents)
        away = float(model.target(model.encoder(torch.tensor([[codewm_core.EMPTY]]), torch.ones(1))).norm())
    torch.testing.assert_close(t.mean(0), torch.zeros(8), atol=1e-3, rtol=0)
    spread = torch.linalg.eigvalsh(torch.cov(t.T))
    assert float(spread[-1]) == pytest.approx(1, abs=1e-2), "none varies more than the whitened ones"
    whiter = chosen(tmp_path, data, target_floor=1e-9)[1].target(latents).detach()
    torch.testing.assert_close(torch.cov(whiter.T), torch.eye(8), atol=2e-2, rtol=0)
    assert away < float(t.norm(dim=1).median())
    ids = np.unique(np.concatenate([data.before[data.fit], data.after[data.fit]]))
    engine = codewm_core.Engine.from_bytes(packed(model.state_dict(), model.config, "f32"))
    np.testing.assert_allclose(cache.f[ids], engine.encode(*data.states(ids)), atol=1e-5)
    assert (data.lengths[ids] == 1).any(), "EMPTY is one of them"
    edits = np.concatenate([data.fit, data.validation])
    read = engine.read(*data.states(data.before[edits]), np.arange(len(edits)), data.action[edits])[1]
    np.testing.assert_allclose(cache.read(edits), read, atol=1e-5)
    assert cache.r.shape == (len(edits), 30)
    others = np.setdiff1d(np.arange(len(data.before)), edits)
    assert (cache.row[others] == -1).all()

    still = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert still == {n for n, _ in model.named_parameters() if n.startswith(RULER)}
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, fresh[n])}
    maps = {f"{m}.{x}" for m in ("state", "target", "reading") for x in ("weight", "bias")}
    assert changed == maps | {"encoder.embedding.weight"}
    (said,) = [e for e in events if e["event"] == "target"]
    assert said["states"] == len(states)
    assert 2 < said["rank_squared"] <= 8
    assert 1 > said["foreseen_first"] >= said["foreseen_last"]

    again = chosen(tmp_path, data)[1].state_dict()
    assert all(torch.equal(v, again[n]) for n, v in model.state_dict().items())
    other = chosen(tmp_path, data, seed=1)[1].state_dict()
    assert not torch.equal(model.target.weight, other["target.weight"])


def test_first_components(tmp_path: Path, data: TrainingData) -> None:
    session, model, cache, _ = chosen(tmp_path, data, space="principal")
    sample = torch.from_numpy(cache.f[of(data, data.fit)])
    weight, bias = principal(sample, 8, session.config.space_floor)
    torch.testing.assert_close(model.target.weight.detach(), weight)
    torch.testing.assert_close(model.target.bias.detach(), bias)
    nothing = replace(data, group=np.ones_like(data.group))
    _, without, _, _ = chosen(tmp_path, nothing)
    torch.testing.assert_close(without.target.weight.detach(), weight)


def test_what_can_be_foreseen_is_found(tmp_path: Path, data: TrainingData) -> None:
    """Of 32 coordinates, the action decides where eight move; the others vary more, and jump."""
    rng = np.random.default_rng(0)
    known = np.arange(32) < 8
    size = np.where(known, 1, 3)
    f = rng.normal(size=(len(data.offsets) - 1, 32)) * size
    moved = rng.normal(size=(len(data.after), 32)) * size
    moved[:, known] = data.action @ rng.normal(size=(15, 8)) + 0.1 * moved[:, known]
    f[data.after] = f[data.before] + moved
    f = f.astype(np.float32)
    modified = data.validation[data.group[data.validation] == 0]
    before, after = f[data.before[modified]], f[data.after[modified]]

    def share_of_the_known(space: str) -> float:
        config = tiny_config(whiten_states=5_000, lr=4e-3, space=space)
        session = Session(config, tiny_model(), data, RunFolder(tmp_path), lambda e: None)
        model = JEPA(session.model_config)
        choose_space(session, model, given(data, f), Pace(100, None))
        with torch.no_grad():
            start, end, halfway = (
                model.target(torch.from_numpy(x)) for x in (before, after, np.where(known, after, before))
            )
        return 1 - float((end - halfway).square().sum() / (end - start).square().sum())

    assert share_of_the_known("foreseen") > 0.6
    assert share_of_the_known("principal") < 0.3


def test_latents_of_one_direction_stop(tmp_path: Path, data: TrainingData) -> None:
    session = Session(tiny_config(), tiny_model(), data, RunFolder(tmp_path), lambda event: None)
    f = np.outer(np.sin(np.arange(len(data.offsets) - 1)), np.ones(32)).astype(np.float32)
    with pytest.raises(TrainingStoppedError, match="target space collapsed"):
        choose_space(session, JEPA(session.model_config), given(data, f), Pace(2, None))


def test_readings_vary_alike(tmp_path: Path, data: TrainingData) -> None:
    session = Session(tiny_config(), tiny_model(), data, RunFolder(tmp_path), lambda event: None)
    torch.manual_seed(0)
    model = JEPA(session.model_config)
    choose_reading(session, model)
    edits = data.fit
    states, every = data.states(data.before[edits]), np.arange(len(edits))
    at = [batch.flatten(0, 1) for _, batch in Latents(session, model).at(states, every, data.action[edits])]
    rows = torch.cat(at)
    ranges = codewm_core.places(data.lengths[data.before[edits]], data.action[edits], "v15", 64)
    empty = int((ranges[..., 0] == ranges[..., 1]).sum())
    there = rows[rows.any(1)]
    assert empty > 100
    assert len(rows) - len(there) == empty
    # So much smaller, the embeddings would be nothing beside the features.
    spread = there.std(0)
    assert float(spread[:16].median()) < 0.3 * float(spread[16:].median())
    read = model.reading(there).detach()
    torch.testing.assert_close(read.mean(0), torch.zeros(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(read.T), torch.eye(6), atol=1e-2, rtol=0)
    weight = model.reading.weight.detach() * spread
    assert 0.2 < float(weight[:, :16].norm() / weight[:, 16:].norm()) < 5
    other = model.reading(rows).detach()
    assert (torch.cov(other.T) - torch.eye(6)).abs().max() > 0.03, (
        "with the empty ones it would be another map"
    )


def test_readings_are_of_a_draw(tmp_path: Path, data: TrainingData) -> None:
    def of_edits(count: int, seed: int = 0) -> torch.Tensor:
        config = tiny_config(read_edits=count, seed=seed)
        session = Session(config, tiny_model(), data, RunFolder(tmp_path), lambda event: None)
        torch.manual_seed(0)
        model = JEPA(session.model_config)
        choose_reading(session, model)
        return model.reading.weight.detach()

    assert torch.equal(of_edits(100), of_edits(100))
    assert not torch.equal(of_edits(100), of_edits(100, seed=1))
    assert torch.equal(of_edits(100_000), of_edits(len(data.fit)))


def test_the_probe_reads(tmp_path: Path, data: TrainingData) -> None:
    """Where displacements are what is read and nothing else, more of them is foreseen than with nothing to read."""
    rng = np.random.default_rng(0)
    read = rng.normal(size=(len(data.before), 30)).astype(np.float32)
    f = rng.normal(size=(len(data.offsets) - 1, 32)).astype(np.float32)
    f[data.after] = f[data.before] + read @ rng.normal(size=(30, 32)).astype(np.float32)
    first: list[float] = []
    for told in (read, 0 * read):
        session = Session(
            tiny_config(lr=4e-3), tiny_model(), data, RunFolder(tmp_path),
            lambda e: first.append(e["foreseen_first"]) if e["event"] == "target" else None,
        )  # fmt: skip
        cache = Cache(f.copy(), told, np.arange(len(data.before)))
        choose_space(session, JEPA(session.model_config), cache, Pace(60, None))
    assert first[0] > first[1] + 0.2


def test_an_unknown_space_is_refused() -> None:
    from codewm.corpus.errors import UserError

    with pytest.raises(UserError, match="space"):
        tiny_config(space="forseen")
