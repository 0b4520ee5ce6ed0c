"""Claims about replaying and backtesting:

1. A replay says of a block of commits what `score` would have said on that day; what came later changes nothing.
2. The measurements are kept, and taken from the last run as far as they go.
3. Size cannot win: a score that is the size has a size-matched AUROC of exactly a half where sizes are few, and time
   cannot win once it is matched, too.
4. The verdict: 'do not gate here' with too few labels, and with a score that is a coin; not with one that tells.
5. An alert for a commit that was fixed is a hit, one without an alert is a miss, young ones are not counted.
6. The command: JSON of schema codewm.backtest/1, `--weeks` and `--since`, inert text, too little history in words.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from codewm.corpus.git import Repository
from codewm.model.scoring import replay as replays
from codewm.model.scoring.backtest import Backtest, BacktestSettings, History, backtest, rank
from codewm.model.scoring.engine_model import load_model
from codewm.model.scoring.fate import Fate
from codewm.model.scoring.replay import Replayed, ReplaySettings, judged, measured
from codewm.model.scoring.score import Target, score
from codewm.model.scoring.settings import ScoreSettings
from tests.helpers import GitRepo, run_cli
from tests.scoring.conftest import module
from tests.scoring.random_model import write_random_model

DAY = 86_400


def test_a_replay_says_what_score_would_have_said(long_history: GitRepo) -> None:
    write_random_model(long_history.path / ".git" / "codewm" / "model.safetensors")
    with Repository.open(long_history.path) as repo:
        model, settings = load_model(repo.data_dir), ScoreSettings()
        past = measured(repo, repo.head(), model, settings, ReplaySettings())
        seen = judged(past, settings, ReplaySettings(block=20), len(past) - 20)
        report = score(repo, Target(latest=20), model, settings)
    assert seen.oids[-20:] == [c.oid for c in reversed(report.commits)]
    said = [c.p_value for c in reversed(report.commits)]
    assert seen.p_value[-20:].tolist() == pytest.approx(said, abs=1e-6)
    assert not seen.judged[:-20].any()


def test_what_came_later_changes_nothing(long_history: GitRepo) -> None:
    write_random_model(long_history.path / ".git" / "codewm" / "model.safetensors")
    with Repository.open(long_history.path) as repo:
        model, settings, wanted = load_model(repo.data_dir), ScoreSettings(), ReplaySettings(block=10)
        past = measured(repo, repo.head(), model, settings, wanted)
        whole = judged(past, settings, wanted)
        # As if the last fifteen had not been made yet, measured anew.
        (repo.data_dir / replays.FILE_NAME).unlink()
        earlier = measured(repo, repo.resolve("HEAD~15"), model, settings, wanted)
        part = judged(earlier, settings, wanted)
    n = len(part)
    assert n == len(whole) - 15
    # The last block of the shorter one holds fewer commits, compared with the same past.
    assert np.array_equal(part.p_value, whole.p_value[:n], equal_nan=True)
    assert part.judged.sum() > 10


def test_measurements_are_kept(long_history: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    write_random_model(long_history.path / ".git" / "codewm" / "model.safetensors")
    with Repository.open(long_history.path) as repo:
        model, settings = load_model(repo.data_dir), ScoreSettings()
        first = measured(repo, repo.head(), model, settings, ReplaySettings())

        def refuse(*_: object) -> None:
            raise AssertionError("measured again")

        monkeypatch.setattr(replays, "build", refuse)
        again = measured(repo, repo.resolve("HEAD~3"), model, settings, ReplaySettings())
    assert again.oids == first.oids[:-3]


def made_up(n: int, tells: float, seed: int = 0) -> tuple[Replayed, History, np.ndarray, np.ndarray]:
    """A history of n commits of which larger ones are bad more often, and a score that tells so much of it."""
    rng = np.random.default_rng(seed)
    lines = rng.integers(1, 60, n).astype(np.int32)
    bad = rng.random(n) < lines / 250
    surprise = rng.normal(size=n) + tells * bad
    order = np.argsort(np.argsort(-surprise))
    p = (order + 1) / (n + 1)
    time = 1_500_000_000 + np.arange(n) * DAY
    oids = [f"{c:040x}" for c in range(n)]
    none = np.full(n, np.nan)
    seen = Replayed(oids, lines, np.ones(n, np.bool_), p, surprise, {"doubt": none}, {"doubt": none}, True)
    history = History([f"commit {c}" for c in range(n)], time, {"lines added": lines.astype(float)})
    return seen, history, bad, lines


class Told:
    """Fates that are known beforehand."""

    def __init__(self, bad: np.ndarray) -> None:
        self._bad = bad

    def commit(self, oid: str) -> Fate:
        bad = self._bad[int(oid, 16)]
        return Fate("fixed", "f" * 40, "fix", 3.0) if bad else Fate("kept", days=500.0)


def run(n: int, tells: float, **changes: object) -> Backtest:
    seen, history, bad, _ = made_up(n, tells, seed=1)
    settings = replace(BacktestSettings(resamples=200), **changes)  # type: ignore[arg-type]
    return backtest(seen, history, Told(bad), (2, 100), 0, settings)  # type: ignore[arg-type]


def test_size_cannot_win() -> None:
    _, _, bad, lines = made_up(1_500, 0.0)
    few = np.minimum(lines, 5)
    n = len(bad)
    # By time: a third as many of the late ones are bad.
    late = np.arange(n) > n // 2
    timed = bad & ~(late & (np.arange(n) % 3 > 0))
    scores = {"size": few.astype(float), "time": -np.arange(n) // (n // 4) * 1.0, "bad": timed.astype(float)}
    size, time, best = rank(scores, timed, few, np.arange(n), BacktestSettings(resamples=200))
    assert size.size_matched[0] == 0.5
    assert time.size_matched[0] > 0.6
    assert time.time_matched[0] == pytest.approx(0.5, abs=0.02)
    assert best.size_matched[0] == best.time_matched[0] == 1.0
    assert size.less == (0.0, 0.0, 0.0)
    assert best.less[0] == -0.5


def test_the_verdict_with_too_few_labels() -> None:
    found = run(450, 5.0, least_bad=100)
    assert not found.gate
    assert found.rows == ()
    assert found.verdict.startswith("Do not gate here: only")


def test_the_verdict_of_a_coin() -> None:
    found = run(1_500, 0.0)
    assert not found.gate
    assert found.verdict.startswith("Do not gate here: among commits of the same size")
    assert found.rows[0].name == "codewm"
    low, high = found.rows[0].size_matched[1:]
    assert low < 0.5 < high


def test_the_verdict_of_a_score_that_tells() -> None:
    found = run(1_500, 3.0)
    assert found.gate
    assert found.verdict.startswith("Alerts are worth reading here")
    assert len(found.hits) > 2 * found.expected_hits


def test_hits_misses_and_the_young() -> None:
    seen, history, bad, _ = made_up(800, 2.0)
    found = backtest(seen, history, Told(bad), (2, 100), 0, BacktestSettings(resamples=50))  # type: ignore[arg-type]
    alerted = {a.oid for a in found.alerts}
    assert len(alerted) == (seen.p_value <= 0.02).sum()
    old = {oid for oid, t in zip(seen.oids, history.time, strict=True) if history.time.max() - t >= 365 * DAY}
    wrong = {oid for oid, b in zip(seen.oids, bad, strict=True) if b}
    assert {a.oid for a in found.hits} == alerted & old & wrong
    assert {m.oid for m in found.misses} == (old & wrong) - alerted
    assert found.counted == len(old)
    # Beyond the horizon a fix is no hit.
    late = backtest(
        seen,
        history,
        Told(bad),
        (2, 100),
        0,
        BacktestSettings(horizon=2, resamples=50),  # type: ignore[arg-type]
    )
    assert late.bad == 0


@pytest.fixture
def repo(long_history: GitRepo) -> GitRepo:
    """Ninety commits with a local model, and a fix at the end."""
    write_random_model(long_history.path / ".git" / "codewm" / "model.safetensors")
    long_history.commit("\x1b[31mfix\u202e crash", {"a.py": module(91)})
    return long_history


def test_the_command(repo: GitRepo) -> None:
    ran = run_cli("backtest", str(repo.path), "--json")
    assert ran.status == 0, ran.err
    found = json.loads(ran.out)
    assert found["schema"] == "codewm.backtest/1"
    assert found["commits"] == 91
    assert 20 < found["judged"] <= 41
    # All of it is a matter of days: nobody can tell yet.
    assert found["counted"] == 0
    assert found["verdict"].startswith("Do not gate here: no commit")
    text = run_cli("backtest", cwd=repo.path)
    assert text.status == 0
    assert "Do not gate here" in text.out
    assert "Next: " in text.out
    assert "\x1b" not in text.out + text.err
    assert "\u202e" not in text.out


def test_what_is_replayed(repo: GitRepo) -> None:
    found = json.loads(run_cli("backtest", str(repo.path), "--json", "-q", "--since", "HEAD~10").out)
    assert (found["commits"], found["judged"]) == (10, 10)
    weeks = json.loads(run_cli("backtest", str(repo.path), "--json", "-q", "--weeks", "1").out)
    assert weeks["commits"] == 91
    for words in (("--since", "HEAD"), ("--since", "nowhere"), ("--weeks", "2", "--since", "HEAD~3")):
        assert run_cli("backtest", str(repo.path), *words).status == 2
    assert run_cli("backtest", str(repo.path), "--alert-budget", "3/2").status == 2
