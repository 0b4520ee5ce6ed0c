"""A folder that benches/reproduce.sh filled in, the papers' quantities beside their nulls as a Markdown table out.

    python benches/reproduction.py OUT [NAME...]

A column for each NAME (`base`, `encoder-collapse-published`, ...; default: all that are there), a row for each quantity
with the paper and table it is in. A figure is the mean over the seeds with its 95% interval, of modified units, or with
the range over the seeds in round brackets where the suite gives no mean; what is not finished is left empty.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

Row = dict[str, Any]
MIXED, ONE = "modified, mixed space", "modified, one space"
SPACE_NULLS = ("copy", "constant_target", "shuffled_action", "linear_map")


@dataclass(frozen=True)
class Quantity:
    """One row of the table."""

    where: str
    """Paper and table."""
    title: str
    suite: str
    metric: str
    subset: str
    nulls: tuple[str, ...] = ()
    encoder: str = ""
    """The last word of the encoder's name, where the suite compares encoders."""


QUANTITIES = (
    Quantity("1: 2", "delta cosine, mixed", "rollout", "delta_cosine", MIXED, SPACE_NULLS),
    Quantity("1: 2", "delta cosine, one space", "rollout", "delta_cosine", ONE, SPACE_NULLS),
    Quantity("1: 3", "another edit's delta, mixed", "rollout", "s1", MIXED, ("shuffled_delta", "mean_delta")),
    *(Quantity("1: 4", f"{s}, mixed", "rollout", s, MIXED, ("copy", "constant_target")) for s in ("s1", "s2", "s3")),
    Quantity("1: 5", "s1 over unseen repositories", "rollout-unseen", "s1_over_repositories", MIXED, SPACE_NULLS),
    Quantity("1: 5", "the same, one space", "rollout-unseen", "s1_over_repositories", ONE, SPACE_NULLS),
    *(
        Quantity("1: 8", f"cumulative {s}, {name}", "rollout", f"cumulative_{s}", space, ("copy", "constant_target"))
        for name, space in (("mixed", MIXED), ("one space", ONE))
        for s in ("s1", "s2", "s3")
    ),
    Quantity("1: 9", "norm of states", "rollout", "state_norm", MIXED),
    Quantity("1: 9", "delta / state, mixed", "rollout", "true_delta_over_state", MIXED, ("unrelated_states",)),
    Quantity("1: 9", "delta / state, one space", "rollout", "true_delta_over_state", ONE, ("unrelated_states",)),
    Quantity("1: 1, 2: 1", "copy cosine", "rollout", "copy_cosine", "modified, states", ("unrelated_states",)),
    *(
        Quantity(
            where, f"MRR@10, {title}, {encoder}", "retrieval", "reciprocal_rank_at_10", subset,
            ("copy", "bag of tokens", "random"), encoder,
        )
        for where, title, subset in (
            ("1: 6, 19; 2: 7", "joint label", "same joint"),
            ("1: 6", "joint, other repositories", "same joint, other repositories"),
            ("1: 19; 2: 7", "action cosine > 0.95", "action cosine 0.95"),
        )
        for encoder in ("predicted", "target")
    ),
    Quantity(
        "1: 7", "MRR of 10, K = 9, others' distractors, predicted", "retrieval", "reciprocal_rank_of_10",
        "K = 9, other / other", ("copy", "bag of tokens", "random"), "predicted",
    ),
    Quantity("2: 3", "lift over online(s)", "audit", "lift_over_online_copy", "modified, cosines"),
    Quantity("2: 3", "lift over target(s)", "audit", "lift_over_target_copy", "modified, cosines"),
    Quantity("2: 4", "diagonal cosine", "audit", "diagonal_cosine", "modified, cosines", ("copy",)),
    Quantity("2: 4", "off-diagonal cosine", "audit", "off_diagonal_cosine", "modified, cosines", ("copy",)),
    *(
        Quantity("2: 4, 9", f"squared rank, {what}", "audit", f"{what}_rank_squared", "modified, ranks")
        for what in ("online", "target", "predicted")
    ),
    Quantity("2: 5", "KNN@5, galleries of 128", "audit", "knn_at_5", "modified, batches of 128", ("copy", "chance")),
    *(
        Quantity("2: 6", f"KNN@{k}, whole gallery", "audit", f"knn_at_{k}", "modified, gallery", ("copy", "chance"))
        for k in (1, 5, 10, 50)
    ),
    *(
        Quantity(
            "2: 3.1", f"delta / state, loop {k}", "geometry", f"delta_over_state_loop_{k}", "loops, modified",
            ("unrelated_states",),
        )
        for k in (1, 2, 3, 6)
    ),
    Quantity(
        "2: 1", "cosine of consecutive deltas", "geometry", "consecutive_delta_cosine",
        "paths of consecutive edits, modified", ("shuffled",),
    ),
    Quantity(
        "2: 1", "straight share", "geometry", "straight_share", "paths of consecutive edits, modified", ("shuffled",)
    ),
    Quantity("2: 1", "top direction, states", "geometry", "top_share", "shape of online states, modified"),
    Quantity("2: 1", "top direction, deltas", "geometry", "top_share", "shape of displacements, modified"),
)  # fmt: skip


def rows(out: Path, suite: str, name: str) -> list[Row]:
    """The finished rows of a suite, [] where there is none."""
    place = out / f"{suite}-{name}.json"
    if not place.exists():
        return []
    found: list[Row] = json.loads(place.read_text("utf-8"))["rows"]
    return [r for r in found if not r["data"]]


def cell(quantity: Quantity, found: Sequence[Row]) -> str:
    """A figure and its nulls; of several models their mean."""
    mine = [r for r in found if (r["metric"], r["subset"]) == (quantity.metric, quantity.subset)]
    if quantity.encoder:
        mine = [r for r in mine if r["encoder"].split()[-1] == quantity.encoder]
    # The row of several models names none of them.
    whole = [r for r in mine if not r.get("model")]
    several = whole[:1] if whole and not quantity.encoder else mine
    if not several:
        return ""
    text = f"{mean(r['value'] for r in several):.3f}"
    if len(several) > 1:
        text += f" ({min(r['value'] for r in several):.3f} to {max(r['value'] for r in several):.3f})"
    elif several[0]["interval"]:
        text += " [{:.3f}, {:.3f}]".format(*several[0]["interval"])
    beside = [n for n in quantity.nulls if all(n in r["nulls"] for r in several)]
    said = [f"{n.replace('_', ' ')} {mean(r['nulls'][n] for r in several):.3f}" for n in beside]
    return text + (f"; {', '.join(said)}" if said else "")


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("out", type=Path)
    words.add_argument("names", nargs="*")
    asked = words.parse_args()
    done = sorted(p.stem.removeprefix("rollout-") for p in asked.out.glob("rollout-*.json"))
    names = asked.names or [n for n in done if not n.startswith("unseen-")]
    print(f"| paper: table | quantity | {' | '.join(names)} |")
    print("|---" * (len(names) + 2) + "|")
    found = {(q.suite, n): rows(asked.out, q.suite, n) for q in QUANTITIES for n in names}
    for q in QUANTITIES:
        cells = [cell(q, found[q.suite, n]) for n in names]
        if any(cells):
            print(f"| {q.where} | {q.title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
