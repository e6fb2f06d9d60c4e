"""Speeds, learned from what past restores and rehearsals took."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from relight.backups.manifest import Value
from relight.errors import ObjectCorrupt, ObjectMissing
from relight.forecast.timing import Timing
from relight.forecast.work import ASSUMED, FORESEEN, WORK, Curve
from relight.reading import read_json
from relight.store import layout
from relight.store.base import Store
from relight.store.parallel import in_parallel

_NEWEST = 200
"""So many runs are looked at: hardware and settings change, and old speeds with them."""
_ENOUGH = 3
"""So many runs of a class of hardware count for themselves; with fewer, all classes together say more."""
_ASSUMED_RANGE = (0.25, 3.0)
"""How far off an assumption is taken to be."""
_LEAST = 0.001
"""No step is taken to be faster, in seconds: what is measured as nothing is not."""
_FOUR_OF_FIVE = (0.1, 0.9)


class Rate(Value):
    """How fast one step is on one class of hardware. The range is of factors to what the curve says."""

    step: str
    hardware: str
    """Empty: all classes together."""
    runs: int
    """How many it was learned from; 0: it is assumed."""
    curve: Curve
    low: float
    high: float
    least: float = 0.0
    """The smallest and the largest work that was seen. Further away from it the range grows."""
    most: float = 0.0


class Speeds(Value):
    """How fast every step is, per class of hardware."""

    runs: int
    rates: tuple[Rate, ...]
    unreadable: tuple[str, ...] = ()
    """Keys of records that could not be read; they were left out."""

    def of(self, hardware: str) -> dict[str, Rate]:
        """Per step, for that class; for all classes where too little is known of it; assumed where nothing is."""
        found = {step: _assumed(step) for step in FORESEEN}
        for wanted in ("", hardware):
            found |= {rate.step: rate for rate in self.rates if rate.hardware == wanted}
        return found


def learn(store: Store, *, parallel: int = 8) -> Speeds:
    """Read the newest timings of the store and learn from them. Those that cannot be read are named, not raised.

    :raises StoreUnavailable: the store does not answer. StoreDenied: it refuses.
    """
    keys = [entry.key for entry in store.list(layout.TIMINGS)][-_NEWEST:]

    def load(key: str) -> Timing | None:
        try:
            return read_json(Timing, store.get(key), on=key, what="a timing")
        except (ObjectCorrupt, ObjectMissing):
            return None

    found = in_parallel(load, keys, parallel)
    unreadable = tuple(key for key, timing in zip(keys, found, strict=True) if timing is None)
    return speeds_of([one for one in found if one is not None], unreadable)


def speeds_of(timings: Iterable[Timing], unreadable: tuple[str, ...] = ()) -> Speeds:
    """Pure: speeds from timings, the newest last. Of a run that ended more than once the last record counts."""
    last = {timing.run_id: timing for timing in timings}
    samples = _samples(last.values())
    rates = [
        _learned(step, hardware, points) for (step, hardware), points in sorted(samples.items())
        if len(points) >= _ENOUGH or not hardware
    ]  # fmt: skip
    return Speeds(runs=len(last), rates=tuple(rates), unreadable=unreadable)


_Point = tuple[float, float]
"""Work, and the seconds it took."""


def _samples(timings: Iterable[Timing]) -> Mapping[tuple[str, str], list[_Point]]:
    """By step and class; also by step alone, with an empty class."""
    found: dict[tuple[str, str], list[_Point]] = {}
    for timing in timings:
        for one in timing.steps:
            if one.step in FORESEEN:
                point = (WORK[one.step](timing.load), max(one.seconds, _LEAST))
                for hardware in (timing.load.hardware, ""):
                    found.setdefault((one.step, hardware), []).append(point)
    return found


def _learned(step: str, hardware: str, points: Sequence[_Point]) -> Rate:
    works = [work for work, _ in points]
    curve = _curve(step, points)
    low, high = _range([seconds / max(curve.seconds(work), _LEAST) for work, seconds in points])
    return Rate(
        step=step, hardware=hardware, runs=len(points), curve=curve, low=low, high=high, least=min(works),
        most=max(works),
    )  # fmt: skip


def _assumed(step: str) -> Rate:
    low, high = _ASSUMED_RANGE
    return Rate(step=step, hardware="", runs=0, curve=ASSUMED[step], low=low, high=high)


def _curve(step: str, points: Sequence[_Point]) -> Curve:
    """A line through runs of different sizes; through runs of one size, what is assumed, as much faster or slower."""
    slopes = list(_slopes(points))
    if len(slopes) >= _ENOUGH:
        per_unit = max(statistics.median(slopes), 0.0)
        fixed = statistics.median(seconds - per_unit * work for work, seconds in points)
        if fixed < 0:
            fixed, per_unit = 0.0, statistics.median(seconds / work for work, seconds in points if work)
        if per_unit or not ASSUMED[step].per_unit:
            return Curve(fixed=fixed, per_unit=per_unit)
    factor = statistics.median(seconds / ASSUMED[step].seconds(work) for work, seconds in points)
    return Curve(fixed=factor * ASSUMED[step].fixed, per_unit=factor * ASSUMED[step].per_unit)


def _slopes(points: Sequence[_Point]) -> Iterator[float]:
    """Between all runs of which one had at least twice the work: nearer ones tell the noise. Their median is not
    moved by a few runs that went wrong (Theil and Sen)."""
    for (less, fast), (more, slow) in combinations(sorted(points), 2):
        if more >= 2 * less and more > 0:
            yield (slow - fast) / (more - less)


def _range(factors: Sequence[float]) -> tuple[float, float]:
    """Four of five lie in it. Wider, the fewer there are: two runs do not show how far a third may be off."""
    doubt = 1 + 1 / len(factors)
    low, high = (_quantile(factors, share) for share in _FOUR_OF_FIVE)
    return min(low, 1.0) / doubt, max(high, 1.0) * doubt


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
