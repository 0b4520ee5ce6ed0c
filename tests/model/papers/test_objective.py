"""Claims: whom each term's gradient reaches is what the mode says.

1. Published: prediction, direction, magnitude and contrast leave the encoder's gradient at exactly 0; covariance,
   VICReg, the sketched spectrum and auxiliary predictions do not. Prediction trains both projectors.
2. Text: prediction, direction, contrast and spectrum all reach the encoder; so does a rollout over chains.
3. Nothing ever reaches the target encoder, which moves by its decay alone: 1.0 not at all, 0 all the way.
4. A direction term that is switched off at a step has no weight from that step on, and is still reported.
5. A forecast displacement is added to t(s), early or final; raw, normalised and residual forms are finite and differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from codewm.model.diagnostics import gradient_norm
from codewm.model.papers.networks import Networks
from codewm.model.papers.objective import terms
from tests.model.papers.made import networks, off, recipe, some_batch

NOTHING = {
    "prediction_weight": 0.0, "direction_weight": 0.0, "magnitude_weight": 0.0, "spectral_weight": 0.0,
    "covariance_weight": 0.0,
}  # fmt: skip


def gradients(name: str, mode: str, **values: Any) -> tuple[dict[str, float], Networks]:
    """Gradient norm of each network, and of the target."""
    chosen = recipe(name, mode, **{**NOTHING, "aux_weight": 0.0, "vicreg_weight": 0.0, **values})
    model = networks(chosen)
    model.train()
    terms(model, chosen.objective, some_batch(chosen), 0, off()).loss.backward()  # type: ignore[no-untyped-call]
    out = {}
    for part in (*model.PARTS, "target"):
        held = [p.grad.numpy() for p in getattr(model, part).parameters() if p.grad is not None]
        out[part] = gradient_norm(held)
    return out, model


@pytest.mark.parametrize("term", ["prediction_weight", "direction_weight", "magnitude_weight"])
def test_published_prediction_never_trains_the_encoder(term: str) -> None:
    found, _ = gradients("encoder-collapse", "published", **{term: 1.0})
    assert found["online"] == 0
    assert found["predictor"] > 0
    assert found["action"] > 0


def test_published_contrast_trains_nothing() -> None:
    chosen = recipe("encoder-collapse", "published", **{**NOTHING, "contrast_weight": 1.0})
    found = terms(networks(chosen), chosen.objective, some_batch(chosen), 0, off())
    assert not found.values["contrast"].requires_grad
    assert torch.isfinite(found.values["contrast"])


@pytest.mark.parametrize("term", ["covariance_weight", "vicreg_weight", "spectral_weight"])
def test_published_regularisers_train_the_encoder_alone(term: str) -> None:
    found, _ = gradients("encoder-collapse", "published", **{term: 1.0})
    assert found["online"] > 0
    assert found["predictor"] == 0


def test_published_auxiliary_predictions_train_the_encoder() -> None:
    found, _ = gradients("readout-repair", "published", aux_weight=0.3)
    assert found["online"] > 0
    assert found["predictor"] > 0


def test_published_prediction_trains_both_projectors() -> None:
    _, model = gradients("encoder-collapse", "published", prediction_weight=1.0)
    for projector in model.projectors:
        assert all(
            p.grad is not None and float(p.grad.abs().sum()) > 0 for p in projector[0].parameters()
        ) or any(float(p.grad.abs().sum()) > 0 for p in projector.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    "term", ["prediction_weight", "direction_weight", "spectral_weight", "contrast_weight"]
)
def test_text_terms_train_the_encoder(term: str) -> None:
    found, _ = gradients("encoder-collapse", "text", **{term: 1.0})
    assert found["online"] > 0
    assert found["target"] == 0


def test_a_rollout_over_chains_trains_the_encoder() -> None:
    found, _ = gradients("encoder-collapse", "text", rollout_weight=1.0, transitions=1)
    assert found["online"] == 0, "one transition has no self-fed step"
    chosen = recipe("encoder-collapse", "text", **{**NOTHING, "rollout_weight": 1.0})
    batch = some_batch(chosen)
    B = chosen.run.batch
    two = type(batch)(
        torch.cat([batch.tokens, batch.tokens[:B]]), torch.cat([batch.lengths, batch.lengths[:B]]),
        torch.cat([batch.action, batch.action]),
    )  # fmt: skip
    model = networks(chosen)
    terms(model, chosen.objective, two, 0, off()).loss.backward()  # type: ignore[no-untyped-call]
    assert float(model.online.embedding.weight.grad.abs().sum()) > 0


def test_the_target_moves_by_its_decay_alone() -> None:
    chosen = recipe()
    model = networks(chosen)
    before = model.target.block.mlp.up.weight.clone()
    with torch.no_grad():
        model.online.block.mlp.up.weight += 1
    model.follow(1.0)
    assert torch.equal(model.target.block.mlp.up.weight, before)
    model.follow(0.75)
    assert torch.allclose(model.target.block.mlp.up.weight, before + 0.25, atol=1e-6)
    model.follow(0.0)
    assert torch.equal(model.target.block.mlp.up.weight, model.online.block.mlp.up.weight)
    assert not any(p.requires_grad for p in model.target.parameters())


def test_direction_is_switched_off_at_its_step() -> None:
    chosen = recipe("encoder-collapse", "published", direction_until=5)
    model = networks(chosen)
    weights = [
        terms(model, chosen.objective, some_batch(chosen), step, off()).weights["direction"]
        for step in (4, 5)
    ]
    assert weights == [0.5, 0.0]


def test_forecast_displacements() -> None:
    seen = []
    for values in (
        {"delta_loss": "logcosh"}, {"delta_loss": "logcosh", "delta_loop": 1}, {"delta_loss": "normalised"},
        {"delta_loss": "normalised", "residual": True},
    ):  # fmt: skip
        chosen = recipe("encoder-collapse", "text", forecast="delta", dropout=0.0, **values)
        model = networks(chosen)
        found = terms(model, chosen.objective, some_batch(chosen), 0, off())
        assert torch.isfinite(found.loss)
        assert "direction" not in found.values
        assert found.latents is not None
        output = (found.latents.predicted - found.latents.before).numpy()
        z = found.latents.online
        batch = some_batch(chosen)
        assert np.allclose(output, model.predict(z, batch.action[0]).detach().numpy(), atol=1e-4)
        seen.append(round(float(found.values["prediction"].detach()), 6))
    assert len(set(seen)) == 4
