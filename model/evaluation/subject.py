"""What `--model` says in, an engine to test out: the shipped model, a model file, or a training run's folder.

Everything is measured through the engine, so what is tested is what runs. Of weights in f32 an int8 copy is made
beside them, to say what quantisation costs; of a file that is int8 already, nobody has the f32.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.errors import UserError
from codewm.model.scoring.engine_model import BASE_NAME, base_path

if TYPE_CHECKING:
    from codewm.model.config import ModelConfig

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """A model under test."""

    name: str
    digest: str
    """First 16 hex digits of the SHA-256 of the engine file."""
    engine: core.Engine
    quant: str
    """How its weights are stored: f32 or int8."""
    quantised: core.Engine | None
    """The same weights as int8, where they are stored as f32."""
    whiten: F64
    """[K, W] the map from f to t: what it sees of f's displacements is d @ pinv(whiten).T"""
    why_not: str = ""
    """Why there is nothing to compare int8 with."""
    about: dict[str, Any] = field(default_factory=dict)
    data: bytes = field(default=b"", repr=False)
    """The engine file."""

    def weights(self) -> tuple[Mapping[str, Any], ModelConfig]:
        """The state of a JEPA in f32, and its shape; needs torch."""
        if find_spec("torch") is None:
            raise UserError("looking into a model needs torch", "pip install 'codewm[train]'")
        from codewm.model import export

        with tempfile.TemporaryDirectory(prefix="codewm-eval-") as folder:
            path = Path(folder) / "model.safetensors"
            path.write_bytes(self.data)
            weights, config, _ = export.load(path)
        return weights, config

    @property
    def action(self) -> str:
        """The kind of action that it is told."""
        return str(self.engine.config["action"])

    def as_json(self) -> dict[str, Any]:
        """Which model it is, without the machine's own paths."""
        return {"name": self.name, "digest": self.digest, "quant": self.quant, "config": self.engine.config}


def load(choice: str = BASE_NAME, *, compare_int8: bool = True) -> Subject:
    """The model that `choice` means: 'base', a model file, or the folder (or weights) of a training run."""
    path = base_path() if choice == BASE_NAME else Path(choice)
    if path.is_dir():
        path = path / "weights.safetensors"
    if not path.is_file():
        raise UserError(f"there is no model '{choice}'", "name a model file, a run's folder, or 'base'")
    try:
        data = path.read_bytes()
    except OSError as e:
        raise UserError(f"cannot read the model {choice}: {e.strerror}", "check its permissions") from e
    name = choice
    if path.name == "weights.safetensors" and (path.parent / "config.json").is_file():
        data = _exported(path, "f32", checkpoint=True)
        name = path.parent.name
    elif choice != BASE_NAME:
        name = path.name
    engine = _engine(data, choice)
    quant = engine.metadata.get("quant", "f32")
    quantised, why = None, ""
    if quant != "f32":
        why = f"the weights are stored as {quant}: there is no f32 to compare with"
    elif not compare_int8:
        why = "not asked for"
    elif find_spec("torch") is None:
        why = "torch, which quantises, is not installed"
    else:
        quantised = _engine(_exported(data, "int8", checkpoint=False), choice)
    digest = hashlib.sha256(data).hexdigest()[:16]
    about = json.loads(engine.metadata.get("provenance", "{}"))
    return Subject(name, digest, engine, quant, quantised, _whitening(data), why, about, data)


def _exported(what: Path | bytes, quant: str, *, checkpoint: bool) -> bytes:
    """A checkpoint, or the bytes of an engine file, as the bytes of an engine file."""
    if find_spec("torch") is None:
        raise UserError("reading a checkpoint needs torch", "pip install 'codewm[train]', or export it first")
    from codewm.model import export

    with tempfile.TemporaryDirectory(prefix="codewm-eval-") as folder:
        out = Path(folder) / "model.safetensors"
        if checkpoint:
            assert isinstance(what, Path)
            export.export_copy(what, None, out, quant)
        else:
            assert isinstance(what, bytes)
            out.write_bytes(what)
            weights, config, _ = export.load(out)
            export.export(out, weights, config, quant=quant)
        return out.read_bytes()


def _engine(data: bytes, choice: str) -> core.Engine:
    try:
        return core.Engine.from_bytes(data)
    except core.TokenizerMismatch as e:
        raise UserError(f"{choice} was made with another tokeniser: {e}", "train or export it again") from e
    except core.CoreError as e:
        raise UserError(f"{choice} is not a usable model: {e}", "train or export it again") from e


def _whitening(data: bytes) -> F64:
    """The map from f to t, which no export quantises."""
    from safetensors.numpy import load as tensors

    held = tensors(data)
    if "target.weight" not in held:
        raise UserError("the model file has no map to the target space", "train or export it again")
    return held["target.weight"].astype(np.float64)


def columns(subject_action: str, stored_action: str) -> list[int]:
    """Columns of the stored action that make up the one a model is told. Raises `UserError` if some are missing."""
    if subject_action not in core.ACTIONS:
        raise UserError(f"the model is told an unknown action '{subject_action}'", "train or export it again")
    wanted, held = core.ACTIONS[subject_action], core.ACTIONS[stored_action]
    missing = [name for name in wanted if name not in held]
    if missing:
        raise UserError(
            f"the model is told {subject_action}, the edits are described by {stored_action}",
            f"harvest with action = {subject_action}",
        )
    return [held.index(name) for name in wanted]
