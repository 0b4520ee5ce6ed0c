"""Units and encoders in, what a linear map reads out of their vectors out: `codewm eval probe`.

The SWE-JEPA plan's experiment 0.3. A unit is a function or method in its latest version; each is there once. Probes are
fitted on the other repositories and tested on one, in turns; of a single repository, on the latest fifth by time.
Their strength is chosen on the latest fifth of what they are fitted on. Counts are read as log(1 + count).

    probe_r2                    ridge, of a count
    probe_r2_beyond_length      1 - what is left of the squared error once a cubic in log(tokens) has had its turn:
                                above 0, the vectors know of a property what the length of the unit does not say
    probe_auroc                 logistic, of `effects`, among units of one repository
    probe_auroc_size_matched    the same among units of one repository and decile of tokens
    probe_accuracy              logistic, of `result`
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.errors import UserError
from codewm.model.evaluation import encoders, world as worlds
from codewm.model.evaluation.encoders import Encoder, States
from codewm.model.evaluation.held_out import Source, rows_of
from codewm.model.evaluation.matched import auroc, pairs, strata
from codewm.model.evaluation.metrics import Bootstrap, Row, Tally
from codewm.model.evaluation.population import trained_on
from codewm.model.evaluation.properties import COUNTS, RESULTS, Properties, properties_of
from codewm.model.evaluation.result import Chart, Emit, Mark, Outcome, Request
from codewm.model.evaluation.sources import texts_of

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
LENGTH, MEAN, MAJORITY = "length", "mean", "majority"
NULLS = (LENGTH, encoders.RANDOM_STATES, encoders.BAG, encoders.UNTRAINED)
RIDGES = tuple(10.0**k for k in range(-4, 3))  # times the number of fitted units
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # C of the logistic map
LATEST = 0.2  # share that probes are chosen on; and tested on, in a single repository
ENOUGH = 40  # units to fit on
STEPS = 300  # of the logistic map's solver, at most
_CHUNK = 100  # resamples at a time


@dataclass(frozen=True)
class Units:
    """N functions, each in its latest version."""

    states: States
    """[N], in the order of the units."""
    length: I64
    """[N] tokens of the whole unit."""
    properties: list[Properties]
    repository: I64
    commit: I64
    """[N] unique over sources."""
    time: I64
    repositories: list[str]
    fit: States
    """Other states, to weight tokens by."""
    about: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.length)

    def counts(self) -> F64:
        """log(1 + count) of `COUNTS`: [N, 6]."""
        return np.log1p([[float(getattr(p, name)) for name in COUNTS] for p in self.properties])


@dataclass(frozen=True)
class Fold:
    """What a probe is fitted on, chosen on (a part of that), and tested on."""

    fit: Mask
    watched: Mask
    test: Mask


def run(request: Request, emit: Emit) -> Outcome:
    """The suite: every property from every encoder at hand."""
    asked = worlds.load_all(request.models, request.threads)
    encoders.require(asked)
    others = encoders.pretrained(request.encoders, request.say)
    request.say("reading functions")
    units = gather(request.sources, limit=request.limit, part=request.part)
    outcome = Outcome("probe", [worlds.as_json(w) for w in asked], _data(request, units))
    folds = folds_of(units)
    outcome.about = {
        **units.about,
        "tested": "each repository by probes of the others"
        if len(folds) > 1
        else "the latest fifth by time of the one repository",
        "limit": request.limit,
        "resamples": request.resamples,
        "trained_on": trained_on(asked, request.sources),
    }
    rows, charts = measure(request, units, folds, list(_encoders(asked, others, units)))
    emit(rows)
    outcome.rows, outcome.charts = rows, charts
    for name, repositories in outcome.about["trained_on"].items():
        if repositories:
            outcome.notes.append(f"{name} says that it was trained on units of {', '.join(repositories)}")
    return outcome


def gather(sources: Sequence[Source], *, limit: int, part: str | None = None) -> Units:
    """At most `limit` functions of each repository that has a clone. Raises `UserError` without enough of them."""
    tokens, lengths, texts, times, repository, commit = [], [], [], [], [], []
    size: list[int] = []
    known: list[Properties] = []
    seen: set[int] = set()
    about = {"units": 0, "without_text": 0, "not_parsed": 0, "repeated": 0, "windowed": 0}
    names: list[str] = []
    commits = 0
    for source in sources:
        table = source.table
        rows = _latest(source, limit, part)
        for row, text in zip(rows.tolist(), [t.after for t in texts_of(source, rows)], strict=True):
            state = int(table.after[row])
            of_row = table.state(state)
            found = None if text is None else properties_of(text)
            if text is None or found is None:
                about["without_text" if text is None else "not_parsed"] += 1
                continue
            if int(table.state_hash[state]) in seen:
                about["repeated"] += 1
                continue
            seen.add(int(table.state_hash[state]))
            whole = (
                core.tokenize([text.encode("utf-8")])[0] if table.flags[row] & core.FLAG_WINDOWED else of_row
            )
            about["windowed"] += len(whole) > len(of_row)
            tokens.append(of_row)
            lengths.append(len(of_row))
            size.append(len(whole))
            texts.append(text)
            known.append(found)
            repository.append(len(names) + int(table.commits.repository[table.commit[row]]))
            commit.append(commits + int(table.commit[row]))
            times.append(int(table.commits.committer_time[table.commit[row]]))
        names += source.repositories
        commits += len(table.commits)
    about["units"] = len(known)
    if len(known) < 2 * ENOUGH:
        raise UserError(
            f"only {len(known)} functions with their source are here",
            "name clones with more history, or a corpus with --clones FOLDER",
        )
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Units(
        states=States(np.concatenate(tokens), offsets, texts),
        length=np.array(size, np.int64),
        properties=known,
        repository=np.array(repository, np.int64),
        commit=np.array(commit, np.int64),
        time=np.array(times, np.int64),
        repositories=names,
        fit=States(np.concatenate(tokens), offsets),
        about=about,
    )


def _latest(source: Source, limit: int, part: str | None) -> I64:
    """The last edit of each function's chain that did not delete it; at most `limit` chains of each repository."""
    table = source.table
    kinds = [core.KINDS.index(k) for k in ("function", "method")]
    held, _ = rows_of(table, part)
    repository = table.commits.repository[table.commit]
    good = np.isin(table.kind, kinds) & ((table.flags & (core.FLAG_DELETED | core.FLAG_SYNTAX_ERROR)) == 0)
    good &= np.isin(repository, np.unique(repository[held]))
    rows = np.flatnonzero(good)
    rows = rows[np.lexsort((table.step[rows], table.chain[rows]))]
    chain = table.chain[rows]
    last = rows[np.append(chain[1:] != chain[:-1], True)] if len(rows) else rows
    rng = np.random.default_rng(0)
    out = [np.zeros(0, np.int64)]
    for r in np.unique(repository[last]):
        mine = last[repository[last] == r]
        out.append(mine if len(mine) <= limit else rng.choice(mine, limit, replace=False))
    return np.sort(np.concatenate(out))


def folds_of(units: Units) -> list[Fold]:
    """A fold for each repository, fitted on the others; of a single one, its latest fifth."""
    names = np.unique(units.repository)
    if len(names) == 1:
        late = _late(units.time, np.ones(len(units), bool))
        return [Fold(~late, _late(units.time, ~late), late)]
    out = []
    for r in names:
        fit = units.repository != r
        watched = np.zeros(len(units), bool)
        for other in names[names != r]:
            watched |= _late(units.time, units.repository == other)
        out.append(Fold(fit, watched, ~fit))
    return out


def _late(time: I64, among: Mask) -> Mask:
    late: Mask = among & (time > np.quantile(time[among], 1 - LATEST, method="lower"))
    return late


def _encoders(asked: Sequence[worlds.World], others: Sequence[Encoder], units: Units) -> Iterator[Encoder]:
    for world in asked:
        yield from encoders.of_world(world)
    plain = encoders.untrained(asked[0])
    if plain is not None:
        yield plain
    yield from others
    # A linear map of logarithms sees counts best as logarithms.
    for one in encoders.simple(units.fit):
        yield Encoder(one.name, _logarithms(one)) if one.name != encoders.RANDOM_STATES else one


def _logarithms(encoder: Encoder) -> Callable[[States], F32]:
    return lambda states: np.log1p(encoder.encode(states))


def measure(
    request: Request, units: Units, folds: Sequence[Fold], compared: Sequence[Encoder]
) -> tuple[list[Row], list[Chart]]:
    """Rows of every property and encoder, and charts of them."""
    counts = units.counts()
    effects = np.array([p.effects for p in units.properties])
    result = np.array([RESULTS.index(p.result) for p in units.properties])
    length = _length(units)
    tested = np.any([f.test for f in folds], axis=0)
    reads: dict[str, _Reading] = {}
    for name, vectors in _vectors(request, units, compared):
        request.say(f"probing {name}")
        reads[name] = _read(vectors, length, folds, counts, effects, result)
    reads[LENGTH] = _read(length.astype(np.float32), length, folds, counts, effects, result)
    rows = _counted(request, units, folds, reads, counts, tested)
    rows += _effects(request, units, reads, effects, tested)
    rows += _results(request, units, folds, reads, result, tested)
    return rows, charts(rows)


def _vectors(request: Request, units: Units, compared: Sequence[Encoder]) -> Iterator[tuple[str, F32]]:
    for encoder in compared:
        yield encoder.name, encoder.encode(units.states)


def _length(units: Units) -> F64:
    """Powers of log(tokens): [N, 3]."""
    log = np.log(np.maximum(units.length, 1))
    return np.stack([log, log**2, log**3], 1)


@dataclass(frozen=True)
class _Reading:
    """What the probes of one encoder say of each tested unit; NaN of others."""

    counts: F64
    """[N, 6]"""
    beyond: F64
    """[N, 6] the same with the length's own say."""
    effects: F64
    """[N] log odds."""
    result: I64
    """[N] -1 of others."""


def _read(
    vectors: F32, length: F64, folds: Sequence[Fold], counts: F64, effects: Mask, result: I64
) -> _Reading:
    n = len(counts)
    out = _Reading(
        np.full(counts.shape, np.nan), np.full(counts.shape, np.nan), np.full(n, np.nan), np.full(n, -1)
    )
    for fold in folds:
        X = _standard(vectors.astype(np.float64), fold.fit)
        by_length = _ordinary(_standard(length, fold.fit), counts, fold.fit)
        both = ridge(X, np.concatenate([counts, counts - by_length], 1), fold)
        out.counts[fold.test] = both[fold.test, : counts.shape[1]]
        out.beyond[fold.test] = (by_length + both[:, counts.shape[1] :])[fold.test]
        out.effects[fold.test] = logistic(X, effects.astype(np.int64), fold)[fold.test][:, 1]
        out.result[fold.test] = logistic(X, result, fold)[fold.test].argmax(1)
    return out


def _standard(x: F64, fit: Mask) -> F64:
    """Mean 0 and variance 1 over the fitted units; a column that is constant there is 0."""
    spread = x[fit].std(0)
    return np.where(spread > 1e-9, (x - x[fit].mean(0)) / np.maximum(spread, 1e-9), 0.0)


def _ordinary(x: F64, y: F64, fit: Mask) -> F64:
    """Least squares with a constant, fitted on `fit`: y_hat [N, P]."""
    X = np.concatenate([x, np.ones((len(x), 1))], 1)
    solved = np.linalg.lstsq(X[fit], y[fit], rcond=None)[0]
    out: F64 = X @ solved
    return out


def ridge(x: F64, y: F64, fold: Fold) -> F64:
    """Ridge from standardised x [N, W] to each column of y [N, P], each with a strength of its own: y_hat [N, P].

    Chosen by the squared error on the watched units of a map fitted on the others, then fitted on both.
    """
    first = fold.fit & ~fold.watched
    errors = [np.square(p[fold.watched] - y[fold.watched]).sum(0) for p in _ridges(x, y, first)]
    best = np.argmin(errors, axis=0)
    out = np.zeros_like(y)
    for i, predicted in enumerate(_ridges(x, y, fold.fit)):
        out[:, best == i] = predicted[:, best == i]
    return out


def _ridges(x: F64, y: F64, fit: Mask) -> Iterator[F64]:
    """Of every strength, by one decomposition."""
    mean_x, mean_y = x[fit].mean(0), y[fit].mean(0)
    centred = x[fit] - mean_x
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    moment = vectors.T @ (centred.T @ (y[fit] - mean_y) / len(centred))
    turned = (x - mean_x) @ vectors
    for strength in RIDGES:
        yield turned @ (moment / (np.maximum(values, 0) + strength)[:, None]) + mean_y


def logistic(x: F64, y: I64, fold: Fold) -> F64:
    """Log odds [N, classes] of y [N] from standardised x [N, W], chosen by the likelihood of the watched units.

    A class that is not among the fitted has the lowest odds.
    """
    from sklearn.linear_model import LogisticRegression

    first = fold.fit & ~fold.watched

    def fitted(mask: Mask, strength: float) -> F64:
        out = np.full((len(x), max(int(y.max()) + 1, 2)), -1e9)
        known = np.unique(y[mask])
        if len(known) == 1:
            out[:, known[0]] = 0.0
            return out
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged after so many steps: so be it, for all alike
            model = LogisticRegression(C=strength, max_iter=STEPS).fit(x[mask], y[mask])
            odds = model.decision_function(x)
        out[:, known] = odds if odds.ndim == 2 else np.stack([0 * odds, odds], 1)
        return out

    def likelihood(odds: F64) -> float:
        top = odds - odds.max(1, keepdims=True)
        log = top - np.log(np.exp(top).sum(1, keepdims=True))
        rows = np.flatnonzero(fold.watched)
        return float(log[rows, y[rows]].sum())

    best = max(STRENGTHS, key=lambda strength: likelihood(fitted(first, strength)))
    return fitted(fold.fit, best)


def _counted(
    request: Request,
    units: Units,
    folds: Sequence[Fold],
    reads: dict[str, _Reading],
    counts: F64,
    tested: Mask,
) -> list[Row]:
    mean = np.full(counts.shape, np.nan)
    for fold in folds:
        mean[fold.test] = counts[fold.fit].mean(0)
    out: list[Row] = []
    names = np.unique(units.repository[tested]).tolist()
    for r in (None, *(names if len(names) > 1 else [])):
        here = np.flatnonzero(tested if r is None else tested & (units.repository == r))
        if len(here) < 2:
            continue
        data = "" if r is None else units.repositories[r]
        tally = Tally(units.commit[here], data=data, resamples=request.resamples)
        for p, name in enumerate(COUNTS):
            tally.subset = name
            if np.ptp(counts[here, p]) == 0:
                continue
            y = counts[here, p][:, None].astype(np.float32)
            for encoder in reads:
                beside = {"": encoder, **{n: n for n in NULLS if n in reads and n != encoder}}
                said = {k: reads[n].counts[here, p][:, None].astype(np.float32) for k, n in beside.items()}
                said[MEAN] = mean[here, p][:, None].astype(np.float32)
                tally.r2("probe_r2", said, y)
                _mark(tally, encoder)
                if r is None and encoder != LENGTH:
                    _beyond(tally, {k: reads[n].beyond[here, p] for k, n in beside.items() if n != LENGTH},
                            reads[LENGTH].counts[here, p], counts[here, p])  # fmt: skip
                    _mark(tally, encoder)
        out += tally.rows
    return out


def _beyond(tally: Tally, said: dict[str, F64], by_length: F64, y: F64) -> None:
    left = tally.bootstrap.total(np.square(y - by_length))
    whole = np.square(y - by_length).sum()
    errors = {k: np.square(y - v) for k, v in said.items()}
    tally.add(
        "probe_r2_beyond_length",
        {k: float(1 - e.sum() / whole) for k, e in errors.items()},
        {k: 1 - tally.bootstrap.total(e) / left for k, e in errors.items()},
        fixed={LENGTH: 0.0},
    )


def _mark(tally: Tally, encoder: str) -> None:
    """Say of the last row whose it is."""
    tally.rows[-1].more["encoder"] = encoder


def _effects(
    request: Request, units: Units, reads: dict[str, _Reading], effects: Mask, tested: Mask
) -> list[Row]:
    """Rows of the AUROC, every encoder on the same pairs and resamples."""
    bootstrap = Bootstrap(units.commit, request.resamples)
    names = list(reads)
    values = np.stack([reads[n].effects for n in names], 1)
    values = np.where(np.isnan(values), 0.0, values)
    with_, without = np.flatnonzero(tested & effects), np.flatnonzero(tested & ~effects)
    matched = strata(units.length, units.repository, tested & ~effects)
    out = []
    for metric, stratum in (("probe_auroc", units.repository), ("probe_auroc_size_matched", matched)):
        compared = pairs(with_, without, stratum, units.commit)
        if not len(compared):
            continue
        steps = range(0, max(request.resamples, 1), _CHUNK)
        found = [auroc(values, compared, bootstrap, slice(i, i + _CHUNK)) for i in steps]
        value, drawn = found[0][0], np.concatenate([f[1] for f in found])
        drawn = drawn[~np.isnan(drawn).any(1)]
        tally = Tally(units.commit[with_], subset="effects", resamples=0)
        for i, encoder in enumerate(names):
            beside = {"": i, **{n: names.index(n) for n in NULLS if n in names and n != encoder}}
            tally.add(
                metric,
                {k: float(value[j]) for k, j in beside.items()},
                {k: drawn[:, j] for k, j in beside.items()},
                n=len(np.unique(compared.suspect)),
                fixed={"chance": 0.5},
                encoder=encoder,
            )
        out += tally.rows
    return out


def _results(
    request: Request,
    units: Units,
    folds: Sequence[Fold],
    reads: dict[str, _Reading],
    result: I64,
    tested: Mask,
) -> list[Row]:
    usual = np.full(len(units), -1)
    for fold in folds:
        usual[fold.test] = np.bincount(result[fold.fit]).argmax()
    tally = Tally(units.commit[tested], subset="result", resamples=request.resamples)
    right = {n: (r.result == result)[tested].astype(np.float64) for n, r in reads.items()}
    for encoder in reads:
        beside = {n: right[n] for n in NULLS if n in right and n != encoder}
        majority = (usual == result)[tested].astype(np.float64)
        tally.mean("probe_accuracy", {"": right[encoder], **beside, MAJORITY: majority}, encoder=encoder)
    return tally.rows


def _data(request: Request, units: Units) -> list[dict[str, Any]]:
    counts = np.bincount(units.repository, minlength=len(units.repositories))
    return [{"name": n, "units": int(c)} for n, c in zip(units.repositories, counts, strict=True) if c]


def charts(rows: Sequence[Row]) -> list[Chart]:
    """A picture for each property."""
    made = []
    shown = ("probe_r2", "probe_auroc_size_matched", "probe_accuracy")
    pooled = [r for r in rows if not r.data and r.metric in shown]
    for subset in dict.fromkeys(r.subset for r in pooled):
        mine = [r for r in pooled if r.subset == subset]
        marks = [
            Mark(r.more["encoder"], r.value, r.interval, {k: v for k, v in r.nulls.items() if k == LENGTH})
            for r in mine
        ]
        title = f"{subset}: what a linear probe reads"
        made.append(Chart(f"probe-{subset}", title, mine[0].metric.replace("_", " "), marks))
    return made
