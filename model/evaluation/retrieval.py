"""Edits and encoders in, how often an edit like the query is among the first ten out: `codewm eval retrieval`.

Every encoder answers the same queries from the same galleries (`codewm.model.evaluation.protocols`), and stands beside
the class prior (a random order, exactly), unrelated vectors, the copy (where the edit begins, nothing of where it
goes), the bag of its tokens, and what is known without reading it: its size, its time, the action itself. Intervals
are bootstraps over the commits of the queries, paired for the nulls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.errors import UserError
from codewm.model.evaluation import encoders, protocols, retrieved, world as worlds
from codewm.model.evaluation.encoders import Features, States
from codewm.model.evaluation.held_out import LABEL, Edits
from codewm.model.evaluation.metrics import Row, Tally
from codewm.model.evaluation.population import Population, gather, trained_on
from codewm.model.evaluation.protocols import Hard, Protocol
from codewm.model.evaluation.result import Chart, Emit, Mark, Outcome, Request

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
NULLS = (
    encoders.RANDOM, encoders.COPY, encoders.BAG, encoders.SIZE, encoders.TIME, encoders.ACTION,
)  # fmt: skip
"""What every encoder is set beside, besides the class prior."""
CLASS_PRIOR = "class prior"
RECIPROCAL_RANK = "reciprocal_rank_of_10"
CHUNK = 200  # queries at a time
BY_REPOSITORY = "reciprocal_rank_at_10"
PAPERS = (
    "pandas", "requests", "fastapi", "httpx", "rich", "pydantic", "scrapy", "dask", "networkx", "attrs", "click",
    "flask", "loguru", "matplotlib", "numpy", "polars", "pytest", "sympy", "tqdm", "typer",
)  # fmt: skip
"""The repositories of CodeWM-1's leave-one-repository-out (section 4.4)."""
Answers = dict[str, dict[str, F64]]
"""Metric -> encoder -> what each query got [Q]."""


def run(request: Request, emit: Emit) -> Outcome:
    """The suite: every encoder at hand on every protocol."""
    asked = worlds.load_all(request.models, request.threads)
    encoders.require(asked)
    others = encoders.pretrained(request.encoders, request.say)
    request.say("looking for edits")
    population = gather(request.sources, limit=request.limit, part=request.part, with_texts=bool(others))
    outcome = Outcome("retrieval", [worlds.as_json(w) for w in asked], _data(request, population))
    outcome.about = _about(request, population, trained_on(asked, request.sources))
    outcome.notes += _notes(outcome.about, asked, others)
    request.say(f"encoding {len(population):,} edits")
    features = list(_features(population, asked, others))
    for protocol in protocols.all_of(population):
        request.say(f"{protocol.name}: {len(protocol.queries):,} queries")
        more = {"gallery": len(protocol.gallery), "circular": protocol.circular}
        if protocol.left_out:
            more["without_relevant"] = protocol.left_out
        rows = _rows(request, population, protocol.name, protocol.queries, answers(protocol, features), more)
        outcome.rows += rows
        emit(rows)
    for one in protocols.hard(population):
        more = {"gallery": 1 + protocols.K, "circular": one.circular}
        rows = _rows(request, population, one.name, one.queries, hard_answers(one, features), more)
        outcome.rows += rows
        emit(rows)
    if not outcome.rows:
        raise UserError(
            f"none of {len(population):,} edits has another one to be found by",
            "name clones with more history",
        )
    outcome.charts = charts(outcome.rows)
    return outcome


def states_of(population: Population) -> States:
    """The population's states, with the texts they were made from where those were asked for."""
    edits = population.edits
    texts: list[str] = []
    if population.texts:
        texts = [""] * (len(edits.offsets) - 1)
        for i, found in enumerate(population.texts):
            for state, text in ((edits.before[i], found.before), (edits.after[i], found.after)):
                # Two texts may make the same state: they differ in what no model sees, such as comments.
                texts[state] = texts[state] or text or ""
    return States(edits.tokens, edits.offsets, texts)


def _features(
    population: Population, asked: Sequence[worlds.World], others: Sequence[encoders.Encoder]
) -> Iterator[Features]:
    edits, states = population.edits, states_of(population)
    for i, world in enumerate(asked):
        yield from encoders.of_edits(world, edits, states, population.action_id, with_copy=i == 0)
    plain = encoders.untrained(asked[0])
    if plain is not None:
        yield encoders.features_of(plain, edits, states)
    fit = _fitted(population.fit)
    for encoder in (*others, *encoders.simple(fit)):
        yield encoders.features_of(encoder, edits, states)
    yield from encoders.plain(edits.action, population.size, population.time)


def _fitted(fit: Edits) -> States:
    return States(fit.tokens, fit.offsets)


def answers(protocol: Protocol, features: Sequence[Features]) -> Answers:
    """What each encoder gets, query by query, and what a random order would."""
    out: Answers = {m: {f.name: np.zeros(len(protocol.queries)) for f in features} for m in retrieved.METRICS}
    for metric in out:
        out[metric][CLASS_PRIOR] = np.zeros(len(protocol.queries))
    for start in range(0, len(protocol.queries), CHUNK):
        part = slice(start, start + CHUNK)
        queries = protocol.queries[part]
        allowed, relevant = protocol.judge(queries)
        for one in features:
            # Equal scores fall in the same order for everybody, whoever else is compared.
            rng = np.random.default_rng([8, start])
            similar = one.similarity(queries, protocol.gallery, protocol.sign)
            found = retrieved.measures(retrieved.top(similar, allowed, rng), relevant)
            for metric, values in found.items():
                out[metric][one.name][part] = values
        for metric, values in retrieved.chance(relevant.sum(1), allowed.sum(1)).items():
            out[metric][CLASS_PRIOR][part] = values
    return out


def hard_answers(one: Hard, features: Sequence[Features]) -> Answers:
    """1 / the place of the relevant edit among its `K` distractors, query by query."""
    out: dict[str, F64] = {}
    relevant = np.zeros((1, 1 + protocols.K), bool)
    relevant[0, 0] = True
    for feature in features:
        scores = np.stack(
            [
                feature.similarity(np.array([q]), row)[0]
                for q, row in zip(one.queries.tolist(), one.candidates, strict=True)
            ]
        )
        allowed = np.ones(scores.shape, bool)
        found = retrieved.top(scores, allowed, np.random.default_rng(9))
        out[feature.name] = retrieved.measures(found, np.repeat(relevant, len(scores), 0))[
            "reciprocal_rank_at_10"
        ]
    counts = np.ones(len(one.queries), np.int64)
    prior = retrieved.chance(counts, (1 + protocols.K) * counts)
    out[CLASS_PRIOR] = prior["reciprocal_rank_at_10"]
    return {RECIPROCAL_RANK: out}


def _rows(
    request: Request,
    population: Population,
    name: str,
    queries: I64,
    found: Answers,
    more: dict[str, Any],
) -> list[Row]:
    """A row for each metric and encoder: pooled, and the first metric by repository where there are several."""
    out: list[Row] = []
    repository = population.edits.repository[queries]
    names = np.unique(repository).tolist()
    for r in (None, *(names if len(names) > 1 else [])):
        here = np.ones(len(queries), bool) if r is None else repository == r
        data = "" if r is None else population.repositories[r]
        tally = Tally(
            population.edits.commit[queries[here]], subset=name, data=data, resamples=request.resamples
        )
        for metric, values in found.items():
            if r is not None and metric not in (BY_REPOSITORY, RECIPROCAL_RANK):
                continue
            for encoder in values:
                if encoder == CLASS_PRIOR:
                    continue
                beside = {n: values[n][here] for n in NULLS if n in values and n != encoder}
                beside |= {"": values[encoder][here], CLASS_PRIOR: values[CLASS_PRIOR][here]}
                tally.mean(metric, beside, encoder=encoder, **more)
        out += tally.rows
    return out


def _data(request: Request, population: Population) -> list[dict[str, Any]]:
    edits = population.edits
    counts = np.bincount(edits.repository, minlength=len(population.repositories))
    held = np.bincount(edits.repository[population.held], minlength=len(population.repositories))
    origins = [o for s in request.sources for o in s.table.repositories or [None]]  # type: ignore[list-item]
    out = []
    for i, name in enumerate(population.repositories):
        if counts[i]:
            origin = origins[i]
            tip = {} if origin is None else {"root": origin.root, "tip": origin.tip}
            out.append({"name": name, "edits": int(counts[i]), "held_out": int(held[i]), **tip})
    return out


def _about(request: Request, population: Population, seen: dict[str, list[str]]) -> dict[str, Any]:
    here = {name.rpartition("/")[2].rpartition("+")[2] for name in population.repositories}
    edits = population.edits
    return {
        "edits": population.about,
        "split": "as the corpus says" if request.sources[0].table.division else "latest fifth by commit time",
        "part": request.part,
        "action": population.action_id,
        "joint": LABEL,
        "limit": request.limit,
        "resamples": request.resamples,
        "queries_at_most": protocols.QUERIES,
        "gallery_at_most": protocols.GALLERY,
        "reverting_commits": len(np.unique(edits.commit[population.reverts >= 0])),
        "issues": len({issue for cited in population.issues for issue in cited}),
        "refactorings": int((population.refactoring >= 0).sum()),
        "of_the_papers_repositories": sorted(here & set(PAPERS)),
        "trained_on": seen,
    }


def _notes(
    about: dict[str, Any], asked: Sequence[worlds.World], others: Sequence[encoders.Encoder]
) -> list[str]:
    notes = [
        f"{name} says that it was trained on earlier edits of {', '.join(names)}: reverts, issues and refactorings "
        "are searched for in those, too"
        for name, names in about["trained_on"].items()
        if names
    ]
    if others and about["edits"]["without_text"]:
        count = about["edits"]["without_text"]
        notes.append(f"{count:,} edits have no source text here and are left out for every encoder")
    if encoders.untrained(asked[0]) is None:
        notes.append("no untrained encoder: it needs torch, and a model of ours")
    return notes


def charts(rows: Sequence[Row]) -> list[Chart]:
    """A picture for each protocol: the reciprocal rank of every encoder."""
    made = []
    pooled = [r for r in rows if not r.data and r.metric in (BY_REPOSITORY, RECIPROCAL_RANK)]
    for subset in dict.fromkeys(r.subset for r in pooled):
        mine = [r for r in pooled if r.subset == subset]
        marks = [
            Mark(r.more["encoder"], r.value, r.interval, {CLASS_PRIOR: r.nulls[CLASS_PRIOR]}) for r in mine
        ]
        label = "".join(c if c.isalnum() else "-" for c in subset)
        made.append(Chart(f"retrieval-{label}", f"{subset}: MRR@10", "mean reciprocal rank", marks))
    return made
