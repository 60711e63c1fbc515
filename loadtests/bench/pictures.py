"""The report as pictures: SVG written by hand, as there are only two kinds, readable on light and on dark pages."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from loadtests.bench.contest import Entrant
from loadtests.bench.goals import median_of
from loadtests.bench.openloop import OVERLOAD, SHARES
from loadtests.bench.report import Found
from loadtests.bench.workloads import WORKLOADS

TITLES = {
    "cpu": "Server CPU per request with 32 requests in flight",
    "latency-trees": "Latency against load: 100 trees",
    "latency-dense": "Latency against load: dense layers",
}
COLOURS = {
    "dodona": "#0f9a72",
    "triton": "#d9730d",
    "mlserver": "#b8519f",
    "kserve": "#3b7dd8",
    "grpc_aio": "#7d6bd6",
    "fastapi": "#c24646",
    "litserve": "#3aa6b9",
    "bentoml": "#a08a2c",
    "ray": "#8a8f98",
}
STYLE = """
text { font: 13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.quiet { fill: #57606a; font-size: 12px }
.ours { font-weight: 600 }
.grid { stroke: #d0d7de; stroke-width: 1 }
.back { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .quiet { fill: #9198a1 } .grid { stroke: #3d444d } .back { fill: #0d1117 }
}
"""
WIDTH = 760
_CLIPPED_AT = 25.0
"""Bars longer than so many of ours are cut, their number says how long they are."""


@dataclass(frozen=True)
class Bar:
    name: str
    colour: str
    value: float
    words: str
    ours: bool


@dataclass(frozen=True)
class Line:
    """`points`: (x, y), both above 0."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    dashed: bool
    ours: bool


def draw(found: Found) -> dict[str, str]:
    """Name -> SVG, of what was measured."""
    drawn = {}
    panels = {
        "gRPC (Open Inference Protocol)": bars(found.entrants, "gRPC, 32 in flight"),
        "REST with JSON": bars(found.entrants, "REST JSON, 32 in flight"),
    }
    if any(panels.values()):
        drawn["cpu"] = bar_chart(TITLES["cpu"], "microseconds, less is better; Dodona with its routing hop", panels)
    for workload in WORKLOADS:
        lines = latencies(found.entrants, workload)
        if lines:
            name = f"latency-{workload}"
            subtitle = "open loop, Poisson arrivals; 30, 60 and 90 % of each server's capacity; p99 solid, p50 dashed"
            drawn[name] = line_chart(TITLES[name], subtitle, "requests a second", "milliseconds", lines)
    return drawn


def bars(entrants: Sequence[Entrant], case: str) -> list[Bar]:
    """Shortest first."""
    made = []
    for entrant in entrants:
        if rounds := entrant.figures.get(case):
            value = median_of(rounds, lambda figures: figures.server_cpu_us)
            made.append(Bar(entrant.title, _colour(entrant), value, f"{value:,.0f}", entrant.essential))
    return sorted(made, key=lambda bar: bar.value)


def latencies(entrants: Sequence[Entrant], workload: str) -> list[Line]:
    made = []
    for entrant in entrants:
        stages = entrant.points.get(workload, {})
        kept = [stages[label] for label in SHARES if label in stages and label != OVERLOAD]
        for which, dashed in (("p99_ms", False), ("p50_ms", True)):
            points = sorted(
                (
                    median_of(rounds, lambda point: point.offered),
                    median_of(rounds, lambda point, which=which: getattr(point, which)),  # type: ignore[misc]
                )
                for rounds in kept
            )
            whole = [point for point in points if all(value > 0 and math.isfinite(value) for value in point)]
            if whole:
                made.append(Line(entrant.title, _colour(entrant), whole, dashed, entrant.essential))
    return made


def _colour(entrant: Entrant) -> str:
    return COLOURS.get(entrant.name, "#8a8f98")


def bar_chart(title: str, subtitle: str, panels: Mapping[str, Sequence[Bar]]) -> str:
    parts, top, left, right = [], 84, 190, WIDTH - 90
    for heading, each in panels.items():
        if not each:
            continue
        parts.append(f'<text x="20" y="{top}" class="quiet">{escape(heading)}</text>')
        top += 12
        least = min(bar.value for bar in each)
        longest = min(max(bar.value for bar in each), least * _CLIPPED_AT)
        for bar in each:
            width = (right - left) * min(bar.value / longest, 1)
            ours = ' class="ours"' if bar.ours else ""
            parts.append(f'<text x="{left - 10}" y="{top + 17}" text-anchor="end"{ours}>{escape(bar.name)}</text>')
            parts.append(f'<rect x="{left}" y="{top + 3}" width="{width:.1f}" height="20" rx="3" fill="{bar.colour}"/>')
            if bar.value > longest:
                at = left + width - 26
                parts.append(f'<path d="M{at} {top} l6 26 M{at + 7} {top} l6 26" class="back grid" stroke-width="3"/>')
            parts.append(f'<text x="{left + width + 8:.1f}" y="{top + 17}"{ours}>{bar.words}</text>')
            top += 30
        top += 26
    return _svg(title, subtitle, top - 14, parts)


def line_chart(title: str, subtitle: str, x_name: str, y_name: str, lines: Sequence[Line]) -> str:
    """Both axes logarithmic."""
    left, right, top, bottom = 62, WIDTH - 30, 84, 400
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    to_x, x_ticks = _scale(min(xs), max(xs), left, right)
    to_y, y_ticks = _scale(min(ys), max(ys), bottom, top)
    parts = []
    for tick in x_ticks:
        parts.append(f'<path d="M{to_x(tick):.1f} {top} V{bottom}" class="grid"/>')
        parts.append(
            f'<text x="{to_x(tick):.1f}" y="{bottom + 18}" text-anchor="middle" class="quiet">{_number(tick)}</text>'
        )
    for tick in y_ticks:
        parts.append(f'<path d="M{left} {to_y(tick):.1f} H{right}" class="grid"/>')
        parts.append(
            f'<text x="{left - 8}" y="{to_y(tick) + 4:.1f}" text-anchor="end" class="quiet">{_number(tick)}</text>'
        )
    parts.append(f'<text x="{right}" y="{bottom + 38}" text-anchor="end" class="quiet">{x_name}</text>')
    parts.append(f'<text x="{left - 42}" y="{top - 10}" class="quiet">{y_name}</text>')
    for line in lines:
        path = " L".join(f"{to_x(x):.1f} {to_y(y):.1f}" for x, y in line.points)
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        width = 2.6 if line.ours else 1.8
        parts.append(
            f'<path d="M{path}" fill="none" stroke="{line.colour}" stroke-width="{width}"{dash}'
            ' stroke-linejoin="round" stroke-linecap="round"/>'
        )
        parts += [
            f'<circle cx="{to_x(x):.1f}" cy="{to_y(y):.1f}" r="{3.6 if line.ours else 3}" fill="{line.colour}"/>'
            for x, y in line.points
        ]
    named = {line.name: line for line in lines if not line.dashed}
    return _svg(title, subtitle, bottom + 62 + _rows(len(named)) * 22, [*parts, *_legend(named, bottom + 66)])


_LEGEND_COLUMNS = 4


def _rows(entries: int) -> int:
    return math.ceil(entries / _LEGEND_COLUMNS)


def _legend(named: Mapping[str, Line], top: int) -> list[str]:
    parts, width = [], (WIDTH - 82) / _LEGEND_COLUMNS
    for position, line in enumerate(named.values()):
        x, y = 62 + position % _LEGEND_COLUMNS * width, top + position // _LEGEND_COLUMNS * 22
        ours = ' class="ours"' if line.ours else ""
        parts.append(f'<path d="M{x:.0f} {y - 4} h20" stroke="{line.colour}" stroke-width="3"/>')
        parts.append(f'<text x="{x + 27:.0f}" y="{y}"{ours}>{escape(line.name)}</text>')
    return parts


def _scale(low: float, high: float, start: float, end: float) -> tuple[Callable[[float], float], list[float]]:
    """From values to places on a logarithmic axis, and the ticks: 1, 2, 5 and their tenfolds."""
    low, high = low / 1.25, high * 1.25
    slope = (end - start) / math.log(high / low)
    steps = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in (1, 2, 5)
    ]
    return lambda value: start + slope * math.log(value / low), [step for step in steps if low <= step <= high]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _svg(title: str, subtitle: str, height: float, parts: Sequence[str]) -> str:
    # A picture on a page is seen in the page's own size; the background keeps it readable where a viewer has none.
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}"'
            f' height="{height:.0f}" role="img" aria-label="{escape(title)}">',
            f"<style>{STYLE}</style>",
            f'<rect class="back" width="{WIDTH}" height="{height:.0f}" rx="8"/>',
            f'<text x="20" y="30" class="title">{escape(title)}</text>',
            f'<text x="20" y="50" class="quiet">{escape(subtitle)}</text>',
            *parts,
            "</svg>\n",
        ]
    )
