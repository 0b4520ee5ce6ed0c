"""Claims about scoring a repository:

1. A pasted payload, staged or in the work tree, alerts; it is named with its unit and channel. An ordinary
edit
   of the same history does not.
2. The second run answers from the cache and says the same; so does a run where nothing can be written.
3. A cache cut back to an earlier base, or extended to a later one, knows exactly the names of a fresh build.
4. A damaged cache is rebuilt with one warning; one of another model is not used.
5. Without history there are no numbers and no alerts, and the report says so; a model with a reference sample
   lends it.
6. Merges are scored against their first parent, or left out; commits without Python or without code are
listed. 7. Where a shallow clone ends there is nothing to compare with: refused alone, listed in a range. 8.
Which model: named, local, shipped; damaged or foreign ones are refused with a hint.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.history import name_hash
from codewm.model.scoring import cache
from codewm.model.scoring.channels import CHANNELS
from codewm.model.scoring.engine_model import base_path, load_model
from codewm.model.scoring.gather import build, past_before
from codewm.model.scoring.reference import SCHEMA, dump_reference, parse_reference
from codewm.model.scoring.report import Report
from codewm.model.scoring.score import Target, score
from codewm.model.scoring.settings import ScoreSettings
from tests.helpers import GitRepo
from tests.scoring.conftest import COMMITS, module
from tests.scoring.random_model import write_random_model

PAYLOAD = "    exec(__import__('base64').b64decode(items))\n"
SETTINGS = ScoreSettings()


def pasted(version: int = COMMITS - 1) -> str:
    return module(version).replace("    for item in items:\n", PAYLOAD + "    for item in items:\n", 1)


def run(
    repo: GitRepo, model: Path, target: Target | None = None, warnings: list[str] | None = None
) -> Report:
    with Repository.open(repo.path) as repository:
        heard: list[str] = []
        report = score(
            repository, target or Target(), load_model(repository.data_dir, str(model)), None, heard.append
        )
        if warnings is not None:
            warnings.extend(heard)
        else:
            assert heard == []
    return report


@pytest.mark.parametrize("kind", ["staged", "worktree"])
def test_a_payload_alerts_and_an_ordinary_edit_does_not(
    long_history: GitRepo, model_file: Path, kind: str
) -> None:
    long_history.write("a.py", pasted())
    if kind == "staged":
        long_history.git("add", "-A")
    [commit] = run(long_history, model_file, Target(kind)).commits
    assert commit.alert
    assert commit.oid == ""
    assert commit.reasons[0].startswith("a.py::f0: new identifiers: ")
    assert "exec" in commit.reasons[0]
    assert "b64decode" in commit.reasons[0]
    [unit] = commit.units
    assert unit.channels["new_identifiers"].percentile_size_matched == 100
    assert len(unit.neighbours) == SETTINGS.neighbours_shown
    assert all(-1.001 <= n.similarity <= 1.001 for n in unit.neighbours)

    long_history.write("a.py", module(COMMITS))
    long_history.git("add", "-A")
    [ordinary] = run(long_history, model_file, Target(kind)).commits
    assert not ordinary.alert
    assert ordinary.state == "scored"


def test_the_second_run_uses_the_cache_and_says_the_same(long_history: GitRepo, model_file: Path) -> None:
    first = run(long_history, model_file)
    second = run(long_history, model_file)
    assert (first.calibration.source, second.calibration.source) == ("live", "cache")
    assert second.commits == first.commits
    assert len(first.commits) == 20


def test_without_a_writable_place_it_works_all_the_same(long_history: GitRepo, model_file: Path) -> None:
    first = run(long_history, model_file)
    data = long_history.path / ".git" / "codewm"
    assert (data / cache.FILE_NAME).is_file()
    shutil.rmtree(data)
    data.write_text("a file where the folder would be")
    again = run(long_history, model_file)
    assert again.commits == first.commits
    assert again.calibration.source == "live"


def test_cutting_back_and_extending_equal_a_fresh_build(long_history: GitRepo, model_file: Path) -> None:
    names = name_hash(["total", "items", "len", "os", "json", "never"])
    with Repository.open(long_history.path) as repository:
        model = load_model(repository.data_dir, str(model_file))
        line = repository.first_parents("HEAD")
        middle, later, tip = line[50], line[55], line[-1]
        place = repository.data_dir / cache.FILE_NAME
        for first, then, sources in ((tip, later, ("live", "cache")), (middle, later, ("live", "cache"))):
            place.unlink(missing_ok=True)
            got = [
                past_before(repository, base, model, SETTINGS, lambda text: None) for base in (first, then)
            ]
            assert tuple(source for _, source in got) == sources
            past, fresh = got[1][0], build(repository, then, model, SETTINGS)
            assert past.oids == fresh.oids
            np.testing.assert_array_equal(past.names.look_up(names), fresh.names.look_up(names))
            np.testing.assert_allclose(past.edits.channels, fresh.edits.channels, rtol=1e-5)
            np.testing.assert_array_equal(past.edits.commit, fresh.edits.commit)
            assert [past.units[u] for u in past.unit] == [fresh.units[u] for u in fresh.unit]


def test_a_damaged_cache_is_rebuilt_and_a_foreign_one_ignored(
    long_history: GitRepo, model_file: Path, tmp_path: Path
) -> None:
    first = run(long_history, model_file)
    place = long_history.path / ".git" / "codewm" / cache.FILE_NAME
    whole = place.read_bytes()
    flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    for damage in (b"", whole[: len(whole) // 2], b"\0" * 64, whole[:-1] + b"\0\0", flipped):
        place.write_bytes(damage)
        warnings: list[str] = []
        assert run(long_history, model_file, warnings=warnings).commits == first.commits
        assert len(warnings) == 1
        assert place.read_bytes() == whole
    other = write_random_model(tmp_path / "other.safetensors", seed=7)
    assert run(long_history, other).calibration.source == "live"


def test_without_history_there_are_no_numbers(git_repo: GitRepo, model_file: Path) -> None:
    for version in range(3):
        git_repo.commit(f"v{version}", {"a.py": module(version)})
    report = run(git_repo, model_file)
    assert [c.subject for c in report.commits] == ["v2", "v1", "v0"]
    assert all(c.score is c.percentile is c.p_value is None and not c.alert for c in report.commits)
    assert "no history" in report.calibration.sentence
    # One commit later there is a past, of two commits: numbers, and a p-value too coarse to alert.
    git_repo.commit("payload", {"a.py": pasted(2)})
    [commit] = run(git_repo, model_file, Target(revisions="HEAD")).commits
    assert commit.p_value is not None
    assert commit.p_value >= round(1 / 3, 6)
    assert not commit.alert


def test_a_reference_sample_stands_in(
    long_history: GitRepo, git_repo: GitRepo, model_file: Path, tmp_path: Path
) -> None:
    with Repository.open(long_history.path) as repository:
        model = load_model(repository.data_dir, str(model_file))
        past = build(repository, repository.head(), model, SETTINGS)
    text = dump_reference([past, past])
    reference = parse_reference(text)
    assert reference is not None
    assert 0 < len(reference.edits) <= 2 * len(past.edits)
    with_reference = write_random_model(tmp_path / "with.safetensors", calibration=text)
    git_repo.commit("start", {"a.py": module(0)})
    git_repo.commit("payload", {"a.py": pasted(0)})
    report = run(git_repo, with_reference, Target(revisions="HEAD"))
    assert report.commits[0].alert
    assert report.calibration.reference_edits == len(reference.edits)
    assert report.calibration.sentence.startswith("too little history")
    for broken in ("{}", "[]", "nonsense", text.replace(SCHEMA, "x"), json.dumps({"schema": "other"})):
        assert parse_reference(broken) is None
    # What one channel said in a former sample meant another thing; the others still count.
    former = parse_reference(text.replace(SCHEMA, "codewm.reference/1"))
    assert former is not None
    silent = np.isnan(former.edits.channels).all(0) & ~np.isnan(reference.edits.channels).all(0)
    assert [CHANNELS[i] for i in np.flatnonzero(silent)] == ["substitution"]


def test_merges_and_commits_without_code(long_history: GitRepo, model_file: Path) -> None:
    long_history.git("checkout", "-q", "-b", "side")
    long_history.commit("on the side", {"c.py": "def c():\n    return 1\n"})
    long_history.git("checkout", "-q", "main")
    long_history.commit("text", {"README": "y\n"})
    long_history.git("merge", "-q", "--no-ff", "-m", "merged", "side")
    long_history.commit("comment", {"a.py": "# why\n" + module(COMMITS - 1)})
    report = run(long_history, model_file, Target(revisions="HEAD~3..HEAD"))
    states = {c.subject: (c.state, c.merge, len(c.units)) for c in report.commits}
    assert states["merged"][:2] == ("scored", True)
    assert states["text"] == ("no Python", False, 0)
    assert states["comment"] == ("no code", False, 0)
    skipped = run(long_history, model_file, Target(revisions="HEAD~3..HEAD", merges="skip"))
    assert "merged" not in {c.subject for c in skipped.commits}


def test_where_a_shallow_clone_ends(long_history: GitRepo, model_file: Path, tmp_path: Path) -> None:
    long_history.git("clone", "-q", "--depth", "3", f"file://{long_history.path}", str(tmp_path / "shallow"))
    shallow = GitRepo(tmp_path / "shallow")
    states = [c.state for c in run(shallow, model_file).commits]
    assert states == ["scored", "scored", "no parent"]
    with pytest.raises(UserError, match="shallow"):
        run(shallow, model_file, Target(revisions="HEAD~2"))


def test_what_cannot_be_scored_says_why(git_repo: GitRepo, model_file: Path) -> None:
    with pytest.raises(UserError, match="no commits yet"):
        run(git_repo, model_file)
    git_repo.commit("start", {"a.py": module(0)})
    for target, words in (
        (Target(revisions="HEAD..HEAD"), "holds no commits"),
        (Target(revisions="nowhere"), "unknown revision"),
        (Target(revisions="--all"), "not a revision"),
        (Target("staged"), "nothing is staged"),
        (Target("worktree"), "no changes"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            run(git_repo, model_file, target)
        assert caught.value.hint


def test_which_model(tmp_path: Path, model_file: Path) -> None:
    data = tmp_path / "data"
    assert load_model(data, str(model_file)).source == "file"
    local = write_random_model(data / "model.safetensors")
    assert load_model(data).source == "local"
    assert "trained on this repository" in load_model(data).sentence
    if base_path().is_file():
        assert load_model(data, "base").source == "base"
    good = local.read_bytes()
    write_random_model(tmp_path / "foreign.safetensors", tokenizer_id="another")
    for content, words in (
        (good[: len(good) // 2], "not a usable model"),
        (b"", "not a usable model"),
        ((tmp_path / "foreign.safetensors").read_bytes(), "another tokeniser"),
    ):
        local.write_bytes(content)
        with pytest.raises(UserError, match=words) as caught:
            load_model(data)
        assert "codewm train" in caught.value.hint
    with pytest.raises(UserError, match="cannot read"):
        load_model(data, str(tmp_path / "absent.safetensors"))
