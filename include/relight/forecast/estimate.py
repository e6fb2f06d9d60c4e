"""How long the restore of one shard takes: what it has to move, at the speeds that were learned. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from relight.forecast.collector import collection_put_off
from relight.forecast.learning import Rate, Speeds
from relight.forecast.values import Forecast, Load, Span, StepForecast
from relight.forecast.work import BESIDE, BETWEEN, COPIES, IN_ORDER, WORK


def estimate(load: Load, speeds: Speeds) -> Forecast:
    """Every step, and all of them until the shard takes writes again."""
    return _at(speeds.of(load.hardware), load)


@collection_put_off()
def estimate_all(loads: Iterable[Load], speeds: Speeds) -> list[Forecast]:
    """The same of each, in their order."""
    rates: dict[str, dict[str, Rate]] = {}
    found = []
    for load in loads:
        if load.hardware not in rates:
            rates[load.hardware] = speeds.of(load.hardware)
        found.append(_at(rates[load.hardware], load))
    return found


def _at(rates: Mapping[str, Rate], load: Load) -> Forecast:
    spans = {step: _span(rate, WORK[step](load)) for step, rate in rates.items()}
    spans |= {step: added([]) for step in COPIES if not WORK[step](load)}  # no copy at all takes no time
    return Forecast(
        shard=load.shard, total=total(spans), learned_from=max(rates[step].runs for step in IN_ORDER),
        steps=tuple(StepForecast(step=step, span=span) for step, span in spans.items()),
    )  # fmt: skip


def total(spans: Mapping[str, Span]) -> Span:
    """Until a shard takes writes again: one step after the other, but for those that run side by side."""
    alone = [spans[step] for step in (*IN_ORDER, BETWEEN) if step not in BESIDE and step in spans]
    return added([*alone, longest(spans[step] for step in BESIDE if step in spans)])


def added(spans: Iterable[Span]) -> Span:
    """One after the other. Their ranges are added up too, since what makes one step slow (the disk, the store, a busy
    machine) makes the others slow as well."""
    seconds = low = high = 0.0
    for span in spans:
        seconds, low, high = seconds + span.seconds, low + span.low, high + span.high
    return Span(seconds=seconds, low=low, high=high)  # fmt: skip


def longest(spans: Iterable[Span]) -> Span:
    """Side by side."""
    seconds = low = high = 0.0
    for span in spans:
        seconds, low, high = max(seconds, span.seconds), max(low, span.low), max(high, span.high)
    return Span(seconds=seconds, low=low, high=high)  # fmt: skip


def _span(rate: Rate, work: float) -> Span:
    seconds, doubt = rate.curve.seconds(work), _doubt(rate, work)
    return Span(seconds=seconds, low=seconds * rate.low / doubt, high=seconds * rate.high * doubt)


def _doubt(rate: Rate, work: float) -> float:
    """A factor that grows with how many times larger the work is than any that was seen, or smaller."""
    if not rate.runs or not rate.most or not work:
        return 1.0
    beyond = max(work / rate.most, rate.least / work, 1.0)
    return 1.0 + 0.15 * math.log2(beyond)
