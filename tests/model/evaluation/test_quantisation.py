"""Claims:

1. Cosines and errors are those of the plain equations; nothing lost is 1 and 0.
2. A loss is f32 less the tier, with the interval of the paired difference; the same figures lose nothing.
3. Of a model every tier of the exporter has its bytes, fidelity and losses; f32 is compared with nothing.
4. What is stored as int8 says that its f32 is only what its integers stand for; a recipe of the papers is refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codewm.corpus.errors import UserError
from codewm.model import export
from codewm.model.evaluation import quantisation
from codewm.model.evaluation.held_out import Source
from codewm.model.evaluation.metrics import Row, Tally
from codewm.model.evaluation.readout import Figures
from codewm.model.evaluation.result import Request
from tests.model.synthetic import edit_table
from tests.scoring.random_model import write_random_model


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model") / "model.safetensors")


def request(model: Path) -> Request:
    return Request(sources=[Source("a", edit_table(400))], models=[str(model)], resamples=20, threads=1)


def test_fidelity_is_that_of_the_equations() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5)).astype(np.float32)
    noise = x + 0.1 * rng.normal(size=x.shape).astype(np.float32)
    tally = Tally(np.arange(200) // 2, resamples=20)
    found = {r.metric: r for r in quantisation.compare(tally, "made", x, noise)}
    cosine = (x * noise).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(noise, axis=1)
    assert found["made_cosine"].value == pytest.approx(cosine.mean(), rel=1e-5)
    assert found["made_cosine_min"].value == pytest.approx(cosine.min(), rel=1e-5)
    assert found["made_cosine_p1"].value == pytest.approx(np.quantile(cosine, 0.01), rel=1e-5)
    error = np.square(x - noise).sum() / np.square(x - x.mean(0)).sum()
    assert found["made_error"].value == pytest.approx(error, rel=1e-4)
    assert abs(found["made_cosine"].nulls["unrelated"]) < 0.2
    same = {r.metric: r.value for r in quantisation.compare(tally, "same", x, x)}
    assert same["same_cosine_min"] == pytest.approx(1)
    assert same["same_error"] == 0


def test_a_loss_is_paired() -> None:
    rng = np.random.default_rng(1)
    draws = 0.3 + 0.1 * rng.normal(size=200)
    key = ("delta_cosine", "modified", "")
    base = Figures([Row(*key[:2], 0.3, None, 50)], {key: draws})
    less = Figures([Row(*key[:2], 0.29, None, 50)], {key: draws - 0.01})
    (row,) = quantisation.losses(base, less, "int8")
    assert row.metric == "loss_delta_cosine"
    assert row.value == pytest.approx(0.01)
    assert row.interval == pytest.approx((0.01, 0.01))
    assert row.nulls == {"f32": 0.3, "int8": 0.29}
    (row,) = quantisation.losses(base, base, "int8")
    assert row.value == 0


def test_every_tier_is_measured(exact: Path) -> None:
    outcome = quantisation.run(request(exact), lambda rows: None)
    found = {(r.metric, r.subset): r for r in outcome.rows}
    size = {q: found["bytes", q].value for q in export.QUANTS}
    assert size["f32"] > 2 * size["int8"]
    assert found["bytes", "int8"].more["compression"] == pytest.approx(size["f32"] / size["int8"])
    assert 0.99 < found["encoder_cosine", "int8"].value < 1 + 1e-6
    assert found["predictor_cosine_min", "int8"].value <= found["predictor_cosine", "int8"].value
    assert ("loss_delta_cosine", "int8, modified") in found
    assert not any(r.subset == "f32" and r.metric != "bytes" for r in outcome.rows)
    assert outcome.notes == []
    assert outcome.charts


def test_what_is_stored_as_int8_says_so(exact: Path, tmp_path: Path) -> None:
    weights, config, _ = export.load(exact)
    export.export(tmp_path / "small.safetensors", weights, config, quant="int8")
    outcome = quantisation.run(request(tmp_path / "small.safetensors"), lambda rows: None)
    assert any("stored as int8" in note for note in outcome.notes)
    # Rounding what is rounded already changes nothing but the arithmetic.
    row = next(r for r in outcome.rows if r.metric == "predictor_error")
    assert row.value < 1e-4


def test_a_recipe_is_refused(monkeypatch: pytest.MonkeyPatch, exact: Path) -> None:
    from codewm.model.evaluation import world as worlds
    from tests.model.evaluation.made_world import LinearWorld

    monkeypatch.setattr(worlds, "load_all", lambda choices, threads: [LinearWorld()])
    with pytest.raises(UserError, match="does not run in the engine"):
        quantisation.run(request(exact), lambda rows: None)
