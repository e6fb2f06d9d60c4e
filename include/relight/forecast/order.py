"""In which order shards are restored, so that the incident ends soonest. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from relight.forecast.values import Forecast, Load


def soonest_end(shards: Iterable[tuple[Load, Forecast]]) -> list[str]:
    """The shards' names: the lower tier first; within a tier the longest first, since the largest shards decide
    when an incident ends, and the small ones fill the gaps that they leave."""
    ordered = sorted(shards, key=lambda one: (one[0].tier, -one[1].total.seconds, one[0].shard))
    return [load.shard for load, _ in ordered]
