"""What `benches/injected.py --save` kept in, the weights of the channels that tell injected edits best out.

    python benches/weights.py FILE [FILE ...] [--ridge 0.1]

A weight is 1 - a of `codewm.model.scoring.combine`. Fitted are the kinds that training knows, by logistic regression on
pairs of a corrupted and a real edit of one repository and one number of added lines: the difference of their evidence
is the log odds. A ridge holds the weights near those of `settings`, because kinds that training does not know, and
channels that no kind is made for (`message`, `repetition`), count as well. Printed: for each ridge, what weights from
the other repositories make of each, then the weights from all. Repositories of training only.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from injected import Measured
from numpy.typing import NDArray

from codewm.model.evaluation.injected import FORMS
from codewm.model.evaluation.injection import KINDS
from codewm.model.evaluation.matched import Pairs, outranked, pairs, strata
from codewm.model.scoring.channels import CHANNELS
from codewm.model.scoring.score import judge
from codewm.model.scoring.settings import ScoreSettings

Floats = NDArray[np.float64]
MOST = 2_000
"""Pairs of one kind, form and repository."""
HIGHEST = 0.9


class Sample:
    """Edits of R repositories with the p-values of their channels, and the pairs that are compared."""

    def __init__(self, measured: Sequence[Measured], settings: ScoreSettings) -> None:
        counts = [len(m.kind) for m in measured]
        self.repository = np.repeat(np.arange(len(measured)), counts)
        kind, form = (np.concatenate([getattr(m, name) for m in measured]) for name in ("kind", "form"))
        origin = np.concatenate([m.origin + 100_000 * i for i, m in enumerate(measured)])
        lines = np.concatenate([m.table.commits.lines_added[m.edits.commit] for m in measured])
        stratum = strata(lines.astype(np.int64), self.repository, kind < 0)
        parts = []
        for m in measured:
            found = judge(m.edits, m.table.commits.lines_added, m.past, None, settings).channels
            parts.append(np.column_stack([found[name].p_tail for name in CHANNELS]))
        p = np.concatenate(parts)
        self.known = (~np.isnan(p)).astype(np.float64)
        self.rarity = -np.log(np.maximum(np.where(np.isnan(p), 1.0, p), settings.combine.floor))
        self.pairs: dict[tuple[str, str], Pairs] = {}
        rng = np.random.default_rng(0)
        for k, name in enumerate(KINDS):
            for f, shown in enumerate(FORMS):
                found_pairs = pairs(
                    np.flatnonzero((kind == k) & (form == f)), np.flatnonzero(kind < 0), stratum, origin
                )
                kept = np.concatenate(
                    [
                        rng.permutation(np.flatnonzero(self.repository[found_pairs.suspect] == r))[:MOST]
                        for r in range(len(measured))
                    ]
                )
                if len(kept):
                    self.pairs[name, shown] = Pairs(found_pairs.suspect[kept], found_pairs.ordinary[kept])

    def evidence(self, weights: Floats) -> Floats:
        """[N] log likelihood ratios."""
        return self.known @ np.log1p(-weights) + self.rarity @ weights

    def told(self, scores: Floats, *, trained: bool | None = None) -> Floats:
        """The matched AUROC of scores [N] for each kind and form."""
        chosen = [p for (k, _), p in self.pairs.items() if trained is None or KINDS[k].trained == trained]
        return np.array([outranked(scores[:, None], p).mean() for p in chosen])


def fitted(sample: Sample, repositories: Sequence[int], start: Floats, ridge: float) -> Floats:
    """Weights from pairs of these repositories, of kinds that training knows, each kind and form counting the same."""
    from scipy.optimize import minimize

    compared = [
        (p.suspect[here], p.ordinary[here])
        for (k, _), p in sample.pairs.items()
        if KINDS[k].trained and (here := np.isin(sample.repository[p.suspect], repositories)).any()
    ]
    share = np.concatenate([np.full(len(a), 1.0 / len(a) / len(compared)) for a, _ in compared])
    a, b = (np.concatenate([pair[side] for pair in compared]) for side in (0, 1))
    known, rarity = sample.known[a] - sample.known[b], sample.rarity[a] - sample.rarity[b]

    def loss(w: Floats) -> tuple[float, Floats]:
        odds = known @ np.log1p(-w) + rarity @ w
        slope = -share / (1.0 + np.exp(odds))
        value = float(share @ np.logaddexp(0.0, -odds)) + ridge * float(((w - start) ** 2).sum())
        return value, slope @ rarity - (slope @ known) / (1.0 - w) + 2.0 * ridge * (w - start)

    return np.asarray(
        minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, HIGHEST)] * len(start)).x
    )


def main() -> None:
    """Fit, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--ridge", type=float, nargs="+", default=[0.03, 0.1, 0.3])
    options = parser.parse_args()
    # The file was written by `injected.py` as a program.
    sys.modules["__main__"].Measured = Measured  # type: ignore[attr-defined]
    measured = [m for file in options.files for m in pickle.loads(file.read_bytes())]
    settings = ScoreSettings()
    sample, weights = Sample(measured, settings), dict(settings.combine.weights)
    start = np.array([weights[name] for name in CHANNELS])
    out = sys.stdout.write

    def show(label: str, scores: Floats) -> None:
        every = sample.told(scores)
        cells = (
            sample.told(scores, trained=True).mean(),
            every.mean(),
            sample.told(scores, trained=False).mean(),
        )
        out(f"{label:24}" + " ".join(f"{v:8.4f}" for v in (*cells, every.min())) + "\n")

    out(f"{'':24}{'trained':>8} {'mean':>8} {'unseen':>8} {'worst':>8}\n")
    show("as in settings", sample.evidence(start))
    repositories = range(len(measured))
    for ridge in options.ridge:
        scores = np.empty(len(sample.repository))
        for r in repositories:
            w = fitted(sample, [q for q in repositories if q != r], start, ridge)
            scores[sample.repository == r] = sample.evidence(w)[sample.repository == r]
        show(f"ridge {ridge}, by others", scores)
        found = fitted(sample, list(repositories), start, ridge)
        out("  " + ", ".join(f"{name} {w:.2f}" for name, w in zip(CHANNELS, found, strict=True)) + "\n")


if __name__ == "__main__":
    main()
