"""Functions before and after an edit in, what the edit leaves dangling out.

Four things that hardly any edit leaves behind on purpose, read off the token stream, where parents come before their
children: a name that is set and no longer used, one that is used and no longer set, one that is now used before it
is set, and a statement behind a `return`, `raise`, `break` or `continue` of its own block. Scopes are not told
apart, and different names may share a token: only what was in order before the edit counts. A unit that was cut to the
window says nothing, for the other end may lie outside.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import codewm_core as core

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable

Floats = NDArray[np.float64]
_TOKEN = {word: i for i, word in enumerate(core.vocabulary()[: core.IDENT_FIRST])}
_DEPTHS = frozenset(i for word, i in _TOKEN.items() if word.startswith("<depth-"))
_STOPS = frozenset(_TOKEN[f"{w}_statement"] for w in ("return", "raise", "break", "continue"))
_SETS = frozenset(
    _TOKEN[word]
    for word in (
        "assignment", "named_expression", "default_parameter", "typed_parameter", "typed_default_parameter",
        "list_splat_pattern", "dictionary_splat_pattern", "for_statement", "for_in_clause", "function_definition",
        "class_definition", "global_statement", "nonlocal_statement", "aliased_import",
    )
)  # fmt: skip
_PARAMETERS, _ATTRIBUTE, _PATTERN = _TOKEN["parameters"], _TOKEN["attribute"], _TOKEN["pattern_list"]
_AS, _LABELS = _TOKEN["as_pattern"], frozenset((_TOKEN["keyword_argument"], _TOKEN["dotted_name"]))
# What a method takes whether it needs it or not.
_FREE = frozenset(
    int(t) for t in core.tokenize([b"self, cls"])[0] if core.IDENT_FIRST <= t <= core.IDENT_LAST
)
_DEFINED = _TOKEN["function_definition"]
_FUNCTIONS = frozenset(core.KINDS.index(k) for k in ("function", "method"))


@dataclass(frozen=True)
class LooseEnds:
    """How many of each an edit leaves that were not there before."""

    unreached: int = 0
    unset: int = 0
    early: int = 0
    unused: int = 0

    @property
    def weight(self) -> float:
        """Of ordinary edits of four repositories 0%, 0.7%, 0.7% and 2.2% have them."""
        return 3.0 * self.unreached + 2.0 * self.unset + 2.0 * self.early + self.unused


@dataclass(frozen=True)
class _Names:
    """What a state does with its variables."""

    uses: Counter[int]
    """How often each occurs, where it is set included."""
    first: dict[int, int]
    """Where each occurs first."""
    set_at: dict[int, int]
    """Where each is first set, if it is."""
    unreached: int

    def unused(self) -> set[int]:
        return {name for name in self.set_at if self.uses[name] == 1}

    def early(self) -> set[int]:
        return {name for name, place in self.set_at.items() if self.first[name] < place}


def _read(tokens: list[int]) -> _Names:
    uses: Counter[int] = Counter()
    first: dict[int, int] = {}
    set_at: dict[int, int] = {}
    unreached, stopped, previous, before = 0, -1, -1, -1
    in_parameters, targets = False, 0
    # Of each attribute that is being read: whether its object has come, so that the next name is its own.
    attributes: list[bool] = []
    for place, token in enumerate(tokens):
        if token in _DEPTHS:
            unreached += token == stopped
            follows = tokens[place + 1] if place + 1 < len(tokens) else -1
            stopped = token if follows in _STOPS else -1
            in_parameters, targets = False, 0
            attributes.clear()
        elif token == _PARAMETERS:
            in_parameters = True
        elif token == _ATTRIBUTE:
            attributes.append(False)
        elif token == _PATTERN:
            targets = 2  # where a list of targets ends is not said; most have two
        elif core.IDENT_FIRST <= token <= core.IDENT_LAST:
            if attributes and attributes[-1]:
                attributes.pop()
                if attributes:
                    attributes[-1] = True
            else:
                if attributes:
                    attributes[-1] = True
                if previous not in _LABELS:
                    uses[token] += 1
                    first.setdefault(token, place)
                    if in_parameters or targets > 0 or previous in _SETS or _AS in (previous, before):
                        set_at.setdefault(token, place)
                targets -= 1
        before, previous = previous, token
    return _Names(uses, first, set_at, unreached)


def loose_ends(before: NDArray[np.uint16], after: NDArray[np.uint16]) -> LooseEnds:
    """What an edit from one state to another leaves dangling."""
    was, now = _read(before.tolist()), _read(after.tolist())
    # The function's own name is set for others.
    own = {int(after[place + 1]) for place in np.flatnonzero(after[:-1] == _DEFINED)[:1]}
    return LooseEnds(
        unreached=max(0, now.unreached - was.unreached),
        unset=sum(name in was.set_at and name not in now.set_at for name in now.uses),
        early=len(now.early() - was.early()),
        unused=sum(name in was.uses for name in now.unused() - was.unused() - _FREE - own),
    )


def weights(table: EditTable, rows: NDArray[np.int64]) -> Floats:
    """[n] weight of what each edit of a function leaves dangling; NaN for created, deleted, cut and other units."""
    out = np.full(len(rows), np.nan)
    apart = core.FLAG_CREATED | core.FLAG_DELETED | core.FLAG_SYNTAX_ERROR | core.FLAG_WINDOWED
    for i, row in enumerate(rows.tolist()):
        if table.kind[row] in _FUNCTIONS and not table.flags[row] & apart:
            before, after = sides(table, row)
            out[i] = loose_ends(before, after).weight
    return out


def sides(table: EditTable, row: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """The state before and the state after an edit."""
    return table.state(table.before[row]), table.state(table.after[row])
