"""Types of the compiled module; people import `codewm_core`."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

class CoreError(Exception): ...
class InvalidInput(CoreError): ...
class ModelFormatError(CoreError): ...
class TokenizerMismatch(ModelFormatError): ...

TOKENIZER_ID: str
VOCAB_SIZE: int
KINDS: tuple[str, ...]
ACTIONS: dict[str, tuple[str, ...]]
PAPER_VOCAB_SIZE: int
PAPER_PAD: int
PAD: int
EMPTY: int
MASK: int
TRUNC: int
DEPTH_FIRST: int
DEPTH_LAST: int
IDENT_FIRST: int
IDENT_LAST: int
STRING_FIRST: int
STRING_LAST: int
NUMBER_FIRST: int
NUMBER_LAST: int
OP_FIRST: int
OP_LAST: int
FLAG_CREATED: int
FLAG_DELETED: int
FLAG_MOVED: int
FLAG_NOOP: int
FLAG_WINDOWED: int
FLAG_SYNTAX_ERROR: int
NAME_CALL: int
NAME_IMPORT: int
NAME_ATTRIBUTE: int
NAME_IN_UNIT: int
NAME_IN_MODULE: int
NAME_BOUND: int
NAME_KEYWORD: int
RANGES: int

def vocabulary_names() -> list[str]: ...
def tokenize(sources: Sequence[bytes]) -> tuple[NDArray[np.uint16], NDArray[np.int64]]: ...
def paper_tokens(source: bytes, *, depth_first: bool = False, window: int = 512) -> NDArray[np.uint16]:
    """A whole file in the CodeWM papers' 662-entry layout: BOS, at most `window` - 2 tokens, EOS.

    Breadth first as their models were trained, or depth first as their text says. A file that is not Python 3.9 is
    BOS, PARSE_ERROR, EOS. Raises `InvalidInput` for more than 64 MiB.
    """

def paper_tokenizer_id(depth_first: bool) -> str:
    """The id of the papers' layout in one of its two orders."""

def identifiers(sources: Sequence[bytes]) -> tuple[list[str], NDArray[np.int32]]: ...
def unit_rows(
    source: bytes,
) -> list[tuple[str, str, int, int, int, int, NDArray[np.uint16]]]: ...
def describe_states(
    before: tuple[NDArray[np.uint16], NDArray[np.int64]],
    after: tuple[NDArray[np.uint16], NDArray[np.int64]],
    kinds: NDArray[np.uint8],
    action: str,
) -> NDArray[np.float32]: ...
def places(
    lengths: NDArray[np.int64], actions: NDArray[np.float32], action: str, window: int
) -> NDArray[np.int64]:
    """Which tokens of states before, of these lengths [N], are read where the edits of actions [N, A] happen.

    Half-open ranges [N, RANGES, 2], some of them empty; what `Engine.read` reads. Raises `InvalidInput`.
    """

def diff_units(
    pairs: Sequence[tuple[bytes | None, bytes | None]], *, window: int, action: str, threads: int
) -> dict[str, Any]: ...

class Miner:
    """Changes of files in, rows of the edit table out; keeps the versions it was not told to forget.

    Each new version is parsed only where it differs from the one before it. Rows, and the numbers of states,
    units and names, depend on the changes and their order alone.
    """

    def __init__(self, *, window: int, action: str, threads: int = 0) -> None:
        """`threads` 0 is one per core. Raises `InvalidInput`."""
    def resume(
        self,
        tokens: NDArray[np.uint16],
        offsets: NDArray[np.int64],
        units: Sequence[str],
        names: Sequence[str],
    ) -> None:
        """Take over the numbers of a table (states [U] by tokens and offsets [U + 1]); before any `add`."""
    def add(
        self,
        blobs: Sequence[tuple[str, bytes]],
        changes: Sequence[tuple[int, int, str | None, str | None]],
    ) -> tuple[list[int], list[int], list[int]]:
        """Add the P changes of whole commits: (commit, path, version before, version after), in order.

        Versions go by the keys of `blobs`, of this call or one before; None is a side that does not exist.
        Returns edits, lines added, lines deleted, each [P]. Raises `InvalidInput` for an unknown version.
        """
    def forget(self, keys: Sequence[str]) -> None:
        """Let go of versions; they may be given again."""
    def columns(self) -> dict[str, Any]:
        """Return the columns of `EditTable` for the rows added, but for chain and step.

        With `name_counts` [N] for `name_offsets`, `state_tokens`, `state_lengths`, `state_hashes` of the new
        states, the new `units` and `names`, and `moved` [M, 2]: rows that are one unit, deleted from one file
        and created in another.
        """

def assign_chains(
    commit: NDArray[np.int32],
    path: NDArray[np.int32],
    unit: NDArray[np.int32],
    unit_before: NDArray[np.int32],
    flags: NDArray[np.uint16],
    renames: NDArray[np.int32],
    known_chain: NDArray[np.int32],
    known_step: NDArray[np.int32],
    moved: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Number the chains by first edit: columns [N], renames [R, 3] -> (chain [N], step [N]).

    A chain is the life of one unit: it follows renames of the unit, of its file, and the pairs of rows `moved`
    [M, 2]. `known_*` [K] are the first rows' of a table made before. Raises `InvalidInput`.
    """

class NgramCache:
    """How often each run of `order` tokens occurred; what the tokens of an edit cost by that, in bits.

    Interpolated over all shorter contexts down to the uniform distribution [Witten and Bell 1991, method C]. An n-gram
    is a 64-bit key with its last token in the lowest bits; counts are exact.
    """

    def __init__(self, order: int, fold: NDArray[np.uint16] | None = None) -> None:
        """Tokens that `fold` [VOCAB_SIZE] maps to the same number are one. Raises `InvalidInput` if keys do not fit."""
    def add(self, keys: NDArray[np.uint64], counts: NDArray[np.uint32] | None = None) -> None:
        """Count the n-grams [G], each `counts` [G] times or once."""
    def costs(
        self,
        before: tuple[NDArray[np.uint16], NDArray[np.int64]],
        after: tuple[NDArray[np.uint16], NDArray[np.int64]],
        own: int,
        beyond: int,
    ) -> tuple[
        tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]],
        tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]],
    ]:
        """Bits of what N edits add and of what they remove, by states (flat tokens, offsets [N + 1]) of both sides.

        Each as positions in the state, bits, and offsets [N + 1] of the edits in both. Removed tokens cost what they
        would if each of their n-grams had occurred `own` times less; so many tokens `beyond` each change count as
        added. Raises `InvalidInput`.
        """
    def gained(
        self,
        before: tuple[NDArray[np.uint16], NDArray[np.int64]],
        after: tuple[NDArray[np.uint16], NDArray[np.int64]],
    ) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """N-grams whose tokens were not next to each other before, and the edits' offsets [N + 1]; adds nothing."""
    def count(self, sources: Sequence[bytes]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """Distinct n-grams of the units of sources, ascending, and how often each occurs; adds nothing."""

class Engine:
    """A model file in; latents, displacements and doubts out. D is `dim`, W 2 D, K `latent`, A
    `action_dim` of `config`.

    Raises `InvalidInput` for arrays of other shapes or with values that are not finite, and `ModelFormatError` where
    the weights overflow. Row i of a result depends on row i of the arguments alone.
    """

    @staticmethod
    def from_file(path: str | PathLike[str]) -> Engine: ...
    @staticmethod
    def from_bytes(data: bytes) -> Engine:
        """Check a "codewm.model/4" file. Raises `ModelFormatError` and `TokenizerMismatch`."""
    @property
    def config(self) -> dict[str, Any]: ...
    @property
    def metadata(self) -> dict[str, str]: ...
    def encode(
        self, tokens: NDArray[np.uint16], offsets: NDArray[np.int64], *, threads: int = 0
    ) -> NDArray[np.float32]:
        """Units (flat tokens, offsets [N + 1]) -> f(s) [N, W]. `threads` 0 is one per core."""
    def target(self, f: NDArray[np.float32]) -> NDArray[np.float32]:
        """f(s) [N, W] -> t(s) [N, K]."""
    def read(
        self,
        tokens: NDArray[np.uint16],
        offsets: NDArray[np.int64],
        edited: NDArray[np.int64],
        actions: NDArray[np.float32],
        *,
        threads: int = 0,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Units, as for `encode` -> f(s) [U, W]; and edits of units `edited` [N], described by actions [N, A] -> what
        is read of each unit where the edit happens, r(s, a) [N, RANGES x `reading`]. One pass for both."""
    def predict(
        self, f: NDArray[np.float32], read: NDArray[np.float32], actions: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """f(s) [N, W], r(s, a) and actions [N, A] -> predicted displacements d_hat [N, K].

        Without a state to read (one that was itself predicted), r is 0."""
    def doubt(
        self,
        f: NDArray[np.float32],
        f_after: NDArray[np.float32],
        residual: NDArray[np.float32],
        actions: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """f(s) and f(s') [N, W], d - d_hat [N, K], actions [N, A] -> log odds [N] that something is wrong."""
