"""Claims about the suite that asks what collapses the papers' encoder:

1. It trains each variation in both modes, keeps what is finished, and never trains it again; another question is.
2. Without the covariance term the published encoder gets no gradient at all and the copy cosine stays exactly where it
   was, however fast the target; with it, it gets one.
3. Every diagnostic has its null beside it and an interval; seeds are listed; traces have a point for every look.
4. The verdict follows from the figures, whichever way they point.
5. Unknown variations and minutes are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codewm.corpus.errors import UserError
from codewm.model.evaluation import collapse
from codewm.model.evaluation.collapse import BASE, FIGURES, Finished, verdict
from codewm.model.evaluation.held_out import Source
from codewm.model.evaluation.result import Outcome, Request, Trace
from tests.model.papers.made import SMALL
from tests.model.synthetic import edit_table

SETTINGS: dict[str, Any] = {**SMALL, "steps": 6, "watch": 2, "warmup": 1, "lr": 3e-3, "ema": 0.5}
ONLY = (BASE, "covariance 0x")


def run(work: Path, **values: Any) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    settings = {**SETTINGS, **values.pop("settings", {})}
    request = Request(
        sources=[Source("a", edit_table(300))], seeds=2, resamples=40, work=work, settings=settings,
        **{"only": ONLY, "say": said.append, **values},
    )  # fmt: skip
    return collapse.run(request, lambda rows: None), said


def test_what_is_finished_is_kept_and_the_covariance_term_is_what_trains(tmp_path: Path) -> None:
    outcome, said = run(tmp_path)
    assert sum(text.endswith("training") for text in said) == 6
    again, said = run(tmp_path)
    assert not any(text.endswith("training") for text in said)
    assert [r.as_json() for r in again.rows] == [r.as_json() for r in outcome.rows]
    _, said = run(tmp_path, settings={"lr": 1e-3})
    assert any(text.endswith("training") for text in said)

    rows = {(r.more["mode"], r.more["variation"], r.metric): r for r in outcome.rows}
    still = rows["published", "covariance 0x", "copy_climb"]
    assert still.value == 0
    assert rows["published", "covariance 0x", "encoder_gradient_least"].value == 0
    assert rows["published", BASE, "encoder_gradient_least"].value > 0
    assert rows["text", BASE, "encoder_gradient_least"].value > 0
    assert ("text", "covariance 0x", "copy_climb") not in rows, "the text has no covariance term to take away"

    copy = rows["published", BASE, "copy_cosine"]
    assert set(copy.nulls) == {"unrelated"}
    assert copy.interval is not None
    assert copy.interval[0] <= copy.value <= copy.interval[1]
    mixed = rows["text", BASE, "mixed_delta_cosine"]
    assert set(mixed.nulls) == {"constant_mean", "copy", "zero_action"}
    assert len(mixed.more["seeds"]) == 2
    traces = [c for c in outcome.charts if isinstance(c, Trace)]
    assert {t.name for t in traces} >= {"collapse-published-copy_cosine", "collapse-text-target_rank_entropy"}
    for trace in traces:
        assert all(list(line.x) == [0, 2, 4, 6] and len(line.y) == 4 for line in trace.lines)
    assert any("cause" in note for note in outcome.notes)


def made(mode: str, name: str, copies: list[float], spread: list[float]) -> Finished:
    trace = {f: [0.5] * len(copies) for f in FIGURES} | {"step": list(range(len(copies)))}
    trace |= {"copy_cosine": copies, "online_off_diagonal": spread}
    last = {f: v[-1] for f, v in trace.items()} | {"mixed_zero_action": 0.1, "predictor_rank_squared": 3.0}
    return Finished(mode, name, 0, trace, {}, np.zeros(0, np.int64), last, 0.25, {})  # type: ignore[arg-type]


def test_the_verdict_follows_the_figures() -> None:
    def said(with_: float, without: float, frozen: float = 0.9) -> str:
        return " | ".join(
            verdict({
                ("published", BASE): [made("published", BASE, [0.9, with_], [0.5, 0.9])],
                ("published", "covariance 0x"): [made("published", "covariance 0x", [0.9, without], [0.5, 0.5])],
                ("published", "ema 1"): [made("published", "ema 1", [0.9, 0.9], [0.5, frozen])],
            })
        )  # fmt: skip

    assert "cause, published: the covariance term" in said(0.99, 0.9)
    assert "not separated" in said(0.99, 0.99)
    assert "not separated" in said(0.9, 0.9)
    assert "collapses all the same" in said(0.99, 0.9)
    assert "does not collapse" in said(0.99, 0.9, frozen=0.4)
    assert "smallest gradient norm over all steps and runs was 0.25" in said(0.99, 0.9)


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no variation 'ema 2'"):
        run(tmp_path, only=("ema 2",))
    with pytest.raises(UserError, match="equal steps"):
        run(tmp_path, settings={"minutes": 3})
