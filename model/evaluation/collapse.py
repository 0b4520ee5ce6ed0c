"""Edits in, what collapses the papers' encoder out: both modes, one thing changed at a time, traced over steps.

CodeWM-1's sweep (its table 1 and figure 3): decay of the target, weight of the spectral and the covariance term, the
direction term switched off mid-run; in published mode, which is what its figures come from, and in text mode, which is
what it describes. Each run watches one fixed sample of later edits of modified units. The copy cosine says nothing
without the cosine of unrelated states beside it, mixed displacements nothing without the constant target.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.errors import UserError
from codewm.model.checkpoint import RunFolder
from codewm.model.evaluation.metrics import Row, Tally, interval
from codewm.model.evaluation.result import Chart, Emit, Line, Mark, Outcome, Request, Trace
from codewm.model.evaluation.runs import code_of, key_of
from codewm.model.evaluation.seeds import student
from codewm.model.papers.config import Recipe, resolve
from codewm.model.papers.data import PaperData, gather
from codewm.model.papers.health import cosines, others_mean
from codewm.model.papers.tokens import vocabulary
from codewm.model.papers.train import Watch, train
from codewm.model.papers.world import load

F64 = NDArray[np.float64]
STEPS = 200
DEFAULTS: dict[str, Any] = {
    "batch": 32, "lr": 3e-4, "warmup": 60, "max_tokens": 64, "window": 64, "max_edits": 20_000, "watch": 20,
    "watched": 256, "diagnose": 20, "keep": 10_000, "ema": 0.996,
}  # fmt: skip
"""Sized for minutes: the rate and the fast target of the published sweep, few steps, small units."""
BASE = "ema 0.996"
FIGURES = (
    "copy_cosine", "unrelated_cosine", "target_rank_entropy", "target_rank_squared", "online_rank_entropy",
    "online_rank_squared", "online_off_diagonal", "mixed_delta_cosine", "mixed_constant", "delta_cosine",
)  # fmt: skip
"""What is traced over steps."""
TRACED = {
    "copy_cosine": "cosine of a state and the next in the target space",
    "target_rank_entropy": "effective rank of the target (entropy of singular values)",
    "online_off_diagonal": "cosine of unrelated states, online encoder",
    "mixed_delta_cosine": "mixed-space delta cosine",
}
CLIMB = 0.01
"""Share of the way from where the copy cosine began to 1 that counts as climbing."""


@dataclass(frozen=True)
class Variation:
    """One change to a mode's recipe."""

    help: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def variations(mode: str, steps: int) -> dict[str, Variation]:
    """What is varied in a mode; the first is what the others change one thing of."""
    # The published spectral term is the sketched one, whose weight in that code was 0.1; paper 1's weight is 0.01.
    spectral = 0.1 if mode == "published" else 0.01
    out = {BASE: Variation("the recipe with the fast target of the papers' first runs")}
    for decay in (0.9995, 0.99999, 1.0):
        out[f"ema {decay:g}"] = Variation("a slower target", {"ema": decay})
    for times in (1, 10, 100):
        if mode == "published" or times > 1:
            out[f"spectral {times}x"] = Variation("more spectral term", {"spectral_weight": times * spectral})
    # What the text has none of, the published recipe has.
    for times in (0, 10) if mode == "published" else (1, 10):
        help_ = "more covariance term" if times else "no covariance term"
        out[f"covariance {times}x"] = Variation(help_, {"covariance_weight": times * 0.01})
    out["direction off"] = Variation(
        "no direction term from mid-run on", {"direction_until": max(1, steps // 2)}
    )
    return out


@dataclass
class Finished:
    """One run, read out."""

    mode: str
    name: str
    seed: int
    trace: dict[str, list[float]]
    """Step, and each of FIGURES at it."""
    per_edit: dict[str, F64]
    """Of the last look, [n] each."""
    commit: NDArray[np.int64]
    last: dict[str, float]
    least_gradient: float
    """The smallest gradient norm of the encoder over all steps."""
    resolved: dict[str, Any]

    @property
    def climb(self) -> float:
        """Share of the way from where the copy cosine began to 1 that it went."""
        copies = self.trace["copy_cosine"]
        return (copies[-1] - copies[0]) / max(1 - copies[0], 1e-9)


def run(request: Request, emit: Emit) -> Outcome:
    """The suite: seed by seed, so that what there is can be read while the next seed trains."""
    settings = dict(request.settings)
    if settings.pop("minutes", None) is not None:
        raise UserError("this suite compares runs of equal steps", "give --steps instead of --minutes")
    steps = int(settings.pop("steps", STEPS))
    asked = [n.strip() for n in request.only]
    table = {(m, n): v for m in ("published", "text") for n, v in variations(m, steps).items()}
    names = [key for key in table if not asked or f"{key[0]} {key[1]}" in asked or key[1] in asked]
    unknown = [n for n in asked if not any(n in (k[1], f"{k[0]} {k[1]}") for k in table)]
    if unknown:
        raise UserError(
            f"there is no variation '{unknown[0]}'", "one of " + ", ".join(dict.fromkeys(n for _, n in table))
        )
    if request.work is None:
        raise UserError("there is no folder to keep runs in", "name one with --work")
    # Edits are drawn alike for all runs, so that only what is varied differs.
    held = gather(
        [s.table for s in request.sources],
        resolve(
            "encoder-collapse", "text", vocabulary("codewm")[0], {**DEFAULTS, **settings, "steps": steps}
        ),
    )
    outcome = Outcome("collapse", [], [{"name": r} for s in request.sources for r in s.repositories])
    found: dict[tuple[str, str], list[Finished]] = {}
    for seed in range(request.seeds):
        for mode, name in names:
            wanted = {**DEFAULTS, **settings, "steps": steps, **table[mode, name].settings, "seed": seed}
            done = _finished(request, held, mode, name, wanted)
            found.setdefault((mode, name), []).append(done)
            emit(_rows(found[mode, name], request.resamples))
    outcome.rows = [row for rows in found.values() for row in _rows(rows, request.resamples)]
    outcome.model = [
        {"mode": m, "variation": n, "seeds": len(rows), **rows[0].resolved} for (m, n), rows in found.items()
    ]
    outcome.about |= {
        "steps": steps,
        "resamples": request.resamples,
        "sample": "later edits of modified units",
    }
    outcome.charts = [*_traces(found), *_marks(outcome.rows)]
    outcome.notes = verdict(found)
    return outcome


def _finished(request: Request, held: PaperData, mode: str, name: str, wanted: dict[str, Any]) -> Finished:
    """Train one run, unless that was done, and read it."""
    assert request.work is not None
    recipe = resolve("encoder-collapse", mode, vocabulary("codewm")[0], wanted)
    code = Path(__file__).parents[1] / "papers"
    modules = ("config", "networks", "losses", "objective", "data", "train", "health")
    key = key_of(
        recipe=json.loads(recipe.to_json()), data=held.fingerprint(), tokenizer=held.tokenizer_id,
        code=code_of(code / f"{module}.py" for module in modules),
    )  # fmt: skip
    place = request.work / "collapse" / f"{mode}-{name.replace(' ', '-')}-s{recipe.run.seed}-{key}"
    said = f"{mode}, {name}, seed {recipe.run.seed}"
    if not (place / "weights.safetensors").is_file():
        request.say(f"{said}: training")
        _train(held, recipe, place)
    else:
        request.say(f"{said}: done before")
    done = read(place, held, mode, name, recipe.run.seed)
    request.say(
        f"  copy cosine {done.trace['copy_cosine'][0]:.4f} -> {done.last['copy_cosine']:.4f}, "
        f"mixed {done.last['mixed_delta_cosine']:.3f} (constant {done.last['mixed_constant']:.3f})"
    )
    return done


def _train(held: PaperData, recipe: Recipe, place: Path) -> None:
    folder = RunFolder(place)
    begun = folder.state.is_file() and folder.config.is_file()
    if not begun:
        folder.metrics.unlink(missing_ok=True)
    if train(held, recipe, folder, resume=begun).interrupted:
        raise KeyboardInterrupt


def read(place: Path, held: PaperData, mode: str, name: str, seed: int) -> Finished:
    """A finished run's folder, with the per-edit figures of its watched sample."""
    events = [json.loads(line) for line in (place / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    looks = {e["step"]: e for e in events if e["event"] == "watch"}
    trace = {"step": [float(s) for s in sorted(looks)]}
    trace |= {figure: [looks[s][figure] for s in sorted(looks)] for figure in FIGURES}
    gradients = [e["gradient_online"] for e in events if e["event"] == "step"]
    world = load(place)
    online, before, after, predicted = Watch(held, world.recipe, world.model).latents()
    other = after[np.random.default_rng(2).permutation(len(after))]
    constant = others_mean(after)
    per_edit = {
        "copy_cosine": cosines(before, after), "copy_cosine/unrelated": cosines(before, other),
        "mixed_delta_cosine": cosines(predicted - online, after - online),
        "mixed_delta_cosine/constant_mean": cosines(constant - online, after - online),
        "mixed_delta_cosine/copy": cosines(before - online, after - online),
        "delta_cosine": cosines(predicted - before, after - before),
        "delta_cosine/constant_mean": cosines(constant - before, after - before),
    }  # fmt: skip
    last = looks[max(looks)]
    return Finished(
        mode, name, seed, trace, per_edit, held.commit[held.watched], last, min(gradients),
        {k: v for k, v in asdict(world.recipe).items() if k in ("network", "objective", "run")},
    )  # fmt: skip


def _rows(runs: Sequence[Finished], resamples: int) -> list[Row]:
    """One variation's rows: means over seeds; intervals over commits where edits are averaged, else over seeds."""
    first = runs[0]
    more = {"variation": first.name, "mode": first.mode}
    out: list[Row] = []
    for metric in ("copy_cosine", "mixed_delta_cosine", "delta_cosine"):
        keys = [k for k in first.per_edit if k.split("/")[0] == metric]
        drawn: dict[str, list[F64]] = {k: [] for k in keys}
        for done in runs:
            tally = Tally(done.commit, resamples=resamples)
            for key in keys:
                drawn[key].append(tally.bootstrap.mean(done.per_edit[key]))
        values = {k: [float(r.per_edit[k].mean()) for r in runs] for k in keys}
        own = np.mean(drawn[metric], 0)
        nulls = {k.split("/")[1]: float(np.mean(values[k])) for k in keys if k != metric}
        margins = {k.split("/")[1]: interval(own - np.mean(drawn[k], 0)) for k in keys if k != metric}
        out.append(
            Row(
                metric, first.mode, float(np.mean(values[metric])), interval(own), len(first.commit), nulls, margins,
                more={**more, "seeds": values[metric]},
            )
        )  # fmt: skip
    # A constant target must not be beaten for being collapsed: what an action adds is said, too.
    zeroed = [r.last["mixed_zero_action"] for r in runs]
    out[1] = replace(out[1], nulls={**out[1].nulls, "zero_action": float(np.mean(zeroed))})
    scalars = {
        "copy_climb": [r.climb for r in runs],
        "encoder_gradient_least": [r.least_gradient for r in runs],
        **{
            m: [r.last[m] for r in runs]
            for m in (*[f for f in FIGURES if "rank" in f], "online_off_diagonal")
        },
        "predictor_rank_squared": [r.last["predictor_rank_squared"] for r in runs],
    }
    for metric, seeds in scalars.items():
        begun = {m: float(np.mean([r.trace[m][0] for r in runs])) for m in (metric,) if m in first.trace}
        said = {**more, "seeds": seeds, **({"at_start": begun[metric]} if begun else {})}
        out.append(
            Row(metric, first.mode, float(np.mean(seeds)), student(seeds), len(first.commit), more=said)
        )
    out[-1].more["trace"] = {k: np.mean([r.trace[k] for r in runs], 0).tolist() for k in first.trace}
    return out


def verdict(found: Mapping[tuple[str, str], Sequence[Finished]]) -> list[str]:
    """What causes the collapse, in words that follow from the figures."""
    notes: list[str] = []

    def climb(mode: str, name: str) -> float | None:
        runs = found.get((mode, name))
        return None if runs is None else float(np.mean([r.climb for r in runs]))

    for mode in ("published", "text"):
        names = [n for m, n in found if m == mode]
        up = [n for n in names if (climb(mode, n) or 0) > CLIMB]
        flat = [n for n in names if n not in up]
        if names:
            notes.append(
                f"{mode}: the copy cosine climbs with {_listed(up)}; it does not with {_listed(flat)} "
                f"(more than {CLIMB:.0%} of the way to 1, mean over seeds)"
            )
        least = [r.least_gradient for (m, _), runs in found.items() if m == mode for r in runs]
        if least:
            notes.append(
                f"{mode}: the encoder's smallest gradient norm over all steps and runs was {min(least):.2g}"
            )
    with_, without = climb("published", BASE), climb("published", "covariance 0x")
    frozen = climb("published", "ema 1")
    if with_ is not None and without is not None:
        if with_ > CLIMB >= without:
            notes.append(
                "cause, published: the covariance term. It is what trains the encoder there (the prediction is "
                "detached), and shrinking the variance lowers it; without it the same fast target does not collapse"
            )
        else:
            notes.append(
                f"cause, published: not separated by these runs; with the covariance term the copy cosine went "
                f"{with_:+.1%} of the way to 1, without it {without:+.1%}"
            )
    if with_ is not None and frozen is not None and ("published", "ema 1") in found:
        spread = float(np.mean([r.last["online_off_diagonal"] for r in found["published", "ema 1"]]))
        begun = float(np.mean([r.trace["online_off_diagonal"][0] for r in found["published", "ema 1"]]))
        notes.append(
            f"a frozen target does not follow ({frozen:+.1%}), but the online encoder it is predicted from collapses "
            f"all the same: the cosine of unrelated states goes from {begun:.3f} to {spread:.3f}"
            if spread > begun
            else f"with a frozen target the online encoder does not collapse: {begun:.3f} to {spread:.3f}"
        )
    published = found.get(("published", BASE), [])
    if published:
        mixed = float(np.mean([r.last["mixed_delta_cosine"] for r in published]))
        constant = float(np.mean([r.last["mixed_constant"] for r in published]))
        notes.append(
            f"mixed-space delta cosine {mixed:.3f} beside {constant:.3f} of a constant target: it mostly says how "
            "far the online encoder has drifted from the target"
        )
    return notes


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"


def _traces(found: Mapping[tuple[str, str], Sequence[Finished]]) -> list[Trace]:
    """Per mode and traced figure, a line for each variation: the mean over seeds, and their range."""
    out = []
    for mode in dict.fromkeys(m for m, _ in found):
        for figure, axis in TRACED.items():
            lines = []
            for (m, name), runs in found.items():
                if m != mode:
                    continue
                table = np.array([r.trace[figure] for r in runs])
                among = (table.mean(0).tolist(), table.min(0).tolist(), table.max(0).tolist())
                lines.append(Line(name, runs[0].trace["step"], *among))
            title = f"{mode} mode: {axis}"
            out.append(Trace(f"collapse-{mode}-{figure}", title, "step", figure.replace("_", " "), lines))
    return out


def _marks(rows: Sequence[Row]) -> list[Chart]:
    """The last figures of every variation beside their nulls."""
    out = []
    for metric in ("copy_cosine", "mixed_delta_cosine"):
        marks = [
            Mark(f"{r.more['mode']}, {r.more['variation']}", r.value, r.interval, r.nulls)
            for r in rows
            if r.metric == metric
        ]
        title = f"{metric.replace('_', ' ')} after the last step"
        out.append(Chart(f"collapse-{metric}", title, "cosine, 95% interval over commits", marks))
    return out
