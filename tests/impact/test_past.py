"""Claims about the past that `codewm impact` learns from:

1. A file keeps its number through renames, also where two files swap names in one commit; one that comes back is
   the one that went.
2. What was known before a commit depends on nothing that came later: the past cut there gives the same signals.
3. Commits that are added one by one give the same files, units and answers as reading everything at once.
4. The copy on disk is the past; a damaged or foreign one is refused, never believed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codewm.corpus.git import Repository
from codewm.corpus.history import harvest_live
from codewm.model.impact import cache
from codewm.model.impact.past import GONE, Past
from codewm.model.impact.rank import rank_files
from codewm.model.impact.reading import empty_past, extended
from codewm.model.impact.replay import changed_files
from codewm.model.impact.signals import Known, View, signals
from tests.helpers import GitRepo
from tests.impact.shop import fill, module


def read(repo: GitRepo, *, steps: int = 1) -> Past:
    past = empty_past()
    with Repository.open(repo.path) as opened:
        records = list(opened.commits("HEAD"))
        for part in np.array_split(np.arange(len(records)), steps):
            some = [records[i] for i in part]
            past = extended(past, some, harvest_live(opened, some, window=256, action="v15"))
    return past


def number(past: Past, path: str, until: int | None = None) -> int:
    paths = past.paths_before(len(past) if until is None else until)
    found = [f for f in range(past.files) if paths[f] != GONE and past.paths[paths[f]] == path]
    assert len(found) == 1, path
    return found[0]


def test_files_are_followed_through_renames(git_repo: GitRepo) -> None:
    a, b = module("alpha", 1) * 3, module("beta", 1) * 3
    git_repo.commit("begin", {"a.py": a, "b.py": b, "c.py": module("gamma", 1)})
    git_repo.commit("swap", {"a.py": None, "b.py": None, "x.py": a, "y.py": b})
    git_repo.commit("gone", {"c.py": None})
    git_repo.commit("back", {"c.py": module("gamma", 2)})
    past = read(git_repo)
    assert number(past, "x.py") == number(past, "a.py", 1)
    assert number(past, "y.py") == number(past, "b.py", 1)
    assert number(past, "c.py") == number(past, "c.py", 1)
    assert past.paths_before(3)[number(past, "c.py")] == GONE


def test_two_files_may_swap_names_in_one_commit(git_repo: GitRepo) -> None:
    a, b = module("alpha", 1) * 4, module("beta", 1) * 4
    git_repo.commit("begin", {"one/a.py": a, "two/b.py": b})
    git_repo.commit("move", {"one/a.py": None, "two/a.py": a, "two/b.py": None, "one/b.py": b})
    past = read(git_repo)
    assert number(past, "two/a.py") == number(past, "one/a.py", 1)
    assert number(past, "one/b.py") == number(past, "two/b.py", 1)


def test_nothing_is_known_of_the_future(git_repo: GitRepo) -> None:
    past = read(fill(git_repo))
    for commit in (5, 11, 18):
        files, _ = changed_files(past, commit)
        cut = past.before(commit + 1)
        known, known_cut = Known.of(past, commit, files), Known.of(cut, commit, files)
        whole = signals(View(past, commit), known)
        early = signals(View(cut, commit), known_cut)
        # Vocabularies and word counts of paths are of all that is held; nothing was added after the beginning here.
        np.testing.assert_allclose(whole[: len(early)], early)


def test_step_by_step_is_the_same_as_at_once(git_repo: GitRepo) -> None:
    fill(git_repo)
    once, steps = read(git_repo), read(git_repo, steps=7)
    assert once.paths == steps.paths
    for mine, theirs in zip((*once.changed, *once.named), (*steps.changed, *steps.named), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(once.edits[0], steps.edits[0])
    assert once.chains == steps.chains
    for commit in range(3, len(once)):
        files, _ = changed_files(once, commit)
        ours = rank_files(View(once, commit), Known.of(once, commit, files)).scores
        others = rank_files(View(steps, commit), Known.of(steps, commit, files)).scores
        np.testing.assert_allclose(ours, others, rtol=1e-6)


def test_the_copy_is_the_past(git_repo: GitRepo, tmp_path: Path) -> None:
    past = read(fill(git_repo))
    place = tmp_path / "deep" / cache.FILE_NAME
    assert cache.load(place) is None
    assert cache.save(place, past)
    again = cache.load(place)
    assert again is not None
    assert (again.oids, again.paths, again.names, again.units) == (
        past.oids,
        past.paths,
        past.names,
        past.units,
    )
    for name in ("changed", "named", "edits", "mentions"):
        for mine, theirs in zip(getattr(past, name), getattr(again, name), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert [p.name for p in place.parent.iterdir()] == [cache.FILE_NAME]


def test_a_damaged_copy_is_refused(git_repo: GitRepo, tmp_path: Path) -> None:
    from dataclasses import replace

    past = read(fill(git_repo, rounds=3))
    place = tmp_path / cache.FILE_NAME
    cache.save(place, past)
    whole = place.read_bytes()
    for damaged in (
        whole[: len(whole) // 2],
        b"",
        whole[:8] + b"x" + whole[9:],
        whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
    ):
        place.write_bytes(damaged)
        with pytest.raises(cache.CacheDamagedError):
            cache.load(place)
    outside = replace(past, changed=(past.changed[0], past.changed[1] + 1000))
    cache.save(place, outside)
    with pytest.raises(cache.CacheDamagedError):
        cache.load(place)
    cache.save(place, past)
    place.write_bytes(place.read_bytes().replace(b"impact-past/2", b"impact-past/9"))
    assert cache.load(place) is None
