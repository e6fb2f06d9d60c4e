"""When how much of a fleet is back: one SVG file that needs nothing else, readable on light and on dark pages."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from relight.forecast.simulate import Recovery
from relight.forecast.words import duration

_WIDTH, _HEIGHT = 860, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 28, 70, 116
_LINE = 120
"""So many characters of small text fit into the width."""
_MOST_STEPS = 800
"""More of them would not be seen, and make the file large."""
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800)

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.page { fill: #ffffff }
.title { font-size: 17px; font-weight: 600 }
.faint { fill: #59636e; font-size: 12px }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.range { fill: #6ea8e6; fill-opacity: 0.3 }
.likely { stroke: #1a63bd; stroke-width: 2.5; fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .page { fill: #0d1117 }
  .faint { fill: #9198a1 }
  .grid { stroke: #3d444d }
  .range { fill: #3f76b5 }
  .likely { stroke: #6cb0ff }
}
"""


def plot(recovery: Recovery) -> str:
    """The chart as SVG: the share of shards that take writes again over the time, with its range."""
    spans = [one.back for one in recovery.shards]
    axis = _Axis(max(span.high for span in spans))
    low, likely, high = (
        _stairs(sorted(times), axis)
        for times in ([s.low for s in spans], [s.seconds for s in spans], [s.high for s in spans])
    )
    band = [*low, *reversed(high)]
    body = [
        *_frame(recovery, axis), f'<polygon class="range" points="{_points(band)}"/>',
        f'<polyline class="likely" points="{_points(likely)}"/>',
    ]  # fmt: skip
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
        f' role="img" aria-label="Share of shards that are back, over time">\n<style>{_STYLE}</style>\n'
        f'<rect class="page" width="{_WIDTH}" height="{_HEIGHT}"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


class _Axis:
    """Places in the chart: seconds from the left to the right, shares from below."""

    def __init__(self, longest: float) -> None:
        self.longest = max(longest, 1.0)

    def x(self, seconds: float) -> float:
        return round(_LEFT + seconds / self.longest * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, share: float) -> float:
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    def ticks(self) -> Iterator[float]:
        """At most eight round times."""
        width = next((tick for tick in _TICKS if self.longest / tick <= 8), math.ceil(self.longest / 8))
        yield from (width * n for n in range(int(self.longest / width) + 1))


def _stairs(times: Sequence[float], axis: _Axis) -> list[tuple[float, float]]:
    """A corner at each time at which a further shard is back; of very many every so-and-so-many-th."""
    stride = max(len(times) // _MOST_STEPS, 1)
    corners, share = [(axis.x(0.0), axis.y(0.0))], 0.0
    for number, time in enumerate(times, start=1):
        if number % stride == 0 or number == len(times):
            corners.append((axis.x(time), axis.y(share)))
            share = number / len(times)
            corners.append((axis.x(time), axis.y(share)))
    return [*corners, (axis.x(axis.longest), axis.y(share))]


def _points(corners: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in corners)


def _frame(recovery: Recovery, axis: _Axis) -> Iterator[str]:
    workers = "any number of workers" if recovery.workers is None else f"{recovery.workers} workers"
    yield _text(16, 30, f"{len(recovery.shards):,} shards that take writes again, with {workers}", "title")
    yield _text(16, 52, "the line is what is likely; four of five recoveries should fall into the band", "faint")
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = axis.y(share)
        yield f'<line class="grid" x1="{_LEFT}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}"/>'
        yield _text(_LEFT - 8, y + 4, f"{share:.0%}", "faint", "end")
    for tick in axis.ticks():
        x = axis.x(tick)
        yield f'<line class="grid" x1="{x}" y1="{axis.y(1)}" x2="{x}" y2="{axis.y(0) + 5}"/>'
        yield _text(x, axis.y(0) + 21, duration(tick), "faint", "middle")
    told = {"first": recovery.first, "half": recovery.half, "90 %": recovery.ninety, "last": recovery.last}
    line = ", ".join(f"{name} after {duration(span.seconds)}" for name, span in told.items())
    yield _text(16, _HEIGHT - 58, line)
    for number, part in enumerate(textwrap.wrap(f"bottleneck: {recovery.bottleneck.why}", _LINE)[:3]):
        yield _text(16, _HEIGHT - 38 + 16 * number, part, "faint")


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
