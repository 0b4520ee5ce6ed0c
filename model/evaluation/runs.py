"""A configuration and a seed in, a trained model and its readout out; what is finished is never done again.

    work/NAME-seedN-KEY/run/                 the run's folder, while it trains
                        model.safetensors    the trained model, f32
                        readout-KEY.npz      its rows and resamples

The first key follows from configuration, edits and the code that trains, the second from what is asked of the readout
and the code that answers, so that another question never gets an old answer.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import codewm_core
from codewm.corpus.atomic import replacing
from codewm.corpus.errors import UserError
from codewm.corpus.table import EditTable
from codewm.model.config import ModelConfig, TrainConfig, from_mapping
from codewm.model.evaluation.held_out import HeldOut
from codewm.model.evaluation.injected import Injected
from codewm.model.evaluation.metrics import Row
from codewm.model.evaluation.readout import Figures, measure
from codewm.model.evaluation.result import Request
from codewm.model.evaluation.subject import columns, load
from codewm.model.evaluation.variations import Variation

STEPS = 300  # of each run where nothing else is asked for: a comparison, not a product
EDITS = 20_000  # training edits drawn at most, because a few hundred steps cannot see more
WATCHED = 500  # edits of the table that training itself prints; the readout reads them all


class Runs:
    """Trains models for one request and reads them out."""

    def __init__(self, request: Request, held_out: HeldOut, injected: Injected | None) -> None:
        if request.work is None:
            raise UserError("there is no folder to keep trained models in", "name one with --work")
        self.request, self.held_out, self.injected = request, held_out, injected
        self.work = request.work

    def config(self, variation: Variation, seed: int) -> tuple[TrainConfig, dict[str, Any]]:
        """The training configuration of a run, and what differs from the default shape of a model."""
        train: dict[str, Any] = {"start": "scratch", "max_edits": EDITS, "max_evaluation": WATCHED}
        shape: dict[str, Any] = {}
        of_shape = {f.name for f in fields(ModelConfig)}
        for key, value in self.request.settings.items():
            (shape if key in of_shape else train)[key] = value
        if train.get("minutes") is None and train.get("steps") is None:
            train["steps"] = STEPS
        if train.get("steps") is not None:
            train["minutes"] = None
        train |= dict(variation.train) | {"seed": seed}
        shape |= dict(variation.shape)
        return from_mapping(TrainConfig, train), shape

    def figures(self, name: str, variation: Variation, seed: int) -> Figures:
        """Train one model, unless that was done, and read it out, unless that was done."""
        config, shape = self.config(variation, seed)
        place = self.work / f"{name.replace(' ', '-')}-seed{seed}-{self._model_key(config, shape, variation)}"
        done = place / f"readout-{self._key}.npz"
        if done.is_file():
            self.request.say(f"{name}, seed {seed}: done before")
            return _read(done)
        model = place / "model.safetensors"
        if not model.is_file():
            self.request.say(f"{name}, seed {seed}: training")
            self._train(config, shape, variation, place)
        self.request.say(f"{name}, seed {seed}: reading")
        subject = load(str(model), compare_int8=False)
        figures = measure(self.request, subject, self.held_out, self.injected)
        _write(done, figures)
        return figures

    def _model_key(self, config: TrainConfig, shape: Mapping[str, Any], variation: Variation) -> str:
        """What a trained model follows from."""
        tables = [s.table for s in self.request.sources]
        return key_of(
            train=asdict(config),
            shape=dict(shape),
            action=variation.action,
            tokenizer=codewm_core.TOKENIZER_ID,
            edits=[_digest(t.before, t.after, t.flags, t.state_hash, t.action) for t in tables],
            code=code_of(Path(__file__).parents[1].glob("*.py")),
        )

    @cached_property
    def _key(self) -> str:
        """What a readout follows from, besides the model."""
        held, injected = self.held_out, self.injected
        corrupted: list[NDArray[Any]] = []
        if injected is not None:
            corrupted = [injected.edits.tokens, injected.kind, injected.edits.commit]
        return key_of(
            edits=_digest(held.edits.tokens, held.edits.before, held.edits.after, held.edits.commit),
            others=_digest(held.alternatives, held.siblings),
            fit=_digest(held.fit.tokens, held.fit.before, held.fit.after),
            injected=_digest(*corrupted),
            resamples=self.request.resamples,
            code=code_of(Path(__file__).parent.glob("*.py")),
            core=hashlib.sha256(Path(codewm_core._core.__file__).read_bytes()).hexdigest(),
        )

    def _train(
        self, config: TrainConfig, shape: Mapping[str, Any], variation: Variation, place: Path
    ) -> None:
        from codewm.model.batches import prepare
        from codewm.model.checkpoint import RunFolder
        from codewm.model.train import train

        tables = [told(s.table, variation.action) for s in self.request.sources]
        folder = RunFolder(place / "run")
        # Written under another name first: an interrupted run leaves a model behind, too.
        made = folder.path / "model.safetensors"
        begun = folder.state.is_file() and folder.config.is_file()
        if not begun:
            shutil.rmtree(folder.path, ignore_errors=True)

        def report(event: Mapping[str, Any]) -> None:
            if event["event"] == "validation":
                self.request.say(
                    f"  {event['elapsed']:5.0f} s, stage {event['stage']}, step {event['step']}: "
                    f"R2 {event['displacement_r2']:.3f}, delta cosine {event['delta_cosine']:.3f}"
                )

        outcome = train(
            prepare(tables, config), config, folder, report=report, output=made,
            quant="f32", shape=shape, resume=begun,
        )  # fmt: skip
        if outcome.interrupted:
            raise KeyboardInterrupt
        made.replace(place / "model.safetensors")
        shutil.rmtree(folder.path)


def told(table: EditTable, action: str | None) -> EditTable:
    """The table with another action, whose numbers must be among the stored ones."""
    if action is None or action == table.action_id:
        return table
    kept = columns(action, table.action_id)
    return replace(table, action=np.ascontiguousarray(table.action[:, kept]), action_id=action)


def key_of(**said: Any) -> str:
    """What something follows from, in one short word."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def code_of(files: Iterable[Path]) -> str:
    """These modules in one word: what was made by other code is made again."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _write(path: Path, figures: Figures) -> None:
    """Keep what was read out, in one step."""
    rows = [{**asdict(row), "more": row.more} for row in figures.rows]
    keys = list(figures.draws)
    arrays: dict[str, NDArray[Any]] = {f"draw{i}": figures.draws[key] for i, key in enumerate(keys)}
    text = json.dumps({"rows": rows, "keys": keys})
    arrays |= {"text": np.array(text), "cosines": figures.cosines}
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _read(path: Path) -> Figures:
    with np.load(path, allow_pickle=False) as held:
        said = json.loads(str(held["text"]))
        draws = {tuple(key): held[f"draw{i}"] for i, key in enumerate(said["keys"])}
        return Figures([_row(r) for r in said["rows"]], draws, held["cosines"])  # type: ignore[arg-type]


def _row(values: dict[str, Any]) -> Row:
    among = values["interval"]
    margins = {k: (v[0], v[1]) for k, v in values["margins"].items()}
    return Row(**{**values, "interval": None if among is None else tuple(among), "margins": margins})


def by_key(rows: Sequence[Row]) -> dict[tuple[str, str, str], Row]:
    """Rows by metric, subset and repository."""
    return {(r.metric, r.subset, r.data): r for r in rows}
