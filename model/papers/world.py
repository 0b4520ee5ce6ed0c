"""A run's folder in, a world out: latents, predicted next states and loop-wise latents, as suites ask for them.

Everything is computed with dropout off and in f32. States longer than the window are cut, as in the papers. Without a
padding mask a state is padded to its own width alone, so that its latent never depends on what it was batched with.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codewm.corpus.errors import UserError
from codewm.model.checkpoint import load_tensors
from codewm.model.papers.config import Recipe, from_json
from codewm.model.papers.data import grid, width
from codewm.model.papers.networks import Encoder, Networks
from codewm.model.papers.tokens import vocabulary

I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
F32 = NDArray[np.float32]
ROWS = 256  # states encoded at once, at most
TOKENS = 16_384


class PaperWorld:
    """One of the papers' models, trained. F is D; for a forecast displacement F is 2 D, f(s) and t(s), because the
    prediction is added to t(s)."""

    one_space = False
    """Online and target latents never share a space: the target is another network."""

    def __init__(self, model: Networks, recipe: Recipe, name: str) -> None:
        self.model, self.recipe, self.name = model.eval(), recipe, name
        self.action = recipe.network.action
        self.tokenizer = recipe.network.tokenizer
        self.delta = recipe.network.forecast == "delta"
        self._pad = vocabulary(recipe.network.tokenizer)[2]

    @property
    def kind(self) -> str:
        """The recipe without its seed and what it ran on."""
        recipe = asdict(self.recipe)
        for key in ("seed", "device", "threads", "precision", "keep"):
            del recipe["run"][key]
        return json.dumps(recipe, sort_keys=True)

    def online(self, tokens: U16, offsets: I64) -> F32:
        """Latents that the predictor starts from: [n, F]."""
        f = self._read(self.model.online, tokens, offsets, lambda e, t, n: [e(t, n)])[0]
        return np.concatenate([f, self.target(tokens, offsets)], 1) if self.delta else f

    def target(self, tokens: U16, offsets: I64) -> F32:
        """Latents in the target space: [n, K], K = D."""
        loop = self.recipe.network.delta_loop
        return self._read(self.model.target, tokens, offsets, lambda e, t, n: [e(t, n, loop)])[0]

    def target_of_online(self, online: F32) -> F32 | None:
        """No map leads from f to t, but where t(s) is part of the latent."""
        return online[:, self.recipe.network.dim :] if self.delta else None

    def foresee(self, tokens: U16, offsets: I64, edited: I64, action: F32) -> tuple[F32, F32]:
        """`step` from the states `edited` [N]: the papers' predictor reads nothing but their latents."""
        return self.step(self.online(tokens, offsets)[edited], action)

    @torch.no_grad()
    def step(self, online: F32, action: F32) -> tuple[F32, F32]:
        """Latents [n, F] and actions [n, A] -> predicted next state [n, K], and the latent to go on from [n, F].

        The papers feed the prediction, which lies in the target space, back as if it were an online latent.
        """
        D = self.recipe.network.dim
        rows = []
        for i in range(0, len(online), 4_096):
            z = torch.from_numpy(np.ascontiguousarray(online[i : i + 4_096, :D]))
            a = torch.from_numpy(np.ascontiguousarray(action[i : i + 4_096], np.float32))
            rows.append(self.model.predict(z, a).numpy())
        out = np.concatenate(rows) if rows else np.zeros((0, D), np.float32)
        if not self.delta:
            return out, out
        state = (online[:, D:] + out).astype(np.float32)
        return state, np.concatenate([state, state], 1)

    def loops(self, tokens: U16, offsets: I64) -> list[F32]:
        """Latents [n, D] after each loop, by the model's own readout and final LayerNorm; first the embeddings.

        The embeddings' CLS token is the same for every state, so they are the mean over the tokens with their
        positions instead.
        """

        def every(encoder: Encoder, t: Tensor, n: Tensor) -> list[Tensor]:
            first, *later = encoder.features(t, n)
            inside = (torch.arange(t.shape[1]) < n[:, None]).float()[:, :, None]
            mean = (first[:, 1:] * inside).sum(1) / inside.sum(1).clamp_min(1)
            return [mean, *(encoder.read(x, t, n) for x in later)]

        return self._read(self.model.online, tokens, offsets, every)

    @torch.no_grad()
    def _read(
        self,
        encoder: Encoder,
        tokens: U16,
        offsets: I64,
        what: Callable[[Encoder, Tensor, Tensor], list[Tensor]],
    ) -> list[F32]:
        window = self.recipe.network.window
        lengths = np.minimum(np.diff(offsets), window)
        widths = np.array([width(int(n), window) for n in lengths], np.int64)
        out: list[F32] = []
        for wide in np.unique(widths):
            ids = np.flatnonzero(widths == wide)
            size = max(1, min(ROWS, TOKENS // int(wide)))
            for i in range(0, len(ids), size):
                part = ids[i : i + size]
                found = what(encoder, *grid(tokens, offsets, part, window, self._pad))
                if not out:
                    out = [np.zeros((len(lengths), x.shape[1]), np.float32) for x in found]
                for whole, x in zip(out, found, strict=True):
                    whole[part] = x.float().numpy()
        if not out:
            raise UserError("there are no states to encode")
        return out


def load(place: str | Path) -> PaperWorld:
    """The world of a run's folder, or of its weights file. Raises `UserError`."""
    path = Path(place)
    weights = path / "weights.safetensors" if path.is_dir() else path
    config = weights.parent / "config.json"
    if not weights.is_file() or not config.is_file():
        raise UserError(f"'{path.name}' is no run of a recipe", "'codewm train --recipe' makes one")
    recipe = from_json(config.read_text(encoding="utf-8"))
    tensors, meta = load_tensors(weights)
    expected = vocabulary(recipe.network.tokenizer)[1]
    if meta.get("tokenizer") != expected:
        raise UserError(f"'{path.name}' was trained with another tokeniser", "train the recipe again")
    model = Networks(recipe.network)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"'{path.name}' has other weights than its config says: {error}") from error
    return PaperWorld(model, recipe, f"{recipe.recipe}-{recipe.mode}-s{recipe.run.seed}")


def is_run(place: str | Path) -> bool:
    """Whether a folder or a weights file was left by a recipe, and not by codewm's own training."""
    from codewm.model.papers.config import SCHEMA

    path = Path(place)
    config = (path if path.is_dir() else path.parent) / "config.json"
    return config.is_file() and f'"{SCHEMA}"' in config.read_text(encoding="utf-8")
