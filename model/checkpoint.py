"""A run in memory in, a folder that can be read, resumed and trusted out.

    runs/<id>/weights.safetensors   the best weights so far, by validation R2
              state.safetensors     current weights and optimiser moments, for an exact resume
              config.json           ModelConfig and TrainConfig
              metrics.jsonl         one event per line
              card.md               what it is, for people

Every file is written beside its place and renamed, so a kill leaves the old one whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from codewm.corpus.atomic import write_file
from codewm.corpus.errors import UserError


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step, and wait until it is on disk."""
    write_file(path, data, durable=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Tensors and JSON metadata into one safetensors file, tensors in name order."""
    ready = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    write_atomic(path, save(ready, metadata={"codewm": json.dumps(dict(meta), sort_keys=True)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The inverse of save_tensors; a damaged or foreign file is a UserError."""
    try:
        with safe_open(str(path), framework="pt") as file:  # type: ignore[no-untyped-call]
            meta = json.loads((file.metadata() or {})["codewm"])
            return {name: file.get_tensor(name) for name in file.keys()}, meta  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise UserError(
            f"cannot read checkpoint {path.name}: {error}", "start a new run without --resume"
        ) from error


def optimiser_tensors(optimiser: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """AdamW's moments and step counts under `optim.<parameter>.<field>`; names in parameter order."""
    out: dict[str, Tensor] = {}
    for index, fields in optimiser.state_dict()["state"].items():
        for field, value in fields.items():
            out[f"optim.{names[index]}.{field}"] = torch.as_tensor(value)
    return out


def restore_optimiser(
    optimiser: torch.optim.Optimizer, names: list[str], tensors: Mapping[str, Tensor]
) -> None:
    """Put back what optimiser_tensors took out."""
    state = optimiser.state_dict()
    state["state"] = {
        index: {
            key.rsplit(".", 1)[1]: value.clone()
            for key, value in tensors.items()
            if key.startswith(f"optim.{name}.") and key.rsplit(".", 1)[0] == f"optim.{name}"
        }
        for index, name in enumerate(names)
    }
    optimiser.load_state_dict(state)


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.weights = path / "weights.safetensors"
        self.state = path / "state.safetensors"
        self.config = path / "config.json"
        self.metrics = path / "metrics.jsonl"
        self.card = path / "card.md"

    def append(self, event: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(event), sort_keys=True) + "\n")


def latest_unfinished(runs: Path) -> RunFolder:
    """The newest run folder that can be resumed."""
    states = sorted(runs.glob("*/state.safetensors"), key=lambda p: p.stat().st_mtime)
    if not states:
        raise UserError("there is no unfinished run to resume", "start one with `codewm train`")
    return RunFolder(states[-1].parent)
