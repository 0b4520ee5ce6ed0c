"""Stage 3. A fixed space and edits in, a trained predictor and critic out.

    loss = |d - d_hat|^2 / (about its expected size)       reads roughly as 1 - R2 about the copy
         + contrast x InfoNCE(d_hat; d | copy, corrupted, other edits)
         + critic x cross-entropy of real edits and corrupted ones, which trains the critic alone

f, x and t are fixed, so every state and every corrupted next state is encoded once: a step costs a hundredth of one
that encodes. A corruption makes two wrong edits, each described by its own action: on top of the real one, and alone,
of the finished unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import codewm_core
from codewm.corpus.table import take_states
from codewm.model import losses
from codewm.model.batches import GROUPS, Index
from codewm.model.checkpoint import restore_optimiser, save_tensors
from codewm.model.corrupt import corrupt_many
from codewm.model.diagnostics import effective_ranks
from codewm.model.evaluation import metrics, nulls
from codewm.model.jepa import JEPA, RULER
from codewm.model.latents import latents_of
from codewm.model.session import (
    STEP_EVERY,
    Pace,
    Session,
    TrainingStoppedError,
    descend,
    endless_batches,
    learning_rate,
    optimiser,
    save_progress,
)

F32 = NDArray[np.float32]
ENOUGH_MODIFIED = 50  # modified validation edits needed to judge by them alone
SETTLED = 200  # steps before which few directions are no collapse: g starts by predicting nothing
CORRUPTION_SHARE = 0.12  # of a run's minutes that encoding wrong next states may cost


@dataclass(frozen=True)
class Wrong:
    """Corrupted next states c of training edits, W of them.

    edit i64 [W] (position in `fit`); latent f32 [W, width] f(c); on_top, alone f32 [W, A]: the actions of s -> c and of
    s' -> c. `row` i64 [F, C]: where those of each training edit are, -1 if there is none.
    """

    edit: Index
    latent: F32
    on_top: F32
    alone: F32
    row: Index


@dataclass(frozen=True)
class Targets:
    """What stage 3 learns from, U states and F training edits.

    f f32 [U, width] and z f32 [U, K]: f and t of the states that are used, other rows mean nothing; scale f32 [F].
    """

    f: F32
    z: F32
    wrong: Wrong
    scale: F32

    def displacement(self, session: Session, edits: Index) -> F32:
        """d [n, K] of the edits."""
        out: F32 = self.z[session.data.after[edits]] - self.z[session.data.before[edits]]
        return out


def cache_targets(session: Session, model: JEPA, f: F32) -> Targets:
    """Take the latents [U, W] of all states to the target space, and encode as many corrupted next states as there is
    time for."""
    data = session.data
    z = target_of(model, f)
    d = z[data.after[data.fit]] - z[data.before[data.fit]]
    return Targets(f, z, cache_wrong(session, model), error_scale(session, np.square(d).sum(1)))


@torch.no_grad()
def target_of(model: JEPA, f: F32) -> F32:
    """t [n, K] of latents f [n, width]."""
    device = model.target.weight.device
    out: F32 = model.target(torch.from_numpy(f).to(device)).cpu().numpy()
    return out


def cache_wrong(session: Session, model: JEPA) -> Wrong:
    """Corrupt next states of modified units, and encode them."""
    config, data = session.config, session.data
    modified = np.flatnonzero(data.group[data.fit] == 0)
    edit = np.tile(modified, config.corruptions)
    # In a timed run only a seeded part is encoded if the whole would cost too much.
    edit = edit[np.random.default_rng([config.seed, 201]).permutation(len(edit))]
    after = data.after[data.fit]
    flat, offsets = corrupt_many(
        data.tokens, data.offsets, after[edit], after, window=data.window, seed=config.seed
    )
    latent = np.zeros((len(edit), session.model_config.width), np.float32)
    allowed = None if config.minutes is None else CORRUPTION_SHARE * config.minutes * 60
    encode = latents_of(session, model)
    began, done = session.elapsed(), 0
    for start in range(0, len(edit), 4_096):
        if allowed is not None and session.group.agree(session.elapsed() - began) > allowed:
            break
        part = np.arange(start, min(start + 4_096, len(edit)))
        mine = session.group.mine(part)
        latent[mine] = encode(*take_states(flat, offsets, mine))
        done = start + len(part)
    session.group.add_arrays(latent)
    session.event("cache", what="corrupted next states", count=done, of=len(edit))
    edit, offsets = edit[:done], offsets[: done + 1]
    flat = flat[: offsets[-1]]
    fit = data.fit[edit]
    kinds = kinds_of(data.action[fit], data.action_id)
    actions = [
        codewm_core.describe_states(data.states(side[fit]), (flat, offsets), kinds, data.action_id)
        for side in (data.before, data.after)
    ]
    row = np.full((len(data.fit), max(config.corruptions, 1)), -1, np.int64)
    column = np.zeros(len(data.fit), np.int64)
    for w, e in enumerate(edit.tolist()):
        row[e, column[e]] = w
        column[e] += 1
    return Wrong(edit, latent[:done], actions[0], actions[1], row)


def kinds_of(action: F32, action_id: str) -> NDArray[np.uint8]:
    """A kind of unit, index into `codewm_core.KINDS`, that has the scope which each action [n, A] names."""
    names = codewm_core.ACTIONS[action_id]
    scopes = ("function", "class", "module")
    scope = action[:, [names.index(f"scope_{name}") for name in scopes]].argmax(1)
    kinds: NDArray[np.uint8] = np.array([codewm_core.KINDS.index(name) for name in scopes], np.uint8)[scope]
    return kinds


def error_scale(session: Session, size: F32) -> F32:
    """What |d - d_hat|^2 is divided by for each training edit: [F], from their sizes |d|^2 [F].

    Sizes of modified units have a median a quarter of their mean, created ones are many times that. So: the weighted
    geometric mean of the average size of that kind of edit (created, deleted, modified), and, by `small_edits`, of the
    size expected from the unit's length and the action. The second alone would ignore the large edits that R2 is made
    of.
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
    share = session.config.small_edits
    scale: F32 = np.maximum(expected**share * average ** (1 - share), 1e-6).astype(np.float32)
    return scale


@torch.no_grad()
def predict(session: Session, model: JEPA, latents: F32, action: F32) -> F32:
    """d_hat [n, K] in f32, from f(s) [n, width] under these actions [n, A]."""
    out = np.empty((len(latents), session.model_config.latent), np.float32)
    device = session.config.device
    for start in range(0, len(latents), 4_096):
        part = slice(start, start + 4_096)
        f, a = torch.from_numpy(latents[part]), torch.from_numpy(action[part])
        out[part] = model(f.to(device), a.to(device)).cpu().numpy()
    return out


def validate(session: Session, model: JEPA, targets: Targets) -> dict[str, float]:
    """Figures on the validation edits; `watched_r2` decides the best checkpoint.

    It is the R2 over modified units where there are enough: created and deleted ones move so far that they alone
    would decide.
    """
    data = session.data
    edits = data.validation
    d = targets.displacement(session, edits)
    z = targets.z[data.before[edits]]
    latents = targets.f[data.before[edits]]

    def told(action: F32) -> F32:
        return predict(session, model, latents, action)

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
    """The best validation R2 so far, looks since a better one, looks in all."""

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
    tuning: bool = False,
    resumed: dict[str, Tensor] | None = None,
) -> None:
    """Train g and the critic until the pace is done or validation stops improving.

    The best weights go to the folder; `tuning`, those that it started from are among the candidates.
    """
    config, data = session.config, session.data
    model.freeze_ruler()
    trained = [(n, p) for n, p in model.named_parameters() if not n.startswith(RULER)]
    lr = config.lr * (config.tuning_lr_scale if tuning else 1.0)
    optim, names = optimiser([(trained, lr)], config.weight_decay)
    if resumed is not None:
        restore_optimiser(optim, names, resumed)
    # Encoding may take minutes and is not training: only the descent uses up the stage's time.
    pace.start()
    order = endless_batches(
        np.ones(len(data.fit), np.int64), 10**9, config.edits_per_step, [config.seed, 203], pace.step
    )
    if tuning and pace.step == 0:
        look(session, model, targets, best, pace, 0.0)
        best.looks = 0
    about = {"best": [best.r2, best.since, best.looks]}
    try:
        while (progress := session.group.agree(pace.progress)) < 1 and best.since < config.patience:
            epoch, batch = next(order)
            rng = np.random.default_rng([config.seed, 204, pace.step])
            torch.manual_seed(
                int(rng.integers(2**62))
            )  # of dropout: a resumed run drops what an unbroken one does
            error, contrast, picked, doubt = terms(session, model, targets, batch, rng)
            loss = error + config.contrast * contrast + config.critic * doubt
            factor = learning_rate(progress, config.warmup)
            norm = descend(loss, optim, factor, config.clip, f"stage 3, step {pace.step}", session.group)
            pace.step += 1
            if pace.step % STEP_EVERY == 0:
                session.event(
                    "step", stage=3, step=pace.step, epoch=epoch, progress=pace.progress,
                    displacement_error=float(error.detach()), info_nce=float(contrast.detach()),
                    picked=float(picked), critic=float(doubt.detach()), gradient_norm=norm,
                )  # fmt: skip
            progress = session.group.agree(pace.progress)
            if progress >= (best.looks + 1) / config.evaluations:
                look(session, model, targets, best, pace, progress)
                about["best"] = [best.r2, best.since, best.looks]
                save_progress(session, model, optim, names, pace, 3, {}, **about)
    except KeyboardInterrupt:
        save_progress(session, model, optim, names, pace, 3, {}, **about)
        raise


def terms(
    session: Session, model: JEPA, targets: Targets, batch: Index, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Displacement error, InfoNCE, how often it picks the truth, and the critic's cross-entropy, of the batch.

    batch [B]: positions in `fit`. Of a group, this process' part of each.
    """
    config, data = session.config, session.data

    def tensor(values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values).to(config.device)

    group, wrong = session.group, targets.wrong
    own = group.mine(np.arange(len(batch)))
    edits = data.fit[batch[own]]
    f, after = tensor(targets.f[data.before[edits]]), tensor(targets.f[data.after[edits]])
    action = tensor(data.action[edits])
    whole = tensor(targets.displacement(session, data.fit[batch]))
    d = whole[tensor(own)]
    model.predictor.dropout = config.dropout
    model.predictor.train()
    d_hat = model(f, action)
    model.predictor.eval()
    with torch.no_grad():
        missed = d - model(f, action)  # without dropout, by which real edits would be known from wrong ones
    error = losses.displacement_error(d_hat, d, tensor(targets.scale[batch[own]]), len(batch))
    rows = wrong.row[batch]
    known = rows >= 0
    corrupted = None
    if len(wrong.edit):
        latents = tensor(wrong.latent[np.where(known, rows, 0)[own]])
        corrupted = model.target(latents) - model.target(f)[:, None], tensor(known[own])
    contrast, picked = losses.info_nce(d_hat, whole, corrupted, config.temperature, tensor(own))
    if not config.critic or not known.any():
        return error, contrast, picked, d_hat.sum() * 0
    # One corruption of each edit that has any, as two wrong edits; known ones come first in their row.
    has = np.flatnonzero(known.any(1))
    chosen = rows[has, rng.integers(known[has].sum(1))]
    spoiled = np.isin(has, own)
    fit = data.fit[batch[has[spoiled]]]
    start = tensor(np.concatenate([targets.f[data.before[fit]], targets.f[data.after[fit]]]))
    end = tensor(wrong.latent[chosen[spoiled]]).repeat(2, 1)
    told = tensor(np.concatenate([wrong.on_top[chosen[spoiled]], wrong.alone[chosen[spoiled]]]))
    with torch.no_grad():
        residual = model.target(end) - model.target(start) - model(start, told)
    of_real = int((data.group[data.fit[batch]] == 0).sum())
    modified = tensor(np.flatnonzero(data.group[edits] == 0))
    real = model.doubt(f[modified], after[modified], missed[modified], action[modified])
    doubt = losses.spoilt(real, model.doubt(start, end, residual, told), of_real, 2 * len(has))
    return error, contrast, picked, doubt


def look(session: Session, model: JEPA, targets: Targets, best: Best, pace: Pace, progress: float) -> None:
    """Validate, keep the weights if they are the best, and stop a collapsed run."""
    figures = validate(session, model, targets)
    best.looks = max(best.looks + 1, int(progress * session.config.evaluations))
    best.since += 1
    watched = session.group.agree(figures["watched_r2"])
    if watched > best.r2:
        best.r2, best.since = watched, 0
        if session.group.first:
            about = {"stage": 3, "step": pace.step, "figures": figures}
            save_tensors(session.folder.weights, model.state_dict(), about)
    session.event("validation", stage=3, step=pace.step, progress=progress, best=best.since == 0, **figures)
    if pace.step >= SETTLED and figures["predictor_rank_squared"] < 1.2 and figures["true_rank_squared"] > 3:
        raise TrainingStoppedError(
            f"predictions collapsed: they span {figures['predictor_rank_squared']:.1f} directions "
            f"where the truth spans {figures['true_rank_squared']:.1f}",
            "raise contrast, or train over more history; the best checkpoint so far is kept",
        )
