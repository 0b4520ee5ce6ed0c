"""Models and held-out edits in, milliseconds of every stage out, beside torch in f32 on the same machine and weights.

    encoder      one unit of exactly S real tokens
    target       the map to the target space, of one unit
    action       the description of one edit, from its two states
    predictor    one step
    pipeline     one held-out commit: all its states, targets, predictions and residuals

Contenders take turns, round by round, so that what else the machine does falls on all of them. A value is the median
over calls (p50) or their 95th percentile; its interval is a bootstrap over units or commits, each by its own median
over rounds. `undisturbed` is the median over units of the fastest round. `processor` is the median of the processor
time of a call, over all its threads: on one thread, what a busy machine says least wrongly.
CodeWM-1 tables 11 and 16 are of another machine: compare ratios, not milliseconds.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.table import take_states
from codewm.model.evaluation.held_out import Edits, HeldOut
from codewm.model.evaluation.metrics import Row, interval
from codewm.model.evaluation.quantisation import engines
from codewm.model.evaluation.readout import about_of, data_of, gather
from codewm.model.evaluation.result import Chart, Emit, Outcome, Request, chart_of
from codewm.model.evaluation.several import ask, shown
from codewm.model.evaluation.world import EngineWorld, World, told

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
F32 = NDArray[np.float32]
U16 = NDArray[np.uint16]
TOKENS, ROWS = 16_384, 512  # of torch's batches
LENGTHS = (16, 64, 128, 256)
UNITS = 16  # different units of each length
COMMITS = 12
LARGEST = (
    20  # edits of a commit that is timed; larger ones are rare, and take their share of everybody's minutes
)
ROUNDS = 5
SECONDS = 8.0  # a stage begins no further round after them: on a busy machine two threads may wait for each other long
FEWEST = 3  # units or commits of the first round, which is cut short after those seconds
Calls = Mapping[str, Sequence[Callable[[], object]]]
"""contender -> one call for each unit or commit."""


def run(request: Request, emit: Emit) -> Outcome:
    """The suite: one model, or several."""
    held_out = gather(request)
    outcome = Outcome("latency", [], data_of(request, held_out), about_of(request, held_out))
    outcome.about |= {
        "machine": platform.machine(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1),
        "rounds": ROUNDS, "units": UNITS, "commits": COMMITS, "edits of a commit at most": LARGEST,
    }  # fmt: skip
    if find_spec("torch") is None:
        outcome.notes.append("torch is not installed: there is nothing beside the engine's times")

    def question(world: World) -> list[Row]:
        return rows_of(world, held_out, request)

    ask(request, emit, outcome, question)
    outcome.charts = charts(outcome.rows)
    return outcome


def rows_of(world: World, held_out: HeldOut, request: Request) -> list[Row]:
    """Every row of one model, on one thread and on all."""
    rows: list[Row] = []
    for threads, word in ((1, "one thread"), (0, "all threads")):
        if not threads and (os.cpu_count() or 1) == 1:
            continue
        with Torch(threads):
            rows += stages(world, held_out, threads, word, request.resamples)
    return rows


class Torch:
    """So many threads for torch, inside; as it was, outside. Nothing where torch is missing."""

    def __init__(self, threads: int) -> None:
        self.threads, self.before = threads or (os.cpu_count() or 1), 0

    def __enter__(self) -> None:
        if find_spec("torch") is not None:
            import torch

            self.before = torch.get_num_threads()
            torch.set_num_threads(self.threads)

    def __exit__(self, *_: object) -> None:
        if self.before:
            import torch

            torch.set_num_threads(self.before)


def stages(world: World, held_out: HeldOut, threads: int, word: str, resamples: int) -> list[Row]:
    """Every stage by every contender."""
    edits = held_out.edits
    runners = contenders(world, threads)
    rows: list[Row] = []
    lengths = np.diff(edits.offsets)
    rng = np.random.default_rng(0)
    for length in LENGTHS:
        fit = np.flatnonzero(lengths >= length)
        if not len(fit):
            continue
        ids = rng.choice(fit, min(UNITS, len(fit)), replace=False)
        units = [
            (edits.tokens[edits.offsets[i] : edits.offsets[i] + length], np.array([0, length])) for i in ids
        ]
        calls = {name: [_bound(r.encode, *u) for u in units] for name, r in runners.items()}
        rows += timed(calls, "encoder", f"{length} tokens, {word}", resamples)
    some = rng.choice(len(edits), min(UNITS, len(edits)), replace=False)
    action = told(world, edits.action[some], held_out.action_id)
    starts = [_states(edits, edits.before[[i]]) for i in some]
    alone = np.zeros(1, np.int64)
    steps = {
        name: [_bound(r.predict, *r.read(*s, alone, action[[i]]), action[[i]]) for i, s in enumerate(starts)]
        for name, r in runners.items()
    }
    latents = [world.online(*s) for s in starts]
    rows += timed(steps, "predictor", word, resamples)
    maps = {
        name: [_bound(r.target, f) for f in latents] for name, r in runners.items() if r.target is not None
    }
    if maps:
        rows += timed(maps, "target", word, resamples)
    ends = [_states(edits, edits.after[[i]]) for i in some]
    kinds = np.zeros(1, np.uint8)
    told_of = [
        _bound(core.describe_states, a, b, kinds, world.action) for a, b in zip(starts, ends, strict=True)
    ]
    rows += timed({"core": told_of}, "action", word, resamples)
    whole = {name: [_bound(_commit, r, *c) for c in commits(world, held_out)] for name, r in runners.items()}
    return rows + timed(whole, "pipeline", word, resamples)


class Runner:
    """One contender: its stages. The target is a map of what `encode` says, or another encoder, `second`.

    `read` says of states, and of edits of them, the latents [U, F] and what the predictor reads where those happen.
    """

    def __init__(
        self,
        encode: Callable[[U16, I64], F32],
        read: Callable[[U16, I64, I64, F32], tuple[F32, F32]],
        predict: Callable[[F32, F32, F32], F32],
        target: Callable[[F32], F32] | None,
        second: Callable[[U16, I64], F32] | None = None,
    ) -> None:
        self.encode, self.read, self.predict = encode, read, predict
        self.target, self.second = target, second


def contenders(world: World, threads: int) -> dict[str, Runner]:
    """The engine's tiers and torch, of our models; the papers' run in torch alone."""
    if not isinstance(world, EngineWorld):
        return {"torch": _of_papers(world)}
    made = {"engine": world.engine}
    if find_spec("torch") is None:
        return {name: _of_engine(e, threads) for name, e in made.items()}
    exact, tiers = engines(world.subject)
    made = {"engine": exact[0], **{f"engine {quant}": e for quant, (e, _) in tiers.items()}}
    return {name: _of_engine(e, threads) for name, e in made.items()} | {"torch": _of_torch(world)}


def _of_papers(world: World) -> Runner:
    def read(tokens: U16, offsets: I64, edited: I64, action: F32) -> tuple[F32, F32]:
        return world.online(tokens, offsets), np.zeros((len(edited), 0), np.float32)

    return Runner(world.online, read, lambda f, _, a: world.step(f, a)[0], None, world.target)


def _of_engine(engine: core.Engine, threads: int) -> Runner:
    return Runner(
        lambda tokens, offsets: engine.encode(tokens, offsets, threads=threads),
        lambda tokens, offsets, at, action: engine.read(tokens, offsets, at, action, threads=threads),
        engine.predict,
        engine.target,
    )


def _of_torch(world: EngineWorld) -> Runner:
    """The same weights in plain torch, units in batches of one padded width."""
    import torch

    from codewm.model.batches import length_batches, pad

    model = world.jepa
    config = model.config

    def by_encoder(tokens: U16, offsets: I64) -> F32:
        out = np.zeros((len(offsets) - 1, config.width), np.float32)
        with torch.inference_mode():
            for batch in length_batches(np.diff(offsets), TOKENS, ROWS):
                out[batch] = model.encoder(*pad(tokens, offsets, batch)).numpy()
        return out

    def by_reading(tokens: U16, offsets: I64, edited: I64, action: F32) -> tuple[F32, F32]:
        lengths = np.diff(offsets)[edited]
        ranges = torch.from_numpy(core.places(lengths, action, config.action, config.window))
        out = np.zeros((len(edited), config.read), np.float32)
        with torch.inference_mode():
            for batch in length_batches(lengths, TOKENS, ROWS):
                at = model.encoder.at(*pad(tokens, offsets, edited[batch]), ranges[torch.from_numpy(batch)])
                out[batch] = model.read(at).numpy()
        return by_encoder(tokens, offsets), out

    def by_predictor(f: F32, read: F32, action: F32) -> F32:
        with torch.inference_mode():
            out: F32 = model(*(torch.from_numpy(x) for x in (f, read, action))).numpy()
            return out

    def by_map(f: F32) -> F32:
        with torch.inference_mode():
            out: F32 = model.target(torch.from_numpy(f)).numpy()
            return out

    return Runner(by_encoder, by_reading, by_predictor, by_map)


def commits(world: World, held_out: HeldOut) -> list[tuple[U16, I64, I64, I64, F32]]:
    """Held-out commits of at most `LARGEST` edits: tokens and offsets of their states, before and after of their edits,
    actions.
    """
    edits = held_out.edits
    found, count = np.unique(edits.commit, return_counts=True)
    found = found[count <= max(LARGEST, int(count.min()))]
    drawn = np.random.default_rng(1).choice(found, min(COMMITS, len(found)), replace=False)
    out = []
    for commit in drawn.tolist():
        rows = np.flatnonzero(edits.commit == commit)
        ids, at = np.unique(np.concatenate([edits.before[rows], edits.after[rows]]), return_inverse=True)
        place = at.ravel()
        action = told(world, edits.action[rows], held_out.action_id)
        out.append((*_states(edits, ids), place[: len(rows)], place[len(rows) :], action))
    return out


def _commit(runner: Runner, tokens: U16, offsets: I64, before: I64, after: I64, action: F32) -> F64:
    """How far each edit of a commit lands from where it was said to."""
    f, read = runner.read(tokens, offsets, before, action)
    said = runner.predict(np.ascontiguousarray(f[before]), read, action)
    if runner.second is not None:
        landed: F64 = np.linalg.norm(runner.second(tokens, offsets)[after] - said, axis=1)
        return landed
    assert runner.target is not None
    t = runner.target(f)
    residual: F64 = np.linalg.norm(t[after] - t[before] - said, axis=1)
    return residual


def _states(edits: Edits, ids: I64) -> tuple[U16, I64]:
    return take_states(edits.tokens, edits.offsets, ids)


def _bound(call: Callable[..., object], *given: object) -> Callable[[], object]:
    return lambda: call(*given)


def timed(calls: Calls, stage: str, subset: str, resamples: int) -> list[Row]:
    """Rows p50 and p95 in milliseconds of each contender, torch beside the others. First calls are not counted."""
    kept: dict[str, list[list[float]]] = {name: [] for name in calls}
    spent: dict[str, list[float]] = {name: [] for name in calls}
    began = time.perf_counter()
    units = min(len(each) for each in calls.values())

    def late() -> bool:
        return time.perf_counter() - began > SECONDS

    for done in range(ROUNDS + 1):
        if done > 1 and late():
            break
        for name, each in calls.items():
            times_of: list[float] = []
            for call in each[: units if done else 1]:
                if done == 1 and len(times_of) >= FEWEST and late():
                    break
                before, start = time.process_time(), time.perf_counter()
                call()
                times_of.append((time.perf_counter() - start) * 1e3)
                if done:
                    spent[name].append((time.process_time() - before) * 1e3)
            if done:
                kept[name].append(times_of)
                units = min(units, len(times_of))
    taken = {name: np.array([times_of[:units] for times_of in rounds]) for name, rounds in kept.items()}
    rows = []
    for name, times in taken.items():
        per = np.median(times, 0)
        drawn = np.random.default_rng(2).integers(len(per), size=(resamples, len(per)))
        figures = {
            "p50": (np.median(times), np.median(per[drawn], 1)),
            "p95": (np.quantile(times, 0.95), None),
        }
        for which, (value, resampled) in figures.items():
            nulls, more = {}, {"contender": name, "mean": float(times.mean()), "rounds": len(times)}
            undisturbed = float(np.median(times.min(0)))
            more |= {"undisturbed": undisturbed, "processor": float(np.median(spent[name]))}
            if "torch" in taken and name != "torch":
                theirs = taken["torch"]
                peer = float(np.median(theirs) if which == "p50" else np.quantile(theirs, 0.95))
                nulls["torch"] = peer
                more["times_faster_than_torch"] = peer / max(float(value), 1e-9)
                free = float(np.median(theirs.min(0))) / max(undisturbed, 1e-9)
                more["times_faster_than_torch_undisturbed"] = free
            among = None if resampled is None else interval(resampled)
            rows.append(
                Row(
                    f"{stage}_{which}_ms_{name.replace(' ', '_')}", subset, float(value), among, len(per),
                    nulls, more=more,
                )
            )  # fmt: skip
    return rows


def charts(rows: Sequence[Row]) -> list[Chart]:
    """The median of every stage on one thread."""
    mine = [r for r in shown(rows) if "_p50_ms_engine" in r.metric and r.subset.endswith("one thread")]
    encoder = [r for r in mine if r.metric == "encoder_p50_ms_engine"]
    others = [r for r in mine if not r.metric.startswith("encoder")]
    made = [
        chart_of(
            encoder, "latency-encoder", "the encoder, one unit, one thread", "milliseconds", by="subset"
        ),
        chart_of(others, "latency-stages", "other stages, one thread", "milliseconds"),
    ]
    return [chart for chart in made if chart is not None]
