"""Stage 1. Unit states in, an encoder that knows code out: masked-token reconstruction.

Whatever is predicted in its space later, the encoder first learns what code looks like (the SALT / SWE-JEPA plan), and
nothing afterwards moves it: the targets are fixed before anything is foreseen.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import codewm_core
from codewm.model import losses
from codewm.model.batches import Index, pad
from codewm.model.checkpoint import restore_optimiser
from codewm.model.distributed import ALONE, Group
from codewm.model.encoder import Encoder
from codewm.model.jepa import JEPA, MaskedTokenHead
from codewm.model.session import (
    STEP_EVERY,
    Pace,
    Session,
    descend,
    endless_batches,
    learning_rate,
    optimiser,
    save_progress,
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
    encoder: Encoder,
    head: MaskedTokenHead,
    tokens: Tensor,
    lengths: Tensor,
    share: float,
    rng: np.random.Generator,
    group: Group = ALONE,
) -> Tensor:
    """Mean nats per masked token of a batch; of a group, this process' part of that mean."""
    spoilt, chosen = mask_tokens(tokens, lengths, share, rng)
    row, column = chosen // tokens.shape[1], chosen % tokens.shape[1]
    here = row % group.size == group.rank
    row, column = row[here], column[here]
    features = encoder.hidden(group.mine(spoilt), group.mine(lengths))[row // group.size, column]
    return losses.masked_tokens(
        head(features, encoder.embedding.weight), tokens[row, column], count=len(chosen)
    )


def teach(session: Session, model: JEPA, pace: Pace, resumed: dict[str, Tensor] | None) -> None:
    """Train model.encoder until the pace is done."""
    config, data = session.config, session.data
    torch.manual_seed(config.seed)
    head = MaskedTokenHead(session.model_config).to(config.device)
    named = [(f"encoder.{n}", p) for n, p in model.encoder.named_parameters()]
    named += [(f"head.{n}", p) for n, p in head.named_parameters()]
    optim, names = optimiser([(named, config.teacher_lr)], config.weight_decay)
    if resumed is not None:
        model.load_state_dict({k[6:]: v for k, v in resumed.items() if k.startswith("model.")})
        head.load_state_dict({k[5:]: v for k, v in resumed.items() if k.startswith("head.")})
        restore_optimiser(optim, names, resumed)

    def save() -> None:
        kept = {f"head.{k}": v for k, v in head.state_dict().items()}
        save_progress(session, model, optim, names, pace, 1, kept)

    states = training_states(session)
    watched = np.setdiff1d(data.after[data.validation], states)[:500]
    order = endless_batches(
        data.lengths[states], config.tokens_per_batch, config.edits_per_batch, [config.seed, 101], pace.step
    )
    epoch = 0
    next_look = 1 if resumed is None else int(pace.progress * 6) + 1
    try:
        while (progress := session.group.agree(pace.progress)) < 1:
            epoch, batch = next(order)
            tokens, lengths = pad(data.tokens, data.offsets, states[batch], config.device)
            rng = np.random.default_rng([config.seed, 102, pace.step])
            with session.mixed():
                loss = masked_loss(
                    model.encoder, head, tokens, lengths, config.mask_share, rng, session.group
                )
            factor = learning_rate(progress, config.warmup)
            norm = descend(loss, optim, factor, config.clip, f"stage 1, step {pace.step}", session.group)
            pace.step += 1
            if pace.step % STEP_EVERY == 0:
                session.event(
                    "step", stage=1, step=pace.step, epoch=epoch, progress=progress,
                    masked_loss=float(loss.detach()) * session.group.size, gradient_norm=norm,
                )  # fmt: skip
            if pace.progress >= next_look / 6 and len(watched):
                next_look += 1
                session.event(
                    "teacher", step=pace.step, epoch=epoch, progress=pace.progress,
                    held_out_masked_loss=held_out_loss(session, model.encoder, head, watched),
                )  # fmt: skip
                save()
    except KeyboardInterrupt:
        save()
        raise


@torch.no_grad()
def held_out_loss(session: Session, encoder: Encoder, head: MaskedTokenHead, states: Index) -> float:
    """Nats per masked token on states the teacher never trained on, with fixed masks."""
    data, total, count = session.data, 0.0, 0
    for start in range(0, len(states), 64):
        tokens, lengths = pad(data.tokens, data.offsets, states[start : start + 64], session.config.device)
        rng = np.random.default_rng([103, start])
        with session.mixed():
            loss = masked_loss(encoder, head, tokens, lengths, session.config.mask_share, rng)
        total, count = total + float(loss) * len(lengths), count + len(lengths)
    return total / count
