"""Python source and engine model in, tokens, unit edits and predictions out: the face of the Rust core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codewm_core import _core
from codewm_core._core import (
    ACTIONS as ACTIONS,
    DEPTH_FIRST as DEPTH_FIRST,
    DEPTH_LAST as DEPTH_LAST,
    EMPTY as EMPTY,
    FLAG_CREATED as FLAG_CREATED,
    FLAG_DELETED as FLAG_DELETED,
    FLAG_MOVED as FLAG_MOVED,
    FLAG_NOOP as FLAG_NOOP,
    FLAG_SYNTAX_ERROR as FLAG_SYNTAX_ERROR,
    FLAG_WINDOWED as FLAG_WINDOWED,
    IDENT_FIRST as IDENT_FIRST,
    IDENT_LAST as IDENT_LAST,
    KINDS as KINDS,
    MASK as MASK,
    NAME_ATTRIBUTE as NAME_ATTRIBUTE,
    NAME_BOUND as NAME_BOUND,
    NAME_CALL as NAME_CALL,
    NAME_IMPORT as NAME_IMPORT,
    NAME_IN_MODULE as NAME_IN_MODULE,
    NAME_IN_UNIT as NAME_IN_UNIT,
    NAME_KEYWORD as NAME_KEYWORD,
    NUMBER_FIRST as NUMBER_FIRST,
    NUMBER_LAST as NUMBER_LAST,
    OP_FIRST as OP_FIRST,
    OP_LAST as OP_LAST,
    PAD as PAD,
    PAPER_PAD as PAPER_PAD,
    PAPER_VOCAB_SIZE as PAPER_VOCAB_SIZE,
    RANGES as RANGES,
    STRING_FIRST as STRING_FIRST,
    STRING_LAST as STRING_LAST,
    TOKENIZER_ID as TOKENIZER_ID,
    TRUNC as TRUNC,
    VOCAB_SIZE as VOCAB_SIZE,
    CoreError as CoreError,
    Engine as Engine,
    InvalidInput as InvalidInput,
    Miner as Miner,
    ModelFormatError as ModelFormatError,
    NgramCache as NgramCache,
    TokenizerMismatch as TokenizerMismatch,
    assign_chains as assign_chains,
    identifiers as identifiers,
    paper_tokenizer_id as paper_tokenizer_id,
    paper_tokens as paper_tokens,
    places as places,
    tokenize as tokenize,
    vocabulary_names as vocabulary,
)

if TYPE_CHECKING:
    # Only types: a harvest that finds nothing new is done before numpy would be imported.
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "ACTIONS",
    "KINDS",
    "TOKENIZER_ID",
    "VOCAB_SIZE",
    "CoreError",
    "EditBatch",
    "Engine",
    "InvalidInput",
    "Miner",
    "ModelFormatError",
    "NgramCache",
    "TokenizerMismatch",
    "Unit",
    "assign_chains",
    "describe_states",
    "diff_units",
    "identifiers",
    "paper_tokenizer_id",
    "paper_tokens",
    "places",
    "tokenize",
    "units",
    "vocabulary",
]


@dataclass(frozen=True)
class Unit:
    """A function, method, class header or run of module statements of one source, read as UTF-8.

    Lines and bytes are those of the decoded source.
    """

    name: str
    kind: str
    start_line: int
    """First line, from 1."""
    end_line: int
    start_byte: int
    end_byte: int
    tokens: NDArray[np.uint16]
    """[S] token ids, unwindowed."""


@dataclass(frozen=True)
class EditBatch:
    """The N unit edits of P (before, after) pairs, in the order of the pairs and then of the file."""

    pair: NDArray[np.int32]
    """[N] index of the pair."""
    kind: NDArray[np.uint8]
    """[N] index into `KINDS`."""
    flags: NDArray[np.uint16]
    """[N] bits `FLAG_*`."""
    before_unit: list[str]
    """[N] qualified name before, '' if created."""
    after_unit: list[str]
    """[N] qualified name after, '' if deleted."""
    before_tokens: NDArray[np.uint16]
    """States before, windowed, flat; state i is `before_offsets[i]:before_offsets[i + 1]`."""
    before_offsets: NDArray[np.int64]
    after_tokens: NDArray[np.uint16]
    after_offsets: NDArray[np.int64]
    action: NDArray[np.float32]
    """[N, A], every entry in [0, 1]; names in `ACTIONS`."""
    tokens_added: NDArray[np.int32]
    tokens_removed: NDArray[np.int32]
    lines: NDArray[np.int32]
    """[N, 2] first and last line of the unit after the edit (before it, if deleted)."""
    first_changed_line: NDArray[np.int32]
    name_offsets: NDArray[np.int64]
    """[N + 1] into the three arrays below: names that occur more often in the unit than before."""
    name_ids: NDArray[np.int32]
    """Index into `names`."""
    name_flags: NDArray[np.uint8]
    """Bits `NAME_*`."""
    name_lines: NDArray[np.int32]
    names: list[str]
    pair_lines: NDArray[np.int32]
    """[P, 2] lines added and deleted."""
    pair_errors: NDArray[np.bool_]
    """[P] a side has a syntax error."""

    def __len__(self) -> int:
        return len(self.pair)


def units(source: bytes) -> list[Unit]:
    """The units of one source, in order of their first byte. Any bytes are accepted."""
    return [Unit(*row) for row in _core.unit_rows(source)]


def describe_states(
    before: tuple[NDArray[np.uint16], NDArray[np.int64]],
    after: tuple[NDArray[np.uint16], NDArray[np.int64]],
    kinds: NDArray[np.uint8],
    action: str = "v15",
) -> NDArray[np.float32]:
    """Actions [N, A] of modified units that are only known by their states: (flat tokens, offsets [N + 1]) twice.

    `kinds` [N] are indices into `KINDS`. Raises `InvalidInput`.
    """
    return _core.describe_states(before, after, kinds, action)


def diff_units(
    pairs: Sequence[tuple[bytes | None, bytes | None]],
    *,
    window: int = 256,
    action: str = "v15",
    threads: int = 0,
) -> EditBatch:
    """The unit edits between the two sides of each pair; None is a side where the file does not exist.

    Pass the same bytes object for the same blob: it is parsed once. States over `window` tokens are cut
    around the change. `threads` 0 uses all cores; the result does not depend on it. Raises `InvalidInput`.
    """
    return EditBatch(**_core.diff_units(pairs, window=window, action=action, threads=threads))
