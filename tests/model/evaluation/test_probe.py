"""Claims:

1. Ridge finds a linear map and takes the strength that the watched units ask for; of noise it says the mean, not noise.
   The logistic map separates what a line separates, and survives a class that it never saw.
2. No unit is fitted on and tested on; each is there once, in its latest version, with its own properties.
3. What length says is not credited to an encoder: vectors that hold the length alone have 0 beyond it, those that hold
   the property have more; size-matched, length is near chance.
4. Every row has its nulls and encoder; without clones there is nothing to read.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest
from codewm.corpus.store import read_store
from codewm.model.evaluation import probe
from codewm.model.evaluation.encoders import Encoder
from codewm.model.evaluation.held_out import Source
from codewm.model.evaluation.metrics import Row
from codewm.model.evaluation.probe import Fold, Units, folds_of, gather, logistic, ridge
from codewm.model.evaluation.properties import COUNTS, properties_of
from codewm.model.evaluation.result import Request
from tests.helpers import GitRepo
from tests.scoring.random_model import write_random_model


def function(i: int) -> str:
    """A function whose loops, branches and effects go their own ways, and whose length follows none of them alone."""
    lines = [f"def work_{i}(items, given):", f"    total = {i}"]
    lines += [f"    for item in items[{k}]:\n        total += item" for k in range(i % 3)]
    lines += [f"    if total > {k}:\n        return {k}" for k in range(i // 3 % 3)]
    lines += [f"    total = total * {k} + call_{k}(items)" for k in range(i * 7 % 5)]
    lines += ["    given.total = total"] if i % 2 else ["    total = total + given"]
    return "\n".join([*lines, "    return total"]) + "\n\n\n"


def clone(path: Path, first: int) -> Source:
    repo = GitRepo(path)
    for start in range(first, first + 90, 15):
        text = "".join(function(i) for i in range(start, start + 15))
        repo.commit(f"module {start}", {f"m{start}.py": text})
    last = f"m{first}.py"
    text = (path / last).read_text()
    repo.commit("grow", {last: text.replace(f"    total = {first}\n", f"    total = {first} + 1\n")})
    with Repository.open(repo.path) as repository:
        options = Options(window=256, action="v15", merges="first-parent", jobs=1)
        table = read_store(harvest(repository, options).path).table
    return Source(path.name, table, {table.repositories[0].name: path})


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    folder = tmp_path_factory.mktemp("clones")
    return [clone(folder / "a", 0), clone(folder / "b", 500)]


@pytest.fixture(scope="module")
def units(sources: list[Source]) -> Units:
    return gather(sources, limit=200)


def fold(n: int) -> Fold:
    at = np.arange(n)
    return Fold(at < n // 2, (at >= n // 3) & (at < n // 2), at >= n // 2)


def test_ridge() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 8))
    y = np.stack([x @ rng.standard_normal(8) + 3, rng.standard_normal(600) + 5], 1)
    said = ridge(x, y, fold(600))
    test = fold(600).test
    assert np.allclose(said[test, 0], y[test, 0], atol=0.01)
    assert np.square(said[test, 1] - 5).mean() < 0.05
    wide = rng.standard_normal((600, 400))
    assert np.square(ridge(wide, y, fold(600))[test, 1] - 5).mean() < 0.3


def test_logistic() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 4))
    y = (x[:, 0] > 0).astype(np.int64)
    odds = logistic(x, y, fold(600))
    test = fold(600).test
    assert (odds[test].argmax(1) == y[test]).mean() > 0.95
    three = np.where(np.arange(600) >= 590, 2, y)
    assert (logistic(x, three, fold(600))[test].argmax(1) == three[test]).mean() > 0.9
    assert (logistic(x, np.zeros(600, np.int64), fold(600)).argmax(1) == 0).all()


def test_units_and_folds(units: Units, sources: list[Source]) -> None:
    assert len(units) == 180
    for text, found in zip(units.states.texts, units.properties, strict=True):
        assert properties_of(text) == found
    first = next(t for t in units.states.texts if "def work_0(" in t)
    assert "total = 0 + 1" in first
    folds = folds_of(units)
    assert len(folds) == 2
    for one in folds:
        assert not (one.fit & one.test).any()
        assert not (one.watched & ~one.fit).any()
        assert one.watched.any()
        assert not np.isin(units.repository[one.test], units.repository[one.fit]).any()
    assert (np.sum([f.test for f in folds], axis=0) == 1).all()
    (alone,) = folds_of(gather(sources[:1], limit=200))
    mine = gather(sources[:1], limit=200)
    assert mine.time[alone.fit].max() <= mine.time[alone.test].min()
    assert mine.time[alone.fit & ~alone.watched].max() <= mine.time[alone.watched].min()


def test_length_is_not_credited(units: Units) -> None:
    loops = np.array([[p.loops, p.branches] for p in units.properties], np.float32)
    length = np.log(units.length)[:, None].astype(np.float32)
    noise = np.random.default_rng(0).standard_normal((len(units), 3)).astype(np.float32)
    effects = np.array([[p.effects] for p in units.properties], np.float32)

    def known(vectors: np.ndarray) -> Encoder:
        return Encoder("", lambda states: vectors)

    compared = {"knows": np.concatenate([loops, effects], 1), "long": length, "noise": noise}
    encoders = [Encoder(name, known(v).encode) for name, v in compared.items()]
    request = Request([], resamples=40)
    rows, _ = probe.measure(request, units, folds_of(units), encoders)
    pooled = {(r.metric, r.subset, r.more["encoder"]): r.value for r in rows if not r.data}
    assert pooled["probe_r2", "loops", "knows"] > 0.9
    assert pooled["probe_r2_beyond_length", "loops", "knows"] > 0.7
    assert abs(pooled["probe_r2_beyond_length", "loops", "long"]) < 0.05
    assert abs(pooled["probe_r2_beyond_length", "loops", "noise"]) < 0.05
    assert pooled["probe_auroc_size_matched", "effects", "knows"] == 1
    assert pooled["probe_auroc", "effects", "knows"] == 1
    assert abs(pooled["probe_auroc_size_matched", "effects", "length"] - 0.5) < 0.15
    assert pooled["probe_r2", "lines", "length"] > 0.8


def test_the_suite(sources: list[Source], tmp_path: Path) -> None:
    model = str(write_random_model(tmp_path / "random.safetensors"))
    kept: list[Row] = []
    outcome = probe.run(Request(sources, models=[model], limit=200, resamples=30, threads=1), kept.extend)
    assert kept == outcome.rows
    names = {r.more["encoder"] for r in outcome.rows}
    ours = {"random.safetensors target", "random.safetensors online"}
    assert names == {*ours, "untrained", "bag of tokens", "TF-IDF", "random states", "length"}
    assert {r.subset for r in outcome.rows} == {*COUNTS, "effects", "result"}
    for row in outcome.rows:
        expected = set(probe.NULLS) - {row.more["encoder"]}
        assert expected <= set(row.nulls)
        assert set(row.nulls) - expected <= {"mean", "majority", "chance"}
    assert outcome.about["units"] == 180
    assert {c.name for c in outcome.charts} == {f"probe-{name}" for name in (*COUNTS, "effects", "result")}


def test_without_clones(sources: list[Source]) -> None:
    with pytest.raises(UserError, match="with their source"):
        gather([replace(s, clones={}) for s in sources], limit=200)
