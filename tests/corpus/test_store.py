"""Claims about `chains.h5`:

1. What is written is read back, to the last bit and byte.
2. A store that is truncated, has any one bit flipped, is foreign, empty, of another schema or tokeniser, or
   points outside its tables is a `UserError` with a hint that mends it; nothing else ever escapes.
3. Any HDF5 tool opens it, and its root says what it is.
4. Its header is enough to see that nothing is new, without HDF5.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from codewm.corpus import header, store
from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest
from codewm.corpus.table import EditTable
from tests.helpers import run_cli


@pytest.fixture
def path(history: Path, options: Options) -> Path:
    with Repository.open(history) as repo:
        return harvest(repo, options).path


def refused(path: Path, words: str = ".") -> None:
    with pytest.raises(UserError, match=words) as caught:
        store.read(path)
    assert "codewm harvest" in caught.value.hint


def rewrite(path: Path, change: Callable[[h5py.File], None]) -> None:
    """Change the HDF5 part and make the checksum right again: damage that only a bug or an enemy makes."""
    header = store.read_header(path)
    with h5py.File(path, "r+") as file:
        change(file)
    with path.open("r+b") as raw:
        raw.write(store._head(header, *store._digest(raw)))


def test_round_trip(path: Path, tmp_path: Path) -> None:
    first = store.read_store(path)
    again = tmp_path / "again.h5"
    store.write(again, first.table, first.ledger, first.header)
    assert again.read_bytes() == path.read_bytes()
    second = store.read_store(again)
    assert first.header == second.header
    for field in fields(EditTable):
        a, b = getattr(first.table, field.name), getattr(second.table, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            assert (a == b).all(), field.name
        elif field.name != "commits":
            assert a == b, field.name
    assert first.table.commits.subject == second.table.commits.subject
    assert any("\udce9" in p for p in first.table.paths)


def test_select_and_states(path: Path) -> None:
    table = store.read(path)
    keep = np.arange(len(table))[::-2]
    some = table.select(keep)
    assert len(some) == len(keep)
    for new, old in enumerate(keep.tolist()):
        a = slice(some.name_offsets[new], some.name_offsets[new + 1])
        b = slice(table.name_offsets[old], table.name_offsets[old + 1])
        assert some.name_ids[a].tolist() == table.name_ids[b].tolist()
        assert some.after[new] == table.after[old]
    tokens, offsets = table.states([3, 0, 3])
    assert tokens[: offsets[1]].tolist() == tokens[offsets[2] :].tolist()
    assert tokens[: offsets[1]].tolist() == table.tokens[table.offsets[3] : table.offsets[4]].tolist()
    nothing = table.select(np.zeros(len(table), bool))
    assert len(nothing) == 0
    assert nothing.name_offsets.tolist() == [0]


def test_states_are_stored_once(path: Path) -> None:
    table = store.read(path)
    states = [table.tokens[a:b].tobytes() for a, b in zip(table.offsets[:-1], table.offsets[1:], strict=True)]
    assert len(set(states)) == len(states)
    expected = [int.from_bytes(hashlib.blake2b(s, digest_size=16).digest()[:8], "little") for s in states]
    assert table.state_hash.tolist() == expected


def test_any_hdf5_tool_opens_it(path: Path) -> None:
    with h5py.File(path, "r") as file:
        assert file.attrs["schema"] == 3
        assert file.attrs["tokenizer_id"].startswith("python-v1")
        parts = (
            "states edits edit_names commits authors paths units names renames ledger repositories division"
        )
        assert set(file) == set(parts.split())


def test_truncated(path: Path) -> None:
    whole = path.read_bytes()
    for size in (0, 5, 100, 4096, 5000, len(whole) - 1):
        path.write_bytes(whole[:size])
        refused(path)
    path.write_bytes(whole + b"\0")
    refused(path, "damaged")


def test_any_flipped_bit(path: Path) -> None:
    whole = path.read_bytes()
    before = store.read_store(path).header
    draw = random.Random(1)
    for _ in range(150):
        place = draw.randrange(len(whole)) if draw.random() < 0.5 else draw.randrange(700)
        flipped = bytearray(whole)
        flipped[place] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        try:
            after = store.read_store(path).header
        except UserError:
            continue
        # A space between two words of the header may become another kind of space.
        assert place < 4096
        assert after == before


@pytest.mark.parametrize(
    "content", [b"", b"\x89HDF\r\n\x1a\n" + b"\0" * 9000, b"hello", b"codewm chains\n{]"]
)
def test_foreign_files(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path)


def test_a_foreign_hdf5(path: Path) -> None:
    path.unlink()
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(3)
    refused(path, "not a store")


def test_nothing_there(tmp_path: Path) -> None:
    refused(tmp_path / "none.h5", "no chains")


@pytest.mark.parametrize(
    ("key", "value", "words"), [("schema", 4, "schema 4"), ("tokenizer_id", "x", "tokeniser")]
)
def test_other_versions(path: Path, key: str, value: Any, words: str) -> None:
    whole = path.read_bytes()
    start = whole[:4096].rstrip(b"\0").split(b"\n", 1)
    values = json.loads(start[1]) | {key: value}
    del values["header_sha256"]
    values["header_sha256"] = header._own_checksum(values)
    path.write_bytes((start[0] + b"\n" + json.dumps(values).encode()).ljust(4096, b"\0") + whole[4096:])
    refused(path, words)


def _set(name: str, value: int) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[name][-1] = value

    return change


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("edits/before", 1 << 30),
        ("edits/after", -1),
        ("edits/path", 1 << 30),
        ("edits/unit", -5),
        ("edits/commit", 0),
        ("edit_names/names", 1 << 30),
        ("edit_names/offsets", 0),
        ("states/offsets", 1 << 40),
        ("commits/reverts", 1 << 20),
        ("commits/author", 7),
        ("paths/offsets", 3),
        ("renames", 1 << 20),
        ("ledger", 1 << 20),
    ],
)
def test_indices_that_point_outside(path: Path, name: str, value: int) -> None:
    rewrite(path, _set(name, value))
    refused(path)


def _replace(name: str, value: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        if value is not None:
            file[name] = value

    return change


@pytest.mark.parametrize("name", ["edits/kind", "names", "commits/oid", "ledger", "states"])
@pytest.mark.parametrize("value", [None, 5, np.zeros((2, 2), np.float64), "text"])
def test_missing_or_strange_parts(path: Path, name: str, value: object) -> None:
    rewrite(path, _replace(name, value))
    refused(path)


def test_seeing_that_nothing_is_new_needs_no_hdf5(path: Path, history: Path) -> None:
    code = (
        "import sys; from codewm.cli.main import main; status = main(['harvest', sys.argv[1]]);"
        "assert 'h5py' not in sys.modules and 'torch' not in sys.modules; sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(history)], capture_output=True, check=False)
    assert (done.returncode, b"nothing new" in done.stderr) == (0, True), done.stderr


def test_a_full_disk_leaves_the_old_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, held = path.read_bytes(), store.read_store(path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        store.write(path, held.table, held.ledger, held.header)
    assert path.read_bytes() == before


def test_the_command_says_how_to_mend_it(path: Path, history: Path) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[-10] ^= 1
    path.write_bytes(damaged)
    ran = run_cli("info", str(history))
    assert (ran.status, "damaged" in ran.out, "--rebuild" in ran.out) == (0, True, True)
    assert run_cli("harvest", "--rebuild", str(history)).status == 0
    assert "damaged" not in run_cli("info", str(history)).out
