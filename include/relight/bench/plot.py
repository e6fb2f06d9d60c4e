"""A bar chart of a run: one SVG file that needs nothing else, readable on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from xml.sax.saxutils import escape

from relight.bench.results import Bench, Measured

_WIDTH, _LEFT, _RIGHT = 860, 190, 90
_TOP, _HEADING, _BAR, _GAP, _BOTTOM = 64, 30, 20, 22, 72

_BARS = (
    ("pipe_s", "mysqlbinlog | mysql", "others"),
    ("applier_s", "parallel applier", "others"),
    ("applier_unlogged_s", "applier, unlogged", "others"),
    ("ordered_s", "Relight ordered", "ordered"),
    ("planned_s", "Relight as planned", "planned"),
)

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.page { fill: #ffffff }
.title { font-size: 17px; font-weight: 600 }
.name { font-weight: 600 }
.faint { fill: #59636e; font-size: 12px }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.others { fill: #8c959f }
.ordered { fill: #6ea8e6 }
.planned { fill: #1a63bd }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .page { fill: #0d1117 }
  .faint { fill: #9198a1 }
  .grid { stroke: #3d444d }
  .others { fill: #6e7681 }
  .ordered { fill: #3f76b5 }
  .planned { fill: #6cb0ff }
}
"""


def plot(bench: Bench) -> str:
    """The chart as SVG: seconds on a logarithmic scale, five bars for each workload."""
    seconds = [value for m in bench.workloads.values() for value in _seconds(m)]
    scale = _Scale(min(seconds), max(seconds))
    group = _HEADING + len(_BARS) * _BAR + _GAP
    end = _TOP + len(bench.workloads) * group
    body = [*_frame(bench, scale, end)]
    for number, name in enumerate(bench.workloads):
        body += _group(bench, name, scale, _TOP + number * group)
    height = end + _BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        f' role="img" aria-label="Seconds to replay the same log">\n<style>{_STYLE}</style>\n'
        f'<rect class="page" width="{_WIDTH}" height="{height}"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


class _Scale:
    """Places on a logarithmic axis that begins at a power of ten below the shortest time."""

    def __init__(self, shortest: float, longest: float) -> None:
        self.first = math.floor(math.log10(max(shortest, 0.001) * 0.8))
        self.last = max(math.log10(max(longest, 0.001)), self.first + 1)

    def x(self, seconds: float) -> float:
        share = (math.log10(max(seconds, 0.001)) - self.first) / (self.last - self.first)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def ticks(self) -> Iterator[float]:
        """The powers of ten on the axis."""
        yield from (10.0**power for power in range(self.first, math.floor(self.last) + 1))


def _frame(bench: Bench, scale: _Scale, end: int) -> Iterator[str]:
    yield _text(16, 30, "Seconds to replay the same log (logarithmic scale; shorter is better)", "title")
    for tick in scale.ticks():
        x = scale.x(tick)
        yield f'<line class="grid" x1="{x}" y1="{_TOP - 14}" x2="{x}" y2="{end - _GAP + 6}"/>'
        yield _text(x, end, f"{tick:g} s", "faint", "middle")
    yield _text(16, end + 28, bench.machine.text, "faint")
    runs = min(min(map(len, details.seconds.values())) for details in bench.details.values())
    told = f"medians of {runs} runs" if runs > 1 else "one run"
    yield _text(16, end + 48, f"{told}; parallel applier: the better of 4 and 8 workers; checksums equal", "faint")


def _group(bench: Bench, name: str, scale: _Scale, top: int) -> Iterator[str]:
    measured, details = bench.workloads[name], bench.details[name]
    yield _text(16, top + 14, name.replace("_", " "), "name")
    told = f"{details.transactions:,} transactions, {details.log_bytes / 1e6:.0f} MB of log. As planned: "
    told += f"{measured.ratio_pipe:.1f} x as fast as the pipe, {measured.ratio_applier:.1f} x as the applier"
    yield f'<rect class="page" x="{_LEFT - 2}" y="{top}" width="{_WIDTH - _LEFT - 14}" height="19"/>'
    yield _text(_LEFT, top + 14, told, "faint")
    for number, ((_, label, kind), value) in enumerate(zip(_BARS, _seconds(measured), strict=True)):
        y = top + _HEADING - 4 + number * _BAR
        x = scale.x(value)
        yield _text(_LEFT - 10, y + 13, label, "", "end")
        yield f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{max(x - _LEFT, 1):.1f}" height="{_BAR - 4}" rx="2"/>'
        yield _text(x + 6, y + 13, f"{value:.1f} s" if value >= 10 else f"{value:.2f} s")


def _seconds(measured: Measured) -> list[float]:
    return [float(getattr(measured, field)) for field, _, _ in _BARS]


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
