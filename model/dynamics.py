"""Stages 2 and 3. A frozen target encoder and edits in, a trained f, h and g out.

    loss = |d - d_hat|^2 / (about its expected size)       reads roughly as 1 - R2 about the copy
         + contrast x InfoNCE(d_hat; d | copy, corrupted, other edits)
         + variance x floor under the spread of predictions

Targets come from a cache: t is frozen, so every state and every corrupted next state is encoded once. Stage 2
trains h and g on the latents of f = t, also cached: a step costs a tenth of a whole one, and the predictor's noisy
beginnings do not wreck the encoder (lab log). Stage 3 trains all three; the prediction's gradient reaches f.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import codewm_core
from codewm.model import losses
from codewm.model.batches import GROUPS, Index, encode, pad
from codewm.model.checkpoint import load_tensors, optimiser_tensors, restore_optimiser, save_tensors
from codewm.model.corrupt import corrupt_many
from codewm.model.diagnostics import effective_ranks
from codewm.model.evaluation import metrics, nulls
from codewm.model.jepa import JEPA
from codewm.model.session import (
    STEP_EVERY,
    Pace,
    Session,
    TrainingStoppedError,
    descend,
    endless_batches,
    learning_rate,
    optimiser,
)

F32 = NDArray[np.float32]
ENOUGH_MODIFIED = 50  # modified validation edits needed to judge by them alone
CORRUPTION_SHARE = 0.12  # of a run's minutes that encoding wrong next states may cost


@dataclass(frozen=True)
class Targets:
    """Cached latents: z f32 [U, D] (rows of states that are used), wrong f32 [F, K, D] and known bool [F, K]
    for the corrupted next states of the training edits in their order, scale f32 [F] of the training edits."""

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
    # bf16 moves displacements by 0.01% of their squared size (lab log); the held-out table is in f32 throughout.
    with session.mixed():
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
    return Targets(z, wrong, known, error_scale(session, np.square(d).sum(1)))


def error_scale(session: Session, size: F32) -> F32:
    """What |d - d_hat|^2 is divided by for each training edit: [F], from their sizes |d|^2 [F].

    Sizes of modified units have a median of 0.9 and a mean of 3.8, created ones are 80 times that. So: the
    geometric mean of the average size of that kind of edit (created, deleted, modified), and of the size expected
    from the unit's length and the action. The second alone would ignore the large edits that R2 is made of.
    """
    data = session.data
    group = data.group[data.fit]
    kinds = np.eye(len(GROUPS))[group]
    length = np.log(data.lengths[data.before[data.fit]])[:, None]
    X = np.concatenate([kinds, length, data.action[data.fit]], 1)
    target = np.log(size.astype(np.float64) + 1e-3)
    gram = X.T @ X / len(X) + 1e-4 * np.eye(X.shape[1])
    expected = np.exp(X @ np.linalg.solve(gram, X.T @ target / len(X)))
    average = np.ones(len(size))
    for g in range(len(GROUPS)):
        of_kind = group == g
        if of_kind.any():
            average[of_kind] = size[of_kind].mean(dtype=np.float64)
            expected[of_kind] *= average[of_kind] / expected[of_kind].mean()
    scale: F32 = np.maximum(np.sqrt(expected * average), 1e-6).astype(np.float32)
    return scale


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


def fixed_latents(session: Session, model: JEPA, targets: Targets, edits: Index) -> F32:
    """f(s) [n, D] of training or validation edits, without encoding anything where f still is t.

    Then f(s) is t(s) before its whitening, so undoing the whitening of the cached targets gives it.
    """
    target = model.target.state_dict()
    if any(not torch.equal(value, target[name]) for name, value in model.online.state_dict().items()):
        with session.mixed():
            return online_latents(session, model, edits)
    weight = model.target.whiten.weight.detach().cpu().double().numpy()
    bias = model.target.whiten.bias.detach().cpu().double().numpy()
    white = targets.z[session.data.before[edits]].astype(np.float64)
    latents: F32 = np.linalg.solve(weight, (white - bias).T).T.astype(np.float32)
    return latents


def online_latents(session: Session, model: JEPA, edits: Index) -> F32:
    """f(s) [n, D] of the edits, each unique state encoded once."""
    data = session.data
    states, inverse = np.unique(data.before[edits], return_inverse=True)
    z = encode(model.online, data.tokens, data.offsets, states, device=session.config.device)
    out: F32 = z[inverse]
    return out


def validate(session: Session, model: JEPA, targets: Targets, latents: F32 | None = None) -> dict[str, float]:
    """Figures on the validation edits; `watched_r2` decides the best checkpoint.

    It is the R2 over modified units where there are enough: created and deleted ones move so far that they alone
    would decide.
    """
    data = session.data
    edits = data.validation
    d = targets.displacement(session, edits)
    z = targets.z[data.before[edits]]
    if latents is None:
        with session.mixed():
            latents = online_latents(session, model, edits)

    def told(action: F32) -> F32:
        return predict(session, model, edits, action, latents)

    d_hat = told(data.action[edits])
    modified = data.group[edits] == 0
    # Creations and deletions span one long direction, towards EMPTY, that would hide all others.
    ranked = modified if modified.sum() >= ENOUGH_MODIFIED else slice(None)
    entropy, squared = effective_ranks(d_hat[ranked])
    true_entropy, true_squared = effective_ranks(d[ranked])
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
    # The same nulls as the held-out table's; the copy's cosine is 0 by definition.
    others = {
        "constant_mean": nulls.constant_mean(targets.displacement(session, data.fit), len(edits)),
        "zero_action": nulls.zero_action(told, data.action[edits]),
        "shuffled_action": nulls.shuffled_action(told, data.action[edits]),
    }
    for name, null in others.items():
        figures[f"delta_cosine_{name}"] = float(metrics.delta_cosine(null, d).mean())
    figures["watched_r2"] = figures["displacement_r2"]
    if modified.sum() >= ENOUGH_MODIFIED:
        figures["displacement_r2_modified"] = metrics.displacement_r2(d_hat[modified], d[modified])
        figures["delta_cosine_modified"] = float(metrics.delta_cosine(d_hat[modified], d[modified]).mean())
        figures["watched_r2"] = figures["displacement_r2_modified"]
    return figures


@dataclass
class Best:
    """The best validation R2 so far, and for the stage under way: looks since a better one, looks in all."""

    r2: float = float("-inf")
    since: int = 0
    looks: int = 0


def foresee(
    session: Session,
    model: JEPA,
    targets: Targets,
    pace: Pace,
    best: Best,
    *,
    joint: bool,
    resumed: dict[str, Tensor] | None = None,
) -> None:
    """Train h and g (`joint`: and f) until the pace is done or validation stops improving.

    The best weights go to the folder, whichever stage they come from.
    """
    config, data = session.config, session.data
    stage = 3 if joint else 2
    lr = config.joint_lr if joint else config.lr
    online = [(n, p) for n, p in model.trained() if n.startswith("online.")]
    readout = [(n, p) for n, p in model.trained() if n.startswith("predictor.out.")]
    rest = [(n, p) for n, p in model.trained() if not n.startswith(("online.", "predictor.out."))]
    groups = [(readout, lr * config.readout_lr_scale), (rest, lr)]
    if joint:
        groups.insert(0, (online, lr * config.online_lr_scale))
    optim, names = optimiser(groups, config.weight_decay)
    if resumed is not None:
        restore_optimiser(optim, names, resumed)
    fixed: tuple[F32, F32] | None = None
    if not joint:
        fixed = (
            fixed_latents(session, model, targets, data.fit),
            fixed_latents(session, model, targets, data.validation),
        )
        # Encoding may take minutes and is not training: only the descent uses up the stage's time.
        pace.start()
    lengths = data.lengths[data.before[data.fit]] if joint else np.ones(len(data.fit), np.int64)
    tokens, rows = (
        (config.tokens_per_batch, config.edits_per_batch) if joint else (10**9, config.edits_per_step)
    )
    order = endless_batches(lengths, tokens, rows, [config.seed, 200 + stage], pace.step)
    if joint and pace.step == 0:
        if session.folder.weights.is_file() and best.looks:
            # Stage 2 overfits small histories; what follows starts from its best, not from its last.
            model.load_state_dict(load_tensors(session.folder.weights)[0])
        look(session, model, targets, best, pace, stage)
        best.looks, best.since = 0, 0
    try:
        while pace.progress < 1 and best.since < config.patience:
            epoch, batch = next(order)
            edits = data.fit[batch]
            rng = np.random.default_rng([config.seed, 200 + stage, 1, pace.step])
            action = torch.from_numpy(data.action[edits]).to(config.device)
            d = torch.from_numpy(targets.displacement(session, edits)).to(config.device)
            if fixed is None:
                padded, real = pad(data.tokens, data.offsets, data.before[edits], config.device)
                padded = hide_tokens(padded, real, config.token_dropout, rng)
                with session.mixed():
                    state = model.online(padded, real)
            else:
                state = torch.from_numpy(fixed[0][batch]).to(config.device)
            # The read-out undoes the pooling's narrow spectrum, so g stays in f32.
            d_hat = model.predictor(state.float(), model.action(action))
            error = losses.displacement_error(
                d_hat, d, torch.from_numpy(targets.scale[batch]).to(config.device)
            )
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
            norm = descend(loss, optim, factor, config.clip, f"stage {stage}, step {pace.step}")
            pace.step += 1
            if pace.step % STEP_EVERY == 0:
                session.event(
                    "step", stage=stage, step=pace.step, epoch=epoch, progress=pace.progress,
                    displacement_error=float(error.detach()), info_nce=float(contrast.detach()),
                    picked=float(picked), gradient_norm=norm,
                )  # fmt: skip
            if pace.progress >= (best.looks + 1) / config.evaluations:
                look(session, model, targets, best, pace, stage, None if fixed is None else fixed[1])
                save_state(session, model, optim, names, best, pace, stage)
    except KeyboardInterrupt:
        save_state(session, model, optim, names, best, pace, stage)
        raise


def look(
    session: Session,
    model: JEPA,
    targets: Targets,
    best: Best,
    pace: Pace,
    stage: int,
    latents: F32 | None = None,
) -> None:
    """Validate, keep the weights if they are the best, and stop a collapsed run."""
    figures = validate(session, model, targets, latents)
    best.looks = max(best.looks + 1, int(pace.progress * session.config.evaluations))
    best.since += 1
    if figures["watched_r2"] > best.r2:
        best.r2, best.since = figures["watched_r2"], 0
        save_tensors(
            session.folder.weights,
            model.state_dict(),
            {"stage": stage, "step": pace.step, "figures": figures},
        )
    session.event(
        "validation", stage=stage, step=pace.step, progress=pace.progress, best=best.since == 0, **figures
    )
    if pace.progress > 0.5 and figures["predictor_rank_squared"] < 1.2 and figures["true_rank_squared"] > 3:
        raise TrainingStoppedError(
            f"predictions collapsed: they span {figures['predictor_rank_squared']:.1f} directions "
            f"where the truth spans {figures['true_rank_squared']:.1f}",
            "raise contrast or variance, or train over more history; the best checkpoint so far is kept",
        )


def save_state(
    session: Session,
    model: JEPA,
    optim: torch.optim.Optimizer,
    names: list[str],
    best: Best,
    pace: Pace,
    stage: int,
) -> None:
    """Everything an exact resume of stage 2 or 3 needs."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()} | optimiser_tensors(optim, names)
    meta = {
        "stage": stage, "step": pace.step, "stage_seconds": pace.elapsed(), "seconds": session.elapsed(),
        "fingerprint": session.data.fingerprint(), "best": [best.r2, best.since, best.looks],
    }  # fmt: skip
    save_tensors(session.folder.state, tensors, meta)
