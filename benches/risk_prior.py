"""A training corpus and its clones in, what features weigh for later fixes and reverts in its repositories out.

Usage: python benches/risk_prior.py CORPUS.h5 CLONES OUT.json [--work DIR] [--most-commits N]

Writes `model/base/risk-prior.json`, which `codewm train --risk` begins with: a logistic regression on the features
of `model.scoring.risk` but for the channels, each standardised in its own repository, fitted to the commits of the
training repositories before their boundary. Then it prints how that does on the held-out repositories, which it has
not seen: AUROC matched on repository and lines added, on era besides, and on tokens added outside tests, which is
the size that labels of fixes know (they blame no tests).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codewm.corpus import szz
from codewm.corpus.collect import find_clones
from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.history import commits_between
from codewm.corpus.pins import Pin, read_pins
from codewm.corpus.store import read_store
from codewm.corpus.szz import DAY
from codewm.model.scoring import risk
from codewm.model.scoring.channels import CHANNELS
from codewm.model.scoring.engine_model import load_model
from codewm.model.scoring.fate import Fates
from codewm.model.scoring.risk import clipped, standardised
from codewm.model.scoring.risk_fit import FitSettings

F64 = NDArray[np.float64]
STRENGTH = 0.01
LEAST_BAD = 20
ERAS = 4


@dataclass(frozen=True)
class Part:
    """The commits of one repository that are old enough to tell."""

    name: str
    z: F64
    bad: NDArray[np.bool_]
    lines: NDArray[np.int32]
    code: NDArray[np.int32]
    """`risk.code_added`."""


def gather(corpus: Path, clones: Path, work: Path, most: int) -> None:
    """Keep the features and labels of each repository of the corpus in a file of `work`."""
    work.mkdir(parents=True, exist_ok=True)
    pins = read_pins()
    found, trouble = find_clones(pins, clones)
    for name, why in trouble.items():
        print(f"{name}: {why}")
    table = read_store(corpus).table
    assert table.division is not None
    by_name = {pin.name: pin for pin in pins}
    for i, origin in enumerate(table.repositories):
        pin, place = by_name.get(origin.name), work / f"{origin.name.replace('/', '+')}.npz"
        if pin is None or origin.name not in found or place.exists() or origin.commits > most:
            continue
        rows = np.flatnonzero(table.commits.repository == i)
        part = commits_between(table, int(rows[0]), int(rows[-1]))
        try:
            labels = _labels(found[origin.name], pin)
        except UserError as e:
            print(f"{origin.name}: {e.message}")
            continue
        fates, horizon = Fates(part, labels), FitSettings().horizon
        edited = np.unique(part.commit)
        came_out = np.array([fates.came_out(part.commits.oid[c], horizon) for c in edited])
        time = np.maximum.accumulate(part.commits.committer_time)
        until = int(table.division.boundary_time[i]) if pin.role == "train" else int(time[-1])
        np.savez(
            place,
            x=risk.features(part, edited, {c: np.zeros(len(edited)) for c in CHANNELS}),
            came_out=came_out,
            time=time[edited],
            lines=part.commits.lines_added[edited],
            code=risk.code_added(part)[edited],
            until=until,
            train=pin.role == "train",
        )
        print(f"{origin.name}: {len(edited)} commits, {int(np.isfinite(came_out).sum())} bad", flush=True)


def _labels(clone: Path, pin: Pin) -> szz.Labels:
    with Repository.open(clone) as repo:
        return szz.find(repo, pin.commit)


def parts(work: Path, train: bool, columns: NDArray[np.bool_]) -> Iterator[Part]:
    """Read them back, each standardised by itself; labels known by the boundary, of what was old enough by then."""
    horizon = FitSettings().horizon * DAY
    for file in sorted(work.glob("*.npz")):
        d = np.load(file)
        if bool(d["train"]) != train:
            continue
        old = d["time"] + horizon <= d["until"]
        bad = d["came_out"][old] <= d["until"]
        if bad.sum() >= LEAST_BAD:
            x = d["x"][old][:, columns]
            yield Part(
                file.stem.replace("+", "/"),
                clipped(x, *standardised(x)),
                bad,
                d["lines"][old],
                d["code"][old],
            )


def fit(found: list[Part]) -> F64:
    """Weights [F] of all parts together."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=STRENGTH, max_iter=2_000)
    model.fit(np.concatenate([p.z for p in found]), np.concatenate([p.bad for p in found]))
    return np.asarray(model.coef_[0], np.float64)


def test(found: list[Part], scores: dict[str, list[F64]]) -> None:
    """Print the matched figures of scores, one array for each part."""
    from codewm.model.evaluation.matched import auroc, pairs, strata
    from codewm.model.evaluation.metrics import Bootstrap, interval

    bad = np.concatenate([p.bad for p in found])
    of = np.repeat(np.arange(len(found)), [len(p.bad) for p in found])
    era = np.concatenate([np.arange(len(p.bad)) * ERAS // len(p.bad) for p in found])
    lines = np.concatenate([p.lines for p in found])
    code = np.concatenate([p.code for p in found])
    stacked = np.column_stack([np.concatenate(s) for s in scores.values()])
    commit = np.arange(len(bad))
    bootstrap = Bootstrap(commit, 200)
    print(f"held out: {len(found)} repositories, {len(bad)} commits, {int(bad.sum())} bad")
    for what, stratum in {
        "same lines added": strata(lines, of, ~bad),
        "same lines and era": strata(lines, of * ERAS + era, ~bad),
        "same code added outside tests": strata(code, of, ~bad),
        "same code and era": strata(code, of * ERAS + era, ~bad),
    }.items():
        compared = pairs(np.flatnonzero(bad), np.flatnonzero(~bad), stratum, commit)
        values, drawn = auroc(stacked, compared, bootstrap, slice(0, 200))
        for i, name in enumerate(scores):
            low, high = interval(drawn[:, i])
            print(f"  {what:32} {name:24} {values[i]:.3f} ({low:.3f} to {high:.3f})")


def main() -> None:
    """Gather, fit, write and test."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("corpus", type=Path)
    words.add_argument("clones", type=Path)
    words.add_argument("out", type=Path)
    words.add_argument("--work", type=Path, default=Path("risk-prior"))
    words.add_argument("--most-commits", type=int, default=1 << 30, help="leave out longer histories")
    words.add_argument("--gathered", action="store_true", help="gather nothing, take what is in --work")
    asked = words.parse_args()
    if not asked.gathered:
        gather(asked.corpus, asked.clones, asked.work, asked.most_commits)
    names = np.array(risk.names(load_model(Path(), "base")))
    columns = np.array([not n.startswith("channel.") for n in names])
    train = list(parts(asked.work, True, columns))
    weights = fit(train)
    commits, bad = sum(len(p.bad) for p in train), sum(int(p.bad.sum()) for p in train)
    print(f"fitted to {len(train)} repositories, {commits} commits, {bad} bad")
    kept = names[columns].tolist()
    document = {
        "schema": "codewm.risk-prior/1",
        "repositories": [p.name for p in train],
        "commits": commits,
        "bad": bad,
        "weights": {n: round(float(w), 4) for n, w in zip(kept, weights, strict=True)},
    }
    asked.out.write_text(json.dumps(document, indent=1) + "\n", "ascii")
    held = list(parts(asked.work, False, columns))
    size = np.array([n.startswith("size.") for n in kept])
    alone = np.zeros((2, len(kept)))
    for row, mask in zip(alone, (size, ~size), strict=True):
        row[mask] = fit([Part(p.name, p.z[:, mask], p.bad, p.lines, p.code) for p in train])
    fixes = kept.index("history.file_fixes")
    test(
        held,
        {
            "prior": [p.z @ weights for p in held],
            "only size": [p.z @ alone[0] for p in held],
            "only history and action": [p.z @ alone[1] for p in held],
            "lines added": [p.lines.astype(np.float64) for p in held],
            "code outside tests": [p.code.astype(np.float64) for p in held],
            "fixes to its files": [p.z[:, fixes] for p in held],
        },
    )


if __name__ == "__main__":
    main()
