"""Draws the CPU of a request as bars, in SVG that is read on light and on dark."""

from html import escape

from bench.contestants import NAMES
from bench.report import TITLES, Results
from bench.workloads import WORKLOADS

_BAR, _GAP, _LEFT, _PANEL, _TOP = 13, 16, 96, 430, 128
# The service in blues, FastAPI in oranges, canned answers in greys.
_COLOURS = ("#1d4ed8", "#3b82f6", "#7fb0fb", "#c2570c", "#f29a4a", "#6b7280", "#a1a7b3")
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 14px; font-weight: 600 }
.value { font-size: 10px }
.axis { stroke: #8b949e }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }
"""


def draw(results: Results) -> str:
    """Return the picture: a panel for each database, with the fewest rows that were measured."""
    height = _TOP + len(WORKLOADS) * (len(NAMES) * _BAR + _GAP)
    width = _LEFT + len(results.databases) * _PANEL
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>CPU of a request, in microseconds</title><style>{_STYLE}</style>",
        _text(8, 20, "CPU of a request in microseconds, that of the database included", "title"),
        *_legend(),
    ]
    for index, workload in enumerate(WORKLOADS):
        middle = _TOP + index * (len(NAMES) * _BAR + _GAP) + len(NAMES) * _BAR // 2
        parts.append(_text(8, middle + 4, workload.name))
    for index, database in enumerate(results.databases):
        parts += _panel(results, database, _LEFT + index * _PANEL)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend() -> list[str]:
    parts = []
    for index, (name, colour) in enumerate(zip(NAMES, _COLOURS, strict=True)):
        x, y = 8 + index % 2 * 250, 32 + index // 2 * 17
        parts.append(f'<rect x="{x}" y="{y}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(x + 16, y + 9, name))
    return parts


def _panel(results: Results, database: str, left: int) -> list[str]:
    rows = results.sizes[0]
    values = {
        (workload.name, name): results.median(
            lambda s: s.server_us + s.database_us, database, rows, name, workload.name
        )
        or 0.0
        for workload in WORKLOADS
        for name in NAMES
    }
    scale = (_PANEL - 60) / max(values.values())
    bottom = _TOP + len(WORKLOADS) * (len(NAMES) * _BAR + _GAP) - _GAP
    parts = [
        _text(left, _TOP - 10, f"{TITLES[database]}, {rows:,} assignments", "title"),
        f'<line class="axis" x1="{left}" y1="{_TOP}" x2="{left}" y2="{bottom}"/>',
    ]
    y = _TOP
    for workload in WORKLOADS:
        for name, colour in zip(NAMES, _COLOURS, strict=True):
            value = values[workload.name, name]
            length = value * scale
            parts.append(
                f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{_BAR - 2}" '
                f'fill="{colour}"/>'
            )
            parts.append(_text(left + length + 4, y + 9, f"{value:,.0f}", "value"))
            y += _BAR
        y += _GAP
    return parts


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y}">{escape(text)}</text>'
