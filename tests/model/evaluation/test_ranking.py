"""Claims:

1. Same-action rank is 1 for the perfect prediction, 0.5 for the copy and for a random one, below 0.5 for its opposite;
   it knows directions alone; without another edit of the label it is undefined.
2. The state form compares with next states of other units, the displacement form with their displacements.
3. KNN ranks the true next state in the gallery by angle, ties half; what is not in the gallery is undefined; the
   copy query finds the state that did not move.
4. Edit KNN holds t(s): the copy is never first there, the truth always is; each state counts once.
5. Adding a second edit that leads to the same next state does not push the truth down.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from codewm.model.evaluation import ranking
from tests.model.evaluation.made import readings, world


def test_same_action_rank_of_perfect_random_and_opposite_predictions() -> None:
    held_out, states = world(400, labels=3)
    found = readings(held_out, states)
    noise = np.random.default_rng(7).normal(size=found.d.shape).astype(np.float32)
    found = readings(held_out, states, noise=noise, opposite=-found.d, longer=5 * found.d)
    rank = ranking.same_action_rank(found, held_out)
    assert (rank["truth"] == 1).all()
    assert (rank["longer"] == 1).all()
    assert (rank["copy"] == 0.5).all()
    assert rank["noise"].mean() == pytest.approx(0.5, abs=0.04)
    assert (rank["opposite"] == 0).all()


def test_an_edit_without_another_of_its_label_has_no_rank() -> None:
    held_out, states = world(20)
    held_out.alternatives[3] = -1
    held_out.alternatives[4, 1:] = -1
    rank = ranking.same_action_rank(readings(held_out, states), held_out)["truth"]
    assert np.flatnonzero(np.isnan(rank)).tolist() == [3]


def test_the_two_forms_of_the_rank() -> None:
    """One edit moves right, the other up, from places far apart: (0, 0) -> (1, 0) and (0, 8) -> (0, 9)."""
    held_out, _ = world(2, alternatives=1)
    states = np.array([[0, 0], [0, 8], [1, 0], [0, 9]], np.float32)
    up = np.array([[0, 1], [0, 1]], np.float32)
    slant = np.array([[2, 1], [0, 1]], np.float32)
    found = readings(held_out, states, up=up, slant=slant)
    moved = ranking.same_action_rank(found, held_out)
    assert moved["up"].tolist() == [0, 1]
    assert moved["slant"].tolist() == [1, 1]
    # From (0, 8), the other's next state (1, 0) lies down; from (0, 0), (0, 9) lies straight up.
    state = ranking.same_action_rank(found, held_out, states=True)
    assert state["up"].tolist() == [0, 1]
    assert state["truth"].tolist() == [1, 1]


def test_knn_by_angle() -> None:
    """Four next states at 0, 10, 40 and 90 degrees, asked for from 12 degrees: they rank 2, 1, 3, 4."""
    held_out, _ = world(4, alternatives=1)
    at = np.radians([0, 10, 40, 90])
    states = np.concatenate([np.ones((4, 2)), np.stack([np.cos(at), np.sin(at)], 1)]).astype(np.float32)
    query = np.radians(12)
    asked = 3 * np.array([np.cos(query), np.sin(query)], np.float32) - states[:4]
    found = readings(held_out, states, asked=asked, nothing=-states[:4])
    placed = ranking.knn(found, held_out, ranking.gallery(held_out.edits.after))
    assert placed["asked"].tolist() == [1, 0, 2, 3]
    assert placed["truth"].tolist() == [0, 0, 0, 0]
    assert placed["nothing"].tolist() == [1.5] * 4  # every angle ties: the middle
    assert ranking.hits(placed, 1)["asked"].tolist() == [0, 1, 0, 0]
    assert ranking.hits(placed, 3)["asked"].tolist() == [1, 1, 1, 0]


def test_knn_of_a_random_prediction_is_chance_and_of_a_copy_finds_what_hardly_moved() -> None:
    held_out, states = world(1_000)
    states[1_000:1_500] = states[:500] + 0.01 * states[1_000:1_500]  # the first half hardly moves
    noise = np.random.default_rng(5).normal(size=(1_000, 8)).astype(np.float32) * 9
    found = readings(held_out, states, noise=noise)
    placed = ranking.knn(found, held_out, ranking.gallery(held_out.edits.after))
    hit = ranking.hits(placed, 10)
    assert hit["noise"].mean() == pytest.approx(10 / 1_000, abs=0.01)
    assert hit["copy"][:500].mean() == 1
    assert hit["copy"][500:].mean() < 0.1


def test_what_is_not_in_the_gallery_is_undefined() -> None:
    held_out, states = world(30)
    held = held_out.edits.after[:10]
    placed = ranking.knn(readings(held_out, states), held_out, held)["truth"]
    assert np.isnan(placed).tolist() == [False] * 10 + [True] * 20
    assert len(ranking.gallery(np.arange(9_000))) == ranking.GALLERY
    assert ranking.gallery(np.arange(9_000)).tolist() == ranking.gallery(np.arange(9_000)).tolist()


def test_edit_knn() -> None:
    held_out, states = world(60)
    siblings = held_out.siblings
    siblings[:, 0] = np.roll(held_out.edits.before, 1)
    found = readings(held_out, states)
    placed, count = ranking.edit_knn(found, held_out)
    assert (placed["truth"] == 0).all()
    assert (placed["copy"] >= 1).all()  # t(s) itself is always nearer
    others = [len({*o.tolist()} - {i}) for i, o in enumerate(held_out.alternatives)]
    assert count.tolist() == [n + 2 for n in others]  # with t(s) and one sibling, every state once


def test_edit_knn_is_undefined_beside_the_copy_alone() -> None:
    held_out, states = world(6)
    held_out.alternatives[2] = -1
    placed, count = ranking.edit_knn(readings(held_out, states), held_out)
    assert np.flatnonzero(np.isnan(placed["truth"])).tolist() == [2]
    assert count[2] == 1


def test_the_same_next_state_is_no_rival() -> None:
    held_out, states = world(6, alternatives=2)
    after = held_out.edits.after.copy()
    after[1] = after[0]
    held_out = replace(held_out, edits=replace(held_out.edits, after=after))
    held_out.alternatives[0] = [1, 1]
    placed, count = ranking.edit_knn(readings(held_out, states), held_out)
    assert count[0] == 1
    assert np.isnan(placed["truth"][0])
