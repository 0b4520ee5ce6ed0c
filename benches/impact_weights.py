"""Training clones in, the tables of `weights.py` out. Never run on a repository that something is tested on.

    python benches/impact_weights.py CLONE...      # harvested clones; prints FILES, UNITS and CALIBRATION

A conditional logit (McFadden 1974) by L-BFGS: for every question, minus the mean log share of the right answers,
over a sample of the candidates that holds all right ones, the best by any signal and some at random. Needs torch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codewm.corpus.git import Repository
from codewm.model.impact.gather import read
from codewm.model.impact.past import Past
from codewm.model.impact.rank import rank_files, rank_units
from codewm.model.impact.replay import questions, unit_questions
from codewm.model.impact.settings import ImpactSettings
from codewm.model.impact.signals import F64, SIGNALS, Known, View
from codewm.model.impact.unit_signals import UNIT_SIGNALS, UnitView

if TYPE_CHECKING:
    from codewm.model.impact.rank import Ranked


@dataclass(frozen=True)
class Plan:
    """How much of each repository is asked about, of its latest half."""

    commits: int = 45
    rest_commits: int = 15
    unit_commits: int = 25
    best: int = 8
    """Candidates kept by each signal."""
    random: int = 40
    l2: float = 1e-4
    steps: int = 60


@dataclass(frozen=True)
class Sample:
    """One question: sampled rows [n, k], which are right [n], thinness; for calibration, of the first three of the
    list: log odds of the share, whether right, and how many files were shown.
    """

    rows: F64
    right: F64
    thin: float
    first: tuple[tuple[float, bool, int], ...] = ()


def file_samples(past: Past, plan: Plan, rng: np.random.Generator) -> Iterator[Sample]:
    """Questions about files."""
    half = len(past) // 2
    for all_but_one, commits in ((False, plan.commits), (True, plan.rest_commits)):
        groups = list(questions(past, half, len(past), all_but_one=all_but_one))
        for i in rng.permutation(len(groups))[:commits]:
            view = View(past, groups[i][0].commit)
            for question in groups[i][:3]:
                if all_but_one and len(question.shown) < 2:
                    continue
                ranked = rank_files(view, Known.of(past, question.commit, question.shown))
                sample = _sampled(ranked, question.hidden, plan, rng, len(question.shown))
                if sample is not None:
                    yield sample


def unit_samples(past: Past, plan: Plan, rng: np.random.Generator) -> Iterator[Sample]:
    """Questions about units."""
    groups = list(unit_questions(past, len(past) // 2, len(past), draw=2))
    for i in rng.permutation(len(groups))[: plan.unit_commits]:
        files, units = View(past, groups[i][0].commit), UnitView(past, groups[i][0].commit)
        for question in groups[i]:
            known = Known.of_unit(past, question.commit, question.edit)
            ranked = rank_units(units, known, rank_files(files, known))
            sample = _sampled(ranked, question.hidden, plan, rng, 1)
            if sample is not None:
                yield sample


def _sampled(ranked: Ranked, hidden: Any, plan: Plan, rng: np.random.Generator, shown: int) -> Sample | None:
    right = np.zeros(len(ranked.scores), np.bool_)
    right[hidden] = True
    right &= ranked.candidates
    at = np.flatnonzero(ranked.candidates)
    if not right.any():
        return None
    kept = set(np.flatnonzero(right).tolist())
    for column in range(ranked.rows.shape[1]):
        values = ranked.rows[at, column]
        if values.max() > values.min():
            kept |= set(at[np.argsort(-values, kind="stable")[: plan.best]].tolist())
    kept |= set(rng.choice(at, min(plan.random, len(at)), replace=False).tolist())
    chosen = np.array(sorted(kept))
    order = ranked.order[:3]
    share = np.exp(ranked.scores[at] - ranked.scores[at].max())
    odds = np.exp(ranked.scores[order] - ranked.scores[at].max()) / share.sum()
    odds = np.log(np.clip(odds, 1e-9, 1 - 1e-9)) - np.log1p(-np.clip(odds, 1e-9, 1 - 1e-9))
    first = tuple((float(o), bool(right[i]), shown) for o, i in zip(odds, order, strict=True))
    return Sample(ranked.rows[chosen], right[chosen].astype(np.float64), ranked.thin, first)


def fit_weights(samples: Sequence[Sample], plan: Plan) -> F64:
    """Samples -> [2 k]: w, then v."""
    import torch

    rows = np.concatenate([np.concatenate([s.rows, s.rows * s.thin], axis=1) for s in samples])
    spread = rows.std(0) + 1e-6
    group = torch.tensor(np.repeat(np.arange(len(samples)), [len(s.right) for s in samples]))
    x = torch.tensor((rows - rows.mean(0)) / spread)
    right = torch.tensor(np.concatenate([s.right / s.right.sum() for s in samples]))
    w = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([w], max_iter=plan.steps, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimiser.zero_grad()
        score = x @ w
        top = torch.full((len(samples),), -torch.inf, dtype=torch.float64)
        top = top.scatter_reduce(0, group, score.detach(), "amax")
        total = torch.zeros_like(top).index_add(0, group, torch.exp(score - top[group]))
        loss = (right * ((torch.log(total) + top)[group] - score)).sum() / len(samples)
        loss = loss + plan.l2 * w.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    weights: F64 = w.detach().numpy() / spread
    return weights


def fit_calibration(samples: Sequence[Sample]) -> F64:
    """Log odds of a right answer from (1, log odds of its share, log of the files shown): [3], by Newton's method."""
    table = np.array([first for s in samples for first in s.first], np.float64)
    x = np.stack([np.ones(len(table)), table[:, 0], np.log(table[:, 2])], axis=1)
    beta = np.array([0.0, 1.0, 0.0])
    for _ in range(25):
        p = 1 / (1 + np.exp(-(x @ beta)))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(3)
        beta = beta + np.linalg.solve(hessian, x.T @ (table[:, 1] - p))
    return beta


def main(places: Sequence[str], plan: Plan | None = None) -> int:
    """Print the tables for harvested clones."""
    plan = plan or Plan()
    files: list[Sample] = []
    units: list[Sample] = []
    for place in places:
        with Repository.open(Path(place)) as repo:
            past = read(repo, repo.head(), ImpactSettings(), lambda text: None)
        rng = np.random.default_rng(7)
        files += file_samples(past, plan, rng)
        units += unit_samples(past, plan, rng)
        print(
            f"{place}: {len(files)} questions about files, {len(units)} about units so far", file=sys.stderr
        )
    for title, names, samples in (("FILES", SIGNALS, files), ("UNITS", UNIT_SIGNALS, units)):
        weights = fit_weights(samples, plan)
        print(f"{title}: Mapping[str, tuple[float, float]] = {{")
        for i, name in enumerate(names):
            print(f'    "{name}": ({weights[i]:.3f}, {weights[len(names) + i]:.3f}),')
        print("}")
    print(f"CALIBRATION = ({', '.join(f'{b:.2f}' for b in fit_calibration(files))})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
