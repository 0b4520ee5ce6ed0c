"""Features and fates of a repository's commits in, a calibrated risk head and how it does on later commits out.

    commits old enough to tell, by time:  [ earlier part | gap of one horizon | later part ]
                                            fit, labels known by then            test

A repository has few bad commits, so the head does not begin with nothing: what weighs how much in other repositories
(`prior`, fitted to the training repositories by `benches/risk_prior.py`, never to those held out) is one more feature,
and nearly free of the penalty that holds back the others. What is fitted stays linear, so that terms stay exact.

Labels of the earlier part are those that were known when the later part began; commits that were too young then are
left out, bad or not. The head that is kept is fitted to both parts, the same way. Regularisation and calibration
come from predictions of each fifth of a part by the fifths before it. Only here is scikit-learn needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.errors import UserError
from codewm.corpus.szz import DAY
from codewm.model.scoring.backtest import BacktestSettings, Ranked, rank
from codewm.model.scoring.risk import clipped, standardised, title

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]
PRIOR_NAME = "risk-prior.json"


@dataclass(frozen=True)
class FitSettings:
    """How the head is fitted."""

    horizon: float = 365.0
    """Days in which what is wrong with a commit should have come out."""
    later: float = 0.4
    """Share of the commits that the head is tested on, the latest."""
    least_fit: int = 30
    """Bad commits in the earlier part; with fewer, a head of so many features learns their accidents."""
    least_test: int = 10
    strengths: tuple[float, ...] = (0.0001, 0.0003, 0.001, 0.003)
    """Inverse regularisation, the strongest first."""
    folds: int = 5
    lead: float = 10.0
    """The prior's feature is its log-odds times this; the larger, the less it is held back. Like `strengths`, chosen on
    training repositories (docs/lab-log.md).
    """
    bins: int = 5
    """Of the reliability table."""
    resamples: int = 1_000


@dataclass(frozen=True)
class Data:
    """C commits, oldest first."""

    names: tuple[str, ...]
    x: F64
    """[C, F]"""
    time: F64
    """[C] unix seconds, never backwards."""
    came_out: F64
    """[C] unix seconds when what was wrong came out, within the horizon; inf for the others."""
    lines: NDArray[np.int32]
    """[C] lines added."""
    code: NDArray[np.int32]
    """[C] `risk.code_added`."""
    newest: float
    """Unix seconds: until when labels are known."""
    prior: F64
    """[F] weights of the standardised features in other repositories."""

    def take(self, index: NDArray[np.int64]) -> Data:
        """Return some of the commits."""
        one = (self.x[index], self.time[index], self.came_out[index], self.lines[index], self.code[index])
        return Data(self.names, *one, self.newest, self.prior)


def prior(names: Sequence[str]) -> F64:
    """[F] what features weigh in other repositories, 0 for those it does not know."""
    import codewm.model.base

    place = Path(next(iter(codewm.model.base.__path__))) / PRIOR_NAME
    weights: Mapping[str, float] = json.loads(place.read_text(encoding="ascii"))["weights"]
    return np.array([weights.get(name, 0.0) for name in names], np.float64)


@dataclass(frozen=True)
class Fitted:
    """Standardisation, weights and intercept, calibration included."""

    centre: F64
    scale: F64
    weights: F64
    intercept: float
    strength: float

    def logits(self, x: F64) -> F64:
        """[n, F] -> [n]."""
        return np.asarray(clipped(x, self.centre, self.scale) @ self.weights + self.intercept, np.float64)


@dataclass(frozen=True)
class Bin:
    """Commits of similar risk: what was said, and what came."""

    said: float
    came: float
    commits: int


@dataclass(frozen=True)
class Tested:
    """How a head fitted to the earlier part does on the later one."""

    commits: tuple[int, int]
    """Fitted to, tested on."""
    bad: tuple[int, int]
    rows: tuple[Ranked, ...]
    """The head, what it is set beside, and the head without one thing at a time."""
    same_code: tuple[tuple[float, float, float], ...]
    """Of each row: matched on code added outside tests instead of lines added. Labels blame no tests, so the share of
    tests tells bad commits from others of as many lines; it cannot here.
    """
    reliability: tuple[Bin, ...]
    brier: float
    brier_usual: float
    """Of always saying the share of bad commits in the earlier part."""
    verdict: str

    @property
    def tells(self) -> bool:
        """It told later bad commits from others of the same size; else the head is not to be shown to anybody."""
        return self.rows[0].size_matched[1] > 0.5


def fit(data: Data, settings: FitSettings | None = None) -> tuple[Fitted, Tested]:
    """Test a head, then fit one to everything. Raises `UserError` where there are too few labels."""
    settings = settings or FitSettings()
    horizon = settings.horizon * DAY
    data = data.take(np.flatnonzero(data.newest - data.time >= horizon))
    cut = int(len(data.time) * (1 - settings.later))
    begins = data.time[cut] if len(data.time) else data.newest
    # What was known when the later part began, of commits that had had their time by then.
    earlier = data.take(np.flatnonzero(data.time + horizon <= begins))
    later = data.take(np.arange(cut, len(data.time)))
    bad, worse = earlier.came_out <= begins, np.isfinite(later.came_out)
    if bad.sum() < settings.least_fit or worse.sum() < settings.least_test:
        raise UserError(
            f"too few labels: {int(bad.sum())} of {len(bad)} commits of the earlier part and {int(worse.sum())} of "
            f"{len(worse)} of the later part were fixed or reverted, and it takes {settings.least_fit} and "
            f"{settings.least_test}; no risk head was made",
            "use 'codewm score' alone, or try again when there is more history",
        )
    fitted = _fit(earlier, bad, settings)
    tested = _test(fitted, earlier, bad, later, worse, settings)
    return _fit(data, np.isfinite(data.came_out), settings), tested


def _fit(data: Data, bad: Bools, settings: FitSettings, columns: NDArray[np.int64] | None = None) -> Fitted:
    """Fit to some columns; the others weigh nothing."""
    columns = np.arange(data.x.shape[1]) if columns is None else columns
    x, lead = data.x[:, columns], settings.lead * data.prior[columns]
    strength, slope, shift = _calibration(x, lead, bad, settings)
    centre, scale = standardised(x)
    weights, intercept = _with_lead(clipped(x, centre, scale), lead, bad, strength)
    whole = [np.zeros(data.x.shape[1]) for _ in range(3)]
    whole[1] += 1.0
    for into, part in zip(whole, (centre, scale, slope * weights), strict=True):
        into[columns] = part
    return Fitted(whole[0], whole[1], whole[2], slope * intercept + shift, strength)


def _with_lead(z: F64, lead: F64, bad: Bools, strength: float) -> tuple[F64, float]:
    """Weights of z [n, F] where z @ lead is one more feature: its weight is folded into theirs."""
    weights, intercept = _logistic(np.column_stack([z, z @ lead]), bad, strength)
    return np.asarray(weights[:-1] + weights[-1] * lead, np.float64), intercept


def _logistic(z: F64, bad: Bools, strength: float) -> tuple[F64, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=1_000)
    model.fit(z, bad)
    return np.asarray(model.coef_[0], np.float64), float(model.intercept_[0])


def _calibration(x: F64, lead: F64, bad: Bools, settings: FitSettings) -> tuple[float, float, float]:
    """The best regularisation, and the slope and shift that calibrate its log-odds (Platt 1999), from folds in time."""
    bounds = np.linspace(0, len(bad), settings.folds + 1).astype(np.int64)
    usable = [k for k in range(1, settings.folds) if 1 < bad[: bounds[k]].sum() < bounds[k]]
    best: tuple[float, float, F64] | None = None
    truth = np.concatenate([bad[bounds[k] : bounds[k + 1]] for k in usable]) if usable else bad[:0]
    if not 0 < truth.sum() < len(truth):
        return settings.strengths[0], 1.0, 0.0
    for strength in settings.strengths:
        ahead = []
        for k in usable:
            before, part = slice(0, bounds[k]), slice(bounds[k], bounds[k + 1])
            centre, scale = standardised(x[before])
            weights, intercept = _with_lead(clipped(x[before], centre, scale), lead, bad[before], strength)
            ahead.append(clipped(x[part], centre, scale) @ weights + intercept)
        logits = np.concatenate(ahead)
        loss = float(np.mean(np.logaddexp(0.0, np.where(truth, -logits, logits))))
        if best is None or loss < best[0]:
            best = (loss, strength, logits)
    assert best is not None
    slope, shift = _logistic(best[2][:, None], truth, 1.0)
    # What foresaw the past the wrong way round says nothing about the future.
    return (best[1], max(float(slope[0]), 0.0), shift)


def _test(
    fitted: Fitted, earlier: Data, bad: Bools, later: Data, worse: Bools, settings: FitSettings
) -> Tested:
    groups = np.array([n.partition(".")[0] for n in earlier.names])
    every = np.arange(len(groups))
    scores = {"risk": fitted.logits(later.x), "lines added": later.lines.astype(np.float64)}
    fixes = earlier.names.index("history.file_fixes")
    scores["fixes to its files"] = later.x[:, fixes]
    # As it is, with nothing learnt here but the scale of the features.
    elsewhere = clipped(later.x, *standardised(earlier.x)) @ earlier.prior
    scores["head of other repositories"] = elsewhere
    refits: list[tuple[str, NDArray[np.int64]]] = [
        ("only surprise", every[groups == "channel"]),
        ("only history", every[groups == "history"]),
        ("only size", every[groups == "size"]),
        ("without surprise", every[groups != "channel"]),
        ("without kind of edit", every[groups != "action"]),
        ("without size", every[groups != "size"]),
        ("without history", every[groups != "history"]),
    ]
    refits += [
        (f"without {title(earlier.names[i]).removeprefix('surprise: ')}", np.delete(every, i))
        for i in every[groups == "channel"]
    ]
    for name, columns in refits:
        scores[name] = _fit(earlier, bad, settings, columns).logits(later.x)
    order = np.arange(len(worse))
    resampled = BacktestSettings(resamples=settings.resamples)
    rows = rank(scores, worse, later.lines, order, resampled)
    same_code = tuple(row.size_matched for row in rank(scores, worse, later.code, order, resampled))
    said = 1.0 / (1.0 + np.exp(-scores["risk"]))
    usual = float(bad.mean())
    return Tested(
        commits=(len(bad), len(worse)),
        bad=(int(bad.sum()), int(worse.sum())),
        rows=rows,
        same_code=same_code,
        reliability=_reliability(said, worse, settings.bins),
        brier=float(np.mean((said - worse) ** 2)),
        brier_usual=float(np.mean((usual - worse) ** 2)),
        verdict=_verdict(rows, same_code[0]),
    )


def _reliability(said: F64, came: Bools, bins: int) -> tuple[Bin, ...]:
    """Equal numbers of commits, by what was said of them."""
    parts: Sequence[NDArray[np.int64]] = np.array_split(np.argsort(said, kind="stable"), bins)
    return tuple(Bin(float(said[p].mean()), float(came[p].mean()), len(p)) for p in parts if len(p))


def _verdict(rows: Sequence[Ranked], same_code: tuple[float, float, float]) -> str:
    value, low, high = rows[0].size_matched
    figure = f"size-matched AUROC {value:.2f}, 95% interval {low:.2f} to {high:.2f}, 0.5 is a coin"
    if low <= 0.5:
        return (
            "No risk is shown here: among commits of the same size, the head did not surely do better than a coin on "
            f"later commits ({figure}). Use 'codewm score' alone."
        )
    said = f"It tells later bad commits from others of the same size ({figure})"
    doubts = {
        "of the same time, too": rows[0].time_matched,
        "of as much code outside tests": same_code,
    }
    unsure = [
        f"{what} ({v:.2f}, {lo:.2f} to {hi:.2f})" for what, (v, lo, hi) in doubts.items() if not lo > 0.5
    ]
    if unsure:
        return f"Use it with care: {said[0].lower()}{said[1:]}, but not surely among those {' or '.join(unsure)}."
    return f"{said}, and of the same time."


def figures(tested: Tested) -> dict[str, Any]:
    """The test as plain values, for JSON."""
    return {
        "commits": list(tested.commits),
        "bad": list(tested.bad),
        "verdict": tested.verdict,
        "brier": tested.brier,
        "brier_usual": tested.brier_usual,
        "reliability": [{"said": b.said, "came": b.came, "commits": b.commits} for b in tested.reliability],
        "rows": [
            {
                "score": r.name,
                "auroc": list(r.auroc),
                "auroc_size_matched": list(r.size_matched),
                "auroc_size_and_time_matched": list(r.time_matched),
                "auroc_same_code": list(same),
                "less": list(r.less),
            }
            for r, same in zip(tested.rows, tested.same_code, strict=True)
        ],
    }
