"""When a whole fleet would be back: the recovery of all its shards within the fleet's limits. Pure.

What is not in it: that tasks side by side on one machine, disk or network slow each other down, and failures. A step
counts as one task, although large ones are cut into several.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter

from relight.backups.manifest import Value
from relight.fleet import Limits
from relight.forecast.bottleneck import Bottleneck, Halving, explain
from relight.forecast.case import Case, Speed
from relight.forecast.collector import collection_put_off
from relight.forecast.estimate import estimate_all
from relight.forecast.learning import Speeds
from relight.forecast.order import soonest_end
from relight.forecast.values import Forecast, Load, Span

_ENDS: tuple[Speed, ...] = ("seconds", "low", "high")


class Back(Value):
    """One shard: what it takes alone, and when it is back if the fleet is restored. Seconds from the start."""

    shard: str
    tier: int
    alone: Span
    began: float
    """When its turn comes."""
    back: Span
    """When it takes writes again."""
    whole: float
    """When its replicas are there, too."""


class Recovery(Value):
    """A fleet's recovery, as far as it can be foreseen. Seconds from the start."""

    workers: int | None
    """So many tasks at the same time; None: as many as there are."""
    shards: tuple[Back, ...]
    """In the order in which they are restored."""
    first: Span
    half: Span
    ninety: Span
    """When nine of ten are back."""
    last: Span
    whole: float
    """When all replicas are there, too."""
    bottleneck: Bottleneck
    halving: Halving


def simulate(loads: Sequence[Load], speeds: Speeds, limits: Limits, workers: int | None = None) -> Recovery:
    """Restore all of these shards in the order that ends the incident soonest. At least one is needed.

    :param workers: how many tasks Airflow runs at the same time; None: no limit.
    """
    return simulate_forecasts(loads, estimate_all(loads, speeds), limits, workers)


@collection_put_off()
def simulate_forecasts(
    loads: Sequence[Load], forecasts: Sequence[Forecast], limits: Limits, workers: int | None = None
) -> Recovery:
    """The same, of forecasts that were made already; one for each load."""
    place = {name: number for number, name in enumerate(soonest_end(zip(loads, forecasts, strict=True)))}
    ordered = sorted(zip(loads, forecasts, strict=True), key=lambda one: place[one[0].shard])
    likely, low, high = (Case.of(ordered, limits, workers, speed) for speed in _ENDS)
    played = likely.played
    opened = [
        Span(seconds=s, low=min(s, lo), high=max(s, hi)) for s, lo, hi in
        zip(played.opened, low.played.opened, high.played.opened, strict=True)
    ]  # fmt: skip
    shards = tuple(
        Back(
            shard=load.shard, tier=load.tier, alone=forecast.total, began=began, back=back, whole=whole
        ) for (load, forecast), began, back, whole in zip(ordered, played.began, opened, played.ended, strict=True)
    )  # fmt: skip
    bottleneck, halving = explain(likely)
    return Recovery(
        workers=workers, shards=shards, first=_share(opened, 0), half=_share(opened, 0.5), ninety=_share(opened, 0.9),
        last=_share(opened, 1), whole=max(played.ended), bottleneck=bottleneck, halving=halving,
    )  # fmt: skip


def _share(opened: Sequence[Span], share: float) -> Span:
    """When that share of the shards is back; 0: the first one."""
    number = max(math.ceil(share * len(opened)), 1) - 1
    seconds, low, high = (
        sorted(map(attrgetter(field), opened))[number] for field in ("seconds", "low", "high")
    )  # fmt: skip
    return Span(seconds=seconds, low=low, high=high)
