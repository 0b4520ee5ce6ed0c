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

def vocabulary_names() -> list[str]: ...
def tokenize(sources: Sequence[bytes]) -> tuple[NDArray[np.uint16], NDArray[np.int64]]: ...
def identifiers(sources: Sequence[bytes]) -> tuple[list[str], NDArray[np.int32]]: ...
def unit_rows(
    source: bytes,
) -> list[tuple[str, str, int, int, int, int, NDArray[np.uint16]]]: ...
def diff_units(
    pairs: Sequence[tuple[bytes | None, bytes | None]], *, window: int, action: str, threads: int
) -> dict[str, Any]: ...

class Engine:
    @staticmethod
    def from_file(path: str | PathLike[str]) -> Engine: ...
    @staticmethod
    def from_bytes(data: bytes) -> Engine: ...
    @property
    def config(self) -> dict[str, Any]: ...
    @property
    def metadata(self) -> dict[str, str]: ...
    def encode_target(
        self, tokens: NDArray[np.uint16], offsets: NDArray[np.int64], *, threads: int = 0
    ) -> NDArray[np.float32]: ...
    def encode_online(
        self, tokens: NDArray[np.uint16], offsets: NDArray[np.int64], *, threads: int = 0
    ) -> NDArray[np.float32]: ...
    def encode_action(self, actions: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def predict(self, state: NDArray[np.float32], action: NDArray[np.float32]) -> NDArray[np.float32]: ...
