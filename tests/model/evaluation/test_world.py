"""Claims:

1. Our world's online latents are f and its target latents t(f), as the engine's; the map takes the one to the other.
2. A step lands at t(f) + d_hat, and t takes the latent that it goes on from to the very same place; of all such
   latents it is the nearest to f.
3. The first and the last entry of `loops` are the two halves of f.
4. A folder whose config.json names a recipe is read by the papers' module, anything else by the engine. What reads
   other tokens, and a model named twice, are refused; two models of one name are told apart by their folders.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from codewm.corpus.errors import UserError
from codewm.model.evaluation import world as worlds
from codewm.model.evaluation.subject import load
from tests.model.synthetic import edit_table
from tests.scoring.random_model import write_random_model


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> worlds.EngineWorld:
    path = write_random_model(tmp_path_factory.mktemp("model") / "model.safetensors")
    return worlds.EngineWorld(load(str(path), compare_int8=False), threads=1)


def test_online_and_target_are_the_engines(world: worlds.EngineWorld) -> None:
    table = edit_table(60)
    f = world.engine.encode(table.tokens, table.offsets, threads=1)
    assert np.array_equal(world.online(table.tokens, table.offsets), f)
    assert np.array_equal(world.target(table.tokens, table.offsets), world.engine.target(f))
    assert np.array_equal(world.target_of_online(f), world.engine.target(f))


def test_a_step_is_lifted_to_the_nearest_latent_that_lands_there(world: worlds.EngineWorld) -> None:
    table = edit_table(60)
    f = world.online(table.tokens, table.offsets)[table.before]
    before = table.before.astype(np.int64)
    _, read = world.engine.read(table.tokens, table.offsets, before, table.action)
    landed, onward = world.foresee(table.tokens, table.offsets, before, table.action)
    assert np.allclose(
        landed, world.engine.target(f) + world.engine.predict(f, read, table.action), atol=1e-5
    )
    blind, _ = world.step(f, table.action)
    without = world.engine.predict(f, np.zeros_like(read), table.action)
    assert np.allclose(blind, world.engine.target(f) + without, atol=1e-5)
    assert np.abs(blind - landed).max() > 1e-3, "what is read matters"
    assert np.allclose(world.target_of_online(onward), landed, atol=1e-3)
    # The nearest one differs from f by nothing that t does not see.
    unseen = np.linalg.svd(world.subject.whiten)[2][len(world.subject.whiten) :]
    assert np.abs((onward - f) @ unseen.T).max() < 1e-4


def test_the_ends_of_the_loops_are_the_halves_of_f(world: worlds.EngineWorld) -> None:
    table = edit_table(60)
    f = world.online(table.tokens, table.offsets)
    loops = world.loops(table.tokens, table.offsets)
    assert len(loops) == world.engine.config["loops"] + 1
    half = f.shape[1] // 2
    assert np.allclose(loops[0], f[:, :half], atol=1e-5)
    assert np.allclose(loops[-1], f[:, half:], atol=1e-4)


def test_a_recipe_is_told_by_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"recipe": "readout-repair"}))
    theirs = types.ModuleType("codewm.model.papers.world")
    theirs.load = lambda path: ("theirs", path)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "codewm.model.papers.world", theirs)
    assert worlds.load(str(folder)) == ("theirs", folder)  # type: ignore[comparison-overlap]
    with pytest.raises(UserError, match="no model"):
        worlds.load(str(tmp_path / "nothing"))
    assert isinstance(worlds.load("base"), worlds.EngineWorld)
    with pytest.raises(UserError, match="named twice"):
        worlds.load_all(["base", "base"])
    theirs.load = lambda path: types.SimpleNamespace(tokenizer="paper")  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="the papers' tokens"):
        worlds.load(str(folder))


def test_worlds_of_one_name_are_told_apart_by_their_folders() -> None:
    one, two, other = (types.SimpleNamespace(name=n) for n in ("a", "a", "b"))
    named = worlds.names([one, two, other], ["runs/x/a", "runs/y/a", "runs/b"])  # type: ignore[list-item]
    assert named == ["a (x/a)", "a (y/a)", "b"]
