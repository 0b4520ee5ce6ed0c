"""Unit edits in, raw channel values out: what the model did not foresee or doubts, names that came from nowhere, tokens
that this repository does not write or rarely drops, ends left loose, edits unlike its earlier ones and their messages.

Every channel is one value per edit, higher is stranger, NaN where it has nothing to say. None is comparable
with another, or across sizes, before `calibrate` has looked at the repository's past.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.distinct import is_among
from codewm.corpus.history import Names, Replay, replay
from codewm.corpus.table import COMMIT_ROOT
from codewm.model.scoring import loose, message
from codewm.model.scoring.landings import Kept, landings
from codewm.model.scoring.ngrams import NO_LORE, Bits, bits_of, mean, total
from codewm.model.scoring.novelty import directions, distance, net_changes, shapes
from codewm.model.scoring.repetition import repeated
from codewm.model.scoring.settings import MessageSettings, NameSettings, NoveltySettings, TokenSettings
from codewm.model.scoring.sinks import SINKS, sink_of
from codewm.model.scoring.substitution import strangest
from codewm.model.scoring.transposition import transposed

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.past import Past

Floats = NDArray[np.float64]
CHANNELS = (
    "displacement",
    "new_identifiers",
    "doubt",
    "bits_added",
    "bits_removed",
    "syntax",
    "novelty",
    "shape",
    "repetition",
    "substitution",
    "loose_ends",
    "message",
    "transposition",
)
CHANGES = ("created", "deleted", "modified")
# Names that need no definition; Python 2's too, because old histories are full of them.
_BUILTINS = frozenset(vars(builtins)) | {
    "self", "cls", "__file__", "__path__", "__class__", "unicode", "basestring", "long", "unichr", "xrange",
    "raw_input", "reduce", "reload", "execfile", "cmp", "file", "apply", "buffer", "intern", "coerce",
}  # fmt: skip
_TEST_FOLDERS = frozenset({"test", "tests", "testing"})


@dataclass(frozen=True)
class Edits:
    """N unit edits as scoring sees them; no-ops are not among them."""

    row: NDArray[np.int64]
    """[N] index in the table they came from."""
    commit: NDArray[np.int32]
    """[N] index of the commit."""
    size: NDArray[np.int32]
    """[N] tokens added plus removed."""
    change: NDArray[np.uint8]
    """[N] index into `CHANGES`."""
    kind: NDArray[np.uint8]
    """[N] index into `codewm_core.KINDS`."""
    test: NDArray[np.bool_]
    """[N] the file is a test file; calibrated among its like, because tests are made of new names."""
    channels: Floats
    """[N, len(CHANNELS)] raw values, NaN where undefined."""
    displacement: NDArray[np.float16]
    """[N, K] actual displacement t(s') - t(s)."""
    length: NDArray[np.float32]
    """[N] norm of the actual displacement."""
    predicted: NDArray[np.float32]
    """[N] norm of the predicted displacement."""
    net: NDArray[np.int8]
    """[N, SYNTAX_SIZE] `novelty.net_changes`."""
    action: NDArray[np.float32]
    """[N, A] what the model was told."""

    def __len__(self) -> int:
        return len(self.commit)


@dataclass(frozen=True)
class Seen(Replay):
    """What was known when, and what the commits of a table taught."""

    words: Bits
    """Of the measured edits, in their order."""
    syntax: Bits
    """Likewise, with all identifiers, strings and numbers alike."""


def measure(
    engine: core.Engine,
    table: EditTable,
    names: Names,
    settings: NameSettings,
    threads: int,
    *,
    past: Past | None = None,
    tokens: TokenSettings | None = None,
    novelty: NoveltySettings | None = None,
    kept: Kept | None = None,
    messages: MessageSettings | None = None,
) -> tuple[Edits, Seen]:
    """Measure every edit of the table that changes code; `names` was known before its first commit.

    So was `past`, which knows the repository's tokens and edits; without it nothing of them was. What is `kept`
    of where edits landed is not computed again.
    """
    tokens, novelty = tokens or TokenSettings(), novelty or NoveltySettings()
    rows = np.flatnonzero((table.flags & core.FLAG_NOOP) == 0)
    known = replay(names, table)
    words, syntax = (NO_LORE, NO_LORE) if past is None else (past.words, past.syntax)
    seen = Seen(
        known.before,
        known.gained,
        known.gained_in,
        bits_of(table, rows, words, tokens.words),
        bits_of(table, rows, syntax, tokens.syntax),
    )
    edits = assemble(engine, table, rows, seen, settings, threads, kept)
    before = 0 if past is None else len(past)
    date = edits.commit.astype(np.int64) + before
    # The first commit of a repository puts things there; it is no example of how they move.
    moving = np.flatnonzero((table.commits.flags[edits.commit] & COMMIT_ROOT) == 0)
    earlier, dates = [take(edits, moving)], [date[moving]]
    if past is not None:
        earlier, dates = [past.edits, *earlier], [past.edits.commit.astype(np.int64), *dates]
    add_novelty(edits, date, earlier, np.concatenate(dates), table.action_id, novelty)
    told = message.of_table(table, edits)
    before_them = [] if past is None else message.of_past(past)
    add_message(
        edits, told, before + np.arange(len(told)), [*before_them, *told], messages or MessageSettings()
    )
    return edits, seen


def changes_of(flags: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """[N] flags of edits -> [N] index into `CHANGES`."""
    gone = np.where(flags & core.FLAG_DELETED, 1, 2)
    return np.where(flags & core.FLAG_CREATED, 0, gone).astype(np.uint8)


def take(edits: Edits, index: NDArray[np.int64]) -> Edits:
    """Return the edits of the given rows."""
    return Edits(**{name: values[index] for name, values in vars(edits).items()})


def assemble(
    engine: core.Engine,
    table: EditTable,
    rows: NDArray[np.int64],
    known: Seen,
    settings: NameSettings,
    threads: int,
    kept: Kept | None = None,
) -> Edits:
    """Put the channels of rows together from what was known before each, but for those that compare with edits."""
    actual, predicted, doubted = landings(engine, table, rows, threads, kept)
    flags = table.flags[rows]
    created, deleted = flags & core.FLAG_CREATED != 0, flags & core.FLAG_DELETED != 0
    fresh = new_identifiers(table, known, settings)[rows]
    # Before the first commit nothing was known, so that nothing can be new.
    root = (table.commits.flags[table.commit[rows]] & COMMIT_ROOT) != 0
    is_test = np.array([is_test_path(p) for p in table.paths], dtype=np.bool_)
    raw = {
        "displacement": residual(actual, predicted),
        "new_identifiers": np.where(root, np.nan, fresh),
        # The critic has only seen edits of units that were there before and after.
        "doubt": np.where(created | deleted, np.nan, doubted),
        "bits_added": np.where(root | known.words.silent, np.nan, mean(known.words.added)),
        "bits_removed": np.where(known.words.silent, np.nan, total(known.words.removed)),
        "syntax": np.where(root | known.syntax.silent, np.nan, mean(known.syntax.added)),
        "repetition": repeated(table, rows, known.words.added),
        "substitution": np.where(
            known.words.silent, np.nan, strangest(table, rows, known.words.added, known.words.removed)
        ),
        "loose_ends": loose.weights(table, rows),
        "transposition": transposed(table, rows, known.words.added, known.words.removed),
    }
    nothing = np.full(len(rows), np.nan)
    return Edits(
        row=rows,
        commit=table.commit[rows],
        size=table.tokens_added[rows] + table.tokens_removed[rows],
        change=changes_of(flags),
        kind=table.kind[rows],
        test=is_test[table.path[rows]] if len(rows) else np.zeros(0, np.bool_),
        channels=np.column_stack([raw.get(name, nothing) for name in CHANNELS]),
        displacement=actual.astype(np.float16),
        length=np.linalg.norm(actual, axis=1),
        predicted=np.linalg.norm(predicted, axis=1),
        net=net_changes(table, rows),
        action=np.asarray(table.action[rows], np.float32),
    )


def add_novelty(
    edits: Edits,
    date: NDArray[np.int64],
    known: Sequence[Edits],
    known_date: NDArray[np.int64],
    action_id: str,
    settings: NoveltySettings,
) -> None:
    """Fill the two channels that compare with earlier edits: those of `known` whose date is before `date` [N]."""
    k = settings.nearest, settings.nearest_shapes
    known = [e for e in known if len(e)] or [edits]  # a past without edits has no columns either
    views = (
        ("novelty", k[0], directions(edits.net), [directions(e.net) for e in known]),
        ("shape", k[1], shapes(edits.action, action_id), [shapes(e.action, action_id) for e in known]),
    )
    for name, nearest, mine, theirs in views:
        value = distance(mine, date, np.concatenate(theirs), known_date, nearest, settings)
        edits.channels[:, CHANNELS.index(name)] = value


def add_message(
    edits: Edits,
    told: Sequence[message.Told],
    date: NDArray[np.int64],
    known: Sequence[message.Told],
    settings: MessageSettings,
) -> None:
    """Fill the channel that compares commits [C] with what is said of them, by those of `known` before `date` [C]."""
    value = message.mismatch(told, date, known, settings)
    edits.channels[:, CHANNELS.index("message")] = value[edits.commit]


def unit_vectors(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """The directions [n, K] of displacements [n, K]; of nothing, nothing."""
    wide = rows.astype(np.float32)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.maximum(length, np.float32(1e-12)), dtype=np.float32)


def residual(actual: NDArray[np.float32], predicted: NDArray[np.float32]) -> Floats:
    """|d - d_hat| of each row: how far from the predicted place the edit landed."""
    return np.asarray(np.linalg.norm(actual - predicted, axis=1), dtype=np.float64)


def new_identifiers(table: EditTable, known: Replay, settings: NameSettings) -> Floats:
    """[N] weight of the added names by how unknown they were; NaN where no name was added.

    Sum over the n added names, divided by sqrt(n + `pseudo_names`), of
      novelty: 0 for a name the unit had, `in_module` for one its module had, else from `in_repository` for
      one that
               most files had up to 1 for one that nobody had, by 1 / (1 + log2(1 + files)); times `bound`
               for names that the same commit defines;
      plus `unresolved_call` or `unresolved_use` for a bare name that nothing in the file or in Python
      defines: code
               that was written for another file;
      plus `sink` times the weight of a dangerous name that is new to the module (`sinks`).
    As of the date: `known.before` is what was known before the commit.
    """
    n, counts = len(table), np.diff(table.name_offsets)
    edit = np.repeat(np.arange(n), counts)
    flags = table.name_flags
    rarity = 1.0 / (1.0 + np.log2(1.0 + known.before))
    novelty = settings.in_repository + (1.0 - settings.in_repository) * rarity
    novelty = np.where(flags & core.NAME_IN_MODULE, settings.in_module, novelty)
    novelty = np.where(flags & core.NAME_IN_UNIT, 0.0, novelty)
    novelty = np.where(
        _defined(table, table.commit[edit].astype(np.int64)), settings.bound * novelty, novelty
    )
    called = np.where(flags & core.NAME_CALL, settings.unresolved_call, settings.unresolved_use)
    weight = novelty + np.where(unresolved(table), called, 0.0) + settings.sink * _sink_weights(table)
    value = np.bincount(edit, weights=weight, minlength=n)
    return np.where(counts > 0, value / np.sqrt(counts + settings.pseudo_names), np.nan)


def unresolved(table: EditTable) -> NDArray[np.bool_]:
    """[K] a bare name that neither the file (before, or by this commit) nor Python defines.

    An approximation without scopes, from flags: whatever occurred in the file before counts as defined.
    """
    edit = np.repeat(np.arange(len(table)), np.diff(table.name_offsets))
    elsewhere = core.NAME_ATTRIBUTE | core.NAME_IMPORT | core.NAME_BOUND | core.NAME_IN_MODULE
    bare = (table.name_flags & (elsewhere | core.NAME_KEYWORD)) == 0
    built_in = np.array([name in _BUILTINS for name in table.names], dtype=np.bool_)
    file = table.commit[edit].astype(np.int64) * max(len(table.paths), 1) + table.path[edit]
    defined = _defined(table, file, core.NAME_BOUND | core.NAME_IMPORT)
    return np.asarray(bare & ~built_in[table.name_ids] & ~defined, dtype=np.bool_)


def _defined(table: EditTable, place: NDArray[np.int64], how: int = core.NAME_BOUND) -> NDArray[np.bool_]:
    """[K] some use of the same name in the same place [K] (a commit, a file of a commit) binds it."""
    key = place * max(len(table.names), 1) + table.name_ids
    return is_among(key, key[(table.name_flags & how) != 0])


def _sink_weights(table: EditTable) -> Floats:
    """[K] extra weight of each use that is a new sink."""
    weights = np.zeros(len(table.name_ids))
    dangerous = np.array([name in SINKS for name in table.names], dtype=np.bool_)
    if dangerous.any():
        for k in np.flatnonzero(dangerous[table.name_ids]):
            sink = sink_of(table.names[table.name_ids[k]], int(table.name_flags[k]))
            weights[k] = sink.weight if sink else 0.0
    return weights


def strata(edits: Edits) -> NDArray[np.int64]:
    """[N, 4] what an edit is compared within, finest first: change x kind x test, change x test, change,
    all.
    """
    change, test = edits.change.astype(np.int64), edits.test.astype(np.int64)
    # Functions and methods are one kind of thing here.
    kind = np.array([0, 0, 1, 2], dtype=np.int64)[edits.kind]
    zero = np.zeros(len(edits), np.int64)
    return np.column_stack([(change * 3 + kind) * 2 + test, change * 2 + test, change, zero])


def is_test_path(path: str) -> bool:
    """Tell whether a path looks like a test file: a folder `test(s)` or `testing`, or a `test_`/`_test`
    name.
    """
    p = PurePosixPath(path)
    named = p.name.startswith("test_") or p.stem.endswith("_test") or p.name in {"conftest.py", "tests.py"}
    return named or bool(_TEST_FOLDERS.intersection(p.parts[:-1]))
