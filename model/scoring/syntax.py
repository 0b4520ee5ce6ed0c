"""Tokens in, tokens without names and values out: what code does, whatever it is called."""

from __future__ import annotations

import numpy as np

import codewm_core as core

SYNTAX = np.arange(core.VOCAB_SIZE).astype(np.uint16)
"""[VOCAB_SIZE] each token, but all identifiers are one, all strings another, all numbers a third."""
for _i, (_first, _last) in enumerate(
    (
        (core.IDENT_FIRST, core.IDENT_LAST),
        (core.STRING_FIRST, core.STRING_LAST),
        (core.NUMBER_FIRST, core.NUMBER_LAST),
    )
):
    SYNTAX[_first : _last + 1] = core.IDENT_FIRST + _i
SYNTAX_SIZE = core.IDENT_FIRST + 3
"""How many there are."""
