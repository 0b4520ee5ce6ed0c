"""A repository in, the model that scores it out: named, local, or the one shipped with the package."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import codewm_core as core
from codewm.corpus.errors import UserError

BASE_NAME = "base"


@dataclass(frozen=True)
class ScoringModel:
    """A loaded engine and what people should know about it."""

    engine: core.Engine
    source: str
    """'local', 'base' or 'file'."""
    digest: str
    """First 16 hex digits of the file's SHA-256."""
    sentence: str
    """Which model it is, for people."""
    window: int
    action: str

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the numbers that describe each edit to the model."""
        return core.ACTIONS[self.action]

    @property
    def trained_on(self) -> list[dict[str, Any]]:
        """The repositories that it says it was made with: name, root, role; [] where it does not say."""
        try:
            sources = json.loads(self.engine.metadata.get("provenance", "{}")).get("sources", [])
        except (ValueError, AttributeError):
            return []
        return [s for s in sources if isinstance(s, dict)] if isinstance(sources, list) else []


def base_path() -> Path:
    """Where the shipped model lies."""
    import codewm.model.base

    return Path(next(iter(codewm.model.base.__path__))) / "base.safetensors"


def load_model(data_dir: Path, choice: str | None = None) -> ScoringModel:
    """Load the model to score with: `choice` (a path, or 'base'), else the local one, else the shipped one.

    Raises `UserError` for a model that is damaged, foreign or made with another tokeniser.
    """
    local = data_dir / "model.safetensors"
    if choice is not None and choice != BASE_NAME:
        return _load(Path(choice), "file", "the model file you named", "check the path given to --model")
    if choice is None and local.is_file():
        hint = "run 'codewm train' again, or use '--model base'"
        return _load(local, "local", "the local model, trained on this repository", hint)
    return _load(
        base_path(), "base", "the base model shipped with codewm", "reinstall codewm, or run 'codewm train'"
    )


def _load(path: Path, source: str, what: str, hint: str) -> ScoringModel:
    try:
        data = path.read_bytes()
    except OSError as e:
        raise UserError(f"cannot read the model {path}: {e.strerror}", hint) from e
    try:
        engine = core.Engine.from_bytes(data)
        config = engine.config
        window, action = int(config["window"]), str(config["action"])
    except core.TokenizerMismatch as e:
        raise UserError(f"{path} was made with another tokeniser: {e}", hint) from e
    except (core.CoreError, KeyError, ValueError) as e:
        raise UserError(f"{path} is not a usable model: {e}", hint) from e
    if action not in core.ACTIONS:
        raise UserError(f"{path} describes edits by an unknown action '{action}'", hint)
    digest = hashlib.sha256(data).hexdigest()[:16]
    return ScoringModel(engine, source, digest, f"{what} ({digest})", window, action)
