"""Stage 2. Latents of edits in, the directions of the latent space in which edits can be foreseen out.

    r      = principal components of what stands where edits happen   [B, R]
    white  = principal components of f, each with variance 1          [B, W]
    e_hat  = probe(white(s), r(s, a), a), trained on e = white(s') - white(s)
    V      = directions v that maximise  v' E[e_hat e'] v / v' E[e e'] v, the share of displacement that is foreseen
    t      = the first K of them, whitened: the latents' least components are not blown up before (`space_floor`), and
             neither are the least of these directions after (`target_floor`)

What happens to most directions of a latent nobody can foresee, and their noise would drown the others. The latents
themselves are not trained to be foreseen: an encoder that may move its targets learns targets that jump, of which it is
easy to say that they fall back (docs/lab-log.md). On edits of units that exist on both sides; created and deleted ones
move along one direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import codewm_core
from codewm.model.batches import Index
from codewm.model.diagnostics import effective_ranks
from codewm.model.encoder import principal, set_map, whitening
from codewm.model.jepa import JEPA
from codewm.model.latents import Latents
from codewm.model.session import (
    STEP_EVERY,
    Pace,
    Session,
    TrainingStoppedError,
    descend,
    learning_rate,
    optimiser,
)

F32 = NDArray[np.float32]
HIDDEN = 512  # of the probe
COMPARED = 60_000  # edits that the directions are chosen by


@dataclass(frozen=True)
class Cache:
    """What a fixed encoder makes of the E edits that training or validation uses.

    f f32 [U, W], other rows are 0; r f32 [E, R]: r(s, a); row i64 [N]: where that of each edit is.
    """

    f: F32
    r: F32
    row: Index

    def read(self, edits: Index) -> F32:
        """r(s, a) of the edits: [n, R]."""
        out: F32 = self.r[self.row[edits]]
        return out


def cache_latents(session: Session, model: JEPA) -> Cache:
    """Encode every state that training or validation uses once."""
    data, shape = session.data, session.model_config
    edits = np.concatenate([data.fit, data.validation])
    used = np.unique(np.concatenate([data.before[edits], data.after[edits]]))
    row = np.full(len(data.before), -1, np.int64)
    row[edits] = np.arange(len(edits))
    cache = Cache(
        np.zeros((len(data.offsets) - 1, shape.width), np.float32),
        np.zeros((len(edits), shape.read), np.float32),
        row,
    )
    mine = session.group.mine(used)
    own = edits[np.isin(data.before[edits], mine)]
    where = np.searchsorted(mine, data.before[own])
    cache.f[mine], cache.r[row[own]] = Latents(session, model).read(
        data.states(mine), where, data.action[own]
    )
    session.group.add_arrays(cache.f, cache.r)
    session.event("cache", what="states", count=len(used))
    return cache


def choose_reading(session: Session, model: JEPA) -> None:
    """Set r to the principal components of what stands where edits happen.

    Every value is brought to variance 1 first: means of embeddings are far smaller than those of features, and say
    which names and operators are there.
    """
    config, data, shape = session.config, session.data, session.model_config
    rng = np.random.default_rng([config.seed, 105])
    edits = data.fit
    if len(edits) > config.read_edits:
        edits = np.sort(rng.choice(edits, config.read_edits, replace=False))
    read = Latents(session, model).at(
        data.states(data.before[edits]), np.arange(len(edits)), data.action[edits]
    )
    rows = torch.cat([at.flatten(0, 1).cpu() for _, at in read])
    rows = rows[rows.abs().sum(1) > 0]  # an empty range says nothing
    scale = rows.std(0).clamp_min(1e-6)
    weight, bias = principal(rows / scale, shape.reading, config.whiten_floor)
    set_map(model.reading, weight / scale, bias)


def choose_space(session: Session, model: JEPA, cache: Cache, pace: Pace) -> None:
    """Set t to the directions of f [U, W] that a probe foresees best, and x to the principal components.

    EMPTY is placed, in the model and in the cache, and all are fixed.
    """
    config, data = session.config, session.data
    sample = _sample(session, cache.f)
    set_map(model.state, *principal(sample, session.model_config.dim, config.whiten_floor))
    weight, bias = principal(sample, session.model_config.width, config.space_floor)
    modified = data.fit[data.group[data.fit] == 0]
    count = session.model_config.latent
    if config.space == "foreseen" and len(modified) >= 2:
        turned, shares = _foreseen(session, modified, cache, weight, bias, pace)
        directions = torch.linalg.qr(turned[:, :count]).Q
    else:
        directions, shares = torch.eye(len(weight))[:, :count], torch.zeros(count)
    set_map(model.target, *_whitened(sample, directions.T @ weight, directions.T @ bias, config.target_floor))
    place_empty(model)
    _encode_empty(session, model, cache)
    model.freeze_ruler()
    with torch.no_grad():
        white = model.target(sample.to(config.device)).cpu().numpy()
    entropy, squared = effective_ranks(white)
    session.event(
        "target", states=len(white), rank_entropy=entropy, rank_squared=squared,
        foreseen_first=float(shares[0]), foreseen_last=float(shares[count - 1]),
    )  # fmt: skip
    if squared < 2:
        raise TrainingStoppedError(
            f"the target space collapsed: its states span {squared:.1f} of {count} directions",
            "train longer, over more history, or start from the base model",
        )


def _whitened(sample: Tensor, weight: Tensor, bias: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """The map [K, W] and [K] followed by the whitening of what it makes of the sample [n, W]."""
    turn, shift = whitening(sample @ weight.T + bias, floor)
    return turn @ weight, turn @ bias + shift


def _sample(session: Session, f: F32) -> Tensor:
    """Latents [n, W] of at most `whiten_states` states of training edits, drawn by the seed; EMPTY is none of them."""
    config, data = session.config, session.data
    states = np.unique(np.concatenate([data.before[data.fit], data.after[data.fit]]))
    states = states[data.lengths[states] > 1]
    if len(states) > config.whiten_states:
        rng = np.random.default_rng([config.seed, 104])
        states = np.sort(rng.choice(states, config.whiten_states, replace=False))
    return torch.from_numpy(f[states])


def _foreseen(
    session: Session, edits: Index, cache: Cache, weight: Tensor, bias: Tensor, pace: Pace
) -> tuple[Tensor, Tensor]:
    """Directions [W, W] of the white space, the best foreseen first, and the foreseen share of each [W]."""
    config, data = session.config, session.data
    torch.manual_seed(config.seed + 1)
    before = torch.from_numpy(cache.f[data.before[edits]]) @ weight.T + bias
    e = torch.from_numpy(cache.f[data.after[edits]]) @ weight.T + bias - before  # [n, W]
    scale = e.std(0).clamp_min(1e-6)
    e = e / scale
    read, action = torch.from_numpy(cache.read(edits)), torch.from_numpy(data.action[edits])
    x = torch.cat([before, read, action], 1)
    # Between |e|^2, under which small edits are all that counts, and 1, under which large ones are.
    trust = (e.square().mean(1) + 0.3).rsqrt()
    probe = _probe(x.shape[1], e.shape[1], config.dropout).to(config.device)
    optim, _ = optimiser([(list(probe.named_parameters()), config.lr)], config.weight_decay)
    rng = np.random.default_rng([config.seed, 202])
    pace.start()
    while session.group.agree(pace.progress) < 1:
        rows = torch.from_numpy(rng.integers(len(edits), size=min(config.edits_per_step, len(edits))))
        share = trust[rows] / trust[rows].sum()
        error = (probe(x[rows].to(config.device)) - e[rows].to(config.device)).square().mean(1)
        loss = (error * share.to(config.device)).sum()
        norm = descend(
            loss,
            optim,
            learning_rate(pace.progress, config.warmup),
            config.clip,
            f"stage 2, step {pace.step}",
        )
        pace.step += 1
        if pace.step % STEP_EVERY == 0:
            session.event(
                "step", stage=2, step=pace.step, progress=pace.progress, displacement_error=float(loss.detach()),
                gradient_norm=norm,
            )  # fmt: skip
    probe.eval()
    rows = torch.arange(len(edits))
    if len(edits) > COMPARED:
        rows = torch.from_numpy(np.sort(rng.choice(len(edits), COMPARED, replace=False)))
    with torch.no_grad():
        e_hat = (
            torch.cat([probe(part.to(config.device)).cpu() for part in torch.split(x[rows], 8_192)]) * scale
        )
    return foreseen_directions(e_hat, e[rows] * scale)


def _probe(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    """A perceptron that starts at 0: before it has learned anything, nothing moves."""
    out = nn.Linear(HIDDEN, outputs)
    nn.init.zeros_(out.weight)
    nn.init.zeros_(out.bias)
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN), nn.GELU(), nn.Dropout(dropout),
        nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Dropout(dropout), out,
    )  # fmt: skip


def foreseen_directions(e_hat: Tensor, e: Tensor, floor: float = 1e-4) -> tuple[Tensor, Tensor]:
    """Directions [W, W] as columns that maximise v' E[e_hat e'] v / v' E[e e'] v one after the other, and that share.

    e_hat, e [n, W]; shares [W]. Directions in which hardly anything moves (under `floor` of the most) count as moving
    that much.
    """
    e_hat, e = e_hat.double(), e.double()
    moved = e.T @ e / len(e)
    foreseen = e_hat.T @ e / len(e)
    values, vectors = torch.linalg.eigh(moved)
    root = vectors * values.clamp_min(float(values[-1]) * floor).clamp_min(1e-12).rsqrt()
    shares, turned = torch.linalg.eigh(root.T @ ((foreseen + foreseen.T) / 2) @ root)
    return (root @ turned).flip(1).float(), shares.flip(0).float()


def place_empty(model: JEPA, steps: int = 150) -> None:
    """Move the embedding of EMPTY so that t(EMPTY) lies as near the mean state, 0, as one token can.

    Nothing else trains it: there is no token to reconstruct in an absent unit, and left where it was drawn it is so
    far out that creations and deletions drown every other displacement (lab log).
    """
    rows = model.encoder.embedding.weight
    one = torch.ones(1, device=rows.device)
    vector = rows[codewm_core.EMPTY].detach().clone().requires_grad_(True)
    optim = torch.optim.Adam([vector], lr=0.02)
    for _ in range(steps):
        z = model.target(model.encoder.embedded(vector[None, None], one))
        (vector.grad,) = torch.autograd.grad(z.square().sum(), vector)
        optim.step()
    with torch.no_grad():
        rows[codewm_core.EMPTY] = vector


def _encode_empty(session: Session, model: JEPA, cache: Cache) -> None:
    """Bring what the cache has of EMPTY up to date."""
    data = session.data
    alone = np.flatnonzero(data.lengths == 1)
    empty = alone[data.tokens[data.offsets[alone]] == codewm_core.EMPTY]
    if not len(empty):
        return
    known = np.flatnonzero(cache.row >= 0)
    edits = known[np.isin(data.before[known], empty)]
    where = np.searchsorted(empty, data.before[edits])
    cache.f[empty], cache.r[cache.row[edits]] = Latents(session, model).read(
        data.states(empty), where, data.action[edits]
    )
