"""Claims, on two real repositories:

1. No query meets an edit of its own commit; leaving a repository out leaves all of it out; hard candidates are one of
   the query's label and nine of others, from where they are said to be. A commit asks five times at most.
2. Reverts look for what they take back, and a displacement finds it by turning around; issues for the other commits
   that cite them, also beside edits as far away in time.
3. The action finds every label that is made from it: that is what circular means. What knows nothing is near the class
   prior in every protocol.
4. Every row has its nulls and encoder; a repository's rows are its own queries.
5. A history without two edits of one kind has nothing to find, and that is an error, not an empty table.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codewm.corpus.errors import UserError
from codewm.corpus.git import Repository
from codewm.corpus.harvest import Options, harvest
from codewm.corpus.store import read_store
from codewm.model.evaluation import encoders, protocols, retrieval, world
from codewm.model.evaluation.encoders import Features
from codewm.model.evaluation.held_out import Source
from codewm.model.evaluation.metrics import Row
from codewm.model.evaluation.population import Population, gather, trained_on
from codewm.model.evaluation.protocols import Protocol
from codewm.model.evaluation.result import Outcome, Request
from tests.helpers import GitRepo
from tests.model.evaluation.related import build as related
from tests.model.evaluation.repository import module
from tests.scoring.random_model import write_random_model

LIMIT = 150


def clone(path: Path, which: str) -> Source:
    repo: GitRepo
    repo, _ = related(path, which)
    repo.commit("modules", {f"{m}.py": module(0, f"{m}_{which}") for m in "pq"})
    for version in range(1, 40):
        changed = "pq"[version % 2]
        files = {f"{changed}.py": module(version, f"{changed}_{which}")}
        if version % 5 == 0:
            files[f"new_{version}.py"] = (
                f"def made_{version}(x):\n    return x + {version}\n\n\nLIMIT = {version}\n"
            )
        repo.commit(f"version {version}, #{100 + version % 8}", files)
    with Repository.open(repo.path) as repository:
        options = Options(window=256, action="v15", merges="first-parent", jobs=1)
        table = read_store(harvest(repository, options).path).table
    return Source(which, table, {table.repositories[0].name: repo.path})


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    folder = tmp_path_factory.mktemp("clones")
    return [clone(folder / which, which) for which in ("a", "b")]


@pytest.fixture(scope="module")
def population(sources: list[Source]) -> Population:
    return gather(sources, limit=LIMIT, with_texts=True)


@pytest.fixture(scope="module")
def made(population: Population) -> dict[str, Protocol]:
    return {p.name: p for p in protocols.all_of(population)}


@pytest.fixture(scope="module")
def outcome(sources: list[Source], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    model = write_random_model(tmp_path_factory.mktemp("model") / "random.safetensors")
    kept: list[Row] = []
    request = Request(sources, models=[str(model)], limit=LIMIT, resamples=40, threads=1)
    found = retrieval.run(request, kept.extend)
    assert kept == found.rows
    return found


def test_who_is_asked(population: Population, made: dict[str, Protocol]) -> None:
    edits = population.edits
    assert {"same joint", "same joint, other repositories", "revert", "issue", "refactoring"} <= set(made)
    for protocol in made.values():
        allowed, relevant = protocol.judge(protocol.queries)
        assert relevant.any(1).all()
        assert not (relevant & ~allowed).any()
        same = edits.commit[protocol.queries][:, None] == edits.commit[protocol.gallery]
        assert not (allowed & same).any()
        assert np.bincount(edits.commit[protocol.queries]).max() <= protocols.PER_COMMIT
        assert len(np.unique(protocol.queries)) == len(protocol.queries)
    left = made["same joint, other repositories"]
    allowed, _ = left.judge(left.queries)
    here = edits.repository[left.queries][:, None] == edits.repository[left.gallery]
    assert (allowed == ~here).all()
    assert population.held[made["same joint"].queries].all()
    assert (edits.group[made["action cosine 0.95, modified units"].queries] == 0).all()


def test_hard_candidates(population: Population) -> None:
    edits, label = population.edits, population.label
    hard = protocols.hard(population)
    *circular, timed = hard
    assert [h.name for h in circular] == ["K = 9, same / other", "K = 9, same / same", "K = 9, other / other"]
    assert all(one.circular for one in circular)
    for one in circular:
        right, wrong = one.candidates[:, 0], one.candidates[:, 1:]
        positive, negative = one.name.removeprefix("K = 9, ").split(" / ")
        assert (label[right] == label[one.queries]).all()
        assert (label[wrong] != label[one.queries][:, None]).all()
        home = edits.repository[one.queries]
        assert ((edits.repository[right] == home) == (positive == "same")).all()
        assert ((edits.repository[wrong] == home[:, None]) == (negative == "same")).all()
        assert (edits.commit[right] != edits.commit[one.queries]).all()
    assert not timed.circular
    gap = np.abs(population.time[timed.candidates] - population.time[timed.queries][:, None])
    assert (gap[:, 1:] != gap[:, :1]).all()
    nearer = (gap[:, 1:] < gap[:, :1]).sum(1)
    assert len(timed.queries) > 20
    assert 3 < nearer.mean() < 6  # 4.5, of which time makes a random order
    for q, (right, *wrong) in zip(timed.queries.tolist(), timed.candidates.tolist(), strict=True):
        assert population.issues[q] & population.issues[right]
        assert not any(population.issues[q] & population.issues[w] for w in wrong)
        assert len({*edits.commit[[q, right]]}) == 2
        assert population.chain[q] not in population.chain[[right, *wrong]]


def test_reverts_and_issues(population: Population, made: dict[str, Protocol], sources: list[Source]) -> None:
    subjects = [s for source in sources for s in source.table.commits.subject]
    revert = made["revert"]
    _, relevant = revert.judge(revert.queries)
    assert revert.sign == -1
    for q, row in zip(revert.queries.tolist(), relevant, strict=True):
        assert subjects[population.edits.commit[q]] == 'Revert "count twice, see #41"'
        assert {subjects[c] for c in population.edits.commit[revert.gallery[row]]} == {"count twice, see #41"}
    counts = encoders.features_of(
        encoders.Encoder("bag", encoders.counts), population.edits, retrieval.states_of(population)
    )
    found = counts.similarity(revert.queries, revert.gallery, revert.sign)
    assert found[relevant].min() > 0.999
    assert counts.similarity(revert.queries, revert.gallery)[relevant].max() < -0.999
    assert population.exact[revert.queries].all()
    assert "revert, not exact" not in made
    issue = made["issue"]
    _, relevant = issue.judge(issue.queries)
    for q, row in zip(issue.queries.tolist(), relevant, strict=True):
        mine = population.issues[q]
        assert all(mine & population.issues[j] for j in issue.gallery[row])


def test_texts_are_those_of_the_states(population: Population) -> None:
    held = retrieval.states_of(population)
    assert len(held.texts) == len(held)
    lengths = np.diff(held.offsets)
    empty = [not text for text in held.texts]
    # Of each source, nothing but the state that says that there is no unit.
    assert lengths[empty].tolist() == [1, 1]
    assert population.about["without_text"] == 0


def test_what_circular_means(outcome: Outcome) -> None:
    first = [r for r in outcome.rows if not r.data and r.metric == "reciprocal_rank_at_10"]
    told = [r for r in first if r.more["encoder"] == "action" and r.more["circular"]]
    assert len(told) == 6
    assert min(r.value for r in told) > 0.99
    unrelated = [r for r in first if r.more["encoder"] == "random"]
    assert len(unrelated) >= 9
    for row in unrelated:
        assert abs(row.value - row.nulls["class prior"]) < 0.12, row.subset
    hard = [r for r in outcome.rows if r.metric == "reciprocal_rank_of_10" and not r.data]
    for row in hard:
        assert row.nulls["class prior"] == pytest.approx(sum(1 / j for j in range(1, 11)) / 10)
    timed = {r.more["encoder"]: r.value for r in hard if r.subset == "issue, K = 9 around in time"}
    assert len(timed) == 12


def test_rows(outcome: Outcome) -> None:
    names = {r.more["encoder"] for r in outcome.rows}
    ours = {f"random.safetensors {space}" for space in ("target", "online", "predicted")}
    assert names == {
        *ours, "copy", "untrained", "bag of tokens", "TF-IDF", "random states", "random", "action", "size", "time"
    }  # fmt: skip
    for row in outcome.rows:
        assert set(row.nulls) == {"class prior", *retrieval.NULLS} - {row.more["encoder"]}
        assert set(row.margins) == set(row.nulls)
    for subset in {r.subset for r in outcome.rows}:
        rows = [r for r in outcome.rows if r.subset == subset and r.more["encoder"] == "copy"]
        main = [r for r in rows if r.metric.startswith("reciprocal_rank")]
        assert sum(r.n for r in main if r.data) == next(r.n for r in main if not r.data)
    assert {d["name"] for d in outcome.data} == {"a", "b"}
    assert {c.name for c in outcome.charts} >= {"retrieval-same-joint", "retrieval-issue"}


def test_what_a_model_was_trained_on(sources: list[Source], tmp_path: Path) -> None:
    ours = world.load(str(write_random_model(tmp_path / "m.safetensors")))
    assert trained_on([ours], sources) == {"m.safetensors": []}
    root = sources[1].table.repositories[0].root
    ours.subject.about["sources"] = [{"role": "train", "root": root}]  # type: ignore[attr-defined]
    assert trained_on([ours], sources) == {"m.safetensors": ["b"]}


def test_one_repository_has_no_others(sources: list[Source]) -> None:
    one = gather(sources[:1], limit=LIMIT)
    names = {p.name for p in protocols.all_of(one)}
    assert "same joint" in names
    assert "same joint, other repositories" not in names
    assert [h.name for h in protocols.hard(one) if h.circular] == ["K = 9, same / same"]
    blank = Features("blank", np.zeros((len(one), 3), np.float32))
    same = next(p for p in protocols.all_of(one) if p.name == "same joint")
    got = retrieval.answers(same, [blank])["precision_at_10"]
    assert got["blank"].mean() == pytest.approx(got["class prior"].mean(), abs=0.1)


def test_nothing_to_find_is_said(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "short")
    for version in range(3):
        repo.commit(f"version {version}", {"a.py": f"def f(x):\n    return x + {version}\n"})
    with Repository.open(repo.path) as repository:
        options = Options(window=256, action="v15", merges="first-parent", jobs=1)
        table = read_store(harvest(repository, options).path).table
    model = write_random_model(tmp_path / "model.safetensors")
    request = Request(sources=[Source("short", table)], models=[str(model)])
    with pytest.raises(UserError, match="another one to be found"):
        retrieval.run(request, lambda rows: None)
