"""Latents in, one scalar out: every term of the papers' objectives and of the code behind them.

Each has a closed form in tests/model/papers/test_losses.py. N latents of D dimensions in f32; nothing here detaches
anything: whom a gradient reaches is decided in `objective`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SPECTRAL_FLOOR = 1e-4  # of a squared singular value: keeps the gradient of a lost direction finite
MASKED = -1e9  # logit of what may not be picked; finite, so that 0 x MASKED is 0 and not NaN
SKETCHES = 128  # random directions of the sketched spectrum


def cosine(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - mean cos: [N, D] twice (paper 1, equation 3; of displacements, equation 4)."""
    return 1 - F.cosine_similarity(predicted, target, dim=-1).mean()


def normalised_mse(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of unit vectors over N and D, = (2 - 2 cos) / D: what the code minimises."""
    return F.mse_loss(F.normalize(predicted, dim=-1), F.normalize(target, dim=-1))


def log_cosh(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean log cosh of the difference over N and D (paper 2, section 6.2: the first delta objective)."""
    x = (predicted - target).abs()
    out: Tensor = (x + F.softplus(-2 * x) - math.log(2.0)).mean()
    return out


def magnitude(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean squared difference of the logarithms of two displacements' lengths: [N, D] twice."""
    ours: Tensor = torch.linalg.vector_norm(predicted, dim=-1)
    theirs: Tensor = torch.linalg.vector_norm(true, dim=-1)
    return F.mse_loss(ours.clamp_min(1e-6).log(), theirs.clamp_min(1e-6).log())


def covariance(z: Tensor) -> Tensor:
    """Sum of squared off-diagonal entries of the covariance of z [N, D], over D.

    Nothing in it keeps the variance up: shrinking z lowers it, which is where the published encoder's collapse
    comes from (lab log).
    """
    centred = z - z.mean(0)
    cov = centred.T @ centred / max(len(z) - 1, 1)
    return (cov.pow(2).sum() - cov.diagonal().pow(2).sum()) / z.shape[1]


def variance_hinge(z: Tensor) -> Tensor:
    """Mean over dimensions of max(0, 1 - standard deviation) of z [N, D] (Bardes et al. 2022)."""
    # The root of 0 has no finite gradient.
    deviation = (z.var(0) + 1e-8).sqrt()
    return F.relu(1 - deviation).mean()


def vicreg(z: Tensor, covariance_weight: float) -> Tensor:
    """Variance hinge plus weighted covariance; the invariance term of the text is the prediction itself."""
    return variance_hinge(z) + covariance_weight * covariance(z)


def log_spectrum(z: Tensor) -> Tensor:
    """- sum_i log sigma_i(z) over the min(N, D) singular values of z [N, D] (paper 1, equation 5).

    As half the log determinant of the smaller Gram matrix plus a floor, so that a direction that is lost entirely
    costs 4.6 and still has a finite gradient, where the equation has infinities.
    """
    with torch.autocast(z.device.type, enabled=False):
        z = z.float()
        gram = z @ z.T if len(z) < z.shape[1] else z.T @ z
        gram = gram + SPECTRAL_FLOOR * torch.eye(len(gram), device=z.device)
        return -0.5 * torch.logdet(gram.double()).float()


def sketched_spectrum(z: Tensor) -> Tensor:
    """The code's "SIGReg" of z [N, D]: |2 E exp(-h^2 / 2) - E exp(-(h_i - h_j)^2 / 4) - sqrt 2|, mean over directions.

    h are the standardised projections on random directions. Kept for reproduction only: it is 1 / sqrt 2 at a
    Gaussian, less for a collapsed batch with outliers, and blind to scale.
    """
    directions = F.normalize(torch.randn(z.shape[1], SKETCHES, device=z.device), dim=0)
    h = z @ directions  # [N, K]
    h = (h - h.mean(0)) / (h.std(0) + 1e-6)
    own = torch.exp(-h.pow(2) / 2).mean(0)
    pairs = torch.exp(-(h[:, None] - h[None]).pow(2) / 4).mean((0, 1))
    return (2 * own - pairs - 2**0.5).abs().mean()


def contrastive(delta: Tensor, action: Tensor, temperature: float, threshold: float) -> Tensor:
    """Supervised contrast of displacements [N, D]: pairs of alike actions [N, A] are positive (paper 1, equation 6).

    The mean over positive pairs of - log softmax_k(cos(delta_i, delta_k) / temperature), k != i; 0 without any pair.
    """
    unit = F.normalize(delta, dim=-1, eps=1e-6)
    alike = F.normalize(action, dim=-1, eps=1e-6)
    itself = torch.eye(len(delta), dtype=torch.bool, device=delta.device)
    positive = ((alike @ alike.T) > threshold) & ~itself
    logits = (unit @ unit.T / temperature).masked_fill(itself, MASKED)
    logs = logits.log_softmax(1)
    return -(logs * positive).sum() / positive.sum().clamp_min(1)
