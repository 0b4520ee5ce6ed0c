"""Claims: every loss equals its formula written out longhand.

1. Predicting the copy costs mean |d|^2 / scale; the truth costs 0.
2. InfoNCE equals a softmax over explicitly listed cosines, with corrupted candidates or without; masked candidates do
   not count; a perfect prediction of orthogonal displacements costs -log(1 / (1 + (C - 1) exp(-1 / temperature))).
3. Telling real from spoilt edits costs half of each side's mean -log p; a side without edits costs 0; it falls as the
   log odds move apart.
4. Masked-token loss of uniform logits is log V.
5. Parts of a batch, each with the whole batch in sight, add up to the loss of the whole.
"""

from __future__ import annotations

import math

import pytest
import torch

from codewm.model import losses


def test_displacement_error() -> None:
    d = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    scale = torch.tensor([25.0, 1.0])
    assert float(losses.displacement_error(torch.zeros(2, 2), d, scale, 2)) == (25 / 25 + 4 / 1) / 2
    assert float(losses.displacement_error(d, d, scale, 2)) == 0
    assert float(losses.displacement_error(torch.zeros(1, 2), d[:1], scale[:1], 2)) == 25 / 25 / 2
    assert float(losses.displacement_error(d[:0], d[:0], scale[:0], 2)) == 0, "a process without a row"


@pytest.mark.parametrize("with_corrupted", [True, False])
def test_info_nce_equals_the_longhand_softmax(with_corrupted: bool) -> None:
    torch.manual_seed(0)
    d_hat, d, wrong = torch.randn(4, 3), torch.randn(4, 3), torch.randn(4, 2, 3)
    valid = torch.tensor([[True, True], [True, False], [False, False], [False, True]])
    expected, first = 0.0, 0
    for b in range(4):
        candidates = [d[b]] + [d[j] for j in range(4) if j != b] + [torch.zeros(3)]
        candidates += [wrong[b, k] for k in range(2) if valid[b, k] and with_corrupted]
        cosines = [
            0.0 if not c.any() else float(torch.dot(d_hat[b], c) / d_hat[b].norm() / c.norm())
            for c in candidates
        ]
        expected += -math.log(math.exp(cosines[0] / 0.1) / sum(math.exp(c / 0.1) for c in cosines)) / 4
        first += max(cosines) == cosines[0]
    loss, picked = losses.info_nce(d_hat, d, (wrong, valid) if with_corrupted else None, 0.1)
    assert math.isclose(float(loss), expected, rel_tol=1e-5)
    assert float(picked) == first / 4


@pytest.mark.parametrize("corrupted", [None, (torch.zeros(5, 0, 5), torch.zeros(5, 0, dtype=torch.bool))])
def test_info_nce_of_a_perfect_prediction(corrupted: tuple[torch.Tensor, torch.Tensor] | None) -> None:
    d = torch.eye(5)
    loss, picked = losses.info_nce(d, d, corrupted, 0.1)
    # Candidates: the truth at cosine 1, four other edits and the copy at cosine 0.
    assert math.isclose(float(loss), math.log(1 + 5 * math.exp(-10)), rel_tol=1e-3)
    assert float(picked) == 1


def test_spoilt() -> None:
    real, wrong = torch.tensor([-1.0, 2.0]), torch.tensor([0.5, 3.0, -2.0])

    def p(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    expected = -sum(math.log(1 - p(x)) for x in real.tolist()) / 2 / 2
    expected -= sum(math.log(p(x)) for x in wrong.tolist()) / 3 / 2
    assert math.isclose(float(losses.spoilt(real, wrong, 2, 3)), expected, rel_tol=1e-6)
    assert math.isclose(float(losses.spoilt(torch.zeros(9), torch.zeros(2), 9, 2)), math.log(2), rel_tol=1e-6)
    assert float(losses.spoilt(real - 1, wrong + 1, 2, 3)) < expected
    assert float(losses.spoilt(real[:0], wrong[:0], 0, 0)) == 0
    sides = [losses.spoilt(real, wrong[:0], 2, 0), losses.spoilt(real[:0], wrong, 0, 3)]
    assert math.isclose(float(sum(sides)), expected, rel_tol=1e-6)


def test_masked_tokens() -> None:
    loss = losses.masked_tokens(torch.zeros(3, 11), torch.tensor([0, 4, 10]), 3)
    assert math.isclose(float(loss), math.log(11), rel_tol=1e-6)


def test_parts_add_up() -> None:
    torch.manual_seed(0)
    d_hat, d, wrong, valid = (
        torch.randn(6, 3),
        torch.randn(6, 3),
        torch.randn(6, 2, 3),
        torch.rand(6, 2) > 0.3,
    )
    whole, picked = losses.info_nce(d_hat, d, (wrong, valid), 0.1)
    parts = [torch.arange(6)[i::2] for i in (0, 1)]
    found = [losses.info_nce(d_hat[rows], d, (wrong[rows], valid[rows]), 0.1, rows) for rows in parts]
    torch.testing.assert_close(torch.stack([f[0] for f in found]).sum(), whole)
    torch.testing.assert_close(torch.stack([f[1] for f in found]).sum(), picked)
    real, spoilt = torch.randn(6), torch.randn(4)
    pieces = [losses.spoilt(real[i::2], spoilt[i::2], 6, 4) for i in (0, 1)]
    torch.testing.assert_close(sum(pieces), losses.spoilt(real, spoilt, 6, 4))
    logits, truth = torch.randn(6, 9), torch.arange(6)
    pieces = [losses.masked_tokens(logits[i::2], truth[i::2], 6) for i in (0, 1)]
    torch.testing.assert_close(sum(pieces), losses.masked_tokens(logits, truth, 6))
