"""Stage 1. Unit states in, a frozen target encoder t out: masked-token reconstruction, then whitening.

The target knows code before anything is predicted in its space (the SALT / SWE-JEPA plan), and whitening gives
every direction that matters the same say: mean pooling alone leaves an effective rank of 6-12 of 160 (findings).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import codewm_core
from codewm.model import losses
from codewm.model.batches import Index, encode, pad
from codewm.model.checkpoint import optimiser_tensors, restore_optimiser, save_tensors
from codewm.model.diagnostics import effective_ranks, off_diagonal_cosine
from codewm.model.encoder import Encoder, whitening
from codewm.model.jepa import JEPA, MaskedTokenHead
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


def training_states(session: Session) -> Index:
    """Ids of the unique states of the training edits that have something to reconstruct."""
    data = session.data
    ids = np.unique(np.concatenate([data.before[data.fit], data.after[data.fit]]))
    long_enough: Index = ids[data.lengths[ids] >= 4]
    return long_enough


def mask_tokens(
    tokens: Tensor, lengths: Tensor, share: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """(spoilt tokens [B, S], chosen positions [M] in the flattened batch): 80% MASK, 10% random, 10% as they are.

    As in BERT (Devlin et al. 2019, section 3.1), so the encoder also learns to describe unmasked tokens. M is
    `share` of the batch's area less a quarter for padding: it follows from the shape alone, because a product of
    a new size costs the CPU backend a compilation.
    """
    shape = tuple(tokens.shape)
    real = np.arange(shape[1]) < lengths.cpu().numpy()[:, None]
    draw = np.where(real, rng.random(shape), 2.0).ravel()
    count = min(max(1, int(0.75 * share * draw.size)), int(real.sum()))
    chosen = np.sort(np.argpartition(draw, count - 1)[:count])
    fate = rng.random(count)
    spoilt = tokens.cpu().numpy().copy().ravel()
    spoilt[chosen[fate < 0.8]] = codewm_core.MASK
    noise = chosen[(fate >= 0.8) & (fate < 0.9)]
    spoilt[noise] = rng.integers(codewm_core.DEPTH_FIRST, codewm_core.VOCAB_SIZE, len(noise))
    return torch.from_numpy(spoilt.reshape(shape)).to(tokens.device), torch.from_numpy(chosen).to(
        tokens.device
    )


def masked_loss(
    target: Encoder,
    head: MaskedTokenHead,
    tokens: Tensor,
    lengths: Tensor,
    share: float,
    rng: np.random.Generator,
) -> Tensor:
    """Mean nats per masked token of a batch."""
    spoilt, chosen = mask_tokens(tokens, lengths, share, rng)
    features = target.hidden(spoilt, lengths).flatten(0, 1)[chosen]
    return losses.masked_tokens(head(features, target.embedding.weight), tokens.flatten()[chosen])


def teach(session: Session, model: JEPA, pace: Pace, resumed: dict[str, Tensor] | None) -> None:
    """Train model.target until the pace is done, then fit its whitening and freeze it."""
    config, data = session.config, session.data
    torch.manual_seed(config.seed)
    head = MaskedTokenHead(session.model_config).to(config.device)
    named = [
        (f"target.{n}", p) for n, p in model.target.named_parameters() if not n.startswith("whiten.")
    ] + [(f"head.{n}", p) for n, p in head.named_parameters()]
    optim, names = optimiser([(named, config.teacher_lr)], config.weight_decay)
    if resumed is not None:
        model.load_state_dict({k[6:]: v for k, v in resumed.items() if k.startswith("model.")})
        head.load_state_dict({k[5:]: v for k, v in resumed.items() if k.startswith("head.")})
        restore_optimiser(optim, names, resumed)

    states = training_states(session)
    watched = np.setdiff1d(data.after[data.validation], states)[:500]
    order = endless_batches(
        data.lengths[states], config.tokens_per_batch, config.edits_per_batch, [config.seed, 101], pace.step
    )
    epoch = 0
    next_look = 1 if resumed is None else int(pace.progress * 6) + 1
    try:
        while pace.progress < 1:
            epoch, batch = next(order)
            tokens, lengths = pad(data.tokens, data.offsets, states[batch], config.device)
            rng = np.random.default_rng([config.seed, 102, pace.step])
            with session.mixed():
                loss = masked_loss(model.target, head, tokens, lengths, config.mask_share, rng)
            factor = learning_rate(pace.progress, config.warmup)
            norm = descend(loss, optim, factor, config.clip, f"stage 1, step {pace.step}")
            pace.step += 1
            if pace.step % STEP_EVERY == 0:
                session.event(
                    "step", stage=1, step=pace.step, epoch=epoch, progress=pace.progress,
                    masked_loss=float(loss.detach()), gradient_norm=norm,
                )  # fmt: skip
            if pace.progress >= next_look / 6 and len(watched):
                next_look += 1
                session.event(
                    "teacher", step=pace.step, epoch=epoch, progress=pace.progress,
                    held_out_masked_loss=held_out_loss(session, model.target, head, watched),
                )  # fmt: skip
                save_state(session, model, head, optim, names, pace)
    except KeyboardInterrupt:
        save_state(session, model, head, optim, names, pace)
        raise
    settle(session, model, states)


@torch.no_grad()
def held_out_loss(session: Session, target: Encoder, head: MaskedTokenHead, states: Index) -> float:
    """Nats per masked token on states the teacher never trained on, with fixed masks."""
    data, total, count = session.data, 0.0, 0
    for start in range(0, len(states), 64):
        tokens, lengths = pad(data.tokens, data.offsets, states[start : start + 64], session.config.device)
        rng = np.random.default_rng([103, start])
        with session.mixed():
            loss = masked_loss(target, head, tokens, lengths, session.config.mask_share, rng)
        total, count = total + float(loss) * len(lengths), count + len(lengths)
    return total / count


def save_state(
    session: Session,
    model: JEPA,
    head: MaskedTokenHead,
    optim: torch.optim.Optimizer,
    names: list[str],
    pace: Pace,
) -> None:
    """Everything an exact resume of stage 1 needs."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"head.{k}": v for k, v in head.state_dict().items()} | optimiser_tensors(optim, names)
    meta = {
        "stage": 1, "step": pace.step, "stage_seconds": pace.elapsed(), "seconds": session.elapsed(),
        "fingerprint": session.data.fingerprint(),
    }  # fmt: skip
    save_tensors(session.folder.state, tensors, meta)


def settle(session: Session, model: JEPA, states: Index) -> None:
    """Fit the whitening on training states, place the EMPTY state, and freeze t."""
    config, data = session.config, session.data
    rng = np.random.default_rng([config.seed, 104])
    if len(states) > config.whiten_states:
        states = np.sort(rng.choice(states, config.whiten_states, replace=False))
    with session.mixed():
        z: NDArray[np.float32] = encode(
            model.target, data.tokens, data.offsets, states, device=config.device, pooled=True
        )
    weight, bias = whitening(torch.from_numpy(z), config.whiten_floor)
    with torch.no_grad():
        model.target.whiten.weight.copy_(weight)
        model.target.whiten.bias.copy_(bias)
    place_empty(model)
    model.freeze_target()
    white = z @ weight.numpy().T + bias.numpy()
    entropy, squared = effective_ranks(white)
    raw = effective_ranks(z)
    session.event(
        "target", states=len(states), rank_entropy=entropy, rank_squared=squared,
        rank_entropy_before_whitening=raw[0], rank_squared_before_whitening=raw[1],
        off_diagonal_cosine=off_diagonal_cosine(white[:2_000]),
    )  # fmt: skip
    if squared < 2:
        raise TrainingStoppedError(
            f"the teacher collapsed: its states span {squared:.1f} of {z.shape[1]} directions",
            "train longer, over more history, or start from the base model",
        )


def place_empty(model: JEPA, steps: int = 150) -> None:
    """Move the embedding of EMPTY so that t(EMPTY) lies as near the mean state, 0, as one token can.

    Nothing else trains it: there is no token to reconstruct in an absent unit, and left where it was drawn it is so
    far out that creations and deletions drown every other displacement (lab log).
    """
    target = model.target
    rows = target.embedding.weight
    one = torch.ones(1, device=rows.device)
    vector = rows[codewm_core.EMPTY].detach().clone().requires_grad_(True)
    optim = torch.optim.Adam([vector], lr=0.02)
    for _ in range(steps):
        z = target.whiten(target.looped(vector[None, None], one)[:, 0])
        (vector.grad,) = torch.autograd.grad(z.square().sum(), vector)
        optim.step()
    with torch.no_grad():
        rows[codewm_core.EMPTY] = vector
