"""Trained weights in, the engine's one safetensors file out (format codewm.model/4), f32 or int8.

int8: every Linear and embedding matrix, one symmetric scale per row (absmax / 127). The maps to t, x and r are f16,
with rows scaled likewise (absmax): they whiten, so their small directions matter as much as their large ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

import codewm_core
from codewm.corpus.errors import UserError
from codewm.model.checkpoint import load_tensors, write_atomic
from codewm.model.config import ModelConfig, from_json, from_mapping

FORMAT = "codewm.model/4"
QUANTS = ("f32", "int8")


def quantised(name: str, tensor: Tensor) -> torch.dtype:
    """What int8 export stores this tensor as."""
    if tensor.ndim != 2 or not name.endswith(".weight"):
        return torch.float32
    return torch.float16 if name.startswith(("target.", "state.", "reading.")) else torch.int8


def quantise_rows(weight: Tensor, dtype: torch.dtype = torch.int8) -> tuple[Tensor, Tensor]:
    """weight [out, in] f32 -> (I8 or F16 [out, in], scale f32 [out]) with weight ~ what is stored * scale."""
    largest = 127.0 if dtype == torch.int8 else 1.0
    scale = (weight.abs().amax(1) / largest).clamp_min(1e-12)
    stored = weight / scale[:, None]
    if dtype == torch.int8:
        stored = stored.round().clamp(-127, 127)
    return stored.to(dtype), scale.float()


def engine_tensors(weights: Mapping[str, Tensor], quant: str) -> dict[str, Tensor]:
    """The file's tensors for a state_dict of JEPA."""
    out: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        value = tensor.detach().cpu().float().contiguous()
        dtype = quantised(name, value) if quant == "int8" else torch.float32
        if dtype == torch.float32:
            out[name] = value
        else:
            out[name], out[name + ".scale"] = quantise_rows(value, dtype)
    return out


def export(
    path: Path,
    weights: Mapping[str, Tensor],
    config: ModelConfig,
    *,
    quant: str = "int8",
    provenance: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
) -> None:
    """Write the engine file, in one step."""
    write_atomic(path, packed(weights, config, quant, provenance, metrics, calibration))


def packed(
    weights: Mapping[str, Tensor],
    config: ModelConfig,
    quant: str,
    provenance: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
) -> bytes:
    """The engine file's bytes."""
    if quant not in QUANTS:
        raise UserError(f"unknown quantisation {quant!r}", f"one of {', '.join(QUANTS)}")
    metadata = {
        "format": FORMAT,
        "config": json.dumps(asdict(config), sort_keys=True),
        "tokenizer_id": codewm_core.TOKENIZER_ID,
        "action": config.action,
        "action_names": json.dumps(list(codewm_core.ACTIONS[config.action])),
        "quant": quant,
        "provenance": compact(provenance),
        "metrics": compact(metrics),
        "calibration": compact(calibration),
    }
    tensors = engine_tensors(weights, quant)
    data: bytes = save({k: tensors[k] for k in sorted(tensors)}, metadata=metadata)
    return data


def compact(values: Mapping[str, Any] | None) -> str:
    """JSON without spaces: the shipped model has a megabyte, and a list of repositories in it."""
    return json.dumps(dict(values or {}), sort_keys=True, separators=(",", ":"))


def load(path: Path) -> tuple[dict[str, Tensor], ModelConfig, dict[str, str]]:
    """An engine file -> (state_dict of JEPA in f32, its config, the file's metadata)."""
    hint = "train or export it again"
    try:
        with safe_open(str(path), framework="pt") as file:  # type: ignore[no-untyped-call]
            metadata: dict[str, str] = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read model {path.name}: {error}", hint) from error
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path.name} is not a {FORMAT} file", hint)
    if metadata.get("tokenizer_id") != codewm_core.TOKENIZER_ID:
        raise UserError(f"{path.name} was made with another tokeniser", hint)
    try:
        config = from_mapping(ModelConfig, json.loads(metadata["config"]))
    except (KeyError, json.JSONDecodeError) as error:
        raise UserError(f"{path.name} has no readable config", hint) from error
    weights = {
        name: tensor.float() * tensors[name + ".scale"][:, None] if name + ".scale" in tensors else tensor
        for name, tensor in tensors.items()
        if not name.endswith(".scale")
    }
    return weights, config, metadata


def export_copy(weights: Path, about: Path | None, path: Path, quant: str) -> None:
    """Export a run's checkpoint; the metadata of the model file `about`, if given, is carried over."""
    tensors, _ = load_tensors(weights)
    config, _ = from_json((weights.parent / "config.json").read_text(encoding="utf-8"))
    metadata = load(about)[2] if about is not None else {}
    export(
        path,
        tensors,
        config,
        quant=quant,
        provenance=json.loads(metadata.get("provenance", "{}")),
        metrics=json.loads(metadata.get("metrics", "{}")),
        calibration=json.loads(metadata.get("calibration", "{}")),
    )
