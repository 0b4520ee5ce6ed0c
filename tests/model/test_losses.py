"""Claims: every loss equals its formula written out longhand.

1. Predicting the copy costs mean |d|^2 / scale; the truth costs 0.
2. InfoNCE equals a softmax over explicitly listed cosines; masked candidates do not count; a perfect prediction of
   orthogonal displacements costs -log(1 / (1 + (C - 1) exp(-1 / temperature))).
3. The variance floor is 0 above the floor and 1 for constant predictions.
4. Masked-token loss of uniform logits is log V.
"""

from __future__ import annotations

import math

import torch

from codewm.model import losses


def test_displacement_error() -> None:
    d = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    scale = torch.tensor([25.0, 1.0])
    assert float(losses.displacement_error(torch.zeros(2, 2), d, scale)) == (25 / 25 + 4 / 1) / 2
    assert float(losses.displacement_error(d, d, scale)) == 0


def test_info_nce_equals_the_longhand_softmax() -> None:
    torch.manual_seed(0)
    d_hat, d, wrong = torch.randn(4, 3), torch.randn(4, 3), torch.randn(4, 2, 3)
    valid = torch.tensor([[True, True], [True, False], [False, False], [False, True]])
    expected, first = 0.0, 0
    for b in range(4):
        candidates = [d[b]] + [d[j] for j in range(4) if j != b] + [torch.zeros(3)]
        candidates += [wrong[b, k] for k in range(2) if valid[b, k]]
        cosines = [
            0.0 if not c.any() else float(torch.dot(d_hat[b], c) / d_hat[b].norm() / c.norm())
            for c in candidates
        ]
        expected += -math.log(math.exp(cosines[0] / 0.1) / sum(math.exp(c / 0.1) for c in cosines)) / 4
        first += max(cosines) == cosines[0]
    loss, picked = losses.info_nce(d_hat, d, wrong, valid, 0.1)
    assert math.isclose(float(loss), expected, rel_tol=1e-5)
    assert float(picked) == first / 4


def test_info_nce_of_a_perfect_prediction() -> None:
    d = torch.eye(5)
    loss, picked = losses.info_nce(d, d, torch.zeros(5, 0, 5), torch.zeros(5, 0, dtype=torch.bool), 0.1)
    # Candidates: the truth at cosine 1, four other edits and the copy at cosine 0.
    assert math.isclose(float(loss), math.log(1 + 5 * math.exp(-10)), rel_tol=1e-3)
    assert float(picked) == 1


def test_variance_floor() -> None:
    d = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert float(losses.variance_floor(d, d)) == 0
    assert math.isclose(float(losses.variance_floor(torch.zeros(50, 4), d)), 1.0, rel_tol=1e-5)


def test_masked_tokens() -> None:
    loss = losses.masked_tokens(torch.zeros(3, 11), torch.tensor([0, 4, 10]))
    assert math.isclose(float(loss), math.log(11), rel_tol=1e-6)
