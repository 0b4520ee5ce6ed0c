"""Claims:

1. |D|/|x| of a loop is that of the plain equation; loops that only scale keep it, the cosine between their
   displacements is 1, and loops that go on the same way are straight.
2. Edits that repeat the last one have consecutive cosine 1 and curvature 0, those that take it back -1 and 2.
3. The ridge finds a linear map, and nothing in noise; the mean accuracy over classes is no prize for the majority.
   It is chosen by edits of one class, too, as a short history's latest often are.
4. A probe reads from a loop what is in it, shuffled labels read nothing.
5. The ceiling of a displacement that the action says is 1, and without the action it is not.
6. On chains of our model every probe of Appendix C has its row.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from codewm.model.evaluation import geometry
from codewm.model.evaluation.held_out import Source
from codewm.model.evaluation.landings import read
from codewm.model.evaluation.metrics import Row, Tally
from codewm.model.evaluation.result import Request
from tests.model.evaluation.made_world import LinearWorld, chained
from tests.model.synthetic import edit_table
from tests.scoring.random_model import write_random_model


def by_metric(rows: list[Row]) -> dict[str, Row]:
    return {r.metric: r for r in rows}


def test_what_a_loop_keeps_of_an_edit() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(50, 6)).astype(np.float32) for _ in range(2))
    tally = Tally(np.arange(50), resamples=20)
    before, after = [x, 2 * x, 3 * x, 4 * x], [y, 2 * y, 3 * y, 4 * y]
    geometry.decay(tally, before, after)
    found = by_metric(tally.rows)
    expected = (np.linalg.norm(y - x, axis=1) / np.linalg.norm(x, axis=1)).mean()
    for loop in range(4):
        assert found[f"delta_over_state_loop_{loop}"].value == pytest.approx(expected, rel=1e-5)
    assert found["cross_loop_delta_cosine"].value == pytest.approx(1)
    assert np.allclose(found["cross_loop_delta_cosine"].more["matrix"], 1)
    assert found["loop_straightness"].value == pytest.approx(1)
    assert found["loop_straightness"].more["triples"] == 1
    # A loop that forgets half of what differs has half the share.
    tally = Tally(np.arange(50), resamples=20)
    geometry.decay(tally, [x, x], [y, x + (y - x) / 2])
    found = by_metric(tally.rows)
    assert found["delta_over_state_loop_1"].value == pytest.approx(expected / 2, rel=1e-5)
    assert "loop_straightness" not in found


def test_paths_that_repeat_and_that_take_back() -> None:
    held_out, chains = chained(LinearWorld(), 20)
    step = np.random.default_rng(1).normal(size=(20, 5)).astype(np.float32)
    same = by_metric(geometry.paths(np.repeat(step, 3, 0), held_out.edits, chains, 20))
    assert same["consecutive_delta_cosine"].value == pytest.approx(1)
    assert same["consecutive_delta_cosine"].n == 40
    assert same["curvature"].value == pytest.approx(0, abs=1e-6)
    assert same["straight_share"].value == 1
    assert same["curvature"].nulls["shuffled"] > 0.5
    turned = np.repeat(step, 3, 0) * np.tile([1, -1, 1], 20)[:, None].astype(np.float32)
    back = by_metric(geometry.paths(turned, held_out.edits, chains, 20))
    assert back["consecutive_delta_cosine"].value == pytest.approx(-1)
    assert back["curvature"].value == pytest.approx(2)
    assert back["straight_share"].value == 0


def test_the_ridge_finds_what_is_linear() -> None:
    rng = np.random.default_rng(2)
    x, held = (rng.normal(size=(n, 7)).astype(np.float32) * 50 + 3 for n in (600, 200))
    weights = rng.normal(size=(7, 3)).astype(np.float32)
    watched = np.arange(600) % 4 == 0
    for standardise in (True, False):
        said = geometry.ridge(x, x @ weights + 1, watched, held, standardise=standardise)
        error = np.square(said - (held @ weights + 1)).mean() / np.var(held @ weights)
        assert error < 1e-3
    noise = rng.normal(size=(600, 3)).astype(np.float32)
    assert np.abs(geometry.ridge(x, noise, watched, held)).max() < 0.5


def test_the_mean_over_classes_is_no_prize_for_the_majority() -> None:
    truth = np.array([0] * 90 + [1] * 10)
    guess = np.zeros(100, int)
    tally = Tally(np.arange(100), resamples=50)
    hit = {"": (guess == truth).astype(float), "right": np.ones(100)}
    geometry._balanced(tally, "made", hit, truth)
    (row,) = tally.rows
    assert row.value == pytest.approx(0.5)
    assert row.nulls["right"] == 1


def test_a_probe_reads_what_is_there() -> None:
    rng = np.random.default_rng(4)
    n = 400
    kind = rng.integers(3, size=n)
    action = np.zeros((n, 15), np.float32)
    action[np.arange(n), kind] = 1
    x = rng.normal(size=(n, 6)).astype(np.float32)
    blind = rng.normal(size=(n, 6)).astype(np.float32)
    made = geometry.Probed(
        before=[x, blind], after=[x + 3 * np.eye(6, dtype=np.float32)[kind], blind],
        counts=rng.random((n, 10)).astype(np.float32), action=action, group=np.zeros(n, np.int64),
        watched=np.arange(n) % 5 == 0,
    )  # fmt: skip
    tally = Tally(np.arange(n) // 2, resamples=30)
    geometry.labels(tally, made, made, "v15")
    found = by_metric(tally.rows)
    assert found["edit_type_loop_0"].value > 0.99
    assert found["edit_type_loop_1"].value < 0.6
    assert found["edit_type_loop_0"].nulls["shuffled_labels"] < 0.6
    assert found["edit_type_loop_0"].nulls["majority"] == pytest.approx(np.bincount(kind).max() / n)
    assert found["action_r2_loop_0"].value > 0.9
    assert "scope_loop_0" not in found  # one class alone is no question


def test_a_ridge_is_chosen_where_all_watched_are_alike() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    hot = np.eye(2, dtype=np.float32)[(x[:, 0] > 0).astype(int)]
    watched = np.zeros(300, bool)
    watched[np.flatnonzero(x[:, 0] > 0)[:20]] = True
    held = rng.normal(size=(100, 4)).astype(np.float32)
    said = geometry.ridge(x, hot, watched, held).argmax(1)
    assert (said == (held[:, 0] > 0)).mean() > 0.9


def test_edits_that_are_all_described_alike_have_no_r2(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(x: np.ndarray, y: np.ndarray, watched: np.ndarray, held: np.ndarray, **_: bool) -> np.ndarray:
        return np.zeros((len(held), y.shape[1]), np.float32)

    monkeypatch.setattr(geometry, "ridge", nothing)  # which rows there are does not hang on what it says
    world = LinearWorld()
    held_out, _ = chained(world, 60)
    probed = geometry.probed(world, held_out.edits, np.arange(len(held_out.edits)), held_out)
    fit = geometry.Probed(**{**vars(probed), "watched": held_out.watched})
    alike = geometry.Probed(**{**vars(probed), "action": np.repeat(probed.action[:1], len(probed.action), 0)})
    for held, expected in ((probed, True), (alike, False)):
        tally = Tally(held_out.edits.commit, resamples=20)
        geometry.labels(tally, held, fit, held_out.action_id)
        assert any(r.metric.startswith("action_r2") for r in tally.rows) == expected


def test_the_ceiling_of_what_the_action_says() -> None:
    world = LinearWorld()
    held_out, _ = chained(world, 200)
    found = read(world, held_out)
    rows = np.arange(len(held_out.edits))
    probed = geometry.probed(world, held_out.edits, rows, held_out)
    probed = geometry.Probed(**{**vars(probed), "watched": held_out.watched})
    d = found.target[found.after] - found.target[found.before]
    tally = Tally(held_out.edits.commit, resamples=20)
    geometry.ceilings(tally, probed, probed, rows, d, d)
    row = by_metric(tally.rows)["delta_ceiling_loop_2"]
    assert row.value > 0.98
    assert row.nulls["without_action"] < 0.9
    assert row.nulls["mean_delta"] < 0.5


def test_every_probe_has_its_row(tmp_path: Path) -> None:
    model = write_random_model(tmp_path / "model.safetensors")
    request = Request(
        sources=[Source("a", edit_table(600))], models=[str(model)], resamples=20, threads=1, limit=300
    )
    outcome = geometry.run(request, lambda rows: None)
    named = {r.metric for r in outcome.rows}
    assert {
        "delta_over_state_loop_1", "rank_squared", "rank_uncentred", "top_share", "isotropy_eigenvalues",
        "edit_type_loop_1", "edit_type_balanced_loop_1", "knn_at_1", "knn_at_10", "diagonal_cosine",
        "off_diagonal_cosine", "delta_ceiling_loop_1", "cross_loop_delta_cosine",
    } <= named  # fmt: skip
    assert outcome.charts
    json.dumps(outcome.as_json(), allow_nan=False)
