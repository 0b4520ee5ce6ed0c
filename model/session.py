"""A config, its data and a folder in; the clock, the events and the guards that all stages share out."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codewm.corpus.errors import UserError
from codewm.model.batches import Index, TrainingData, length_batches
from codewm.model.checkpoint import RunFolder, optimiser_tensors, save_tensors
from codewm.model.config import ModelConfig, TrainConfig
from codewm.model.distributed import ALONE, Group

Event = dict[str, Any]
STEP_EVERY = 10  # steps between step events


class TrainingStoppedError(UserError):
    """Training cannot go on: non-finite numbers or a collapsed representation."""


@dataclass
class Session:
    """What a stage needs to know; `report` sees every event, the folder keeps them."""

    config: TrainConfig
    model_config: ModelConfig
    data: TrainingData
    folder: RunFolder
    report: Callable[[Event], None]
    spent: float = 0.0  # seconds of earlier, interrupted sittings
    began: float = field(default_factory=time.monotonic)
    group: Group = ALONE

    def elapsed(self) -> float:
        """Seconds trained, all sittings together."""
        return self.spent + time.monotonic() - self.began

    def event(self, kind: str, **values: Any) -> None:
        """Tell the display; keep what is worth keeping."""
        if not self.group.first:
            return
        event = {"event": kind, "elapsed": round(self.elapsed(), 2), **values}
        self.report(event)
        self.folder.append(event)

    @contextlib.contextmanager
    def mixed(self) -> Iterator[None]:
        """Autocast to bf16 where the config or the processor asks for it; weights stay f32."""
        with torch.autocast(torch.device(self.config.device).type, torch.bfloat16, enabled=self.bf16):
            yield

    @property
    def bf16(self) -> bool:
        """Whether the networks compute in bf16 while training."""
        if self.config.precision == "auto":
            return torch.device(self.config.device).type != "cpu" or fast_bf16()
        return self.config.precision == "bf16"


def fast_bf16() -> bool:
    """Whether this processor multiplies bf16 matrices faster than f32: twice as fast, where it can at all (lab log)."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


@dataclass
class Pace:
    """How far a stage is, by steps or by seconds; exactly one of the two bounds is set."""

    steps: int | None
    seconds: float | None
    step: int = 0
    before: float = 0.0  # seconds of this stage in earlier sittings
    began: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        """Set the clock of this sitting to zero."""
        self.began = time.monotonic()

    def elapsed(self) -> float:
        """Seconds spent in this stage."""
        return self.before + time.monotonic() - self.began

    @property
    def progress(self) -> float:
        """0 at the start, 1 when the stage's budget is used."""
        if self.steps is not None:
            return min(1.0, self.step / max(self.steps, 1))
        assert self.seconds is not None
        return min(1.0, self.elapsed() / max(self.seconds, 1e-9))


def learning_rate(progress: float, warmup: float) -> float:
    """Factor on the peak rate: linear from 0 over `warmup`, then a cosine down to 5%."""
    if progress < warmup:
        return max(progress / warmup, 1e-3)
    x = (progress - warmup) / max(1 - warmup, 1e-9)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * x))


def endless_batches(
    lengths: Index, tokens: int, rows: int, seed: list[int], skip: int
) -> Iterator[tuple[int, Index]]:
    """(epoch, positions) for ever, starting at batch `skip`: each epoch's order follows from the seed alone."""
    epoch = 0
    while True:
        batches = length_batches(lengths, tokens, rows, np.random.default_rng([*seed, epoch]))
        yield from ((epoch, batch) for batch in batches[skip:])
        skip = max(0, skip - len(batches))
        epoch += 1


def optimiser(
    groups: list[tuple[list[tuple[str, torch.nn.Parameter]], float]], decay: float
) -> tuple[torch.optim.AdamW, list[str]]:
    """AdamW over (named parameters, learning rate) groups, and the names in its parameter order.

    Matrices decay, everything else does not. Each group remembers its peak rate as `peak`.
    """
    built: list[dict[str, Any]] = []
    names: list[str] = []
    for named, rate in groups:
        for matrices in (True, False):
            chosen = [(n, p) for n, p in named if (p.ndim >= 2) == matrices]
            if chosen:
                names += [n for n, _ in chosen]
                built.append(
                    {
                        "params": [p for _, p in chosen],
                        "lr": rate,
                        "peak": rate,
                        "weight_decay": decay if matrices else 0.0,
                    }
                )
    return torch.optim.AdamW(built, betas=(0.9, 0.98), eps=1e-8), names


def save_progress(
    session: Session,
    model: torch.nn.Module,
    optim: torch.optim.Optimizer,
    names: list[str],
    pace: Pace,
    stage: int,
    more: Mapping[str, Tensor],
    **about: Any,
) -> None:
    """Everything an exact resume of a stage needs: weights, moments, `more` tensors, and `about` in the metadata."""
    about |= {"step": pace.step, "stage_seconds": pace.elapsed()}
    save_model(session, model, stage, {**optimiser_tensors(optim, names), **more}, **about)


def save_model(
    session: Session,
    model: torch.nn.Module,
    stage: int,
    more: Mapping[str, Tensor] | None = None,
    **about: Any,
) -> None:
    """What a resume at the beginning of a stage needs, and what is given."""
    if not session.group.first:
        return
    meta = {
        "stage": stage, "step": 0, "stage_seconds": 0.0, "seconds": session.elapsed(),
        "fingerprint": session.data.fingerprint(), **about,
    }  # fmt: skip
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    save_tensors(session.folder.state, {**tensors, **(more or {})}, meta)


def descend(
    loss: Tensor,
    optim: torch.optim.Optimizer,
    factor: float,
    clip: float,
    where: str,
    group: Group = ALONE,
) -> float:
    """One guarded optimiser step on the loss summed over the group; the gradient norm before clipping."""
    # All processes stop, or none.
    if not torch.isfinite(group.total(loss)):
        raise TrainingStoppedError(
            f"the loss became non-finite in {where}",
            "lower the learning rate or use --precision f32; the best checkpoint so far is kept",
        )
    for part in optim.param_groups:
        part["lr"] = part["peak"] * factor
    optim.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = [p for part in optim.param_groups for p in part["params"]]
    if group.size > 1:
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        group.add(p.grad for p in parameters if p.grad is not None)
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, clip))
    if not math.isfinite(norm):
        raise TrainingStoppedError(
            f"the gradient became non-finite in {where}",
            "lower the learning rate or use --precision f32; the best checkpoint so far is kept",
        )
    optim.step()
    return norm
