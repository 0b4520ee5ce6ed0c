"""A chart in, SVG out: values with intervals and nulls along one axis, or lines over steps.

No library, no script, no font.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from codewm.cli.console import inert

if TYPE_CHECKING:
    from codewm.model.evaluation.result import Chart, Trace

WIDTH, ROW, TOP, BOTTOM, RIGHT = 860, 24, 52, 66, 24
LETTER = 6.6  # width of a letter of 12 pixels, about
LONGEST = 44  # letters of a label
# One colour each, told apart by people who see few colours (after Okabe and Ito 2008).
COLOURS = {
    "copy": "#999999", "constant_mean": "#e69f00", "zero_action": "#56b4e9", "shuffled_action": "#cc79a7",
    "linear_map": "#009e73", "true": "#000000", "chance": "#d55e00", "lines_added": "#d55e00",
    "tokens_changed": "#f0e442", "bag_of_tokens": "#7fcdbb",
}  # fmt: skip
MODEL = "#0072b2"


LINES = (
    MODEL,
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
    "#999999",
    "#7fcdbb",
    "#f0e442",
)
HEIGHT = 300  # of a trace's plot


def draw(chart: Chart | Trace) -> str:
    """The chart as one SVG document."""
    from codewm.model.evaluation.result import Trace

    return _trace(chart) if isinstance(chart, Trace) else _marks(chart)


def _marks(chart: Chart) -> str:
    """Values with their intervals along one axis."""
    labels = [_short(mark.label) for mark in chart.marks]
    left = 16 + LETTER * max(map(len, labels))
    values = [v for mark in chart.marks for v in (mark.value, *(mark.interval or ())) if math.isfinite(v)]
    # A null far away must not press everything else together; it is drawn at the edge.
    nulls = [v for mark in chart.marks for v in mark.nulls.values() if math.isfinite(v)]
    low, high = _range(values, nulls)
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    bottom = TOP + ROW * len(chart.marks)

    def x(value: float) -> float:
        return left + (WIDTH - RIGHT - left) * (min(max(value, low), high) - low) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + BOTTOM}" '
        f'width="{WIDTH}" height="{bottom + BOTTOM}" font-family="sans-serif" font-size="12">',
        f"<title>{_text(chart.title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="15">{_text(chart.title)}</text>',
    ]
    for tick in ticks:
        at = x(tick)
        parts.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    parts.append(
        f'<text x="{(left + WIDTH - RIGHT) / 2:.1f}" y="{bottom + 34}" text-anchor="middle">{_text(chart.axis)}</text>'
    )
    for i, (mark, label) in enumerate(zip(chart.marks, labels, strict=True)):
        y = TOP + ROW * (i + 0.5)
        parts.append(f'<text x="{left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{_text(label)}</text>')
        for name, null in mark.nulls.items():
            if math.isfinite(null) and name in COLOURS:
                parts.append(_null(name, null, x(null), y, (null > high) - (null < low)))
        if mark.interval is not None and all(map(math.isfinite, mark.interval)):
            a, b = (x(v) for v in mark.interval)
            parts.append(
                f'<line x1="{a:.1f}" y1="{y:.1f}" x2="{b:.1f}" y2="{y:.1f}" stroke="{MODEL}" stroke-width="3"/>'
            )
        if math.isfinite(mark.value):
            parts.append(
                f'<circle cx="{x(mark.value):.1f}" cy="{y:.1f}" r="4.5" fill="{MODEL}">'
                f"<title>{mark.value:.3f}</title></circle>"
            )
    parts.append(_legend(chart, bottom + 54))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _trace(trace: Trace) -> str:
    """Figures over steps: one line for each variation, in the shade of its range over seeds."""
    lines = [line for line in trace.lines if line.x]
    left, right = 64.0, WIDTH - RIGHT - 18 - LETTER * max([len(_short(line.label)) for line in lines] or [0])
    ys = [v for line in lines for v in (*line.y, *line.low, *line.high) if math.isfinite(v)]
    xs = [v for line in lines for v in line.x]
    low, high = (min(ys), max(ys)) if ys and max(ys) > min(ys) else (0.0, 1.0)
    across = _ticks(min(xs), max(xs)) if xs and max(xs) > min(xs) else [0.0, 1.0]
    up = _ticks(low, high)
    bottom = TOP + max(HEIGHT, 18 * len(lines))

    def x(value: float) -> float:
        return left + (right - left) * (value - across[0]) / (across[-1] - across[0])

    def y(value: float) -> float:
        return bottom - (bottom - TOP) * (value - up[0]) / (up[-1] - up[0])

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + BOTTOM}" '
        f'width="{WIDTH}" height="{bottom + BOTTOM}" font-family="sans-serif" font-size="12">',
        f"<title>{_text(trace.title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="15">{_text(trace.title)}</text>',
        f'<text x="{(left + right) / 2:.1f}" y="{bottom + 36}" text-anchor="middle">{_text(trace.across)}</text>',
        f'<text x="16" y="{TOP - 8}">{_text(trace.axis)}</text>',
    ]
    for tick in up:
        parts.append(
            f'<line x1="{left}" y1="{y(tick):.1f}" x2="{right:.1f}" y2="{y(tick):.1f}" stroke="#e5e5e5"/>'
            f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    for tick in across:
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
    for i, line in enumerate(lines):
        colour = LINES[i % len(LINES)]
        if line.low and line.high:
            edge = [*zip(line.x, line.high, strict=True), *reversed(list(zip(line.x, line.low, strict=True)))]
            points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in edge if math.isfinite(b))
            parts.append(f'<polygon points="{points}" fill="{colour}" fill-opacity="0.12"/>')
        drawn = [(a, b) for a, b in zip(line.x, line.y, strict=True) if math.isfinite(b)]
        points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in drawn)
        dashes = ' stroke-dasharray="6 3"' if i >= len(LINES) else ""
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        at = TOP + 10 + 18 * i
        parts.append(
            f'<line x1="{right + 8:.1f}" y1="{at - 4}" x2="{right + 22:.1f}" y2="{at - 4}" stroke="{colour}" '
            f'stroke-width="3"{dashes}/><text x="{right + 27:.1f}" y="{at}">{_text(_short(line.label))}</text>'
        )
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _null(name: str, value: float, at: float, y: float, beyond: int) -> str:
    """A tick; beyond an end of the axis, an arrow that points there."""
    title = f"<title>{_text(name)} {value:.3f}</title>"
    if beyond:
        points = f"{at + 7 * beyond:.1f},{y:.1f} {at:.1f},{y - 5:.1f} {at:.1f},{y + 5:.1f}"
        return f'<polygon points="{points}" fill="{COLOURS[name]}">{title}</polygon>'
    return (
        f'<line x1="{at:.1f}" y1="{y - 8:.1f}" x2="{at:.1f}" y2="{y + 8:.1f}" stroke="{COLOURS[name]}" '
        f'stroke-width="2">{title}</line>'
    )


def _legend(chart: Chart, y: float) -> str:
    shown = [n for n in COLOURS if any(n in mark.nulls for mark in chart.marks)]
    at = 16.0
    parts = [f'<circle cx="{at + 4:.1f}" cy="{y - 4:.1f}" r="4.5" fill="{MODEL}"/>']
    parts.append(f'<text x="{at + 14:.1f}" y="{y:.1f}">model</text>')
    at += 14 + LETTER * 7
    for name in shown:
        words = name.replace("_", " ")
        parts.append(
            f'<line x1="{at:.1f}" y1="{y - 11:.1f}" x2="{at:.1f}" y2="{y + 2:.1f}" stroke="{COLOURS[name]}" '
            f'stroke-width="2"/><text x="{at + 7:.1f}" y="{y:.1f}">{_text(words)}</text>'
        )
        at += 18 + LETTER * len(words)
    return "\n".join(parts)


def _range(values: Sequence[float], nulls: Sequence[float]) -> tuple[float, float]:
    """From the values, widened to the nulls as long as these do not double it; 0 is in it where it is near."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = max(high - low, 1e-9)
    for null in sorted(nulls):
        if low - span <= null <= high + span:
            low, high = min(low, null), max(high, null)
    if 0 < low < (high - low):
        low = 0.0
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers over a range, at least two and at most about eight."""
    step = 10 ** math.floor(math.log10(high - low))
    for factor in (0.2, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0):
        if (high - low) / (step * factor) <= 7:
            step *= factor
            break
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) + 0.0 for i in range(first, last + 1)]


def _short(label: str) -> str:
    label = inert(label)
    return label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"


def _text(text: str) -> str:
    return escape(inert(text))
