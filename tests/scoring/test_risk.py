"""Claims about the risk head:

1. What the features add is exact: terms and intercept are the log-odds, however wild a value is.
2. It is stored as numbers and names, and comes back the same; damage, another model and other features are refused.
3. Fitted to a history in which a feature tells, it tells later commits of the same size, and what it says is what
   comes; fitted to noise, it says that it does not tell.
4. Labels that were not known when the later part began are not learnt from.
5. With too few labels it refuses in a sentence. `score --risk` without a head is refused with the way to make one.
6. `score --risk` and `explain --risk` show the risk and its terms beside the surprise; plain `score` does not. Neither
   imports sklearn. The change at hand has a risk, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codewm.corpus.errors import UserError
from codewm.model.scoring import risk
from codewm.model.scoring.engine_model import load_model
from codewm.model.scoring.risk import Head
from codewm.model.scoring.risk_fit import Data, FitSettings, fit
from tests.helpers import GitRepo, run_cli
from tests.scoring.conftest import module
from tests.scoring.random_model import write_random_model

DAY = 86_400.0


@pytest.fixture
def repo(long_history: GitRepo) -> GitRepo:
    """Ninety commits with a local model."""
    write_random_model(long_history.path / ".git" / "codewm" / "model.safetensors")
    return long_history


def head_of(repo: GitRepo) -> Head:
    """A head that was not fitted to anything: more files and more fixes are riskier."""
    model = load_model(repo.path / ".git" / "codewm")
    names = risk.names(model)
    rng = np.random.default_rng(0)
    return Head(
        names=names,
        centre=tuple(rng.random(len(names)).tolist()),
        scale=tuple((0.5 + rng.random(len(names))).tolist()),
        weights=tuple(rng.normal(size=len(names)).tolist()),
        intercept=-2.0,
        usual=0.1,
        horizon=365.0,
        model=model.digest,
        tokenizer_id=risk.core.TOKENIZER_ID,
        tip="0" * 40,
        commits=100,
        bad=40,
    )


def test_terms_add_up(repo: GitRepo) -> None:
    head = head_of(repo)
    x = np.random.default_rng(1).normal(size=(5, len(head.names))) * 3
    x[0, 0] = 1e12
    for found, p in zip(head.risks(x), head.probabilities(x), strict=True):
        log_odds = head.intercept + sum(t.log_odds for t in found.terms)
        assert found.probability == p == pytest.approx(1 / (1 + np.exp(-log_odds)))
        assert len(found.terms) == len(head.names)
        assert [abs(t.log_odds) for t in found.terms] == sorted(
            (abs(t.log_odds) for t in found.terms), reverse=True
        )


def test_it_comes_back_as_it_was(repo: GitRepo, tmp_path: Path) -> None:
    head, model, place = head_of(repo), load_model(repo.path / ".git" / "codewm"), tmp_path / "risk.json"
    risk.save(place, head)
    assert risk.load(place, model) == head
    stored = json.loads(place.read_text())
    assert stored["schema"] == "codewm.risk/1"
    for damage in (
        {"model": "0" * 16},
        {"tokenizer_id": "other"},
        {"names": stored["names"][:-1]},
        {"weights": stored["weights"][:-1]},
        {"scale": [0.0] * len(stored["scale"])},
        {"schema": "codewm.risk/9"},
        {"more": 1},
    ):
        place.write_text(json.dumps({**stored, **damage}))
        with pytest.raises(UserError, match="risk"):
            risk.load(place, model)
    place.write_text("not json")
    with pytest.raises(UserError, match="damaged"):
        risk.load(place, model)


def made_up(n: int, tells: float, seed: int = 0) -> Data:
    """A commit a day; the bad ones come out after ten days."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6))
    log_odds = -2.0 + tells * x[:, 2]
    bad = rng.random(n) < 1 / (1 + np.exp(-log_odds))
    time = np.arange(n) * DAY
    names = (
        "channel.doubt",
        "channel.displacement",
        "history.file_fixes",
        "history.left_out",
        "size.units",
        "action.location",
    )
    lines = rng.integers(1, 40, n).astype(np.int32)
    return Data(names, x, time, np.where(bad, time + 10 * DAY, np.inf), lines, lines, n * DAY, np.zeros(6))


def test_what_tells_is_found() -> None:
    settings = FitSettings(horizon=30, resamples=200)
    fitted, tested = fit(made_up(1_500, 1.5), settings)
    assert tested.tells
    assert tested.rows[0].name == "risk"
    assert tested.rows[0].size_matched[0] > 0.75
    assert np.argmax(np.abs(fitted.weights)) == 2
    for b in tested.reliability:
        assert b.said == pytest.approx(b.came, abs=0.12)
    assert tested.brier < tested.brier_usual
    less = {r.name: r.less for r in tested.rows}
    assert less["without history"][1] > 0.1
    assert abs(less["without doubt"][0]) < 0.05
    assert "without displacement" in less


def test_noise_is_said_to_be_noise() -> None:
    _, tested = fit(made_up(1_500, 0.0), FitSettings(horizon=30, resamples=200))
    assert not tested.tells
    assert tested.verdict.startswith("No risk is shown here")


def test_labels_of_the_future_are_not_learnt_from() -> None:
    data, settings = made_up(1_500, 1.5), FitSettings(horizon=30, resamples=50)
    _, honest = fit(data, settings)
    begins = data.time[int(1_470 * (1 - settings.later))]
    # Whatever comes out after the later part has begun is as if it had not, for the earlier one.
    later = data.came_out.copy()
    early = data.time + 30 * DAY <= begins
    later[early & ~np.isfinite(later)] = begins + DAY
    _, fooled = fit(replace(data, came_out=later), settings)
    assert fooled.bad == honest.bad
    assert fooled.rows[0].size_matched == honest.rows[0].size_matched


def test_too_few_labels_are_refused(repo: GitRepo) -> None:
    with pytest.raises(UserError, match="too few labels"):
        fit(made_up(200, 1.5), FitSettings(horizon=30))
    ran = run_cli("train", "--risk", str(repo.path))
    assert ran.status == 2
    assert "too few labels: 0 of 0 commits" in ran.err
    assert not (repo.path / ".git" / "codewm" / risk.FILE_NAME).exists()


def test_without_a_head(repo: GitRepo) -> None:
    ran = run_cli("score", "--risk", cwd=repo.path)
    assert ran.status == 2
    assert "codewm train --risk" in ran.err


def test_it_is_shown_beside_the_surprise(repo: GitRepo) -> None:
    head = head_of(repo)
    risk.save(repo.path / ".git" / "codewm" / risk.FILE_NAME, head)
    ran = run_cli("score", "--risk", "--format", "json", cwd=repo.path)
    assert ran.status == 0, ran.err
    for commit in json.loads(ran.out)["commits"]:
        shown = commit["risk"]
        log_odds = head.intercept + sum(t["log_odds"] for t in shown["terms"])
        assert shown["probability"] == pytest.approx(1 / (1 + np.exp(-log_odds)), abs=1e-3)
    assert "risk" not in json.loads(run_cli("score", "--format", "json", cwd=repo.path).out)["commits"][0]
    assert "risk" in run_cli("score", "--risk", cwd=repo.path).out.splitlines()[0]
    assert "Risk: " in run_cli("explain", "--risk", cwd=repo.path).out
    repo.stage({"a.py": module(4)})
    (staged,) = json.loads(run_cli("score", "--staged", "--risk", "--format", "json", cwd=repo.path).out)[
        "commits"
    ]
    assert 0 < staged["risk"]["probability"] < 1
    # The same change has the same history once it is committed.
    repo.commit("as staged", {})
    (made,) = json.loads(run_cli("score", "HEAD", "--risk", "--format", "json", cwd=repo.path).out)["commits"]
    value = {t["feature"]: t["value"] for t in made["risk"]["terms"]}
    was = {t["feature"]: t["value"] for t in staged["risk"]["terms"]}
    for name in ("history.new_files", "history.left_out", "size.lines_added", "action.size_delta"):
        assert value[name] == was[name]
    # The author is recognised; what is years ago by the clock has faded.
    assert was["history.author_on_files"] > 0.5


def test_sklearn_is_not_imported(repo: GitRepo) -> None:
    risk.save(repo.path / ".git" / "codewm" / risk.FILE_NAME, head_of(repo))
    code = (
        "import sys\nfrom codewm.cli.main import main\n"
        "assert main(['score', '-q', '--risk']) == 0\nassert main(['backtest', '-q']) == 0\n"
        "assert not {'torch', 'sklearn', 'scipy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repo.path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
