"""What holds a fleet's recovery up, found by taking each limit away; and what more workers would help. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal

from relight.backups.manifest import Value
from relight.forecast.case import LAST_BEFORE_OPEN, Case
from relight.forecast.queues import Kind
from relight.forecast.words import duration

_WORTH_NAMING = 0.95
"""A limit is to blame if without it everything is over in less than this share of the time."""

_WORDS: Final[Mapping[Kind, str]] = {
    "restores": "how many shards are restored at the same time (limits.restores)",
    "hosts": "how many tasks work at the same time on one machine (limits.host_tasks)",
    "store": "how many tasks read from the store at the same time (limits.store_tasks)",
    "networks": "how many replicas are copied at the same time in a network (limits.network_tasks)",
    "workers": "how many tasks Airflow runs at the same time",
}  # fmt: skip


class Bottleneck(Value):
    """What decides when the last shard is back. ``largest``: one shard alone, whatever the limits are.
    ``several``: limits that have to be raised together."""

    kind: Kind | Literal["largest", "several"]
    why: str
    without_seconds: float
    """When the last shard would be back if this did not hold it up."""


class Halving(Value):
    """How many workers would bring the last shard back in half the time."""

    workers: int | None
    """None: no number of them would."""
    seconds: float
    """When the last shard is back with them; without such a number, with as many as there can be."""
    why: str


def explain(case: Case) -> tuple[Bottleneck, Halving]:
    """What holds the recovery up, and how many workers would halve it."""
    without = {kind: case.without(kind) for kind in case.held_up_by()}
    return _bottleneck(case, without), _halving(case, without.get("workers", case))


def _bottleneck(case: Case, without: Mapping[Kind, Case]) -> Bottleneck:
    """The limit without which the last shard would be back soonest."""
    best = min(without, key=lambda kind: without[kind].last, default=None)
    least = case.shortest_possible
    if best is not None and without[best].last < _WORTH_NAMING * case.last:
        seconds = without[best].last
        why = f"{_WORDS[best]}: without that limit the last shard would be back after {duration(seconds)}"
        return Bottleneck(kind=best, why=f"{why} instead of {duration(case.last)}", without_seconds=seconds)
    if least < _WORTH_NAMING * case.last:
        return _several(case)
    name = case.loads[case.longest].shard
    why = f"{name} alone takes {duration(least)}, whatever the limits are"
    return Bottleneck(kind="largest", why=why, without_seconds=least)


def _several(case: Case) -> Bottleneck:
    """Limits of which each one hides the next: all are taken away that tasks wait for, until that helps."""
    kinds: list[Kind] = []
    rest = case
    while rest.last >= _WORTH_NAMING * case.last and (waited := rest.held_up_by()):
        kinds += waited
        for kind in waited:
            rest = rest.without(kind)
    together = "; and ".join(_WORDS[kind] for kind in kinds)
    why = f"only together: {together}. Without them the last shard would be back after {duration(rest.last)}"
    return Bottleneck(kind="several", why=f"{why} instead of {duration(case.last)}", without_seconds=rest.last)


def _halving(case: Case, unlimited: Case) -> Halving:
    """``unlimited``: the same case with any number of workers."""
    goal = case.last / 2
    if unlimited.last > goal:
        rest = _bottleneck(unlimited, {kind: unlimited.without(kind) for kind in unlimited.held_up_by()})
        return Halving(workers=None, seconds=unlimited.last, why=f"no number of workers would do: {rest.why}")
    workers, last = _fewest(case, goal)
    why = f"with {workers} workers the last shard would be back after {duration(last)}"
    return Halving(workers=workers, seconds=last, why=why)


def _fewest(case: Case, goal: float) -> tuple[int, float]:
    """The workers, and when the last shard is back with them: by doubling, then by halving the step between."""
    work = sum(stage.seconds for stages in case.shards for stage in stages if stage.step <= LAST_BEFORE_OPEN)
    few = math.floor(work / goal) - 1  # so few have too much to do, however well it is spread
    found = {}
    many = max(few, 0) + 1
    while (last := case.with_capacity("workers", many).last) > goal:
        few, many = many, many * 2
    found[many] = last
    while many - few > 1:
        middle = (few + many) // 2
        last = case.with_capacity("workers", middle).last
        if last <= goal:
            many, found[middle] = middle, last
        else:
            few = middle
    return many, found[many]
