"""Claims about what scoring keeps from run to run (the past's standing, the landings of edits):

1. A report is the same to the digit whatever is kept: all of it, any one of the files, nothing.
2. So it is after damage, bit by bit and whole; the damaged file is made anew, and nothing is said about it.
3. What is kept of another model, other settings or an earlier tip is not used for these.
4. What the model says of an edit does not depend on the edits beside it; a run that knows some computes the others.
5. No more is kept than was said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import codewm_core as core
from codewm.cli.report.score import to_json
from codewm.corpus.git import Repository
from codewm.corpus.history import harvest_live
from codewm.model.packing import pack, unpack
from codewm.model.scoring import cache, drift, landings, shelf, standing
from codewm.model.scoring.engine_model import load_model
from codewm.model.scoring.landings import Kept
from codewm.model.scoring.score import Target, score, select
from codewm.model.scoring.settings import CalibrationSettings, CombineSettings, ScoreSettings
from tests.helpers import GitRepo
from tests.scoring.conftest import COMMITS, module
from tests.scoring.random_model import write_random_model

NAMES = (cache.FILE_NAME, shelf.FILE_NAME, landings.FILE_NAME)


def said(
    repo: GitRepo, model: Path, settings: ScoreSettings | None = None, target: Target | None = None
) -> str:
    """The report as JSON. A warning fails."""

    def heard(text: str) -> None:
        raise AssertionError(text)

    with Repository.open(repo.path) as repository:
        chosen = load_model(repository.data_dir, str(model))
        return to_json(score(repository, target or Target(), chosen, settings, heard))


def folder(repo: GitRepo) -> Path:
    return repo.path / ".git" / "codewm"


def forget(repo: GitRepo, *names: str) -> None:
    for name in names or NAMES:
        (folder(repo) / name).unlink(missing_ok=True)


def test_the_report_is_the_same_whatever_is_kept(long_history: GitRepo, model_file: Path) -> None:
    first = said(long_history, model_file)
    kept = {name: (folder(long_history) / name).read_bytes() for name in NAMES}
    assert said(long_history, model_file) == first
    for name in NAMES:
        forget(long_history, name)
        assert said(long_history, model_file) == first, name
        assert (folder(long_history) / name).read_bytes() == kept[name]
    # Nothing that is known is written again.
    times = {name: (folder(long_history) / name).stat().st_mtime_ns for name in NAMES}
    said(long_history, model_file)
    assert {name: (folder(long_history) / name).stat().st_mtime_ns for name in NAMES} == times


@pytest.mark.parametrize("name", [shelf.FILE_NAME, landings.FILE_NAME])
def test_what_is_damaged_is_computed_again(long_history: GitRepo, model_file: Path, name: str) -> None:
    first = said(long_history, model_file)
    place = folder(long_history) / name
    whole = place.read_bytes()
    flipped = []
    for at in range(len(whole) // 7, len(whole), len(whole) // 7):
        other = bytearray(whole)
        other[at] ^= 1
        flipped.append(bytes(other))
    wrong: tuple[Mapping[str, Any], ...] = (
        {},
        {"entries": 3},
        {"entries": [{}, 1]},
        {"model": "", "keys": 1},
    )
    schemas = {shelf.FILE_NAME: shelf.SCHEMA, landings.FILE_NAME: landings.SCHEMA}
    for damage in (b"", whole[: len(whole) // 2], b"\0" * 64, b"[" * 100_000, *flipped,
                   *(pack({}, schemas[name], w) for w in wrong)):  # fmt: skip
        place.write_bytes(damage)
        assert said(long_history, model_file) == first
        assert place.read_bytes() == whole
    place.unlink()
    place.mkdir()
    assert said(long_history, model_file) == first


def test_what_was_kept_for_another_purpose_is_not_used(
    long_history: GitRepo, model_file: Path, tmp_path: Path
) -> None:
    other = write_random_model(tmp_path / "other.safetensors", seed=7)
    settings = (
        ScoreSettings(calibration=CalibrationSettings(neighbours=30, recent_commits=20)),
        ScoreSettings(combine=CombineSettings(floor=1e-2, alternative=0.5)),
    )
    fresh = [said(long_history, other)]
    for one in settings:
        forget(long_history)
        fresh.append(said(long_history, model_file, one))
    forget(long_history)
    first = said(long_history, model_file)
    assert len({*fresh, first}) == 4
    for _ in range(2):
        assert [
            said(long_history, other),
            *(said(long_history, model_file, one) for one in settings),
        ] == fresh
        assert said(long_history, model_file) == first
    long_history.commit("one more", {"a.py": module(COMMITS)})
    later = [said(long_history, model_file), said(long_history, model_file, None, Target(revisions="HEAD"))]
    forget(long_history)
    # The order of the two matters to what is kept, but not to what is said.
    again = [said(long_history, model_file, None, Target(revisions="HEAD")), said(long_history, model_file)]
    assert later == again[::-1]


def test_what_is_known_of_the_past_is_not_found_again(
    long_history: GitRepo, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = said(long_history, model_file)

    def again(*_: object) -> None:
        raise AssertionError("found again")

    with monkeypatch.context() as patched:
        patched.setattr(standing, "standing", again)
        patched.setattr(drift, "detect", again)
        assert said(long_history, model_file) == first
        for entry in ({"drift": 3}, {"drift": {"since": 1}}, {"drift": {"channels": 1}}):
            patched.setattr(shelf.Shelf, "find", lambda *_, said=entry: shelf.Entry(said))
            with pytest.raises(AssertionError, match="found again"):
                said(long_history, model_file)
        patched.undo()
    assert said(long_history, model_file) == first


def test_landings_do_not_depend_on_what_is_beside_them(
    long_history: GitRepo, model_file: Path, tmp_path: Path
) -> None:
    with Repository.open(long_history.path) as repository:
        model = load_model(repository.data_dir, str(model_file))
        records = select(repository, Target())
        table = harvest_live(repository, records, window=model.window, action=model.action)
    rows = np.flatnonzero((table.flags & core.FLAG_NOOP) == 0)
    assert len(rows) > 20
    whole = landings.landings(model.engine, table, rows, 1)
    some = np.arange(len(rows)) % 3 == 0
    place = tmp_path / landings.FILE_NAME
    Kept(place, model).landings(model.engine, table, rows[some], 1)
    mixed = Kept(place, model).landings(model.engine, table, rows, 2)
    nobody = cast(core.Engine, None)  # nothing is left to be asked
    recalled = Kept(place, model).landings(nobody, table, rows[::-1], 1)
    for now, beside, alone in zip(whole, mixed, recalled, strict=True):
        np.testing.assert_array_equal(now, beside, strict=True)
        np.testing.assert_array_equal(now, alone[::-1], strict=True)
    with pytest.raises(AttributeError):
        Kept(place, replace(model, digest="another")).landings(nobody, table, rows, 1)


def test_no_more_is_kept_than_was_said(
    long_history: GitRepo, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landings, "KEPT", 10)
    monkeypatch.setattr(shelf, "KEPT", 3)
    reports = [said(long_history, model_file, None, Target(revisions=f"HEAD~{n}")) for n in (4, 3, 2, 1)]
    with Repository.open(long_history.path) as repository:
        kept = Kept(
            folder(long_history) / landings.FILE_NAME, load_model(repository.data_dir, str(model_file))
        )
    assert len(kept._keys) == 10
    stored = unpack((folder(long_history) / shelf.FILE_NAME).read_bytes(), shelf.SCHEMA)
    assert stored is not None
    assert len(stored[1]["entries"]) == 3
    forget(long_history)
    assert said(long_history, model_file, None, Target(revisions="HEAD~1")) == reports[-1]
