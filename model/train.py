"""Chains in, a trained and exported world model out.

    tables = [store.read(path)]                 one per repository
    data   = batches.prepare(tables, config)    split by time, filtered, drawn
    train(data, config, folder, report=...)     stages 1 (teacher), 2 (space), 3 (dynamics), held-out table, export

A model that is started from keeps its space: the encoder and t stay as they are, and only stage 3 runs, so that what
one repository's model says can be compared with another's. The shipped base model is made from a corpus, from scratch
(`just base`).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import codewm.model.base
from codewm.corpus.errors import UserError
from codewm.model import export
from codewm.model.batches import TrainingData
from codewm.model.checkpoint import RunFolder, load_tensors, write_atomic
from codewm.model.config import ModelConfig, TrainConfig, from_json, to_json
from codewm.model.distributed import join, leave
from codewm.model.dynamics import Best, Targets, cache_targets, foresee
from codewm.model.evaluation.metrics import Row
from codewm.model.evaluation.suite import held_out_table
from codewm.model.jepa import JEPA
from codewm.model.session import Event, Pace, Session, save_model
from codewm.model.space import Cache, cache_latents, choose_reading, choose_space
from codewm.model.teacher import teach

EVALUATION_SPEED = (
    60_000  # tokens a second that the held-out table is sure to manage, for the time it is left
)


@dataclass(frozen=True)
class Outcome:
    """What a run leaves behind."""

    folder: Path
    model_file: Path | None
    rows: list[Row]
    interrupted: bool
    best_validation_r2: float
    steps: int


def base_model() -> Path:
    """Where the shipped base model is, or would be."""
    return Path(codewm.model.base.__path__[0]) / "base.safetensors"


def start_from(choice: str) -> Path | None:
    """The model file that `--from` means; None is from scratch."""
    if choice == "scratch":
        return None
    base = base_model()
    if choice in ("auto", "base"):
        if base.is_file():
            return base
        if choice == "auto":
            return None
        raise UserError("this installation has no base model", "use --from scratch")
    path = Path(choice)
    if not path.is_file():
        raise UserError(f"no such model file: {choice}", "--from takes base, scratch or a model file")
    return path


def seed_everything(seed: int, threads: int = 0) -> None:
    """The same seed gives the same bytes on one kind of CPU.

    Without use_deterministic_algorithms: on CPU it changed nothing but the speed, to a tenth (lab log).
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_num_threads(threads or os.cpu_count() or 1)


def train(
    data: TrainingData,
    config: TrainConfig,
    folder: RunFolder,
    *,
    report: Callable[[Event], None] = lambda event: None,
    resume: bool = False,
    output: Path | None = None,
    quant: str = "int8",
    provenance: Mapping[str, Any] | None = None,
    shape: Mapping[str, Any] | None = None,
) -> Outcome:
    """Train on the data, write the run's folder, export the best model to `output`.

    `shape` overrides ModelConfig's defaults for a model trained from scratch. Ctrl-C ends training early: the best
    checkpoint is evaluated and exported, and the run can be resumed.
    """
    tensors: dict[str, Tensor] = {}
    meta: dict[str, Any] = {}
    if resume:
        kept_model, config = from_json(folder.config.read_text(encoding="utf-8"))
        tensors, meta = load_tensors(folder.state)
        if meta["fingerprint"] != data.fingerprint():
            raise UserError("the chains have changed since this run was interrupted", "start a new run")
    group = join(config.device)
    seed_everything(config.seed, config.threads)
    start = start_from(config.start)
    weights: Mapping[str, Tensor] | None = None
    if start is not None:
        weights, model_config, _ = export.load(start)
        if model_config.action != data.action_id or model_config.window < data.window:
            raise UserError(
                "the starting model and the chains disagree on actions or window", "use --from scratch"
            )
    else:
        model_config = ModelConfig(
            **{
                "vocab_size": vocabulary_size(),
                "window": data.window,
                "action": data.action_id,
                "action_dim": data.action.shape[1],
                **(shape or {}),
            }
        )
    if resume:
        model_config = kept_model
    model = JEPA(model_config).to(config.device)
    if weights is not None:
        model.load_state_dict(weights)
    spent = float(meta.get("seconds", 0.0))
    session = Session(config, model_config, data, folder, report, spent=spent, group=group)
    if group.first:
        write_atomic(folder.config, to_json(model_config, config).encode())
    session.event(
        "start", start=str(config.start if start is None else start.name), ledger=data.ledger,
        bf16=session.bf16, threads=torch.get_num_threads(), resumed=resume,
    )  # fmt: skip

    resumed_stage = int(meta.get("stage", 0))
    best = Best(*meta["best"]) if "best" in meta else Best()
    interrupted = False
    paces: list[Pace] = []
    cache: Cache | None = None
    targets: Targets | None = None
    try:
        for stage in (1, 2, 3):
            if stage < resumed_stage or (stage < 3 and weights is not None):
                continue
            again = tensors if stage == resumed_stage else None
            if again is not None:
                model.load_state_dict({k[6:]: v for k, v in again.items() if k.startswith("model.")})
            if stage == 2:
                choose_reading(session, model)
                group.share_model(model)
            if stage > 1 and cache is None:
                cache = cache_latents(session, model)
            if stage == 3:
                assert cache is not None
                targets = cache_targets(session, model, cache)
            pace = stage_pace(
                config, stage, session, meta if again is not None else {}, scratch=weights is None
            )
            paces.append(pace)
            if stage == 1:
                teach(session, model, pace, again)
                # Stage 2 takes a minute: a run that is stopped in it starts it again.
                save_model(session, model, 2)
            elif stage == 2:
                assert cache is not None
                choose_space(session, model, cache, pace)
                group.share_model(model)
                save_model(session, model, 3)
            else:
                assert targets is not None
                foresee(
                    session, model, targets, pace, best,
                    tuning=weights is not None, resumed=again if pace.step else None,
                )  # fmt: skip
    except KeyboardInterrupt:
        interrupted = True
    steps = sum(pace.step for pace in paces)
    if interrupted and (targets is None or not folder.weights.is_file()):
        return Outcome(folder.path, None, [], True, best.r2, steps)
    if (
        not interrupted
    ):  # else a process may still wait for what another would add, and parting would wait, too
        leave()
    if not group.first:
        return Outcome(folder.path, None, [], interrupted, best.r2, steps)
    assert targets is not None
    kept, kept_meta = load_tensors(folder.weights)
    model.load_state_dict(kept)
    rows = held_out_table(session, model, targets)
    session.event("table", rows=[row.as_json() for row in rows])
    about = {
        **(provenance or {}),
        "torch": torch.__version__, "seed": config.seed, "start": config.start if start is None else start.name,
        "ledger": data.ledger, "seconds": round(session.elapsed(), 1), "interrupted": interrupted,
    }  # fmt: skip
    write_atomic(folder.card, card(model_config, config, about, rows).encode())
    if output is not None:
        export.export(
            output, kept, model_config, quant=quant, provenance=about,
            metrics={"schema": "codewm.eval/1", "suite": "held-out", "rows": [row.as_json() for row in rows]},
        )  # fmt: skip
    if not interrupted:
        folder.state.unlink(missing_ok=True)
    session.event("end", best=kept_meta["figures"], interrupted=interrupted, steps=steps)
    return Outcome(
        folder.path, output, rows, interrupted, float(kept_meta["figures"]["displacement_r2"]), steps
    )


def vocabulary_size() -> int:
    """Entries of the tokeniser's table."""
    import codewm_core

    return int(codewm_core.VOCAB_SIZE)


def stage_pace(
    config: TrainConfig, stage: int, session: Session, meta: Mapping[str, Any], scratch: bool = True
) -> Pace:
    """The budget of a stage: its share of the steps, or of the minutes that are left before the table."""
    step, before = int(meta.get("step", 0)), float(meta.get("stage_seconds", 0.0))
    if config.steps is not None:
        first = max(1, round(config.steps * config.teacher_share)) if scratch else 0
        second = max(1, round(config.steps * config.space_share)) if scratch else 0
        return Pace((first, second, max(1, config.steps - first - second))[stage - 1], None, step, before)
    assert config.minutes is not None
    whole = config.minutes * 60
    if stage < 3:
        share = config.teacher_share if stage == 1 else config.space_share
        return Pace(None, whole * share, step, before)
    tokens = 2 * session.data.lengths[session.data.after[session.data.holdout]].sum()
    table = min(0.25 * whole, 3 + float(tokens) / EVALUATION_SPEED)
    return Pace(None, max(0.05 * whole, whole - table - session.elapsed() + before), step, before)


def card(model: ModelConfig, config: TrainConfig, about: Mapping[str, Any], rows: list[Row]) -> str:
    """The run for people: what it was trained on, and its figures beside their nulls."""
    lines = [
        "# codewm model",
        "",
        f"Started from {about['start']}, seed {config.seed}, {about['seconds']:.0f} s. "
        f"Training edits {about['ledger']['training']}, held out (latest by commit time) "
        f"{about['ledger']['held out and evaluated']}.",
        "",
        "| metric | edits | value [95%] | " + " | ".join(NULL_COLUMNS) + " | beats |",
        "|---" * (len(NULL_COLUMNS) + 4) + "|",
    ]
    for row in rows:
        spread = "" if row.interval is None else f" [{row.interval[0]:.3f}, {row.interval[1]:.3f}]"
        cells = [f"{row.nulls[n]:.3f}" if n in row.nulls else "" for n in NULL_COLUMNS]
        beats = f"{len(row.beats)} of {len(row.margins)}" if row.margins else ""
        lines.append(
            f"| {row.metric} | {row.subset} ({row.n}) | {row.value:.3f}{spread} | {' | '.join(cells)} | {beats} |"
        )
    lines += ["", f"Shape: {model}", ""]
    return "\n".join(lines)


NULL_COLUMNS = ("copy", "constant_mean", "zero_action", "shuffled_action", "linear_map", "true")
