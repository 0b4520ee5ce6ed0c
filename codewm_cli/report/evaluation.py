"""What a suite found in, tables for people out: the pooled rows first, then repositories, kinds and variations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from codewm.cli.console import inert
from codewm.model.evaluation.injected import DOUBT
from codewm.model.evaluation.variations import COMPARED

if TYPE_CHECKING:
    from rich.table import Table

    from codewm.model.evaluation.metrics import Row
    from codewm.model.evaluation.result import Outcome

NULLS = ("copy", "constant_mean", "zero_action", "shuffled_action", "linear_map", "bag_of_tokens")
NULLS_OF_SEEDS = ("copy", "shuffled_action", "linear_map")
SHORT = {
    "constant_mean": "mean", "zero_action": "zero action", "shuffled_action": "other action",
    "linear_map": "linear", "bag_of_tokens": "bag",
}  # fmt: skip
BEST = ("true", "chance", "shuffled", "bar", "unrelated_states")
SEEDS_SHOWN = 3
SIZES = ("lines_added", "tokens_changed")
BY_REPOSITORY = (
    "displacement_r2", "nearer_than_copy", "delta_cosine", "same_action_rank", "action_matters",
    "predictor_rank_squared", "target_churn", "injected_auroc_size_matched",
    "doubt_injected_auroc_size_matched",
)  # fmt: skip
SHORT_INJECTED = {"copy": "|d|", "doubt_of_action": "action alone"}
RAW = "_unwhitened"
CAPTION = "< the model is better: the 95% interval of the difference, over commits, excludes 0"


def to_tables(outcome: Outcome) -> list[Table]:
    """Tables of a readout, of several, or of variations."""
    rows = outcome.rows
    pooled = [r for r in rows if not r.data]
    tables = []
    if outcome.suite == "ablation":
        tables.append(_variations(pooled))
    elif outcome.suite == "collapse":
        tables += [_collapse(pooled, mode) for mode in ("published", "text")]
    else:
        for subset, title in (("modified", "edits of modified units"), ("all", "all held-out edits")):
            mine = [r for r in pooled if r.subset == subset]
            raw = [r for r in mine if r.metric.endswith(RAW)]
            tables.append(_figures([r for r in mine if r not in raw], f"{title} ({_data(outcome)})"))
            tables.append(_figures(raw, f"{title}, before the whitening"))
        for reads in ("", DOUBT):
            tables += [
                _injected(pooled, reads, *by) for by in (("size", "lines added"), ("token", "tokens changed"))
            ]
        tables.append(_repositories(rows))
    return tables


def table_of(title: str, caption: str = "") -> Table:
    """An empty table as all of them look."""
    from rich.table import Table

    return Table(
        title=inert(title),
        title_justify="left",
        box=None,
        pad_edge=False,
        caption=caption,
        caption_justify="left",
    )


def _data(outcome: Outcome) -> str:
    count = len(outcome.data)
    return f"{count} repositories" if count > 1 else ", ".join(d["name"] for d in outcome.data)


def _figures(rows: Sequence[Row], title: str) -> Table:
    """A row for each metric, a column for each null; of several seeds, their spread instead of some nulls."""
    spread = any("relative_spread" in row.more for row in rows)
    int8 = any("int8" in row.more for row in rows)
    names = NULLS_OF_SEEDS if spread else NULLS
    nulls = [n for n in names if any(n in row.nulls for row in rows)]
    best = [n for n in BEST if any(n in row.nulls for row in rows)]
    table = table_of(title, "" if spread else CAPTION)
    table.add_column("metric", no_wrap=True)
    table.add_column("edits", justify="right")
    table.add_column("value [95% interval]", justify="right", no_wrap=True)
    for name in nulls:
        table.add_column(SHORT.get(name, name), justify="right")
    if best:
        # A metric has one of them at most: they share a column.
        table.add_column(" or ".join(best), justify="right")
    if spread:
        table.add_column("spread", justify="right")
        table.add_column("seeds", justify="right")
    if int8:
        table.add_column("int8", justify="right")
    for row in rows:
        cells = [_null(row, name) for name in nulls]
        if best:
            cells.append("".join(_null(row, name) for name in best))
        if spread:
            cells += _spread(row)
        if int8:
            cells.append(f"{row.more['int8']['value']:.3f}" if "int8" in row.more else "")
        metric = row.metric.removesuffix(RAW).replace("_share_of_true", "_share").replace("_", " ")
        table.add_row(metric, f"{row.n:,}", _value(row), *cells)
    return table


def _spread(row: Row) -> list[str]:
    """The relative spread over seeds, and each seed's figure, as far as they fit."""
    seen, values = row.more.get("relative_spread"), row.more.get("seeds", [])
    shown = [f"{v:.3f}" for v in values[:SEEDS_SHOWN]] + ["…"] * (len(values) > SEEDS_SHOWN)
    return ["" if seen is None else f"{seen:.1%}", " ".join(shown)]


def _injected(rows: Sequence[Row], reads: str, matched: str, size: str) -> Table:
    """Injected edits, by the residual's length or by what the critic reads in it: the means over kinds, then each."""
    mine = [r for r in rows if r.metric.startswith(f"{reads}injected_auroc_{matched}_matched")]
    what = "the critic" if reads else "|d - predicted d| alone"
    title = f"injected edits: AUROC of {what}, matched on {size} (untrained: no family trained on)"
    table = table_of(title, CAPTION if any(row.margins for row in mine) else "")
    table.add_column("kind", no_wrap=True)
    table.add_column("edits", justify="right")
    table.add_column("value [95% interval]", justify="right", no_wrap=True)
    names = (
        *(("residual", "doubt_of_action") if reads else ()),
        "copy",
        "linear_map",
        "shuffled_action",
        *SIZES,
    )
    for name in names:
        table.add_column(SHORT_INJECTED.get(name, name.replace("_", " ")), justify="right")
    for row in mine:
        kind = row.subset
        if row.metric.endswith("_unseen"):
            kind = kind.replace("kinds", "untrained kinds")
        elif row.more.get("trained") is False:
            kind += " (untrained)"
        table.add_row(kind, f"{row.n:,}", _value(row), *(_null(row, name) for name in names))
    return table


def _repositories(rows: Sequence[Row]) -> Table:
    """Modified units of each repository: the main rows side by side."""
    mine = [r for r in rows if r.data and r.subset in ("modified", "kinds")]
    shown = [m for m in BY_REPOSITORY if any(r.metric == m for r in mine)]
    table = table_of("edits of modified units, by repository")
    table.add_column("repository")
    for metric in shown:
        table.add_column(metric.replace("_", " "), justify="right")
    for name in dict.fromkeys(r.data for r in mine):
        held = {r.metric: r for r in mine if r.data == name}
        table.add_row(inert(name), *(f"{held[m].value:.3f}" if m in held else "" for m in shown))
    return table


def _variations(rows: Sequence[Row]) -> Table:
    """Variations below each other; in brackets, the difference to the full recipe, with * where it is clear."""
    mine = [r for r in rows if r.subset in ("modified", "kinds") and r.metric in COMPARED]
    shown = [m for m in COMPARED if any(r.metric == m for r in mine)]
    table = table_of(
        "variations of the recipe, modified units",
        "in brackets: the difference to the full recipe; * its 95% interval, over commits, excludes 0",
    )
    table.add_column("variation")
    for metric in shown:
        table.add_column(metric.replace("_", " "), justify="right")
    for name in dict.fromkeys(r.more["variation"] for r in mine):
        held = {r.metric: r for r in mine if r.more["variation"] == name}
        table.add_row(name, *(_difference(held[m]) if m in held else "" for m in shown))
    first = mine[0].more["variation"] if mine else ""
    held = {r.metric: r for r in mine if r.more["variation"] == first}
    for null in NULLS:
        cells = [f"{held[m].nulls[null]:.3f}" if m in held and null in held[m].nulls else "" for m in shown]
        table.add_row(f"null of {first}: {SHORT.get(null, null)}", *cells)
    return table


COLLAPSE = {
    "copy_cosine": "copy cosine", "copy_climb": "climb", "target_rank_entropy": "target rank",
    "online_rank_entropy": "online rank", "online_off_diagonal": "online unrelated",
    "mixed_delta_cosine": "mixed delta", "delta_cosine": "one-space delta", "encoder_gradient_least": "least gradient",
}  # fmt: skip


def _collapse(rows: Sequence[Row], mode: str) -> Table:
    """One mode's variations below each other, nulls beside what means nothing without them."""
    mine = [r for r in rows if r.more.get("mode") == mode]
    table = table_of(
        f"{mode} mode: what collapses the encoder, after the last step",
        "climb: share of the way from where the copy cosine began to 1; ranks: exp of the entropy of singular values",
    )
    table.add_column("variation")
    nulls = {"copy_cosine": ("unrelated",), "mixed_delta_cosine": ("constant_mean", "copy", "zero_action")}
    nulls["delta_cosine"] = ("constant_mean",)
    for metric, title in COLLAPSE.items():
        table.add_column(title, justify="right")
        for null in nulls.get(metric, ()):
            table.add_column(SHORT.get(null, null), justify="right")
    for name in dict.fromkeys(r.more["variation"] for r in mine):
        held = {r.metric: r for r in mine if r.more["variation"] == name}
        cells = []
        for metric in COLLAPSE:
            row = held[metric]
            cells.append(f"{row.value:.1%}" if metric == "copy_climb" else f"{row.value:.3g}")
            cells += [f"{row.nulls[null]:.3g}" for null in nulls.get(metric, ())]
        table.add_row(name, *cells)
    return table


def _difference(row: Row) -> str:
    change = row.more.get("difference")
    if change is None:
        return f"{row.value:.3f}"
    among = change["interval"]
    clear = among is not None and (among[0] > 0 or among[1] < 0)
    return f"{row.value:.3f} ({change['value']:+.3f}{'*' if clear else ''})"


def _value(row: Row) -> str:
    if row.interval is None:
        return f"{row.value:.3f}"
    return f"{row.value:.3f} [{row.interval[0]:.3f}, {row.interval[1]:.3f}]"


def _null(row: Row, name: str) -> str:
    if name not in row.nulls:
        return ""
    return f"{row.nulls[name]:.3f}" + ("<" if name in row.beats else "")
