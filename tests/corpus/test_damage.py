"""Claims about damaged stores, over a real one that holds plain and compressed arrays:

1. Cut off anywhere, with any bit turned, a block zeroed or swapped: `UserError`, before HDF5 sees a byte.
2. Damage behind a right checksum (a bug's or an enemy's): wrong types, shapes, sizes, links, indices, values
   and a header that says something else are a `UserError` each; nothing else escapes, nothing hangs.
3. A store is one file: external links, external storage and virtual data sets are refused, whatever they hold.
4. A claim of size is not believed: memory stays bounded by the file.
5. `harvest` makes every damaged store anew, says so, and the result is the whole store to the last byte,
   whether there is a new commit or not (behind a right checksum: when it reads the store, for a new commit).
"""

from __future__ import annotations

import hashlib
import json
import random
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from codewm.corpus import store
from codewm.corpus.division import Reason
from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest, store_path
from codewm.corpus.ledger import Cause
from codewm.corpus.packed import LEVEL, rows_of
from codewm_core import KINDS, VOCAB_SIZE
from tests.corpus.reading import divided
from tests.helpers import GitRepo, run_cli

OPTIONS = Options(window=256, action="v15", merges="first-parent", jobs=1)
MAGIC = b"codewm chains\n"
BLOCK = 4096
Change = Callable[[h5py.File], None]
Values = dict[str, Any]


@dataclass(frozen=True)
class Real:
    """A repository, the store of its history, the store as it was one commit before, and as a divided corpus."""

    repo: Path
    place: Path
    whole: bytes = field(repr=False)
    before: bytes = field(repr=False)
    divided: bytes = field(repr=False)

    def harvest(self) -> tuple[str, str]:
        """Return how, and why, as `harvest` says it."""
        with Repository.open(self.repo) as repo:
            done = harvest(repo, OPTIONS)
        return done.how, done.why


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    repo = GitRepo(tmp_path_factory.mktemp("damage") / "repo")
    body = "".join(f"    a.b{j} = b + {j}\n" for j in range(25))
    many = "".join(f"def f{i}(a, b):\n{body}    return c{i}\n" for i in range(200))
    first = "import os\nclass C:\n    def m(self):\n        return os.path\n"
    repo.commit("first", {"many.py": many, "a.py": first, "é.py": "x = 1\n", "none.py": ""})
    fix = repo.commit("Fix m", {"a.py": first.replace("path", "sep")})
    repo.git("mv", "a.py", "b.py")
    repo.commit("rename", {"é.py": "y = 2\n"})
    repo.commit(f'Revert "Fix m"\n\nThis reverts commit {fix}.', {"b.py": first})
    with Repository.open(repo.path) as opened:
        place = store_path(opened)
        harvest(opened, OPTIONS)
    before = place.read_bytes()
    repo.commit("last", {"b.py": first.replace("os.path", "os.getcwd()"), "none.py": None, "c.py": "z = 3\n"})
    with Repository.open(repo.path) as opened:
        assert harvest(opened, OPTIONS).how == "appended"
    whole = place.read_bytes()
    return Real(repo.path, place, whole, before, divided(place, tmp_path_factory.mktemp("divided")))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chains.h5"


def refused(path: Path, content: bytes) -> str:
    """Read a damaged store; return what was wrong with it, or '' if it was taken."""
    path.write_bytes(content)
    error = None
    try:
        store.read_store(path)
    except UserError as e:
        error = e
    assert error is None or "codewm harvest" in error.hint
    return "" if error is None else error.message


def with_header(content: bytes, change: Callable[[Values], Values | None] | None = None) -> bytes:
    """Make checksum and length right again, with another header perhaps: all that an enemy can do."""
    values = json.loads(content[len(MAGIC) : BLOCK].rstrip(b"\0"))
    del values["header_sha256"]
    values |= {"length": len(content), "sha256": hashlib.sha256(content[BLOCK:]).hexdigest()}
    if change is not None:
        values = change(values) or values
    values["header_sha256"] = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
    return (MAGIC + json.dumps(values).encode()).ljust(BLOCK, b"\0") + content[BLOCK:]


def crafted(content: bytes, change: Change, folder: Path) -> bytes:
    """Change the HDF5 part of a store."""
    work = folder / "work.h5"
    work.write_bytes(content)
    with h5py.File(work, "r+") as file:
        change(file)
    return with_header(work.read_bytes())


def datasets(content: bytes, folder: Path) -> list[str]:
    names: list[str] = []
    place = folder / "names.h5"
    place.write_bytes(content)
    with h5py.File(place, "r") as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        assert all(file[name].size for name in names), "an empty array cannot be damaged"
        assert file["states/tokens"].chunks is not None, "no array is compressed"
        assert file["edits/kind"].chunks is None, "no array is plain"
    return names


def put(name: str, make: Callable[[Any], Any]) -> Change:
    """Put another array in the place of one, stored as a store does it."""

    def change(file: h5py.File) -> None:
        new = np.asarray(make(file[name][()]))
        del file[name]
        rows = rows_of(new.dtype, new.shape) if new.ndim else 0
        packed: dict[str, Any] = {}
        if rows:
            packed = {"compression": "gzip", "compression_opts": LEVEL, "shuffle": True}
            packed["chunks"] = (rows, *new.shape[1:])
        file.create_dataset(name, data=new, track_times=False, **packed)

    return change


def at(name: str, index: Any, value: Any) -> Change:
    """Change one place of an array."""

    def change(file: h5py.File) -> None:
        file[name][index] = value

    return change


# Claim 1: what the checksum sees.


def test_cut_off_anywhere(real: Real, path: Path) -> None:
    whole, draw = real.whole, random.Random(0)
    sizes = {0, 1, len(MAGIC), BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 8, len(whole) - 1}
    sizes |= {draw.randrange(len(whole)) for _ in range(60)} | set(range(BLOCK, len(whole), len(whole) // 30))
    assert [size for size in sizes if not refused(path, whole[:size])] == []
    message = refused(path, whole + b"\0")
    assert message
    message = refused(path, whole + whole)
    assert message


def test_any_bit_turned(real: Real, path: Path) -> None:
    whole, draw = real.whole, random.Random(1)
    header = len(whole[:BLOCK].rstrip(b"\0"))
    taken = []
    for _ in range(400):
        place = draw.choice([draw.randrange(header), draw.randrange(BLOCK), draw.randrange(len(whole))])
        turned = bytearray(whole)
        turned[place] ^= 1 << draw.randrange(8)
        if not refused(path, bytes(turned)):
            taken.append((place, turned[place : place + 1]))
    # One kind of blank between two words of the header may become another: what it says is the same.
    assert all(place < header and byte.isspace() for place, byte in taken), taken


def test_blocks_zeroed_and_swapped(real: Real, path: Path) -> None:
    whole, draw = real.whole, random.Random(2)
    blocks = [whole[i : i + 512] for i in range(0, len(whole), 512)]
    for _ in range(60):
        a, b = draw.sample(range(len(blocks)), 2)
        swapped, zeroed = list(blocks), list(blocks)
        swapped[a], swapped[b] = blocks[b], blocks[a]
        zeroed[a] = bytes(len(blocks[a]))
        for content in (b"".join(swapped), b"".join(zeroed)):
            assert content == whole or refused(path, content)


# Claim 2: what lies behind it.


def damages(name: str) -> Iterator[tuple[str, Change]]:
    """Ways in which any data set may be of a wrong kind."""

    def group(file: h5py.File) -> None:
        del file[name]
        file.create_group(name)

    yield "missing", replaced(name, None)
    yield "a group", group
    yield "a scalar", replaced(name, np.int32(1))
    yield "a link to itself", replaced(name, h5py.SoftLink(f"/{name}"))
    yield "one axis more", put(name, lambda a: a[..., None])
    yield "floats", put(name, lambda a: a.astype(np.float64))
    yield "too wide", put(name, lambda a: a.astype(np.int16 if a.dtype.itemsize == 8 else np.int64))
    # Fewer rows of the renames are other renames, and a row more of a list of texts is one that nobody uses.
    if name != "renames":
        yield "no rows", put(name, lambda a: a[:0])
        yield "a row less", put(name, lambda a: a[:-1])
    if name not in {"renames", *(f"{t}/offsets" for t in ("authors", "paths", "units", "names"))}:
        yield "a row more", put(name, lambda a: np.concatenate([a, a[-1:]]))


def rarer_damages(name: str) -> Iterator[tuple[str, Change]]:
    """What only an enemy would think of."""
    yield "a string", replaced(name, "text")
    yield "nothing", replaced(name, h5py.Empty("i4"))
    yield "a type", replaced(name, np.dtype("i4"))
    yield "a link to nowhere", replaced(name, h5py.SoftLink("/nowhere"))
    yield "a link to the root", replaced(name, h5py.SoftLink("/"))
    yield "one axis less", put(name, lambda a: a.sum(axis=-1).astype(a.dtype))
    yield "many axes", put(name, lambda a: a.reshape(len(a), -1, *[1] * 20))
    yield "complex", put(name, lambda a: a.astype(np.complex64))
    yield "texts", put(name, lambda a: np.full(a.shape, b"7", "S1"))
    yield "records", put(name, lambda a: np.zeros(a.shape, [("a", "<i4"), ("b", "<f4")]))
    yield "lists", vlen(name)


def replaced(name: str, item: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        if item is not None:
            file[name] = item

    return change


def vlen(name: str) -> Change:
    def change(file: h5py.File) -> None:
        rows = len(file[name])
        del file[name]
        file.create_dataset(name, (rows,), h5py.vlen_dtype(np.int32))

    return change


def test_every_array_of_every_wrong_kind(real: Real, path: Path, tmp_path: Path) -> None:
    names = datasets(real.divided, tmp_path)
    some = {"states/tokens", "states/offsets", "edits/action", "edits/kind", "commits/fixes", "names/bytes"}
    assert some <= set(names)
    taken = []
    for name in names:
        for how, change in chain(damages(name), rarer_damages(name) if name in some else ()):
            if not refused(path, crafted(real.divided, change, tmp_path)):
                taken.append(f"{name}: {how}")
    assert not taken, "; ".join(taken)


def test_groups_and_root_of_a_wrong_kind(real: Real, path: Path, tmp_path: Path) -> None:
    for group in ("states", "edits", "edit_names", "commits", "paths"):
        for item in (np.arange(3), h5py.SoftLink("/"), h5py.SoftLink(f"/{group}/x")):
            message = refused(path, crafted(real.whole, replaced(group, item), tmp_path))
            assert message, (group, item)
    for content in (real.whole[:BLOCK], real.whole[:BLOCK] + bytes(9000), real.whole[: BLOCK + 600]):
        message = refused(path, with_header(content))
        assert message


VALUES: dict[str, Change] = {
    "a token past the vocabulary": at("states/tokens", 3, VOCAB_SIZE),
    "the largest token": at("states/tokens", -1, 0xFFFF),
    "a token of another use: padding": at("states/tokens", 5, 0),
    "a token of another use: the mask": at("states/tokens", 5, 2),
    "offsets that go backwards": at("states/offsets", 2, 1 << 20),
    "a negative offset": at("states/offsets", 1, -1),
    "a state of nothing": lambda file: at("states/offsets", 1, 0)(file),
    "offsets that wrap": at("states/offsets", -1, -(1 << 63)),
    "a state before all": at("edits/before", 0, -1),
    "a state past all": at("edits/after", 0, 1 << 30),
    "the first state past all": lambda file: at("edits/after", 0, len(file["states/hash"]))(file),
    "a commit before all": at("edits/commit", 0, -1),
    "a commit past all": at("edits/commit", -1, 1 << 20),
    "commits out of order": at("edits/commit", 0, 2),
    "a path before all": at("edits/path", 7, -1),
    "a unit past all": at("edits/unit", 7, 1 << 30),
    "a unit before all": at("edits/unit_before", 7, -2),
    "an unknown kind": at("edits/kind", 0, len(KINDS)),
    "an action that is no number": at("edits/action", (0, 0), np.nan),
    "an endless action": at("edits/action", (9, 1), np.inf),
    "a negative action": at("edits/action", (9, 1), -0.5),
    "an action over one": at("edits/action", (9, 1), 1.5),
    "actions of another width": put("edits/action", lambda a: np.ascontiguousarray(a[:, :-1])),
    "a negative chain": at("edits/chain", 0, -1),
    "a chain past all": at("edits/chain", -1, 1 << 30),
    "a chain that begins late": at("edits/step", 0, 1),
    "a step left out": at("edits/step", -1, 7),
    "a negative step": at("edits/step", 3, -1),
    "two steps at once": at("edits/chain", 1, 0),
    "fewer tokens than none": at("edits/tokens_added", 0, -1),
    "fewer tokens removed than none": at("edits/tokens_removed", 0, -5),
    "a line before the first": at("edits/lines", (0, 0), 0),
    "an end before the beginning": at("edits/lines", (2, 1), 0),
    "a change before the first line": at("edits/first_changed_line", 4, -4),
    "a name past all": at("edit_names/names", 0, 1 << 30),
    "a name before all": at("edit_names/names", -1, -1),
    "name offsets that go backwards": at("edit_names/offsets", 3, 1 << 20),
    "a name on no line": at("edit_names/lines", 0, -1),
    "an author past all": at("commits/author", 0, 5),
    "a reverted commit past all": at("commits/reverts", 0, 5),
    "a reverted commit before none": at("commits/reverts", 0, -2),
    "a commit that reverts itself": at("commits/reverts", 1, 1),
    "a commit that reverts a later one": at("commits/reverts", 1, 3),
    "file changes that nobody counted": at("commits/file_changes", 1, 9),
    "fewer file changes than none": at("commits/file_changes", 1, -1),
    "fewer lines than none": at("commits/lines_added", 1, -1),
    "fewer lines deleted than none": at("commits/lines_deleted", 1, -1),
    "a commit that is an option": at("commits/oid/bytes", slice(0, 5), np.frombuffer(b"--out", np.uint8)),
    "a commit that is no number": at("commits/oid/bytes", 45, ord("x")),
    "a commit that is there twice": lambda file: at(
        "commits/oid/bytes", slice(40, 80), file["commits/oid/bytes"][0:40]
    )(file),
    "a parent that is an option": at("commits/parent/bytes", slice(0, 2), np.frombuffer(b"-x", np.uint8)),
    "a parent that is not the one before": at("commits/parent/bytes", slice(40, 80), ord("0")),
    "a subject that is no text": at("commits/subject/bytes", 0, 0xFF),
    "a unit that is no text": at("units/bytes", 0, 0xC0),
    "a name that is no text": at("names/bytes", 0, 0xED),
    "an author that is no text": at("authors/bytes", 0, 0x80),
    "text offsets that go backwards": at("commits/subject/offsets", 2, 1 << 20),
    "a negative text offset": at("units/offsets", 1, -1),
    "text offsets that begin late": at("paths/offsets", 0, 1),
    "text offsets that end early": lambda file: at("names/offsets", -1, file["names/offsets"][-2])(file),
    "a rename of nothing": at("renames", (0, 1), -1),
    "a rename to nothing": at("renames", (0, 2), 1 << 20),
    "a rename in no commit": at("renames", (0, 0), 5),
    "a ledger line of no commit": at("ledger", (0, 0), -1),
    "a ledger line without a cause": at("ledger", (0, 1), len(Cause) + 100),
    "a ledger line of no path": at("ledger", (0, 2), 1 << 20),
    "a ledger line of another commit": at("ledger", (0, 0), 2),
    "renames of another width": put("renames", lambda a: np.zeros((len(a), 4), a.dtype)),
    "an unknown role": at("division/role", 0, 2),
    "an edit left out for no known reason": at("division/reason", 3, max(Reason) + 1),
    "a boundary past all": at("division/boundary", 0, 1 << 20),
    "a boundary before none": at("division/boundary", 0, -2),
    "no boundary": at("division/boundary", 0, -1),
    "a boundary at another time": at("division/boundary_time", 0, 0),
    "rules that are no JSON": at("division/rules/bytes", 0, ord("(")),
    "a share to hold out that is all": at(
        "division/rules/bytes", slice(13, 16), np.frombuffer(b"1.0", np.uint8)
    ),
    "lines of another width": put("edits/lines", lambda a: np.ones((len(a), 3), a.dtype)),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_that_cannot_be(real: Real, path: Path, tmp_path: Path, name: str) -> None:
    content = crafted(real.divided, VALUES[name], tmp_path)
    assert content != real.divided
    message = refused(path, content)
    assert message


HEADERS: dict[str, Callable[[Values], Values | None]] = {
    "more commits": lambda v: v | {"commits": v["commits"] + 1},
    "no commits": lambda v: v | {"commits": 0},
    "fewer edits": lambda v: v | {"edits": v["edits"] - 1},
    "edits below none": lambda v: v | {"edits": -1},
    "a narrow window": lambda v: v | {"window": 1},
    "no window": lambda v: v | {"window": 0},
    "a window below none": lambda v: v | {"window": -256},
    "other actions": lambda v: v | {"action_id": "v7"},
    "unknown actions": lambda v: v | {"action_id": "v99"},
    "another tokeniser": lambda v: v | {"tokenizer_id": "python-v0"},
    "another tip": lambda v: v | {"tip": "0" * 40},
    "a tip that is an option": lambda v: v | {"tip": "--upload-pack=x"},
    "another schema": lambda v: v | {"schema": 0},
    "a schema that is text": lambda v: v | {"schema": "1"},
    "a number as text": lambda v: v | {"edits": str(v["edits"])},
    "a number as a truth": lambda v: v | {"window": True},
    "a number with a point": lambda v: v | {"window": 256.0},
    "a list for a text": lambda v: v | {"tip": [v["tip"]]},
    "no number": lambda v: v | {"edits": float("nan")},
    "a word too many": lambda v: v | {"more": 1},
    "a word too few": lambda v: {k: w for k, w in v.items() if k != "root"},
    "no checksum": lambda v: {k: w for k, w in v.items() if k != "sha256"},
    "a checksum that is a number": lambda v: v | {"sha256": 0},
    "no length": lambda v: {k: w for k, w in v.items() if k != "length"},
    "a length as text": lambda v: v | {"length": str(v["length"])},
    "a length below none": lambda v: v | {"length": -1},
    "a long number": lambda v: v | {"edits": 1 << 900},
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_cannot_be(real: Real, path: Path, name: str) -> None:
    message = refused(path, with_header(real.whole))
    assert not message
    message = refused(path, with_header(real.whole, HEADERS[name]))
    assert message


@pytest.mark.parametrize(
    "block",
    [b"", b"{}", b"[]", b"null", b"[" * 4000, b'{"a":' * 800, b"\xff\xfe", b"1e999", b'{"header_sha256": 1}'],
)
def test_first_blocks_that_cannot_be(real: Real, path: Path, block: bytes) -> None:
    message = refused(path, (MAGIC + block)[:BLOCK].ljust(BLOCK, b"\0") + real.whole[BLOCK:])
    assert message


# Claim 3: a store is one file.


@pytest.mark.parametrize("name", ["edits/kind", "states/tokens", "units/bytes", "edits", "ledger"])
def test_external_links_are_not_followed(real: Real, path: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "other.h5").write_bytes(real.whole)

    for other in ("other.h5", str(tmp_path / "other.h5")):

        def change(file: h5py.File, other: str = other) -> None:
            del file[name]
            file[name] = h5py.ExternalLink(other, f"/{name}")

        message = refused(path, crafted(real.whole, change, tmp_path))
        assert message


@pytest.mark.parametrize("name", ["edits/kind", "states/tokens", "units/bytes", "ledger", "authors/bytes"])
def test_external_storage_is_not_read(real: Real, path: Path, tmp_path: Path, name: str) -> None:
    def change(file: h5py.File) -> None:
        array = file[name][()]
        del file[name]
        (tmp_path / "raw").write_bytes(array.tobytes())
        place = (str(tmp_path / "raw"), 0, array.nbytes)
        file.create_dataset(name, array.shape, array.dtype, external=[place], track_times=False)

    message = refused(path, crafted(real.whole, change, tmp_path))
    assert message


@pytest.mark.parametrize("name", ["edits/kind", "states/tokens", "units/bytes", "ledger"])
def test_virtual_data_sets_are_not_read(real: Real, path: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "other.h5").write_bytes(real.whole)

    def change(file: h5py.File) -> None:
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource(str(tmp_path / "other.h5"), name, shape)
        file.create_virtual_dataset(name, layout)

    message = refused(path, crafted(real.whole, change, tmp_path))
    assert message


# Claim 4: sizes are not believed.


def claiming(name: str, rows: int, **how: Any) -> Change:
    """An array that says it has so many rows, without one of them being there."""

    def change(file: h5py.File) -> None:
        shape, dtype = (rows, *file[name].shape[1:]), file[name].dtype
        del file[name]
        file.create_dataset(name, shape, dtype, track_times=False, **how)

    return change


def bomb(file: h5py.File) -> None:
    """A hundred million equal tokens, in as good as no bytes."""
    del file["states/tokens"]
    rows = file["states/offsets"][-1] + 100_000_000
    file.create_dataset(
        "states/tokens", (rows,), "<u2", chunks=(25_000_000,), compression="gzip", compression_opts=9
    )
    file["states/tokens"][:25_000_000] = 9


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(claiming(name, rows, **how), id=f"{name}-{rows}-{'chunks' if how else 'plain'}")
        for name in (
            "states/tokens",
            "edits/before",
            "edits/action",
            "paths/bytes",
            "names/offsets",
            "ledger",
        )
        for rows in (100_000_000, 1 << 50)
        for how in ({}, {"chunks": True}, {"chunks": True, "compression": "gzip", "shuffle": True})
    ]
    + [pytest.param(bomb, id="bomb")],
)
def test_claims_of_size_take_no_memory(real: Real, path: Path, tmp_path: Path, change: Change) -> None:
    content = crafted(real.whole, change, tmp_path)
    assert len(content) < 4 * len(real.whole)
    tracemalloc.start()
    try:
        message = refused(path, content)
        assert message
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20


# Claim 5: what was damaged is made anew.


def turned(content: bytes, place: int) -> bytes:
    damaged = bytearray(content)
    damaged[place] ^= 4
    return bytes(damaged)


BY_ACCIDENT: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "zeroed": lambda content: bytes(len(content)),
    "cut in the header": lambda content: content[:100],
    "cut behind the header": lambda content: content[:BLOCK],
    "cut in the middle": lambda content: content[: len(content) // 2],
    "cut at the end": lambda content: content[:-1],
    "longer": lambda content: content + bytes(100),
    "a bit of the magic": lambda content: turned(content, 3),
    "a bit of the header": lambda content: turned(content, 40),
    "a bit of the content": lambda content: turned(content, len(content) // 2),
    "the last bit": lambda content: turned(content, len(content) - 1),
    "a bit of HDF5's own": lambda content: turned(content, BLOCK + 9),
}


@pytest.mark.parametrize("new_commit", [False, True], ids=["nothing new", "a new commit"])
@pytest.mark.parametrize("name", BY_ACCIDENT)
def test_harvest_makes_a_damaged_store_anew(real: Real, name: str, new_commit: bool) -> None:
    real.place.write_bytes(BY_ACCIDENT[name](real.before if new_commit else real.whole))
    how, why = real.harvest()
    assert how == "rebuilt"
    assert why
    assert real.place.read_bytes() == real.whole


@pytest.mark.parametrize(
    "name",
    [
        "a token past the vocabulary",
        "a state past all",
        "offsets that go backwards",
        "an action that is no number",
        "a step left out",
        "a commit that is an option",
        "a ledger line of another commit",
        "lines of another width",
    ],
)
def test_harvest_makes_a_forged_store_anew(real: Real, tmp_path: Path, name: str) -> None:
    real.place.write_bytes(crafted(real.before, VALUES[name], tmp_path))
    how, why = real.harvest()
    assert how == "rebuilt"
    assert why
    assert real.place.read_bytes() == real.whole


def test_the_command_says_that_it_made_it_anew(real: Real) -> None:
    for content in (turned(real.whole, len(real.whole) // 2), real.whole[:5000]):
        real.place.write_bytes(content)
        ran = run_cli("harvest", str(real.repo))
        assert ran.status == 0, ran.err
        assert "damaged" in ran.err
        assert real.place.read_bytes() == real.whole


def test_a_folder_in_the_place_of_the_store(real: Real, tmp_path: Path) -> None:
    place = tmp_path / "chains.h5"
    place.mkdir()
    with pytest.raises(UserError):
        store.read_store(place)
    with Repository.open(real.repo) as repo, pytest.raises(UserError):
        harvest(repo, OPTIONS, out=place)
    assert place.is_dir()
