"""Claims:

1. Held-out edits follow each other where one begins at the very state where the other ended, in one chain, no-ops
   passed over; pieces of chains hold every edit once.
2. A world that is right scores 1 in both spaces, per step and rolled; nothing moves scores 0.
3. Where online and target differ by a constant, a constant target passes for a prediction in the mixed space and
   not in one space: the published figure's null.
4. A world that goes half the way has the right direction, half the length, and drifts when it is rolled.
5. Lengths are those of the plain equations.
6. On a harvested repository the shipped model gets every row, and it is said that the mixed space is not defined.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest
from codewm.corpus.store import read_store
from codewm.model.evaluation import rollout
from codewm.model.evaluation.held_out import Source, hold_out
from codewm.model.evaluation.landings import MIXED, ONE, read
from codewm.model.evaluation.metrics import Row, Tally
from codewm.model.evaluation.result import Request
from tests.model.evaluation.made_world import LinearWorld, chained
from tests.model.evaluation.repository import build
from tests.scoring.random_model import write_random_model


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    path = tmp_path_factory.mktemp("clones") / "one"
    build(path, 40)
    with Repository.open(path) as repository:
        harvest(repository, Options(window=256, action="v15", merges="first-parent", jobs=1))
        return Source("one", read_store(repository.data_dir / "chains.h5").table)


def rows(world: LinearWorld, chains: int = 40) -> dict[tuple[str, str, str], Row]:
    held_out, links = chained(world, chains)
    found = rollout.rows_of(read(world, held_out), held_out, links, 40)
    return {(r.metric, r.subset, r.data): r for r in found}


def test_edits_follow_where_the_last_one_ended(source: Source) -> None:
    held_out = hold_out([source], limit=10**9)
    e, after = held_out.edits, held_out.following
    linked = np.flatnonzero(after >= 0)
    assert len(linked) > 5
    assert np.array_equal(e.before[after[linked]], e.after[linked])
    assert len(np.unique(after[linked])) == len(linked)
    assert (e.commit[after[linked]] > e.commit[linked]).all()
    pieces = rollout.links(after, 3)
    kept = pieces[pieces >= 0]
    assert sorted(kept.tolist()) == list(range(len(e)))


def test_chains_are_cut_into_pieces() -> None:
    # 0 -> 1 -> 2 -> 3, and 4 alone.
    pieces = rollout.links(np.array([1, 2, 3, -1, -1]), 3)
    assert sorted(map(tuple, pieces.tolist())) == [(0, 1, 2), (3, -1, -1), (4, -1, -1)]


def test_a_right_world_scores_one_and_standing_still_scores_zero() -> None:
    world = LinearWorld()
    found = rows(world)
    held_out, links = chained(world, 40)
    e = held_out.edits
    online = world.online(e.tokens, e.offsets)
    first, second = (online[e.after[links[:, k]]] - online[e.before[links[:, k]]] for k in (0, 1))
    back = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    for space in (ONE, MIXED):
        for metric in ("delta_cosine", "s1", "s2", "s3", "cumulative_s1", "cumulative_s2", "cumulative_s3"):
            row = found[metric, f"modified, {space}", ""]
            assert row.value == pytest.approx(1, abs=1e-4)
            assert row.nulls["identity"] == 0
            assert row.nulls["copy"] == pytest.approx(0, abs=1e-6)
            assert row.nulls["shuffled_action"] < 0.5
        again = found["s2", f"modified, {space}", ""].nulls["self_consistency"]
        assert again == pytest.approx(back.mean(), abs=1e-4)
        assert again < -0.3  # a state that is drawn anew each time takes back some of the step before
    assert found["s1_over_repositories", f"modified, {ONE}", ""].n == 2


def test_a_constant_target_passes_in_the_mixed_space_alone() -> None:
    found = rows(LinearWorld(offset=100.0, share=0.0))
    mixed, one = (found["s1", f"modified, {space}", ""] for space in (MIXED, ONE))
    assert mixed.nulls["constant_target"] > 0.99
    assert mixed.nulls["copy"] > 0.99
    assert mixed.value > 0.99  # and so does this world, which foresees nothing
    assert one.value == pytest.approx(0, abs=1e-4)
    assert one.nulls["constant_target"] < 0.9


def test_half_the_way_is_the_right_direction_and_drifts() -> None:
    found = rows(LinearWorld(share=0.5))
    one = f"modified, {ONE}"
    assert found["s3", one, ""].value == pytest.approx(1, abs=1e-4)
    assert found["predicted_delta_over_true", one, ""].value == pytest.approx(0.5, abs=1e-4)
    assert found["predicted_delta_over_true_s2", one, ""].value == pytest.approx(0.5, abs=1e-4)
    # Three halves of three steps still point the same way in sum.
    assert found["cumulative_s3", one, ""].value == pytest.approx(1, abs=1e-4)


def test_lengths_are_those_of_the_equations() -> None:
    world = LinearWorld(offset=2.0)
    held_out, links = chained(world, 20)
    found = read(world, held_out)
    e = held_out.edits
    here = links[:, 1]
    online = world.online(e.tokens, e.offsets)
    for space, start in ((ONE, online + 2), (MIXED, online)):
        tally = Tally(e.commit[here], resamples=20)
        rollout.norms(tally, found, here, space, "_s2")
        by = {r.metric: r for r in tally.rows}
        d = online[e.after[here]] + 2 - start[e.before[here]]
        size = np.linalg.norm(start[e.before[here]], axis=1)
        share = np.linalg.norm(d, axis=1) / size
        assert by["state_norm_s2"].value == pytest.approx(size.mean(), rel=1e-5)
        row = by["true_delta_over_state_s2"]
        assert row.value == pytest.approx(share.mean(), rel=1e-5)
        assert [row.more["q10"], row.more["q90"]] == pytest.approx(np.quantile(share, [0.1, 0.9]), rel=1e-5)


def test_our_model_on_a_repository(source: Source, tmp_path: Path) -> None:
    model = write_random_model(tmp_path / "model.safetensors")
    emitted: list[Row] = []
    request = Request(sources=[source], models=[str(model)], resamples=20, threads=1)
    outcome = rollout.run(request, emitted.extend)
    assert emitted == outcome.rows
    assert any("not defined" in note and "32 dimensions" in note for note in outcome.notes)
    assert {r.subset for r in outcome.rows} >= {f"modified, {ONE}", f"all, {ONE}", "modified, states"}
    assert not any(MIXED in r.subset for r in outcome.rows)
    document = json.loads(json.dumps(outcome.as_json(), allow_nan=False))
    named = {r["metric"] for r in document["rows"]}
    assert {"s1", "s3", "cumulative_s3", "true_delta_over_state_s1", "copy_cosine"} <= named
    assert {r["model"] for r in document["rows"]} == {"model.safetensors"}
    assert outcome.charts
