"""A tokeniser's name in, its size, its id and its padding out."""

from __future__ import annotations

import codewm_core
from codewm.corpus.errors import UserError

DEPTH_FIRST = "paper-depth-first"


def vocabulary(tokenizer: str) -> tuple[int, str, int]:
    """(entries, tokeniser id, padding token) of a recipe's tokeniser. Raises `UserError`."""
    if tokenizer == "codewm":
        return int(codewm_core.VOCAB_SIZE), codewm_core.TOKENIZER_ID, int(codewm_core.PAD)
    if tokenizer in ("paper", DEPTH_FIRST):
        found = codewm_core.paper_tokenizer_id(tokenizer == DEPTH_FIRST)
        return int(codewm_core.PAPER_VOCAB_SIZE), found, int(codewm_core.PAPER_PAD)
    raise UserError(f"there is no tokeniser {tokenizer!r}", f"codewm, paper or {DEPTH_FIRST}")
