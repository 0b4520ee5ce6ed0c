"""Predictions and truths in, one scalar out: small pure terms, each with its closed form in the tests."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_tokens(logits: Tensor, truth: Tensor, count: int) -> Tensor:
    """Cross-entropy in nats of masked tokens, their sum over `count`: logits [M, V], truth [M]."""
    return F.cross_entropy(logits.float(), truth, reduction="sum") / count


def displacement_error(d_hat: Tensor, d: Tensor, scale: Tensor, count: int) -> Tensor:
    """Sum of |d - d_hat|^2 / scale over `count`, the size of the batch that these are of: d_hat, d [B, K], scale [B].

    With scale = the mean |d|^2 of that kind of edit, predicting the copy costs 1 and the loss reads as
    1 - R2 about the zero displacement.
    """
    return ((d - d_hat).pow(2).sum(-1) / scale).sum() / count


def info_nce(
    d_hat: Tensor,
    d: Tensor,
    corrupted: tuple[Tensor, Tensor] | None,
    temperature: float,
    truth: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats of picking the true displacement, and the share of edits where it comes first.

    d_hat, d [B, K]; corrupted: displacements to wrong next states [B, C, K] and which there are [B, C] bool. The
    candidates of row b are its own d_b, the copy, its corrupted ones, and t(s_b) + d_j for every other edit j of the
    batch. They are compared by direction, cos(d_hat, d_c) / temperature; the copy is the zero displacement, whose
    cosine is 0 by definition, so the truth outranks it when the prediction points its way at all. Length is left to
    displacement_error: the two terms do not pull on it from both sides.

    Where d_hat has fewer rows than d, `truth` [B'] says whose they are; the mean is over the rows of d.
    """
    query = F.normalize(d_hat, dim=-1, eps=1e-6)
    candidates = [
        query @ F.normalize(d, dim=-1, eps=1e-6).T,  # [B, B], the truth on the diagonal
        torch.zeros(len(d_hat), 1, device=d.device),
    ]
    if corrupted is not None:
        wrong = torch.einsum("bd,bkd->bk", query, F.normalize(corrupted[0], dim=-1, eps=1e-6))
        candidates.append(wrong.masked_fill(~corrupted[1], float("-inf")))
    logits = torch.cat(candidates, 1) / temperature
    truth = torch.arange(len(d), device=d.device) if truth is None else truth
    picked = (logits.argmax(1) == truth).float()
    return F.cross_entropy(logits, truth, reduction="sum") / len(d), picked.sum() / len(d)


def spoilt(real: Tensor, wrong: Tensor, of_real: int, of_wrong: int) -> Tensor:
    """Cross-entropy in nats of telling real edits from spoilt ones by log odds [R] and [W], each side half of it.

    These may be some of `of_real` and `of_wrong`, over which the sums are divided.
    """
    return 0.5 * (F.softplus(real).sum() / max(of_real, 1) + F.softplus(-wrong).sum() / max(of_wrong, 1))
