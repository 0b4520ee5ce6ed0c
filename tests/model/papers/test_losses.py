"""Claims: each term of the papers equals its closed form, and its gradient is finite where the equation's is not.

1. 1 - cos and the normalised squared error are the same but for 2 / D; both are 0 for the truth.
2. log cosh is x^2 / 2 for small x and |x| - log 2 for large ones; lengths a factor e apart cost 1.
3. Covariance equals numpy's, is 0 for uncorrelated dimensions, and a quarter of the scale costs 1/256 of it.
4. The hinge is 0 at unit variance and 1 where everything is one point; so is its gradient finite there.
5. The log spectrum of an isotropic batch is -D log sqrt(N), of a collapsed one -log sqrt(N) |z| - (D - 1) log floor,
   and torch's own singular values give the same, for more rows than dimensions and for fewer.
6. The sketched spectrum is 1 / sqrt 2 for a Gaussian, and lower for a collapse with outliers: it prefers collapse.
7. The contrast equals the formula written out over pairs; it is finite with its diagonal masked, where the published
   mask gives NaN; without any pair it is 0.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from codewm.model.papers import losses


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_cosine_and_normalised_error_differ_by_a_factor() -> None:
    a, b = torch.randn(7, 12), torch.randn(7, 12)
    longhand = np.mean(
        [1 - float(x @ y) / (float(x.norm()) * float(y.norm())) for x, y in zip(a, b, strict=True)]
    )
    assert float(losses.cosine(a, b)) == pytest.approx(longhand, abs=1e-6)
    assert float(losses.normalised_mse(a, b)) == pytest.approx(2 * longhand / 12, abs=1e-6)
    assert float(losses.cosine(3 * a, a)) == pytest.approx(0, abs=1e-6)
    assert float(losses.normalised_mse(3 * a, a)) == pytest.approx(0, abs=1e-6)


def test_log_cosh_and_magnitude() -> None:
    zero = torch.zeros(1, 1)
    for x in (1e-3, 0.5, 3.0, 300.0):
        truth = x - math.log(2) if x > 100 else math.log(math.cosh(x))
        assert float(losses.log_cosh(torch.tensor([[x]]), zero)) == pytest.approx(truth, rel=1e-3, abs=1e-7)
    d = torch.randn(5, 4)
    assert float(losses.magnitude(math.e * d, d)) == pytest.approx(1, abs=1e-5)
    assert torch.isfinite(losses.magnitude(torch.zeros(2, 4), torch.ones(2, 4)))


def test_covariance_is_numpys_and_falls_when_everything_shrinks() -> None:
    z = torch.randn(40, 6) @ torch.randn(6, 6)
    cov = np.cov(z.numpy().T)
    truth = (np.square(cov).sum() - np.square(np.diag(cov)).sum()) / 6
    assert float(losses.covariance(z)) == pytest.approx(truth, rel=1e-4)
    assert float(losses.covariance(z / 4)) == pytest.approx(truth / 256, rel=1e-4)
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert float(losses.covariance(signs)) == 0


def test_hinge_at_unit_variance_and_at_one_point() -> None:
    z = torch.randn(5_000, 8)
    unit = (z - z.mean(0)) / z.std(0)
    assert float(losses.variance_hinge(unit)) < 1e-6
    point = torch.ones(16, 8, requires_grad=True)
    hinge = losses.vicreg(point, 0.04)
    assert float(hinge.detach()) == pytest.approx(1, abs=1e-3)
    hinge.backward()
    assert point.grad is not None
    assert bool(torch.isfinite(point.grad).all())


@pytest.mark.parametrize(("n", "d"), [(64, 16), (16, 64)])
def test_log_spectrum_at_isotropy_and_by_singular_values(n: int, d: int) -> None:
    q = torch.linalg.qr(torch.randn(max(n, d), min(n, d)))[0]
    isotropic = math.sqrt(n) * (q if n >= d else q.T)
    assert float(losses.log_spectrum(isotropic)) == pytest.approx(
        -min(n, d) * math.log(math.sqrt(n)), rel=1e-4
    )
    z = torch.randn(n, d)
    assert float(losses.log_spectrum(z)) == pytest.approx(
        -float(torch.linalg.svdvals(z).log().sum()), rel=1e-3
    )


def test_log_spectrum_at_collapse_is_high_and_pulls_apart() -> None:
    row = torch.randn(16)
    floor = 0.5 * math.log(losses.SPECTRAL_FLOOR)
    z = row.repeat(64, 1).requires_grad_()
    value = losses.log_spectrum(z)
    assert float(value.detach()) == pytest.approx(-math.log(8 * float(row.norm())) - 15 * floor, rel=1e-2)
    value.backward()
    assert z.grad is not None
    assert bool(torch.isfinite(z.grad).all())
    nearly = (row + 1e-3 * torch.randn(64, 16)).requires_grad_()
    before = losses.log_spectrum(nearly)
    before.backward()
    assert nearly.grad is not None
    step = nearly.detach() - 1e-3 * F.normalize(nearly.grad, dim=None)
    assert float(losses.log_spectrum(step)) < float(before.detach())


def test_sketched_spectrum_prefers_a_collapse() -> None:
    gauss = torch.randn(2_000, 8)
    assert float(losses.sketched_spectrum(gauss)) == pytest.approx(1 / math.sqrt(2), abs=0.02)
    collapsed = torch.cat([1e-3 * torch.randn(1_960, 8), 10 * torch.randn(40, 8)])
    assert float(losses.sketched_spectrum(collapsed)) < 0.6
    # Standardising takes the scale away: shrinking everything changes nothing.
    torch.manual_seed(5)
    whole = float(losses.sketched_spectrum(gauss))
    torch.manual_seed(5)
    assert float(losses.sketched_spectrum(0.01 * gauss)) == pytest.approx(whole, abs=1e-3)


def test_contrast_is_the_formula_and_finite() -> None:
    delta, action = torch.randn(6, 5), torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 1.0]] * 3)
    unit = F.normalize(delta, dim=-1)
    pairs = []
    for i in range(6):
        others = [k for k in range(6) if k != i]
        whole = sum(math.exp(float(unit[i] @ unit[k]) / 0.07) for k in others)
        pairs += [
            -math.log(math.exp(float(unit[i] @ unit[j]) / 0.07) / whole) for j in others if (i < 3) == (j < 3)
        ]
    assert float(losses.contrastive(delta, action, 0.07, 0.9)) == pytest.approx(np.mean(pairs), rel=1e-4)
    # What the published mask does: 0 x -inf.
    logits = (unit @ unit.T).masked_fill(torch.eye(6, dtype=torch.bool), -math.inf)
    assert torch.isnan((logits.log_softmax(1) * (1 - torch.eye(6))).sum())
    alone = torch.eye(6)
    assert float(losses.contrastive(delta, alone, 0.07, 0.9)) == 0
