"""Networks and a batch of windows in, the weighted terms of one step out; whose gradient reaches whom is decided here.

In text mode gradients flow as the equations say: everything but the target encoder is trained by every term. In
published mode (`detach`) the predictor reads sg[z], and both displacements subtract sg[z]: prediction, direction,
magnitude and contrast never reach the encoder, which is left to the regularisers and, in paper 2, to the auxiliary
predictions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from codewm.model.papers import losses
from codewm.model.papers.config import ObjectiveConfig
from codewm.model.papers.networks import Networks


@dataclass(frozen=True)
class Batch:
    """B windows of T edits: states in rows of time, padded to one width S."""

    tokens: Tensor
    """[(T + 1) B, S] int64; row t B + b is state t of window b."""
    lengths: Tensor
    """[(T + 1) B]"""
    action: Tensor
    """[T, B, A]"""

    @property
    def shape(self) -> tuple[int, int]:
        """(T, B)."""
        return self.action.shape[0], self.action.shape[1]


@dataclass(frozen=True)
class Latents:
    """What the terms were computed of, without gradients: [T B, D] each, f32."""

    online: Tensor
    """f(s)"""
    before: Tensor
    """t(s)"""
    after: Tensor
    """t(s')"""
    predicted: Tensor
    """the predicted next state, in the target space"""


@dataclass(frozen=True)
class Terms:
    """One step's terms."""

    values: dict[str, Tensor]
    """Unweighted, by name."""
    weights: dict[str, float]
    latents: Latents | None
    """Only where they were asked for."""

    @property
    def loss(self) -> Tensor:
        """The weighted sum."""
        return torch.stack([self.weights[name] * value for name, value in self.values.items()]).sum()


def terms(
    model: Networks,
    config: ObjectiveConfig,
    batch: Batch,
    step: int,
    mixed: torch.autocast,
    diagnose: bool = True,
) -> Terms:
    """Every term of the objective that has a weight, and, if asked for, the latents that diagnostics read."""
    T, B = batch.shape
    n = T * B
    delta = model.config.forecast == "delta"
    # t(s) of the first states is only read by a displacement and by diagnostics.
    first = 0 if delta or diagnose else B
    with mixed:
        seen = n + B if config.regularise_after else n
        tokens, lengths = batch.tokens[:seen], batch.lengths[:seen]
        features = model.online.features(tokens, lengths)
        states = model.online.read(features[-1], tokens, lengths)  # [T B (+ B), D]
        with torch.no_grad():
            goal = model.target(batch.tokens[first:], batch.lengths[first:], model.config.delta_loop).detach()
        before, after = goal[:n], goal[B - first :]
        z = states[:n]
        start = z.detach() if config.detach else z
        action = batch.action.flatten(0, 1)
        output = model.predict(start, action)
    predicted = before + output if delta else output

    values: dict[str, Tensor] = {}
    weights: dict[str, float] = {}

    def add(name: str, weight: float, value: Tensor) -> None:
        values[name], weights[name] = value, weight

    def prediction(guess: Tensor, truth: Tensor) -> Tensor:
        """The prediction term without projectors."""
        return (losses.cosine if config.prediction == "cosine" else losses.normalised_mse)(guess, truth)

    if delta:
        form = losses.log_cosh if config.delta_loss == "logcosh" else losses.cosine
        add("prediction", config.prediction_weight, form(output, after - before))
    else:
        if config.prediction == "projected":
            ours, theirs = model.projectors
            add("prediction", config.prediction_weight, losses.normalised_mse(ours(output), theirs(after)))
        else:
            add("prediction", config.prediction_weight, prediction(output, after))
        on = not (config.direction_until and step >= config.direction_until)
        if config.direction_weight:
            weight = config.direction_weight if on else 0.0
            add("direction", weight, losses.cosine(output - start, after - start))
        if config.magnitude_weight:
            add("magnitude", config.magnitude_weight, losses.magnitude(output - start, after - start))
    if config.contrast_weight:
        moved = output if delta else output - start
        moved = moved.detach() if config.detach else moved  # so did the code
        value = losses.contrastive(moved, action, config.contrast_temperature, config.contrast_threshold)
        add("contrast", config.contrast_weight, value)
    if config.covariance_weight:
        add("covariance", config.covariance_weight, losses.covariance(states))
    if config.vicreg_weight:
        add("vicreg", config.vicreg_weight, losses.vicreg(states, config.vicreg_covariance))
    if config.spectral_weight:
        spread = losses.log_spectrum if config.spectral == "log" else losses.sketched_spectrum
        add("spectral", config.spectral_weight, spread(states))
    with mixed:
        if config.aux_weight:
            total = torch.zeros((), device=action.device)
            for loop in config.aux_loops:
                early = model.online.read(features[loop][:n], tokens[:n], lengths[:n])
                guess = model.predict(early, action)
                total = total + prediction(before + guess if delta else guess, after)
            add("aux", config.aux_weight, total)
        if config.rollout_weight and T > 1:
            total = torch.zeros((), device=action.device)
            state, here = output.view(T, B, -1)[0], after.view(T, B, -1)
            if delta:
                state = before[:B] + state
            for k in range(1, T):
                guess = model.predict(state, batch.action[k])
                state = state + guess if delta else guess
                total = total + config.rollout_decay**k * prediction(state, here[k])
            add("rollout", config.rollout_weight, total / (T - 1))
    latents = Latents(z.detach(), before, after, predicted.detach()) if diagnose else None
    return Terms(values, weights, latents)
