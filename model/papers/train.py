"""Windows of edits and a recipe in, a run's folder out: weights, config, and every step's figures.

runs/<id>/weights.safetensors   the weights after the last step: nothing is selected
          state.safetensors     weights, moments and generators, for an exact resume
          config.json           the resolved recipe
          metrics.jsonl         one event per line: start, step, watch, end
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codewm.corpus.errors import UserError
from codewm.model.checkpoint import (
    RunFolder,
    load_tensors,
    optimiser_tensors,
    restore_optimiser,
    save_tensors,
    write_atomic,
)
from codewm.model.diagnostics import gradient_norm
from codewm.model.papers.config import Recipe, RunConfig, from_json
from codewm.model.papers.data import PaperData, batches
from codewm.model.papers.health import cosines, health, nearest
from codewm.model.papers.networks import Networks
from codewm.model.papers.objective import Latents, Terms, terms
from codewm.model.papers.world import F32, PaperWorld
from codewm.model.session import Event, TrainingStoppedError, descend, fast_bf16
from codewm.model.train import seed_everything


@dataclass(frozen=True)
class PaperOutcome:
    """What a run leaves behind."""

    folder: RunFolder
    steps: int
    interrupted: bool
    watched: dict[str, float]
    """The last look at the validation sample."""


def rate(step: int, run: RunConfig) -> float:
    """Factor on the peak rate: linear from the floor over the warm-up, then a cosine down to the floor."""
    warmup = min(run.warmup, max(1, run.steps // 3))
    if step < warmup:
        return run.lr_floor + (1 - run.lr_floor) * step / warmup
    x = (step - warmup) / max(run.steps - warmup, 1)
    return run.lr_floor + (1 - run.lr_floor) * 0.5 * (1 + math.cos(math.pi * x))


def train(
    data: PaperData,
    recipe: Recipe,
    folder: RunFolder,
    *,
    report: Callable[[Event], None] = lambda event: None,
    resume: bool = False,
) -> PaperOutcome:
    """Train a recipe. Ctrl-C keeps the state, and `resume` goes on with exactly the steps that were left.

    Raises `TrainingStoppedError` as soon as a term or a gradient is not finite, and where text mode leaves the encoder
    without a gradient.
    """
    tensors: dict[str, Tensor] = {}
    meta: dict[str, Any] = {}
    if resume:
        recipe = from_json(folder.config.read_text(encoding="utf-8"))
        tensors, meta = load_tensors(folder.state)
        if meta["fingerprint"] != data.fingerprint():
            raise UserError("the edits have changed since this run was interrupted", "start a new run")
    run = recipe.run
    seed_everything(run.seed, run.threads)
    model = Networks(recipe.network).to(run.device)
    named = model.trained()
    peak = {"lr": run.lr, "peak": run.lr}
    optim = torch.optim.AdamW(
        [{"params": [p for _, p in named], **peak}], betas=(0.9, 0.999), weight_decay=run.weight_decay
    )
    names = [name for name, _ in named]
    if resume:
        model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        restore_optimiser(optim, names, tensors)
        _restore_generators(tensors)
        _forget_after(folder, int(meta["step"]))
    began = time.monotonic() - float(meta.get("seconds", 0.0))
    watch = Watch(data, recipe, model)

    def event(kind: str, **values: Any) -> None:
        said = {"event": kind, "elapsed": round(time.monotonic() - began, 2), **values}
        folder.append(said)
        report(said)

    def keep(step: int) -> None:
        state = {f"model.{k}": v for k, v in model.state_dict().items()}
        state |= {**optimiser_tensors(optim, names), **_generators(run.device)}
        about = {"step": step, "seconds": time.monotonic() - began, "fingerprint": data.fingerprint()}
        save_tensors(folder.state, state, about)

    write_atomic(folder.config, recipe.to_json().encode())
    step = int(meta.get("step", 0))
    bf16 = run.precision == "bf16" or (run.precision == "auto" and _fast(run.device))
    event(
        "start",
        recipe=recipe.recipe,
        mode=recipe.mode,
        ledger=data.ledger,
        bf16=bf16,
        resumed=resume,
        step=step,
    )
    mixed = torch.autocast(torch.device(run.device).type, torch.bfloat16, enabled=bf16)
    seen = watch.look() if not step else {}
    if seen:
        event("watch", step=0, **seen)
    stream = batches(data, run.batch, recipe.network.window, run.seed, step)
    with Interrupt() as interrupt:
        while step < run.steps and not interrupt.asked:
            model.train()
            model.target.train(recipe.objective.target_dropout)
            batch = data.batch(next(stream), recipe.network, run.device)
            found = terms(model, recipe.objective, batch, step, mixed, step % run.diagnose == 0)
            _refuse_non_finite(found, step)
            norm = descend(found.loss, optim, rate(step, run), run.clip, f"step {step} of {recipe.recipe}")
            model.follow(recipe.objective.ema)
            figures = _step_figures(model, found, norm, run.clip)
            _refuse_untrained_encoder(recipe, figures, step)
            if found.latents is not None:
                figures |= _batch_health(found.latents)
            step += 1
            event("step", step=step, **figures)
            if step % run.watch == 0 or step == run.steps:
                seen = watch.look()
                event("watch", step=step, **seen)
            if (step % run.keep == 0 or interrupt.asked) and step < run.steps:
                keep(step)
    interrupted = step < run.steps
    if not interrupted:
        weights = model.state_dict()
        save_tensors(folder.weights, weights, {"tokenizer": data.tokenizer_id, "step": step})
        folder.state.unlink(missing_ok=True)
    event("end", step=step, interrupted=interrupted)
    return PaperOutcome(folder, step, interrupted, seen)


class Interrupt:
    """Ctrl-C waits for the end of a step, so that what is kept is whole; a second one does not wait."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *about: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)


class Watch:
    """The fixed sample of later edits: what the papers' validation figures would be, with the nulls they left out."""

    def __init__(self, data: PaperData, recipe: Recipe, model: Networks) -> None:
        self.recipe, self.model = recipe, model
        self.action = data.action[data.watched]
        self.after = data.after[data.watched]
        self.sides = []
        for ids in (data.before[data.watched], data.after[data.watched]):
            flat = [data.tokens[data.offsets[i] : data.offsets[i + 1]] for i in ids]
            offsets = np.concatenate([[0], np.cumsum([len(s) for s in flat])]).astype(np.int64)
            self.sides.append((np.concatenate(flat), offsets))

    def latents(self) -> tuple[F32, F32, F32, F32]:
        """f(s), t(s), t(s') and the prediction of t(s'): [n, D] each."""
        world = self._world()
        online = world.online(*self.sides[0])
        before, after = (world.target(*side) for side in self.sides)
        return online[:, : self.recipe.network.dim], before, after, world.step(online, self.action)[0]

    def look(self) -> dict[str, float]:
        """`health` and `nearest` of the sample, with dropout off and in f32."""
        online, before, after, predicted = self.latents()
        out = health(online, before, after, predicted)
        out |= nearest(after, self.after, {"": predicted, "copy": before})
        started = np.concatenate([online, before], 1) if self.recipe.network.forecast == "delta" else online
        zeroed = self._world().step(started, np.zeros_like(self.action))[0]
        out["mixed_zero_action"] = float(cosines(zeroed - online, after - online).mean())
        return out

    def _world(self) -> PaperWorld:
        device = next(self.model.parameters()).device
        model = self.model if device.type == "cpu" else Networks(self.recipe.network)
        if model is not self.model:
            model.load_state_dict({k: v.cpu() for k, v in self.model.state_dict().items()})
        return PaperWorld(model, self.recipe, "")


def _fast(device: str) -> bool:
    return torch.device(device).type != "cpu" or fast_bf16()


def _refuse_non_finite(found: Terms, step: int) -> None:
    """Nothing that is not a number is ever replaced by one."""
    wrong = [name for name, value in found.values.items() if not torch.isfinite(value)]
    if wrong:
        raise TrainingStoppedError(
            f"{', '.join(wrong)} became non-finite at step {step}",
            "lower the learning rate or that term's weight; metrics.jsonl has the steps before",
        )


def _refuse_untrained_encoder(recipe: Recipe, figures: dict[str, float], step: int) -> None:
    if recipe.mode == "text" and not recipe.objective.detach and not figures["gradient_online"] > 0:
        raise TrainingStoppedError(
            f"no gradient reached the encoder at step {step}", "text mode is defined by it; this is a bug"
        )


def _step_figures(model: Networks, found: Terms, norm: float, clip: float) -> dict[str, float]:
    """Every term, the loss, and each network's gradient norm before clipping."""
    unclipped = max(1.0, norm / clip)
    figures = {f"loss_{name}": float(value.detach()) for name, value in found.values.items()}
    figures |= {"loss": float(found.loss.detach()), "gradient": norm}
    for part in model.PARTS:
        held = [p.grad.numpy(force=True) for p in getattr(model, part).parameters() if p.grad is not None]
        figures[f"gradient_{part}"] = gradient_norm(held) * unclipped
    return figures


def _batch_health(seen: Latents) -> dict[str, float]:
    rows = (seen.online, seen.before, seen.after, seen.predicted)
    return {f"batch_{k}": v for k, v in health(*(x.float().numpy(force=True) for x in rows)).items()}


def _forget_after(folder: RunFolder, step: int) -> None:
    """Events of steps that a killed run took after its last kept state: they are taken again."""
    kept = []
    for line in folder.metrics.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        if said["event"] == "start" or said["step"] <= step:
            kept.append(line + "\n")
    write_atomic(folder.metrics, "".join(kept).encode())


def _generators(device: str) -> dict[str, Tensor]:
    """Where dropout's random numbers are: they are part of an exact resume."""
    out = {"generator.cpu": torch.get_rng_state()}
    if torch.device(device).type == "cuda":
        out["generator.cuda"] = torch.cuda.get_rng_state()
    return out


def _restore_generators(tensors: dict[str, Tensor]) -> None:
    torch.set_rng_state(tensors["generator.cpu"])
    if "generator.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["generator.cuda"])
