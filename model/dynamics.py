"""Stage 2. A frozen target encoder and edits in, a trained f, h and g out.

    loss = |d - d_hat|^2 / (mean |d|^2 of that kind of edit)          reads as 1 - R2 about the copy
         + contrast x InfoNCE(d_hat; d | copy, corrupted, other edits)
         + variance x floor under the spread of predictions

Targets come from a cache: t is frozen, so every state and every corrupted next state is encoded once.
"""

from __future__ import annotations

from dataclasses import dataclass

import codewm_core
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codewm.model import losses
from codewm.model.batches import GROUPS, Index, encode, pad
from codewm.model.checkpoint import optimiser_tensors, restore_optimiser, save_tensors
from codewm.model.corrupt import corrupt_many
from codewm.model.diagnostics import effective_ranks
from codewm.model.evaluation import metrics
from codewm.model.jepa import JEPA
from codewm.model.session import (
    STEP_EVERY,
    Pace,
    Session,
    TrainingStopped,
    descend,
    endless_batches,
    learning_rate,
    optimiser,
)

F32 = NDArray[np.float32]
CORRUPTION_SHARE = 0.12  # of a run's minutes that encoding wrong next states may cost


@dataclass(frozen=True)
class Targets:
    """Cached latents: z f32 [U, D] (rows of states that are used), wrong f32 [F, K, D] and known bool [F, K]
    for the corrupted next states of the training edits in their order, scale f32 [3] per GROUPS."""

    z: F32
    wrong: F32
    known: NDArray[np.bool_]
    scale: F32

    def displacement(self, session: Session, edits: Index) -> F32:
        """d [n, D] of the edits."""
        out: F32 = self.z[session.data.after[edits]] - self.z[session.data.before[edits]]
        return out


def cache_targets(session: Session, model: JEPA) -> Targets:
    """Encode every state the two sets need, then as many corrupted next states as there is time for."""
    config, data = session.config, session.data
    edits = np.concatenate([data.fit, data.validation])
    used = np.unique(np.concatenate([data.before[edits], data.after[edits]]))
    z = np.zeros((len(data.offsets) - 1, session.model_config.dim), np.float32)
    z[used] = encode(model.target, data.tokens, data.offsets, used, device=config.device)
    session.event("cache", what="states", count=len(used))

    K = config.corruptions
    wrong = np.zeros((len(data.fit), K, session.model_config.dim), np.float32)
    known = np.zeros((len(data.fit), K), bool)
    if K:
        flat, offsets = corrupt_many(
            data.tokens, data.offsets, np.tile(data.after[data.fit], K), data.after[data.fit],
            window=data.window, seed=config.seed,
        )  # fmt: skip
        # In a timed run only a seeded part is encoded if the whole would cost too much.
        order = np.random.default_rng([config.seed, 201]).permutation(len(offsets) - 1)
        allowed = None if config.minutes is None else CORRUPTION_SHARE * config.minutes * 60
        began = session.elapsed()
        for start in range(0, len(order), 4_096):
            if allowed is not None and session.elapsed() - began > allowed:
                break
            part = order[start : start + 4_096]
            k, row = np.divmod(part, len(data.fit))
            with session.mixed():
                wrong[row, k] = encode(model.target, flat, offsets, part, device=config.device)
            known[row, k] = True
        wrong -= z[data.before[data.fit]][:, None]
        session.event("cache", what="corrupted next states", count=int(known.sum()), of=len(order))
    d = z[data.after[data.fit]] - z[data.before[data.fit]]
    size = np.square(d).sum(1)
    group = data.group[data.fit]
    overall = float(size.mean())
    scale = np.array([size[group == g].mean() if (group == g).any() else overall for g in range(len(GROUPS))])
    return Targets(z, wrong, known, np.maximum(scale, 1e-6).astype(np.float32))


def hide_tokens(tokens: Tensor, lengths: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Before-states with a share of their real tokens masked: the encoder must not lean on any one."""
    if share == 0:
        return tokens
    shape = tuple(tokens.shape)
    hidden = (rng.random(shape) < share) & (np.arange(shape[1]) < lengths.cpu().numpy()[:, None])
    hidden &= (lengths.cpu().numpy() > 4)[:, None]
    return tokens.masked_fill(torch.from_numpy(hidden).to(tokens.device), codewm_core.MASK)


@torch.no_grad()
def predict(session: Session, model: JEPA, edits: Index, action: F32, latents: F32 | None = None) -> F32:
    """d_hat [n, D] of the edits in f32, under these actions [n, A]; `latents` f(s) [n, D] spares the encoder."""
    if latents is None:
        latents = online_latents(session, model, edits)
    out = np.empty_like(latents)
    for start in range(0, len(edits), 4_096):
        part = slice(start, start + 4_096)
        h = model.action(torch.from_numpy(action[part]).to(session.config.device))
        z = torch.from_numpy(latents[part]).to(session.config.device)
        out[part] = model.predictor(z, h).cpu().numpy()
    return out


def online_latents(session: Session, model: JEPA, edits: Index) -> F32:
    """f(s) [n, D] of the edits, each unique state encoded once."""
    data = session.data
    states, inverse = np.unique(data.before[edits], return_inverse=True)
    z = encode(model.online, data.tokens, data.offsets, states, device=session.config.device)
    out: F32 = z[inverse]
    return out


@torch.no_grad()
def fit_readout(session: Session, model: JEPA, targets: Targets) -> None:
    """Start g's last layer at the ridge solution from its untrained features to d.

    f starts as t without its whitening, so undoing that costs hundreds of steps of gradient descent and one
    linear solve (lab log). Edits weigh as in the loss.
    """
    config, data = session.config, session.data
    rng = np.random.default_rng([config.seed, 204])
    edits = np.sort(rng.choice(data.fit, min(len(data.fit), config.readout_edits), replace=False))
    z = torch.from_numpy(online_latents(session, model, edits)).to(config.device)
    x = model.predictor.features(z, model.action(torch.from_numpy(data.action[edits]).to(config.device))).double()
    x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    d = torch.from_numpy(targets.displacement(session, edits)).to(config.device).double()
    weighted = x / torch.from_numpy(targets.scale[data.group[edits]]).to(config.device).double()[:, None]
    gram = weighted.T @ x
    gram += config.readout_ridge * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device)
    solution = torch.linalg.solve(gram, weighted.T @ d).float()  # [D + 1, D]
    model.predictor.out.weight.copy_(solution[:-1].T)
    model.predictor.out.bias.copy_(solution[-1])


def validate(session: Session, model: JEPA, targets: Targets) -> dict[str, float]:
    """Figures on the validation edits; `displacement_r2` decides the best checkpoint."""
    data = session.data
    edits = data.validation
    d = targets.displacement(session, edits)
    z = targets.z[data.before[edits]]
    d_hat = predict(session, model, edits, data.action[edits])
    entropy, squared = effective_ranks(d_hat)
    true_entropy, true_squared = effective_ranks(d)
    modified = data.group[edits] == 0
    figures = {
        "displacement_r2": metrics.displacement_r2(d_hat, d),
        "nearer_than_copy": float(metrics.nearer_than_copy(d_hat, d).mean()),
        "prefers_truth_to_copy": float(metrics.prefers_truth_to_copy(d_hat, d, z).mean()),
        "delta_cosine": float(metrics.delta_cosine(d_hat, d).mean()),
        "predictor_rank_entropy": entropy,
        "predictor_rank_squared": squared,
        "true_rank_entropy": true_entropy,
        "true_rank_squared": true_squared,
    }
    if modified.sum() > 1:
        figures["displacement_r2_modified"] = metrics.displacement_r2(d_hat[modified], d[modified])
        figures["delta_cosine_modified"] = float(metrics.delta_cosine(d_hat[modified], d[modified]).mean())
    return figures


@dataclass
class Best:
    """The best validation R2 so far and how many looks ago it was."""

    r2: float = float("-inf")
    since: int = 0
    looks: int = 0


def foresee(
    session: Session, model: JEPA, targets: Targets, pace: Pace, resumed: tuple[dict[str, Tensor], Best] | None
) -> Best:
    """Train f, h and g until the pace is done or validation stops improving; the best weights go to the folder."""
    config, data = session.config, session.data
    online = [(n, p) for n, p in model.trained() if n.startswith("online.")]
    rest = [(n, p) for n, p in model.trained() if not n.startswith("online.")]
    optim, names = optimiser([(online, config.lr * config.online_lr_scale), (rest, config.lr)], config.weight_decay)
    best = Best()
    if resumed is not None:
        tensors, best = resumed
        model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        restore_optimiser(optim, names, tensors)

    order = endless_batches(
        data.lengths[data.before[data.fit]], config.tokens_per_batch, config.edits_per_batch,
        [config.seed, 202], pace.step,
    )  # fmt: skip
    try:
        while pace.progress < 1 and best.since < config.patience:
            epoch, batch = next(order)
            edits = data.fit[batch]
            rng = np.random.default_rng([config.seed, 203, pace.step])
            tokens, lengths = pad(data.tokens, data.offsets, data.before[edits], config.device)
            tokens = hide_tokens(tokens, lengths, config.token_dropout, rng)
            action = torch.from_numpy(data.action[edits]).to(config.device)
            d = torch.from_numpy(targets.displacement(session, edits)).to(config.device)
            scale = torch.from_numpy(targets.scale[data.group[edits]]).to(config.device)
            with session.mixed():
                d_hat = model(tokens, lengths, action).float()
            error = losses.displacement_error(d_hat, d, scale)
            contrast, picked = losses.info_nce(
                d_hat, d,
                torch.from_numpy(targets.wrong[batch]).to(config.device),
                torch.from_numpy(targets.known[batch]).to(config.device),
                config.temperature,
            )  # fmt: skip
            loss = error + config.contrast * contrast
            if config.variance and len(batch) > 1:
                loss = loss + config.variance * losses.variance_floor(d_hat, d)
            factor = learning_rate(pace.progress, config.warmup)
            norm = descend(loss, optim, factor, config.clip, f"stage 2, step {pace.step}")
            pace.step += 1
            if pace.step % STEP_EVERY == 0:
                session.event(
                    "step", stage=2, step=pace.step, epoch=epoch, progress=pace.progress,
                    displacement_error=float(error.detach()), info_nce=float(contrast.detach()),
                    picked=float(picked), gradient_norm=norm,
                )  # fmt: skip
            if pace.progress >= (best.looks + 1) / config.evaluations:
                look(session, model, targets, best, pace)
                save_state(session, model, optim, names, best, pace)
    except KeyboardInterrupt:
        save_state(session, model, optim, names, best, pace)
        raise
    if best.looks == 0:
        look(session, model, targets, best, pace)
    return best


def look(session: Session, model: JEPA, targets: Targets, best: Best, pace: Pace) -> None:
    """Validate, keep the weights if they are the best, and stop a collapsed run."""
    figures = validate(session, model, targets)
    best.looks = max(best.looks + 1, int(pace.progress * session.config.evaluations))
    best.since += 1
    if figures["displacement_r2"] > best.r2:
        best.r2, best.since = figures["displacement_r2"], 0
        save_tensors(session.folder.weights, model.state_dict(), {"step": pace.step, "figures": figures})
    session.event("validation", step=pace.step, progress=pace.progress, best=best.since == 0, **figures)
    if pace.progress > 0.5 and figures["predictor_rank_squared"] < 1.2 and figures["true_rank_squared"] > 3:
        raise TrainingStopped(
            f"predictions collapsed: they span {figures['predictor_rank_squared']:.1f} directions "
            f"where the truth spans {figures['true_rank_squared']:.1f}",
            "raise contrast or variance, or train over more history; the best checkpoint so far is kept",
        )


def save_state(
    session: Session, model: JEPA, optim: torch.optim.Optimizer, names: list[str], best: Best, pace: Pace
) -> None:
    """Everything an exact resume of stage 2 needs."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()} | optimiser_tensors(optim, names)
    meta = {
        "stage": 2, "step": pace.step, "stage_seconds": pace.elapsed(), "seconds": session.elapsed(),
        "fingerprint": session.data.fingerprint(), "best": [best.r2, best.since, best.looks],
    }  # fmt: skip
    save_tensors(session.folder.state, tensors, meta)
