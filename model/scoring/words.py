"""A unit's costly tokens in, the words of Python and the names of the edit that they stand for out."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

import codewm_core as core

# How people write what the grammar calls otherwise; `<...>` and brackets are no words of their own.
_SAID = {
    "argument_list": "a call",
    "assignment": "=",
    "attribute": "an attribute",
    "subscript": "[]",
    "keyword_argument": "a keyword argument",
    "default_parameter": "a default",
    "function_definition": "def",
    "class_definition": "class",
    "not_operator": "not",
    "conditional_expression": "if else",
    "none": "None",
    "true": "True",
    "false": "False",
    "future_import_statement": "from __future__ import",
    "import_from_statement": "from import",
    "interpolation": "an f-string's value",
    "<docstring>": "a docstring",
}
_ENDINGS = ("_statement", "_clause", "_operator", "_definition")


def words(
    tokens: NDArray[np.uint16],
    positions: NDArray[np.int32],
    bits: NDArray[np.float32],
    names: list[str],
    most: int,
) -> list[str]:
    """The `most` dearest different tokens in words, dearest first; an identifier is one of `names` or left out."""
    order = np.argsort(-bits, kind="stable")
    known = {bucket(name): name for name in reversed(names)}
    said: list[str] = []
    for k in order:
        word = _word(int(tokens[positions[k]]), known)
        if word and word not in said:
            said.append(word)
        if len(said) == most:
            break
    return said


def _word(token: int, names: dict[int, str]) -> str:
    if core.IDENT_FIRST <= token <= core.IDENT_LAST:
        return names.get(token, "")
    if core.STRING_FIRST <= token <= core.STRING_LAST:
        return "a string"
    if core.NUMBER_FIRST <= token <= core.NUMBER_LAST:
        return "a number"
    text = _vocabulary()[token]
    if text in _SAID:
        return _SAID[text]
    if text.startswith("<") and text.endswith(">") and len(text) > 2:
        return ""
    for ending in _ENDINGS:
        text = text.removesuffix(ending)
    return text.replace("_", " ")


@cache
def _vocabulary() -> list[str]:
    return core.vocabulary()


def bucket(name: str) -> int:
    """The token of an identifier; -1 for what is none."""
    tokens, _ = core.tokenize([name.encode("utf-8", "surrogatepass")])
    return next((int(t) for t in tokens if core.IDENT_FIRST <= t <= core.IDENT_LAST), -1)
