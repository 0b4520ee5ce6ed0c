"""Claims about sources that are not plain UTF-8:

1. Every text encoding of Python that can declare itself by PEP 263, under each of its names, gives the names of
   the same text in UTF-8, unless the core has only a relative of it; in that case the units are still the same.
2. So do UTF-16 and UTF-32, with a mark or, for UTF-16, without.
3. A source that is valid UTF-8 is never read as anything else, whatever it declares.
4. A byte that does not belong neither makes a syntax error nor changes anything but the token it is in.
5. Lines and bytes are those of the decoded source, and an edit that only changes the encoding is none.
"""

from __future__ import annotations

import codecs
import encodings.aliases

import pytest

import codewm_core as core

# Codec by codec, a word of its letters; the codecs of Python that `decode.rs` claims.
WORDS = {
    "cp1251 cp866 iso8859-5 koi8-r koi8-u mac-cyrillic": "привет",
    "cp1250 iso8859-2 iso8859-16": "ąść",
    "cp1252 iso8859-1 iso8859-9 iso8859-15 iso8859-14 cp1254 mac-roman cp1258 iso8859-3": "éüñ",
    "cp1253 iso8859-7": "λόγος",
    "cp1255 iso8859-8": "שלום",
    "cp1256 iso8859-6": "سلام",
    "cp1257 iso8859-4 iso8859-13 iso8859-10": "žūä",
    "cp874 iso8859-11 tis-620": "ไทย",
    "gb2312 gbk gb18030": "汉字",
    "big5 big5hkscs cp950": "漢字功",
    "euc_jp euc_jis_2004 euc_jisx0213 shift_jis cp932 shift_jis_2004 shift_jisx0213": "漢字表",
    "euc_kr cp949": "한글",
}
CODECS = {codec: word for codecs_, word in WORDS.items() for codec in codecs_.split()}
# One byte per character, not in the core: the letters differ, nothing else does.
OTHERS = ("cp437", "cp850", "cp852", "cp1125", "mac-greek", "ptcp154", "hp-roman8")


def names_of(codec: str) -> list[str]:
    """All names of a codec that Python knows."""
    target = codecs.lookup(codec).name
    table = encodings.aliases.aliases
    candidates = {codec, target, *table, *table.values()}
    return sorted(n for n in candidates if _is(n, target))


def _is(name: str, target: str) -> bool:
    try:
        return codecs.lookup(name).name == target
    except LookupError:
        return False


def identifiers(source: bytes) -> list[str]:
    return core.identifiers([source])[0]


def tokens(source: bytes) -> list[int]:
    return [int(t) for t in core.tokenize([source])[0]]


@pytest.mark.parametrize("codec", CODECS)
def test_every_name_of_a_codec(codec: str) -> None:
    word = CODECS[codec]
    names = names_of(codec)
    assert codec in names
    for name in [*names, f"{codec}-unix", codec.upper()]:
        text = f"#!/usr/bin/python\n# -*- coding: {name} -*-\ndef {word}():\n    return '{word}'\n"
        source = text.encode(codec)
        with pytest.raises(UnicodeDecodeError):
            source.decode("utf-8")
        assert identifiers(source) == [word], name
        assert tokens(source) == tokens(text.encode()), name


@pytest.mark.parametrize("codec", OTHERS)
def test_codecs_that_the_core_lacks(codec: str) -> None:
    letters = bytes(range(0xC0, 0xD0)).decode(codec)
    text = f"# coding: {codec}\ndef f():\n    return '{letters}'\ndef g():\n    return 1\n"
    ours, right = core.units(text.encode(codec)), core.units(text.encode())
    assert [(u.name, u.kind, u.start_line, u.end_line) for u in ours] == [
        (u.name, u.kind, u.start_line, u.end_line) for u in right
    ]
    assert ours[1].tokens.tolist() == right[1].tokens.tolist()


@pytest.mark.parametrize(
    ("codec", "mark"),
    [
        ("utf-8", "\ufeff"),
        ("utf-16-le", "\ufeff"),
        ("utf-16-be", "\ufeff"),
        ("utf-32-le", "\ufeff"),
        ("utf-32-be", "\ufeff"),
        ("utf-16-le", ""),
        ("utf-16-be", ""),
    ],
)
def test_unicode_encodings(codec: str, mark: str) -> None:
    text = "x = 1\r\ndef naïve(漢):\r\n    return '😀' + 漢\r\n"
    source = (mark + text).encode(codec)
    assert tokens(source) == tokens(text.encode())
    assert identifiers(source) == sorted({"x", "naïve", "漢"})
    ours, right = core.units(source), core.units(text.encode())
    assert [(u.start_line, u.end_line, u.start_byte, u.end_byte) for u in ours] == [
        (u.start_line, u.end_line, u.start_byte, u.end_byte) for u in right
    ]


@pytest.mark.parametrize("codec", ["latin-1", "gbk", "utf-16", "shift_jis", "ascii", "nonsense"])
def test_utf8_that_says_something_else(codec: str) -> None:
    assert identifiers(f"# coding: {codec}\né漢 = 1\n".encode()) == ["é漢"]


def test_a_stray_byte_is_one_character() -> None:
    before = "def é():\n    return 'é漢', 'x'\n".encode()
    after = before.replace(b"'x'", b"'\xe9'")
    assert tokens(after) == tokens(before.replace(b"'x'", "'é'".encode()))
    batch = core.diff_units([(before, after)])
    assert (len(batch), batch.tokens_added.tolist(), batch.pair_errors.tolist()) == (1, [1], [False])
    assert identifiers(after) == ["é"]


def test_a_second_byte_that_looks_like_a_backslash() -> None:
    # 0x5c is the second byte of both letters.
    for codec, letter in (("shift_jis", "表"), ("big5", "功")):
        source = f"# coding: {codec}\nx = '{letter}'\ny = 2\n".encode(codec)
        assert b"\\'" in source
        batch = core.diff_units([(None, source)])
        assert batch.pair_errors.tolist() == [False]
        assert identifiers(source) == ["x", "y"]


def test_another_encoding_is_no_edit() -> None:
    text = "# coding: cp1251\ndef f():\n    return 'привет'\n"
    for codec in ("cp1251", "utf-8-sig", "utf-16"):
        batch = core.diff_units([(text.encode(codec), text.encode())])
        assert (len(batch), batch.pair_lines.tolist()) == (0, [[0, 0]])


def test_line_ends_and_controls_stay() -> None:
    text = "x = 1\r\n\x0cdef f():\n\treturn '\0'\r\n"
    units = [(u.name, u.start_line, u.end_line) for u in core.units(text.encode("utf-16"))]
    assert units == [(u.name, u.start_line, u.end_line) for u in core.units(text.encode())]
