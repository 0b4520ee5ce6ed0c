"""Claims: the Rust tokeniser and unit finder equal the Python reference on at least 1,000 real files, broken
ones included; no byte string makes the core panic; the vocabulary is small, explicit and stable."""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import codewm_core
from tests.core.reference import Reference

FILES = 1_000
LARGEST = 60_000
"""Bytes; the recursive reference is slow, and the core's own speed is measured in benches."""


def real_sources() -> list[bytes]:
    """The same sample of the running interpreter's library for everyone who has that version."""
    library = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(p for p in library.rglob("*.py") if p.is_file() and 0 < p.stat().st_size <= LARGEST)
    random.Random(0).shuffle(files)
    assert len(files) >= FILES, f"{library} has too few Python files: {len(files)}"
    return [p.read_bytes() for p in files[:FILES]]


def broken(source: bytes, rng: random.Random) -> bytes:
    """A real source with a hole, a stray bracket, or an abrupt end."""
    a = rng.randrange(len(source))
    kind = rng.randrange(3)
    if kind == 0:
        return source[:a]
    if kind == 1:
        return source[:a] + source[a + rng.randrange(1, 40) :]
    return source[:a] + rng.choice([b"(", b"]", b"'", b'"""', b":", b"\x00", b"\xff", b"def "]) + source[a:]


def assert_equal(source: bytes) -> None:
    reference = Reference(source)
    tokens, offsets = codewm_core.tokenize([source])
    assert offsets.tolist() == [0, len(tokens)]
    assert tokens.tolist() == reference.tokens()
    ours = [(u.name, u.kind, u.tokens.tolist()) for u in codewm_core.units(source)]
    assert ours == [(u.name, u.kind, u.tokens) for u in reference.units()]


def test_equals_the_reference_on_a_thousand_real_files() -> None:
    for source in real_sources():
        assert_equal(source)


def test_equals_the_reference_on_broken_files() -> None:
    rng = random.Random(1)
    errors = 0
    for source in real_sources()[:300]:
        damaged = broken(source, rng)
        assert_equal(damaged)
        errors += Reference(damaged).root.has_error
    assert errors >= 100, f"only {errors} of the damaged files were broken"


FRAGMENTS = st.sampled_from(
    [
        b"def f(",
        b"class C:",
        b"\n",
        b"    ",
        b"\t",
        b")",
        b"'",
        b'"""',
        b"\\",
        b"@",
        b"if x:",
        b"f'{",
        b"}",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\r",
        b"\x0c",
        b"print x",
        b"exec 'a' in b",
        b"lambda:",
        b"match x:\n case",
        b"async ",
        b"else:",
        b"#",
    ]
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.binary(max_size=400), st.lists(FRAGMENTS, max_size=60).map(b"".join)))
def test_no_bytes_make_it_panic(data: bytes) -> None:
    codewm_core.tokenize([data])
    units = codewm_core.units(data)
    assert len({u.name for u in units}) == len(units)
    batch = codewm_core.diff_units([(None, data), (data, None), (data, data)], window=16)
    assert not (batch.pair == 2).any()
    assert max([0, *(batch.after_offsets[1:] - batch.after_offsets[:-1])]) <= 16


def test_the_vocabulary_is_explicit_small_and_pinned() -> None:
    names = codewm_core.vocabulary()
    assert len(names) == codewm_core.VOCAB_SIZE <= 1536
    assert len(set(names)) == len(names)
    # A released id: if this fails, a table or an algorithm changed without a new version.
    assert codewm_core.TOKENIZER_ID == "python-v1-9f130ca8e04541d7"


def test_comments_and_docstrings_are_not_tokens_but_names_are() -> None:
    base = codewm_core.tokenize([b"def f(a):\n    return a\n"])[0].tolist()
    commented = codewm_core.tokenize([b"# x\ndef f(a):  # y\n    # z\n    return a\n"])[0].tolist()
    assert commented == base
    docs = [
        codewm_core.tokenize([b'def f(a):\n    """' + t + b'"""\n    return a\n'])[0].tolist()
        for t in (b"x", b"y")
    ]
    assert docs[0] == docs[1] != base
    for changed in (
        b"def f(b):\n    return b\n",
        b"def f(a):\n    return a.b\n",
        b"def f(a=1):\n    return a\n",
    ):
        assert codewm_core.tokenize([changed])[0].tolist() != base


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"import os\n", b"import sys\n"),
        (b"f(a=1)\n", b"f(b=1)\n"),
        (b"x = 1\n", b"x = 2\n"),
        (b"x = 'a'\n", b"x = b'a'\n"),
        (b"f(a, b)(c)\n", b"f(a)(b, c)\n"),
        (b"x += 1\n", b"x -= 1\n"),
        (b"a and b\n", b"a or b\n"),
        (b"from . import a\n", b"from .. import a\n"),
        (b"print 'x'\n", b"print('x')\n"),
        (b"global a\n", b"nonlocal a\n"),
        (b"a[1:]\n", b"a[:1]\n"),
        (b"def f(): pass\n", b"async def f(): pass\n"),
        (b"raise A\n", b"raise A from B\n"),
        (b"try:\n    f()\nexcept E as e:\n    pass\n", b"try:\n    f()\nexcept E as g:\n    pass\n"),
    ],
)
def test_what_the_published_tokeniser_missed_is_seen(before: bytes, after: bytes) -> None:
    assert codewm_core.tokenize([before])[0].tolist() != codewm_core.tokenize([after])[0].tolist()
