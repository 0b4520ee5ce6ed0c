"""Claims:

1. A reader's figures are those of the plain equations, and its nulls are what they are called.
2. The shuffled action comes from another edit of the same kind; the mean and the linear map are fitted for each kind.
3. Every quantity of DESIGN 10 has its row with nulls, over all edits and over modified units, pooled and for each
   repository.
4. Displacements before the whitening are d @ pinv(W).T; a map that only scales changes no relative figure.
5. Weights in f32 get every row as int8, too; stored as int8, it is said why there is none. A model that is told v7
   reads v15 edits by their first seven numbers; the reverse is refused.
6. The jackknife of a rank is 0 where commits repeat each other.
7. Without clones there are no injected rows, and a note; with a clone there are rows of the residual's length and of
   the critic's doubt.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import codewm_core
from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest
from codewm.corpus.store import read_store
from codewm.model.evaluation import metrics, nulls, readout
from codewm.model.evaluation.held_out import Source, hold_out
from codewm.model.evaluation.metrics import Row, Tally, rank_spread
from codewm.model.evaluation.readings import Reader, read, shuffled
from codewm.model.evaluation.result import Request
from codewm.model.evaluation.runs import told
from codewm.model.evaluation.subject import columns, load
from tests.model.evaluation.made import readings, world
from tests.model.evaluation.repository import build
from tests.model.synthetic import edit_table
from tests.scoring.random_model import write_random_model

DESIGN = {
    "displacement_r2", "nearer_than_copy", "prefers_truth_to_copy", "delta_cosine", "same_action_rank",
    "predictor_rank_squared", "predictor_rank_entropy", "knn_at_1", "knn_at_5", "knn_at_10", "knn_at_50",
    "edit_knn_at_1", "action_matters", "predictor_rank_share_of_true", "displacement_r2_unwhitened",
}  # fmt: skip
EVERY = {"copy", "constant_mean", "zero_action", "shuffled_action", "linear_map", "bag_of_tokens"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model") / "model.safetensors")


def request(**values: object) -> Request:
    sources = [Source("a", edit_table(400)), Source("b", edit_table(300, seed=1))]
    given = {"sources": sources, "resamples": 40, "threads": 1, "injections": 0}
    return Request(**{**given, **values})  # type: ignore[arg-type]


def test_a_reader_follows_the_equations(model: Path) -> None:
    held_out = hold_out([Source("a", edit_table(600))])
    subject = load(str(model), compare_int8=False)
    found = read(Reader(subject.engine, "v15", 1), held_out)
    e = held_out.edits
    tellings = {
        "zero_action": np.zeros_like(e.action),
        "shuffled_action": shuffled(e.action, e.group),
    }
    lengths = np.diff(e.offsets)[e.before]
    places = [codewm_core.places(lengths, a, "v15", 256)[:, 1, 0] for a in (e.action, *tellings.values())]
    elsewhere = np.flatnonzero((places[0] != places[1]) & (places[0] != places[2]))
    for i in (0, elsewhere[0], elsewhere[-1], len(e) - 1):

        def state(s: int) -> tuple[np.ndarray, np.ndarray]:
            part = e.tokens[e.offsets[s] : e.offsets[s + 1]]
            return part, np.array([0, len(part)], np.int64)

        engine = subject.engine
        action = e.action[i : i + 1]
        f, place = engine.read(*state(e.before[i]), np.zeros(1, np.int64), action, threads=1)
        after = engine.encode(*state(e.after[i]), threads=1)
        t = engine.target(f)
        d = engine.target(after) - t
        d_hat = engine.predict(f, place, action)
        assert np.allclose(found.doubt[i], engine.doubt(f, after, d - d_hat, action), atol=1e-5)
        assert np.allclose(found.z[i], t[0], atol=1e-5)
        assert np.allclose(found.d[i], d[0], atol=1e-5)
        assert np.allclose(found.predictions[""][i], d_hat[0], atol=1e-5)
        for null, given in tellings.items():
            other = given[i : i + 1]
            there = engine.read(*state(e.before[i]), np.zeros(1, np.int64), other, threads=1)[1]
            assert i not in elsewhere or not np.allclose(there, place, atol=1e-3)
            want = engine.predict(f, there, other)[0]
            assert np.allclose(found.predictions[null][i], want, atol=1e-5)
    assert not found.predictions["copy"].any()
    fit = found.fitted
    for kind in range(3):
        mine, known = e.group == kind, fit.group == kind
        assert known.sum() >= 20
        assert np.allclose(found.predictions["constant_mean"][mine], fit.d[known].mean(0), atol=1e-5)


def test_the_shuffled_action_is_of_the_same_kind() -> None:
    group = np.array([0, 0, 0, 1, 1, 2])
    action = np.arange(6, dtype=np.float32)[:, None]
    given = shuffled(action, group)[:, 0].astype(int)
    assert (group[given] == group).all()
    assert (given[:5] != np.arange(5)).all()
    assert given[5] == 5  # there is no other deletion
    assert set(given) == set(range(6))


def test_every_quantity_has_its_row(model: Path) -> None:
    told: list[Row] = []
    outcome = readout.run(request(models=[str(model)], compare_int8=True), told.extend)
    rows = {(r.metric, r.subset, r.data): r for r in outcome.rows}
    assert told == outcome.rows
    for subset in ("all", "modified"):
        assert {m for m, s, d in rows if s == subset and not d} >= DESIGN
        for name in ("a", "b"):
            held = {m for m, s, d in rows if s == subset and d == name}
            assert held >= {m for m in DESIGN if not m.endswith("_unwhitened")}
    for row in outcome.rows:
        assert row.nulls, row.metric
        assert row.n > 1
        if row.interval is not None:
            assert row.interval[0] <= row.value <= row.interval[1] or "rank" in row.metric or row.data
        if row.metric.startswith(("displacement", "nearer", "delta", "same", "prefers", "knn")):
            assert set(row.nulls) >= EVERY
            assert row.interval is not None
    assert rows["predictor_rank_squared", "modified", ""].nulls["true"] > 1
    assert rows["knn_at_5", "all", ""].more["gallery"] > 50
    parts = [rows["delta_cosine", "all", name] for name in ("a", "b")]
    whole = rows["delta_cosine", "all", ""]
    assert whole.n == sum(p.n for p in parts)
    assert whole.value == pytest.approx(sum(p.value * p.n for p in parts) / whole.n)
    assert rows[readout.CHURN, "modified", ""].nulls == {"unrelated_states": 1}
    matters = rows["action_matters", "all", ""]
    assert matters.value == pytest.approx(whole.value - whole.nulls["shuffled_action"])
    assert any("injected" in note for note in outcome.notes) is False  # nobody asked for them
    document = outcome.as_json()
    assert document["schema"] == "codewm.eval/1"
    assert document["suite"] == "readout"
    assert json.loads(json.dumps(document))["rows"][0]["metric"] == "displacement_r2"


def test_int8_beside_f32(model: Path) -> None:
    asked = request(models=[str(model)])
    outcome = readout.run(asked, lambda rows: None)
    with_int8 = [r for r in outcome.rows if "int8" in r.more]
    assert len(with_int8) == len(outcome.rows) - 2
    changed = 0
    for row in with_int8:
        lost = row.more["int8"]
        assert lost["relative_loss"] == pytest.approx(readout.relative_loss(row.value, lost["value"]))
        changed += lost["value"] != row.value
    assert changed > len(with_int8) / 2  # it was really computed with other weights
    nearness = next(r for r in outcome.rows if r.metric == "int8_min_cosine")
    assert 0.9 < nearness.value < 1
    worst = next(r for r in outcome.rows if r.metric == "int8_worst_relative_loss")
    pooled = [r for r in with_int8 if not r.data]
    assert worst.value == pytest.approx(max(r.more["int8"]["relative_loss"] for r in pooled))
    assert readout.relative_loss(0.5, 0.495) == pytest.approx(0.01)
    assert readout.relative_loss(-0.1, -0.2) == pytest.approx(1)
    assert readout.relative_loss(0.0, 0.0) == 0


def test_of_stored_int8_it_is_said() -> None:
    assert load("base").quantised is None
    assert "int8" in load("base").why_not
    assert load("base").quant == "int8"


def test_before_the_whitening(model: Path) -> None:
    held_out = hold_out([Source("a", edit_table(300))])
    subject = load(str(model), compare_int8=False)
    reader = Reader(subject.engine, "v15", 1)
    found = read(reader, held_out)

    def rows(whiten: np.ndarray) -> dict[tuple[str, str], Row]:
        got = readout.figures_of(request(), reader, found, held_out, None, whiten).rows
        return {(r.metric, r.subset): r for r in got}

    raw = rows(subject.whiten)
    assert subject.whiten.shape == (12, 32)
    back = np.linalg.pinv(subject.whiten)
    d = (found.d @ back.T).astype(np.float32)
    d_hat = (found.predictions[""] @ back.T).astype(np.float32)
    expected = metrics.displacement_r2(d_hat, d)
    assert raw["displacement_r2_unwhitened", "all"].value == pytest.approx(expected, rel=1e-4)
    assert expected != pytest.approx(raw["displacement_r2", "all"].value, rel=1e-3)
    scaled = rows(3 * np.eye(*subject.whiten.shape))
    for metric in ("displacement_r2", "nearer_than_copy", "delta_cosine", "predictor_rank_squared"):
        assert scaled[f"{metric}_unwhitened", "all"].value == pytest.approx(
            scaled[metric, "all"].value, rel=1e-4
        )


def test_the_copy_scores_as_a_copy_does(model: Path) -> None:
    rows = {
        (r.metric, r.subset): r for r in readout.run(request(models=[str(model)]), lambda rows: None).rows
    }
    for subset in ("all", "modified"):
        assert rows["delta_cosine", subset].nulls["copy"] == 0
        assert rows["nearer_than_copy", subset].nulls["copy"] == 0
        assert rows["same_action_rank", subset].nulls["copy"] == 0.5
        assert rows["edit_knn_at_1", subset].nulls["copy"] == 0
        assert rows["displacement_r2", subset].nulls["copy"] < 0
        assert rows["predictor_rank_squared", subset].nulls["copy"] == 0


@pytest.mark.parametrize("moved", [1.0, 0.1])
def test_a_target_that_jumps_is_told_by_its_churn(moved: float) -> None:
    held_out, states = world(2_000)
    before = states[:2_000]
    states[2_000:] = before + moved * (states[2_000:] - before)
    still = np.zeros_like(before)
    found = readings(held_out, states, zero_action=still, shuffled_action=still)
    rows = readout.figures_of(request(), None, found, held_out, None, None).rows  # type: ignore[arg-type]
    (row,) = (r for r in rows if r.metric == readout.CHURN and r.subset == "all")
    assert row.value == pytest.approx(moved**2, rel=0.05)


def test_actions_by_name() -> None:
    assert columns("v7", "v15") == list(range(7))
    with pytest.raises(UserError, match="v15"):
        columns("v15", "v7")
    table = edit_table(50)
    seven = told(table, "v7")
    assert seven.action_id == "v7"
    assert np.array_equal(seven.action, table.action[:, :7])
    assert told(table, None) is table
    assert len(codewm_core.ACTIONS["v7"]) == 7


def test_the_jackknife_of_a_rank() -> None:
    part = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    repeated, commit = np.tile(part, (8, 1)), np.repeat(np.arange(8), 30)
    assert rank_spread(repeated, repeated, commit) == pytest.approx((0, 0, 0), abs=1e-6)
    varied = np.random.default_rng(1).normal(size=(240, 6)).astype(np.float32)
    first, second, third = rank_spread(varied, repeated, commit) or (0, 0, 0)
    assert min(first, second, third) > 0
    assert rank_spread(varied[:60], repeated[:60], commit[:60]) is None


def test_a_mean_over_what_is_defined() -> None:
    tally = Tally(np.array([0, 0, 1, 2]), resamples=200)
    values = np.array([np.nan, 1.0, 0.0, 0.5])
    tally.mean("x", {"": values, "null": np.where(np.isnan(values), np.nan, 0.25)}, about="it")
    (row,) = tally.rows
    assert (row.value, row.n, row.nulls, row.more) == (0.5, 3, {"null": 0.25}, {"about": "it"})
    assert row.interval is not None
    assert row.interval[0] >= 0
    tally.mean("nothing", {"": np.full(4, np.nan)})
    assert len(tally.rows) == 1


def test_a_note_instead_of_injected_rows(model: Path) -> None:
    outcome = readout.run(request(models=[str(model)], injections=5, compare_int8=False), lambda rows: None)
    assert any("--clones" in note for note in outcome.notes)
    assert not any(r.metric.startswith("injected") for r in outcome.rows)
    assert any("not asked for" in note for note in outcome.notes)


def test_rows_of_injected_edits(model: Path, tmp_path: Path) -> None:
    clone = build(tmp_path / "repo", commits=40)
    with Repository.open(clone.path) as repository:
        options = Options(window=256, action="v15", merges="first-parent", jobs=1)
        table = read_store(harvest(repository, options).path).table
    asked = request(
        sources=[Source("repo", table, {"repo": clone.path})], models=[str(model)], injections=3, resamples=20
    )
    outcome = readout.run(asked, lambda rows: None)
    rows = {r.metric: r for r in outcome.rows if r.subset == "kinds"}
    for metric in ("injected_auroc_size_matched", "injected_auroc_token_matched"):
        for name in (metric, metric + "_unseen"):
            length, doubt = rows[name], rows["doubt_" + name]
            assert doubt.nulls["residual"] == length.value
            assert "doubt_of_action" in doubt.nulls
            assert not {"doubt", "doubt_of_action", "residual"} & set(length.nulls)
            assert {"copy", "linear_map", "lines_added", "tokens_changed"} <= set(length.nulls) & set(
                doubt.nulls
            )
            assert doubt.n == length.n
            assert doubt.interval is not None
            assert "int8" in doubt.more
    assert any(chart.name == "readout" for chart in outcome.charts)


def test_a_bag_of_tokens() -> None:
    from codewm.model.evaluation.readings import bag

    edits = hold_out([Source("a", edit_table(100))]).edits
    bags = bag(edits)
    assert bags.shape == (len(edits), codewm_core.VOCAB_SIZE)
    for i in (0, 3):
        held = edits.tokens[edits.offsets[edits.before[i]] : edits.offsets[edits.before[i] + 1]].tolist()
        assert bags[i, held[0]] ** 2 == pytest.approx(held.count(held[0]) / len(held))
        assert np.square(bags[i]).sum() == pytest.approx(1)
        assert np.flatnonzero(bags[i]).tolist() == sorted(set(held))


def test_a_linear_world_is_read_by_the_linear_null() -> None:
    """The null of the readout is the one that is tested in tests/model/test_metrics.py, per kind."""
    from codewm.model.evaluation.readings import Nulls, linear_map

    rng = np.random.default_rng(0)
    z, action = rng.normal(size=(400, 4)).astype(np.float32), rng.normal(size=(400, 3)).astype(np.float32)
    group = np.arange(400) % 2
    d = np.where(group[:, None] == 0, 2 * z, -z).astype(np.float32)
    known = Nulls(z[:300], action[:300], d[:300], group[:300], np.arange(300) >= 270, z[:300])
    predicted = linear_map(known, known.z, z[300:], action[300:], group[300:])
    assert metrics.displacement_r2(predicted, d[300:]) > 0.99
    seldom = replace(known, group=np.where(np.arange(300) < 5, 2, group[:300]))
    predicted = linear_map(seldom, known.z, z[300:], action[300:], np.full(100, 2))
    assert not predicted.any()  # five edits are not enough to fit anything on
    assert nulls.copy(d).shape == d.shape
