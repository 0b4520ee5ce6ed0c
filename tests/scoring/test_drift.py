"""Claims about drift:

1. Histories of commits that are all alike are not said to drift: in at most 1 of 20; nor are those whose neighbours
   are alike.
2. One that changes its ways is: where, with the channel that moved, and more alerts than expected.
3. In a real repository whose style changes, `score` says since when; with too few commits since it says that it cannot
   compare with them alone, with enough it does, and what was unusual before is usual again.
4. The number of alerts among exchangeable commits has the distribution that it is compared with.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codewm.corpus.git import Repository
from codewm.model.scoring.channels import CHANNELS, Edits
from codewm.model.scoring.drift import Drift, by_chance, detect
from codewm.model.scoring.engine_model import load_model
from codewm.model.scoring.past import Past, empty_past, take
from codewm.model.scoring.report import Report
from codewm.model.scoring.score import Target, judge, score
from codewm.model.scoring.settings import ScoreSettings
from tests.helpers import GitRepo
from tests.scoring.conftest import COMMITS, module

SETTINGS = ScoreSettings()
KNOWN = CHANNELS.index("new_identifiers")


def _past(seed: int, commits: int = 200, alike: float = 0.0) -> Past:
    """Commits of one to four edits with random channels; `alike` is how much of a commit its neighbour has."""
    rng = np.random.default_rng(seed)
    edits = rng.integers(1, 5, commits)
    commit = np.repeat(np.arange(commits), edits).astype(np.int32)
    n = len(commit)
    mood = rng.normal(size=commits)
    for c in range(1, commits):
        mood[c] = alike * mood[c - 1] + np.sqrt(1 - alike**2) * mood[c]
    raw = rng.normal(size=(n, len(CHANNELS))) + (mood[commit][:, None] if alike else 0)
    return replace(
        empty_past(),
        oids=[f"{c:040x}" for c in range(commits)],
        lines_added=rng.integers(1, 200, commits).astype(np.int32),
        edits=Edits(
            row=np.arange(n),
            commit=commit,
            size=rng.integers(3, 300, n).astype(np.int32),
            change=np.full(n, 2, np.uint8),
            kind=np.zeros(n, np.uint8),
            test=np.zeros(n, np.bool_),
            channels=raw,
            displacement=np.zeros((n, 0), np.float16),
            length=np.zeros(n, np.float32),
            predicted=np.zeros(n, np.float32),
            net=np.zeros((n, 0), np.int8),
            action=np.zeros((n, 0), np.float32),
        ),
    )


def _look(past: Past) -> Drift | None:
    """What is said when the last commit is scored."""
    one = take(past.edits, np.flatnonzero(past.edits.commit == len(past.oids) - 1))
    one = replace(one, commit=np.zeros_like(one.commit))
    return detect(past, judge(one, past.lines_added[-1:], past, None, SETTINGS), SETTINGS, judge)


@pytest.mark.parametrize("alike", [0.0, 0.6])
def test_histories_that_stay_alike_do_not_drift(alike: float) -> None:
    said = [_look(_past(seed, alike=alike)) is not None for seed in range(20)]
    assert sum(said) <= 1


@pytest.mark.parametrize("after", [15, 60, 100])
def test_a_history_that_changes_its_ways_does(after: int) -> None:
    past = _past(1)
    changed = past.edits.commit >= 200 - after
    past.edits.channels[changed, KNOWN] += 6
    drift = _look(past)
    assert drift is not None
    assert abs(drift.since - (200 - after)) <= SETTINGS.drift.margin
    assert drift.commits == 200 - drift.since
    assert drift.alerts > 5 * drift.expected
    assert drift.channels[0] == "new_identifiers"
    assert drift.is_enough(SETTINGS) == (after >= 60)


def test_what_becomes_more_ordinary_is_no_drift() -> None:
    past = _past(2)
    past.edits.channels[past.edits.commit >= 140, KNOWN] -= 6
    assert _look(past) is None


def test_alerts_by_chance_are_beta_binomial() -> None:
    rng, m, n = np.random.default_rng(0), 150, 40
    known, new = rng.random((4_000, m)), rng.random((4_000, n))
    p = (1 + (known[:, None, :] >= new[:, :, None]).sum(2)) / (m + 1)
    alerts = (p <= 0.02).sum(1)
    for k in (1, 2, 3):
        expected, chance = by_chance(k, n, m, 0.02)
        assert chance == pytest.approx((alerts >= k).mean(), abs=0.025)
        assert expected == pytest.approx(alerts.mean(), abs=0.06)
    # Too few to compare with, to alert at all.
    assert by_chance(0, n, 40, 0.02) == (0.0, 1.0)


def restyled(version: int) -> str:
    """The module, with a service of names nobody had before, different every time."""
    calls = "\n".join(
        f"        handle_{version}_{i} = await self.gateway_{version}.fetch_{version}_{i}(session_{version}, retry={i})"
        for i in range(5)
    )
    return module(COMMITS - 1) + (
        f"\n\nclass Service:\n    async def run(self, session_{version}):\n{calls}\n"
        f"        return handle_{version}_0\n"
    )


def _score(repo: GitRepo, model: Path, revisions: str) -> tuple[Report, list[str]]:
    heard: list[str] = []
    with Repository.open(repo.path) as repository:
        chosen = load_model(repository.data_dir, str(model))
        report = score(repository, Target(revisions=revisions), chosen, None, heard.append)
    return report, heard


def test_score_says_when_the_style_changed(long_history: GitRepo, model_file: Path) -> None:
    oids = [long_history.commit(f"service {v}", {"a.py": restyled(v)}) for v in range(110)]
    before, silent = _score(long_history, model_file, f"{oids[0]}~5..{oids[0]}~1")
    assert silent == []
    first, [said] = _score(long_history, model_file, f"{oids[19]}..{oids[20]}")
    assert "look unlike the past that scores are measured against" in said
    assert "expected; since " in said
    assert "too few to compare with them alone" in said
    assert first.calibration.commits > 90
    last, [said] = _score(long_history, model_file, f"{oids[108]}..{oids[109]}")
    assert "scores are compared with the commits since then" in said
    since = said.partition("; since ")[2][:8]
    assert since in {oid[:8] for oid in oids[:4]}
    assert last.calibration.commits >= SETTINGS.calibration.little_commits
    assert last.calibration.commits <= 109
    assert last.calibration.sentence.endswith("those since it changed its ways")
    assert not last.commits[0].alert
    assert before.calibration.commits < 90
