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
from codewm.model.latents import Latents
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
from codewm.model.space import Cache

F32 = NDArray[np.float32]
ENOUGH_MODIFIED = 50  # modified validation edits needed to judge by them alone
SETTLED = 200  # steps before which few directions are no collapse: g starts by predicting nothing
CORRUPTION_SHARE = (
    0.2  # of a run's minutes that encoding wrong next states, and reading where they come from, may cost
)


@dataclass(frozen=True)
class Wrong:
    """Corrupted next states c of training edits, W of them.

    edit i64 [W] (position in `fit`); latent f32 [W, width] f(c); on_top, alone f32 [W, A]: the actions of s -> c and of
    s' -> c; read_on_top, read_alone f32 [W, R]: what stands in s and in s' where those happen. `row` i64 [F, C]: where
    those of each training edit are, -1 if there is none.
    """

    edit: Index
    latent: F32
    on_top: F32
    alone: F32
    read_on_top: F32
    read_alone: F32
    row: Index


@dataclass(frozen=True)
class Targets:
    """What stage 3 learns from, U states and F training edits.

    cache: f and r of what is used; z f32 [U, K]: t of the states, other rows mean nothing; scale f32 [F]; told: actions
    [V, A] of the validation edits and of their nulls, and what each makes g read [V, R].
    """

    cache: Cache
    z: F32
    told: dict[str, tuple[F32, F32]]
    wrong: Wrong
    scale: F32

    def displacement(self, session: Session, edits: Index) -> F32:
        """d [n, K] of the edits."""
        out: F32 = self.z[session.data.after[edits]] - self.z[session.data.before[edits]]
        return out


def cache_targets(session: Session, model: JEPA, cache: Cache) -> Targets:
    """Take the latents of all states to the target space, and encode as many corrupted next states as there is time
    for."""
    data = session.data
    z = target_of(model, cache.f)
    d = z[data.after[data.fit]] - z[data.before[data.fit]]
    told = nulls.told(data.action[data.validation])
    states, where = np.unique(data.before[data.validation], return_inverse=True)
    given, latents = data.states(states), Latents(session, model)
    read = nulls.read_told(lambda at, a: latents.read(given, at, a), where.ravel(), told)[1]
    return Targets(
        cache,
        z,
        {name: (told[name], read[name]) for name in told},
        cache_wrong(session, model),
        error_scale(session, np.square(d).sum(1)),
    )


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
    shape, fit = session.model_config, data.fit[edit]
    kinds = kinds_of(data.action[fit], data.action_id)
    sides = data.before[fit], data.after[fit]
    on_top, alone = (
        codewm_core.describe_states(data.states(side), (flat, offsets), kinds, data.action_id)
        for side in sides
    )
    latent = np.zeros((len(edit), shape.width), np.float32)
    read = np.zeros((2, len(edit), shape.read), np.float32)
    allowed = None if config.minutes is None else CORRUPTION_SHARE * config.minutes * 60
    latents = Latents(session, model)
    began, done = session.elapsed(), 0
    for start in range(0, len(edit), 4_096):
        if allowed is not None and session.group.agree(session.elapsed() - began) > allowed:
            break
        part = np.arange(start, min(start + 4_096, len(edit)))
        mine = session.group.mine(part)
        latent[mine] = latents.encode(take_states(flat, offsets, mine))
        for r, side, action in zip(read, sides, (on_top, alone), strict=True):
            r[mine] = latents.read(data.states(side[mine]), np.arange(len(mine)), action[mine])[1]
        done = start + len(part)
    session.group.add_arrays(latent, read)
    session.event("cache", what="corrupted next states", count=done, of=len(edit))
    edit = edit[:done]
    row = np.full((len(data.fit), max(config.corruptions, 1)), -1, np.int64)
    column = np.zeros(len(data.fit), np.int64)
    for w, e in enumerate(edit.tolist()):
        row[e, column[e]] = w
        column[e] += 1
    return Wrong(edit, latent[:done], on_top[:done], alone[:done], read[0, :done], read[1, :done], row)


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
def predict(session: Session, model: JEPA, latents: F32, read: F32, action: F32) -> F32:
    """d_hat [n, K] in f32, from f(s) [n, width] and r(s, a) [n, R] under these actions [n, A]."""
    out = np.empty((len(latents), session.model_config.latent), np.float32)
    device = session.config.device
    for start in range(0, len(latents), 4_096):
        part = slice(start, start + 4_096)
        given = (torch.from_numpy(values[part]).to(device) for values in (latents, read, action))
        out[part] = model(*given).cpu().numpy()
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
    latents = targets.cache.f[data.before[edits]]
    told = {name: predict(session, model, latents, r, a) for name, (a, r) in targets.told.items()}
    d_hat = told.pop("")
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
        **told,
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
    scale = config.tuning_lr_scale if tuning else 1.0
    rates = {"predictor.": config.lr, "critic.": config.critic_lr}
    groups = [([(n, p) for n, p in trained if n.startswith(part)], r * scale) for part, r in rates.items()]
    optim, names = optimiser(groups, config.weight_decay)
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
    known_f = targets.cache.f
    f, after = tensor(known_f[data.before[edits]]), tensor(known_f[data.after[edits]])
    action, read = tensor(data.action[edits]), tensor(targets.cache.read(edits))
    whole = tensor(targets.displacement(session, data.fit[batch]))
    d = whole[tensor(own)]
    model.predictor.dropout = config.dropout
    model.predictor.train()
    hidden = tensor(rng.random(len(batch))[own] < config.unread)[:, None]
    d_hat = model(f, read.masked_fill(hidden, 0.0), action)
    model.predictor.eval()
    with torch.no_grad():
        missed = d - model(
            f, read, action
        )  # without dropout, by which real edits would be known from wrong ones
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
    start = tensor(np.concatenate([known_f[data.before[fit]], known_f[data.after[fit]]]))
    mine = chosen[spoiled]
    # Where g has learned an edit, it misses by a quarter less than elsewhere; a critic that leans on that is misled
    # by every edit that g has not seen.
    told_of_real = tensor(rng.random(len(batch))[own] >= config.untold)[:, None]
    told_of_wrong = tensor((rng.random((len(has), 2))[spoiled] >= config.untold).T.reshape(-1, 1))
    end = tensor(wrong.latent[mine]).repeat(2, 1)
    told = tensor(np.concatenate([wrong.on_top[mine], wrong.alone[mine]]))
    there = tensor(np.concatenate([wrong.read_on_top[mine], wrong.read_alone[mine]]))
    with torch.no_grad():
        residual = model.target(end) - model.target(start) - model(start, there, told)
    of_real = int((data.group[data.fit[batch]] == 0).sum())
    modified = tensor(np.flatnonzero(data.group[edits] == 0))
    missed, residual = missed * told_of_real, residual * told_of_wrong
    model.critic.dropout = config.dropout
    model.critic.train()
    real = model.doubt(f[modified], after[modified], missed[modified], action[modified])
    doubt = losses.spoilt(real, model.doubt(start, end, residual, told), of_real, 2 * len(has))
    model.critic.eval()
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
