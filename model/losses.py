"""Predictions and truths in, one scalar out: small pure terms, each with its closed form in the tests."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_tokens(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross-entropy in nats of masked tokens: logits [M, V], truth [M]."""
    return F.cross_entropy(logits.float(), truth)


def displacement_error(d_hat: Tensor, d: Tensor, scale: Tensor) -> Tensor:
    """Mean of |d - d_hat|^2 / scale over the batch: d_hat, d [B, D], scale [B].

    With scale = the mean |d|^2 of that kind of edit, predicting the copy costs 1 and the loss reads as
    1 - R2 about the zero displacement.
    """
    return ((d - d_hat).pow(2).sum(-1) / scale).mean()


def info_nce(
    d_hat: Tensor, d: Tensor, corrupted: Tensor, valid: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats of picking the true displacement, and the share of edits where it comes first.

    d_hat, d [B, D]; corrupted [B, K, D] (displacements to wrong next states); valid [B, K] bool. The candidates of
    row b are its own d_b, the copy, its corrupted ones, and t(s_b) + d_j for every other edit j of the batch. They
    are compared by direction, cos(d_hat, d_c) / temperature; the copy is the zero displacement, whose cosine is 0
    by definition, so the truth outranks it when the prediction points its way at all. Length is left to
    displacement_error: the two terms do not pull on it from both sides.
    """
    query = F.normalize(d_hat, dim=-1, eps=1e-6)
    batch = query @ F.normalize(d, dim=-1, eps=1e-6).T  # [B, B], the truth on the diagonal
    copy = torch.zeros(len(d), 1, device=d.device)
    wrong = torch.einsum("bd,bkd->bk", query, F.normalize(corrupted, dim=-1, eps=1e-6))
    wrong = wrong.masked_fill(~valid, float("-inf"))
    logits = torch.cat([batch, copy, wrong], 1) / temperature
    truth = torch.arange(len(d), device=d.device)
    return F.cross_entropy(logits, truth), (logits.argmax(1) == truth).float().mean()


def variance_floor(d_hat: Tensor, d: Tensor, share: float = 0.5) -> Tensor:
    """Mean hinge over dimensions of the spread of predictions falling under `share` of the truth's: [B, D] twice.

    After VICReg's variance term (Bardes et al. 2022, eq. 1), with the true displacements' standard deviation
    in place of its constant.
    """
    floor = share * d.std(0)
    return F.relu(floor - d_hat.std(0)).mean() / floor.mean().clamp_min(1e-6)
