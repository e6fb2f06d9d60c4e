"""A fleet's recovery, played through in numbers: shards, their stages, and what these have to wait for. Pure.

Every stage of a shard is one task. It takes a place on its machine, at the store or in its network as it needs them,
then a worker, in this order, and keeps them until it ends; as nobody waits for an earlier one while he holds a later
one, nothing ever waits for itself. Of those that wait, the shard that comes first in the given order goes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Literal

Kind = Literal["restores", "hosts", "store", "networks", "workers"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One task of a shard. It begins when all stages of the step before it (``step`` less one) have ended."""

    step: int
    seconds: float
    needs: tuple[int, ...]
    """Numbers of the resources it takes, in ascending order."""
    opens: bool = False
    """Whether the shard takes writes at its end."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that only so many tasks have at the same time."""

    kind: Kind
    name: str
    capacity: int | None
    """None: nobody has to wait for it."""


@dataclass(frozen=True)
class Played:
    """Per shard, in the given order, seconds from the start of it all."""

    began: list[float]
    opened: list[float]
    ended: list[float]
    busy: list[float]
    """Per resource: seconds in which it was worked with, summed over its places."""
    waited_for: list[int]
    """Per resource: how many tasks found all of its places taken."""


def play(shards: Sequence[Sequence[Stage]], resources: Sequence[Resource], at_once: int | None) -> Played:
    """Bring all shards back, at most ``at_once`` of them at a time, the first ones first."""
    return _Play(shards, resources, at_once).to_the_end()


class _Play:
    def __init__(self, shards: Sequence[Sequence[Stage]], resources: Sequence[Resource], at_once: int | None) -> None:
        self._shards = shards
        self._free = [len(shards) * 2 if r.capacity is None else r.capacity for r in resources]  # never more tasks
        self._queues: list[list[tuple[int, int, int]]] = [[] for _ in resources]
        self._running: list[tuple[float, int, int]] = []
        self._left = [0] * len(shards)  # tasks of the shard's present step that have not ended
        self._following = 0
        self._at_once = len(shards) if at_once is None else at_once
        self._now = 0.0
        zeros = [0.0] * len(shards)
        self.result = Played([*zeros], [*zeros], [*zeros], [0.0] * len(resources), [0] * len(resources))

    def to_the_end(self) -> Played:
        for _ in range(min(self._at_once, len(self._shards))):
            self._admit()
        while self._running:
            self._now, shard, number = heappop(self._running)
            self._end(shard, number)
        return self.result

    def _admit(self) -> None:
        if self._following < len(self._shards):
            shard = self._following
            self._following += 1
            self.result.began[shard] = self._now
            self._begin_step(shard, 0)

    def _begin_step(self, shard: int, first: int) -> None:
        stages = self._shards[shard]
        if first >= len(stages):
            self.result.ended[shard] = self._now
            self._admit()
            return
        last = first
        while last < len(stages) and stages[last].step == stages[first].step:
            last += 1
        self._left[shard] = last - first
        for number in range(first, last):
            self._want(shard, number, 0)

    def _want(self, shard: int, number: int, place: int) -> None:
        """Take what the stage needs from ``place`` on, as far as it is free; queue for the first that is not."""
        needs = self._shards[shard][number].needs
        while place < len(needs):
            resource = needs[place]
            if not self._free[resource]:
                heappush(self._queues[resource], (shard, number, place))
                self.result.waited_for[resource] += 1
                return
            self._free[resource] -= 1
            place += 1
        heappush(self._running, (self._now + self._shards[shard][number].seconds, shard, number))

    def _end(self, shard: int, number: int) -> None:
        stage = self._shards[shard][number]
        for resource in reversed(stage.needs):
            self.result.busy[resource] += stage.seconds
            self._free[resource] += 1
            if self._queues[resource]:
                self._want(*heappop(self._queues[resource]))
        if stage.opens:
            self.result.opened[shard] = self._now
        self._left[shard] -= 1
        if not self._left[shard]:
            while number < len(self._shards[shard]) and self._shards[shard][number].step == stage.step:
                number += 1
            self._begin_step(shard, number)
