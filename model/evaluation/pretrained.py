"""A folder with a Hugging Face model and source texts in, their vectors out: the mean over every token of the text.

Nothing is fetched and nothing of the folder is run: local files only, no code of the model's own, weights as
safetensors only. A text that is longer than the model reads is read in pieces, and all of its tokens count alike; the
papers' comparison cut it after 2,048 characters.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codewm.corpus.errors import UserError

F32 = NDArray[np.float32]
TOKENS_PER_BATCH = 8_192  # padded
LONGEST = 4_096
"""Tokens of a piece where the model says no limit, or a higher one."""


@dataclass(frozen=True)
class Pretrained:
    """A loaded encoder."""

    name: str
    model: Any
    tokenizer: Any
    longest: int
    """Tokens of a piece, special ones included."""
    say: Callable[[str], None]

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> F32:
        """Texts [n] -> the mean over their tokens of the last hidden states [n, W], special tokens included.

        A text without any token is the zero vector.
        """
        distinct = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        pieces, owners = self._pieces(list(distinct))
        sums: F32 | None = None
        total = np.zeros(len(distinct))
        self.say(f"{self.name}: {len(distinct):,} texts in {len(pieces):,} pieces")
        for batch in _batches([len(p) for p in pieces]):
            hidden = self._hidden([pieces[i] for i in batch])
            if sums is None:
                sums = np.zeros((len(distinct), hidden.shape[-1]), np.float32)
            for i, row in zip(batch, hidden, strict=True):
                sums[owners[i]] += row
                total[owners[i]] += len(pieces[i])
        if sums is None:
            sums = np.zeros((len(distinct), 1), np.float32)
        mean = (sums / np.maximum(total, 1)[:, None]).astype(np.float32)
        if not np.isfinite(mean).all():
            raise UserError(f"the encoder '{self.name}' gives values that are not finite", "try another one")
        return mean[[distinct[text] for text in texts]]

    def _pieces(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids of every piece, and whose text it is of."""
        with _quiet():
            held = self.tokenizer(
                list(texts), truncation=True, max_length=self.longest, return_overflowing_tokens=True
            )
        pairs = zip(held["input_ids"], held["overflow_to_sample_mapping"], strict=True)
        kept = [(ids, owner) for ids, owner in pairs if ids]
        return [ids for ids, _ in kept], [owner for _, owner in kept]

    def _hidden(self, pieces: Sequence[list[int]]) -> F32:
        """The sum of the last hidden states of each piece: [n, W]."""
        width = max(map(len, pieces))
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.full((len(pieces), width), pad)
        mask = torch.zeros((len(pieces), width), dtype=torch.long)
        for i, piece in enumerate(pieces):
            ids[i, : len(piece)] = torch.tensor(piece)
            mask[i, : len(piece)] = 1
        out = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        summed: F32 = (out.float() * mask[..., None]).sum(1).numpy()
        return summed


def load(folder: Path, say: Callable[[str], None]) -> Pretrained:
    """The encoder in a folder; of an encoder-decoder, the encoder. Raises `UserError`."""
    if not (folder / "config.json").is_file():
        raise UserError(
            f"'{folder}' is no folder with a model", "name one with config.json, weights and tokeniser"
        )
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"'{folder}' has no weights as safetensors",
            "convert them; files that run code when they are read are not read",
        )
    from transformers import AutoModel, AutoTokenizer

    safe = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(folder), **safe)
            model = AutoModel.from_pretrained(str(folder), use_safetensors=True, dtype=torch.float32, **safe)
    except Exception as e:  # of the library's many kinds, all mean this
        raise UserError(f"cannot load the encoder in '{folder}': {_first_line(e)}", "try another one") from e
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokeniser in '{folder}' cannot cut a text into pieces", "save a fast one with it"
        )
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    name = folder.resolve().name
    return Pretrained(name, model.eval(), tokenizer, _longest(model.config, tokenizer), say)


def _longest(config: Any, tokenizer: Any) -> int:
    """Tokens that the model reads at once. Of RoBERTa's kind, two positions more are declared than there are."""
    said = [LONGEST, int(tokenizer.model_max_length)]
    positions = getattr(config, "max_position_embeddings", None)
    if positions:
        said.append(int(positions) - 2)
    return min(said)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in batches of about `TOKENS_PER_BATCH` padded tokens, of like lengths."""
    order = np.argsort(lengths, kind="stable").tolist()
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) + 1) * lengths[i] > TOKENS_PER_BATCH:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


@contextmanager
def _quiet() -> Iterator[None]:
    """The library talks on stderr of things that nobody can change here."""
    from transformers.utils.logging import disable_progress_bar

    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
