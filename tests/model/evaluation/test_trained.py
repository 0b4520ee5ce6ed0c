"""Claims about suites that train:

1. Mean, Student's interval and relative spread of known values; rank correlations of known orders.
2. `seeds` of given models needs several different ones; of none, it trains them, and hands out each seed's rows.
3. `ablation` sets each variation beside the full recipe on the same edits, with the difference and its interval.
4. What is finished is not done again; another question is; a run that was interrupted goes on.
5. Every variation is a configuration that can be trained, and differs from the full recipe.
6. The folder of a training run is a model, read as the file that is exported from it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codewm.corpus.errors import UserError
from codewm.model.batches import prepare
from codewm.model.checkpoint import RunFolder
from codewm.model.evaluation import ablation, seeds
from codewm.model.evaluation.held_out import Source, hold_out
from codewm.model.evaluation.metrics import Row
from codewm.model.evaluation.readings import Reader, read
from codewm.model.evaluation.result import Request
from codewm.model.evaluation.runs import Runs
from codewm.model.evaluation.subject import load
from codewm.model.evaluation.variations import FULL, VARIATIONS
from codewm.model.train import train
from tests.model.synthetic import TINY_SHAPE, edit_table, tiny_config
from tests.scoring.random_model import write_random_model

SETTINGS: dict[str, Any] = {
    **TINY_SHAPE, "steps": 12, "threads": 1, "precision": "f32", "tokens_per_batch": 512, "edits_per_step": 32,
    "evaluations": 1, "whiten_states": 300, "bootstrap": 20,
}  # fmt: skip


def request(work: Path | None, **values: Any) -> Request:
    sources = [Source("a", edit_table(300))]
    given = {
        "sources": sources,
        "resamples": 40,
        "threads": 1,
        "injections": 0,
        "settings": SETTINGS,
        "seeds": 2,
    }
    return Request(**{**given, "work": work, **values})


def rows_of(rows: list[Row], **fields: str) -> list[Row]:
    return [r for r in rows if all(getattr(r, k) == v for k, v in fields.items())]


def test_closed_forms() -> None:
    low, high = seeds.student([1, 2, 3]) or (0, 0)
    assert (low + high) / 2 == pytest.approx(2)
    assert high - 2 == pytest.approx(4.303 / math.sqrt(3))
    assert seeds.student([1]) is None
    assert seeds.relative_spread([0.4, 0.5, 0.6]) == pytest.approx(0.4)
    assert seeds.relative_spread([2, 2]) == 0
    assert seeds.relative_spread([-1, 1]) == math.inf
    x = np.array([3.0, 1, 2, 5])
    assert seeds.spearman(x, x**3) == pytest.approx(1)
    assert seeds.spearman(x, -x) == pytest.approx(-1)
    assert seeds.spearman(x, np.ones(4)) == 0
    # Ranks 1.5 1.5 3 against 1 2 3: sqrt(3) / 2.
    assert seeds.spearman(np.array([0.0, 0, 1]), np.array([0.0, 1, 2])) == pytest.approx(math.sqrt(3) / 2)
    assert seeds.matrix([x, x, -x])[0].more["matrix"][0] == pytest.approx([1, 1, -1])


def test_over_seeds() -> None:
    readouts = [
        [Row("m", "all", v, (0, 1), 9, {"copy": c}), Row(f"only{v}", "all", 0, None, 9)]
        for v, c in ((0.2, 0.0), (0.4, 0.1))
    ]
    (row,) = seeds.over_seeds(readouts)
    assert (row.metric, row.value, row.n) == ("m", pytest.approx(0.3), 9)
    assert row.nulls == {"copy": pytest.approx(0.05)}
    assert row.more["seeds"] == [0.2, 0.4]
    assert row.more["relative_spread"] == pytest.approx(2 / 3)


def test_seeds_of_given_models(tmp_path: Path) -> None:
    files = [str(write_random_model(tmp_path / f"{seed}.safetensors", seed=seed)) for seed in range(3)]
    outcome = seeds.run(request(None, models=files), lambda rows: None)
    assert [m["name"] for m in outcome.model] == ["0.safetensors", "1.safetensors", "2.safetensors"]
    (row,) = rows_of(outcome.rows, metric="delta_cosine", subset="modified")
    assert len(set(row.more["seeds"])) == 3
    assert row.value == pytest.approx(np.mean(row.more["seeds"]))
    (worst,) = rows_of(outcome.rows, metric="worst_relative_spread")
    main = [r for r in outcome.rows if r.metric in seeds.SPREAD_OF and r.subset == "modified" and not r.data]
    assert worst.value == max(r.more["relative_spread"] for r in main)
    assert worst.nulls == {"bar": 0.15}
    (agreed,) = rows_of(outcome.rows, metric="cross_seed_rank_correlation")
    assert np.diag(agreed.more["matrix"]).tolist() == pytest.approx([1, 1, 1])
    assert abs(agreed.nulls["shuffled"]) < 0.3
    for wrong, words in ((files[:1], "one model"), ([files[0], files[0]], "named twice")):
        with pytest.raises(UserError, match=words):
            seeds.run(request(None, models=wrong), lambda rows: None)


def test_an_ablation_and_what_it_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []
    train = Runs._train

    def counted(self: Runs, config: Any, shape: Any, variation: Any, place: Path) -> None:
        trained.append(place.name.rsplit("-", 1)[0])
        if len(trained) == 3:
            raise KeyboardInterrupt
        train(self, config, shape, variation, place)

    monkeypatch.setattr(Runs, "_train", counted)
    asked = request(tmp_path, only=["action v7"])
    told: list[Row] = []
    with pytest.raises(KeyboardInterrupt):
        ablation.run(asked, told.extend)
    assert {r.more["variation"] for r in told} == {FULL}
    assert trained == ["full-seed0", "full-seed1", "action-v7-seed0"]
    outcome = ablation.run(asked, told.extend)
    assert trained[3:] == ["action-v7-seed0", "action-v7-seed1"]
    assert [m["name"] for m in outcome.model] == [FULL, "action v7"]
    full, varied = rows_of(outcome.rows, metric="delta_cosine", subset="modified")
    assert "difference" not in full.more
    difference = varied.more["difference"]
    assert difference["value"] == pytest.approx(varied.value - full.value)
    assert difference["interval"][0] <= difference["value"] <= difference["interval"][1]
    assert len(difference["seeds"]) == 2
    assert {c.name for c in outcome.charts} >= {"ablation-delta_cosine", "ablation-displacement_r2"}
    again = ablation.run(asked, told.extend)
    assert len(trained) == 5
    assert [r.as_json() for r in again.rows] == [r.as_json() for r in outcome.rows]
    # Two seeds of the full recipe are there already, so that `seeds` trains nothing.
    spread = seeds.run(request(tmp_path), told.extend)
    assert len(trained) == 5
    (row,) = rows_of(spread.rows, metric="delta_cosine", subset="modified")
    assert row.more["seeds"] == full.more["seeds"]
    # Another budget is another question.
    with_more = request(tmp_path, settings={**SETTINGS, "steps": 13}, seeds=2)
    seeds.run(with_more, told.extend)
    assert trained[5:] == ["full-seed0", "full-seed1"]


def test_a_training_that_was_stopped_goes_on(tmp_path: Path) -> None:
    said: list[str] = []

    def stop(text: str) -> None:
        said.append(text)
        if "stage 3" in text:
            raise KeyboardInterrupt

    variation = VARIATIONS[FULL]
    settings = {**SETTINGS, "steps": 40, "evaluations": 2}
    held_out = hold_out([Source("a", edit_table(300))])
    stopped = Runs(request(tmp_path / "a", settings=settings, say=stop), held_out, None)
    with pytest.raises(KeyboardInterrupt):
        stopped.figures(FULL, variation, 0)
    (place,) = (tmp_path / "a").iterdir()
    assert {p.name for p in place.iterdir()} == {"run"}
    assert (place / "run" / "state.safetensors").is_file()
    said.clear()
    going_on = Runs(request(tmp_path / "a", settings=settings, say=said.append), held_out, None)
    whole = Runs(request(tmp_path / "b", settings=settings), held_out, None)
    resumed, straight = going_on.figures(FULL, variation, 0), whole.figures(FULL, variation, 0)
    assert [r.as_json() for r in resumed.rows] == [r.as_json() for r in straight.rows]
    assert not (place / "run").exists()


def test_every_variation_can_be_trained() -> None:
    runs = Runs(request(Path("/nowhere")), hold_out([Source("a", edit_table(300))]), None)
    plain = runs.config(VARIATIONS[FULL], 0)
    for name, variation in VARIATIONS.items():
        config, shape = runs.config(variation, 7)
        assert config.seed == 7
        if name == FULL:
            continue
        other = runs.config(variation, 0)
        assert other != plain or variation.action == "v7"
        assert shape == {**plain[1], **variation.shape}
        assert variation.help


def test_a_variation_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no variation 'magic'"):
        ablation.run(request(tmp_path, only=["magic"]), lambda rows: None)
    with pytest.raises(UserError, match="its own models"):
        ablation.run(request(tmp_path, models=["base"]), lambda rows: None)


def test_a_run_is_a_model(tmp_path: Path) -> None:
    config = tiny_config(steps=12)
    folder = RunFolder(tmp_path / "20260101-s0")
    out = tmp_path / "m.safetensors"
    train(prepare([edit_table(300)], config), config, folder, output=out, quant="f32", shape=TINY_SHAPE)
    run, file = load(str(folder.path)), load(str(out))
    assert (run.name, run.quant, run.action) == ("20260101-s0", "f32", "v15")
    assert run.quantised is not None
    held_out = hold_out([Source("a", edit_table(300))])
    first, second = (read(Reader(s.engine, "v15", 1), held_out) for s in (run, file))
    assert np.array_equal(first.predictions[""], second.predictions[""])
    assert np.array_equal(first.d, second.d)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no model"):
        load(str(tmp_path / "empty"))
    (tmp_path / "text.safetensors").write_text("text")
    with pytest.raises(UserError, match="not a usable model"):
        load(str(tmp_path / "text.safetensors"))
