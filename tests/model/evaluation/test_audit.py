"""Claims:

1. A right world finds every next state, in 5,000 and in batches of 128; the copy as the query is a null of each row.
2. In a batch the chance of a random query is k / 128: the gallery alone makes the figure.
3. Diagonal, off-diagonal and lift are the plain double loop's.
4. Linear CKA is 1 for a rotated, scaled, shifted copy, and what the formula over kernels gives elsewhere.
5. A training curve is read from metrics.jsonl across stages, with its best step; half a line is passed over.
6. Two models have rows each, their mean, and the matrices between them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from codewm.model.evaluation import audit
from codewm.model.evaluation.held_out import Source
from codewm.model.evaluation.landings import read
from codewm.model.evaluation.metrics import Row
from codewm.model.evaluation.result import Request
from tests.model.evaluation.made_world import LinearWorld, chained
from tests.model.synthetic import edit_table
from tests.scoring.random_model import write_random_model


def rows(world: LinearWorld, chains: int = 100) -> dict[tuple[str, str], Row]:
    held_out, _ = chained(world, chains)
    return {(r.metric, r.subset): r for r in audit.rows_of(read(world, held_out), held_out, 30)}


def test_a_right_world_finds_every_state() -> None:
    found = rows(LinearWorld())
    for subset in ("modified, gallery", "modified, batches of 128"):
        row = found["knn_at_1", subset]
        assert row.value == 1
        assert row.nulls["copy"] < 0.5
        assert "online_copy" in row.nulls
    assert found["knn_at_1", "modified, gallery"].more["gallery"] == 300
    assert found["knn_at_5", "modified, gallery"].nulls["chance"] == pytest.approx(5 / 300)
    assert found["knn_at_5", "modified, batches of 128"].nulls["chance"] == pytest.approx(5 / 128)
    assert found["diagonal_cosine", "modified, cosines"].value == pytest.approx(1, abs=1e-5)
    assert found["lift_over_target_copy", "modified, cosines"].value == pytest.approx(
        1 - found["diagonal_cosine", "modified, cosines"].nulls["copy"], abs=1e-5
    )
    assert ("predicted_rank_squared", "modified, ranks") in found


def test_in_a_batch_a_random_query_finds_k_of_128() -> None:
    held_out, _ = chained(LinearWorld(dim=12), 600)
    found = read(LinearWorld(dim=12), held_out)
    found.said[""][:] = np.random.default_rng(5).normal(size=found.said[""].shape)
    readings, mine = audit.as_readings(found, held_out)
    placed = audit.batches(readings, mine)[""]
    assert np.isnan(placed).sum() == len(placed) % 128
    hit = (placed[~np.isnan(placed)] < 10).mean()
    assert hit == pytest.approx(10 / 128, abs=0.025)


def test_cosines_are_those_of_the_double_loop() -> None:
    held_out, _ = chained(LinearWorld(), 8)
    found = read(LinearWorld(), held_out)
    found.said[""][:] += np.random.default_rng(5).normal(size=found.said[""].shape)
    readings, mine = audit.as_readings(found, held_out)
    seen = audit.diagonal(readings, mine)
    said, true = found.said[""], found.target[found.after]
    norm = np.linalg.norm(said, axis=1)[:, None] * np.linalg.norm(true, axis=1)
    table = said @ true.T / norm
    n = len(table)
    assert np.allclose(seen["diagonal_cosine"][""], np.diag(table), atol=1e-5)
    assert np.allclose(seen["off_diagonal_cosine"][""], (table.sum(1) - np.diag(table)) / (n - 1), atol=1e-5)


def test_cka_knows_a_turned_copy() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert audit.linear_cka(x, (3 * x @ turn + 7).astype(np.float32)) == pytest.approx(1, abs=1e-5)
    y = np.concatenate([x[:, :2], rng.normal(size=(60, 4))], 1).astype(np.float32)
    centre = np.eye(60) - 1 / 60
    k, m = (centre @ (v.astype(np.float64) @ v.T) @ centre for v in (x, y))
    expected = (k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum())
    assert audit.linear_cka(x, y) == pytest.approx(expected, rel=1e-6)
    assert 0.2 < expected < 0.95


def test_a_curve_is_read_across_stages(tmp_path: Path) -> None:
    events = [
        {"event": "start", "step": 0},
        {"event": "validation", "stage": 1, "step": 10, "delta_cosine": 0.1},
        {"event": "step", "stage": 1, "step": 11, "loss": 3.0},
        {"event": "validation", "stage": 1, "step": 20, "delta_cosine": 0.5},
        {"event": "validation", "stage": 3, "step": 10, "delta_cosine": 0.4},
    ]
    text = "\n".join(json.dumps(e) for e in events) + '\n{"event": "valid'
    (tmp_path / "metrics.jsonl").write_text(text)
    rows, charts = audit.curve(tmp_path)
    (row,) = rows
    assert row.metric == "watched_delta_cosine"
    assert row.more["points"] == [(10, 0.1), (20, 0.5), (30, 0.4)]
    assert row.value == 0.4
    assert row.nulls == {"first": 0.1, "highest": 0.5}
    assert row.more["highest_at"] == 20
    assert len(charts) == 1
    assert audit.curve(tmp_path / "none") == ([], [])


def test_two_models_are_set_beside_each_other(tmp_path: Path) -> None:
    models = [str(write_random_model(tmp_path / f"m{i}.safetensors", seed=i)) for i in range(2)]
    request = Request(sources=[Source("a", edit_table(400))], models=models, resamples=20, threads=1)
    outcome = audit.run(request, lambda rows: None)
    at = [r for r in outcome.rows if r.metric == "knn_at_5" and r.subset == "modified, gallery"]
    assert [r.more.get("model") for r in at] == ["m0.safetensors", "m1.safetensors", None]
    assert at[2].value == pytest.approx((at[0].value + at[1].value) / 2)
    assert at[2].more["seeds"] == [at[0].value, at[1].value]
    cka = next(r for r in outcome.rows if r.metric == "cross_seed_linear_cka")
    matrix = np.array(cka.more["matrix"])
    assert matrix.shape == (2, 2)
    assert np.allclose(np.diag(matrix), 1)
    assert cka.nulls["shuffled"] < cka.value
    json.dumps(outcome.as_json())
