"""What holds a fleet's recovery up, found by taking each limit away; and what more workers would help. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal

from relight.backups.manifest import Value
from relight.forecast.case import Case
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


def bottleneck_of(case: Case) -> Bottleneck:
    """The limit without which the last shard would be back soonest."""
    found = {kind: case.without(kind).last for kind in case.held_up_by()}
    best = min(found, key=found.__getitem__, default=None)
    if best is not None and found[best] < _WORTH_NAMING * case.last:
        why = f"{_WORDS[best]}: without that limit the last shard would be back after {duration(found[best])}"
        return Bottleneck(kind=best, why=f"{why} instead of {duration(case.last)}", without_seconds=found[best])
    least = case.shortest_possible
    if least < _WORTH_NAMING * case.last:
        together = "; ".join(_WORDS[kind] for kind in found)
        return Bottleneck(kind="several", why=f"only together: {together}", without_seconds=least)
    name = case.loads[case.longest].shard
    why = f"{name} alone takes {duration(least)}, whatever the limits are"
    return Bottleneck(kind="largest", why=why, without_seconds=least)


def halving_of(case: Case) -> Halving:
    """The smallest number of workers that was found to halve the time until the last shard is back."""
    goal = case.last / 2
    unlimited = case.without("workers") if "workers" in case.held_up_by() else case
    if unlimited.last > goal:
        rest = bottleneck_of(unlimited)
        return Halving(workers=None, seconds=unlimited.last, why=f"nothing would: {rest.why}")
    workers = _fewest(case, goal)
    last = case.with_capacity("workers", workers).last
    return Halving(
        workers=workers, seconds=last, why=f"with {workers} workers the last shard is back after {duration(last)}"
    )  # fmt: skip


def _fewest(case: Case, goal: float) -> int:
    """By doubling, then by halving the step: more workers are never taken to be worse."""
    work = sum(stage.seconds for stages in case.shards for stage in stages)
    few = max(math.floor(work / max(case.last, goal)), 0)
    many = max(few, 1)
    while case.with_capacity("workers", many).last > goal:
        few, many = many, many * 2
    while many - few > 1:
        middle = (few + many) // 2
        if case.with_capacity("workers", middle).last <= goal:
            many = middle
        else:
            few = middle
    return many
