"""A tokeniser's name in, its size, its id and its padding out."""

from __future__ import annotations

import codewm_core
from codewm.corpus.errors import UserError


def vocabulary(tokenizer: str) -> tuple[int, str, int]:
    """(entries, tokeniser id, padding token) of a recipe's tokeniser. Raises `UserError`."""
    if tokenizer == "codewm":
        return int(codewm_core.VOCAB_SIZE), codewm_core.TOKENIZER_ID, int(codewm_core.PAD)
    raise UserError(f"this build has no tokeniser {tokenizer!r}", "use --tokenizer codewm")
