"""Paths in, what they say by themselves out: folder, stem, words, test or not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codewm.model.impact.postings import I32, Postings

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_TEST_FOLDERS = frozenset({"test", "tests", "testing"})


def is_collected(path: str) -> bool:
    """A Python file that test runners collect by its name."""
    name = path.rpartition("/")[2]
    word = name.removesuffix(".py")
    by_name = word.startswith("test_") or word.endswith(("_test", "_tests")) or word in {"test", "tests"}
    return by_name and name.endswith(".py")


def is_test(path: str) -> bool:
    """A Python file of tests, or one that lies in a folder of tests."""
    return is_collected(path) or (
        path.endswith(".py") and any(folder in _TEST_FOLDERS for folder in path.split("/")[:-1])
    )


def stem(path: str) -> str:
    """What a module is about: `test_core.py`, `core_test.py`, `_core.py` and `core/__init__.py` are all 'core'."""
    *folders, name = path.split("/")
    word = name.rpartition(".")[0] or name
    if word in {"__init__", "__main__", "conftest"} and folders:
        word = folders[-1]
    word = word.strip("_").lower()
    return word.removeprefix("test_").removesuffix("_tests").removesuffix("_test").strip("_") or word


class PathTable:
    """P paths, numbered."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths

    @cached_property
    def python(self) -> NDArray[np.bool_]:
        """[P] called `*.py`."""
        return np.array([p.endswith(".py") for p in self.paths], np.bool_)

    @cached_property
    def test(self) -> NDArray[np.bool_]:
        """[P]"""
        return np.array([is_test(p) for p in self.paths], np.bool_)

    @cached_property
    def collected(self) -> NDArray[np.bool_]:
        """[P] tests that can be run by themselves."""
        return np.array([is_collected(p) for p in self.paths], np.bool_)

    @cached_property
    def _stems(self) -> tuple[list[str], I32]:
        return _numbered([stem(p) for p in self.paths])

    @property
    def stems(self) -> list[str]:
        """Distinct stems."""
        return self._stems[0]

    @property
    def stem(self) -> I32:
        """[P] index into `stems`."""
        return self._stems[1]

    @cached_property
    def _folders(self) -> tuple[list[str], I32]:
        return _numbered([p.rpartition("/")[0] for p in self.paths])

    @property
    def folder(self) -> I32:
        """[P] number of the folder."""
        return self._folders[1]

    @cached_property
    def words(self) -> tuple[Postings, I32]:
        """Word of a path's folders and stem -> paths; and how many words each path has [P]."""
        known: dict[str, int] = {}
        word: list[int] = []
        path: list[int] = []
        for number, text in enumerate(self.paths):
            for w in dict.fromkeys(_words(text)):
                word.append(known.setdefault(w, len(known)))
                path.append(number)
        rows = np.zeros(len(word), np.int32)
        counts = np.bincount(np.array(path, np.int64), minlength=len(self.paths)).astype(np.int32)
        return Postings.of(word, path, rows, len(known)), counts

    @cached_property
    def words_of(self) -> Postings:
        """Path -> its words, by number."""
        words, _ = self.words
        word = np.repeat(np.arange(len(words.offsets) - 1), np.diff(words.offsets))
        return Postings.of(words.value, word, np.zeros(len(word)), len(self.paths))


def words_of(name: str) -> list[str]:
    """What a name is made of: `HTTPServer_v2` is http, server, v, 2."""
    return [w.lower() for w in _WORDS.findall(name)]


def _words(path: str) -> list[str]:
    *folders, _ = path.split("/")
    words = [w for part in (*folders, stem(path)) for w in words_of(part)]
    return [w for w in words if w not in {"src", "lib", "test", "tests"}]


def _numbered(texts: Sequence[str]) -> tuple[list[str], I32]:
    known: dict[str, int] = {}
    numbers = np.array([known.setdefault(t, len(known)) for t in texts], np.int32)
    return list(known), numbers
