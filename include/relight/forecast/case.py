"""One way to bring a fleet back: its shards as stages, and the limits that hold them up. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from relight.fleet import Limits
from relight.forecast.queues import Kind, Played, Resource, Stage, play
from relight.forecast.values import Forecast, Load
from relight.forecast.work import AFTERWARDS, BETWEEN, FIRST

Speed = Literal["seconds", "low", "high"]
"""Which end of every step's span is taken."""

KINDS: tuple[Kind, ...] = ("restores", "hosts", "store", "networks", "workers")

LAST_BEFORE_OPEN = 5
"""The step of the stages at whose end a shard takes writes."""

_PREPARING = ("salvage", "plan", "guard", "lanes", BETWEEN)
_PROVING = ("validate", "judge", "certify", "prepare")


@dataclass(frozen=True)
class Case:
    """Shards in the order of their turn, and what limits them."""

    shards: tuple[tuple[Stage, ...], ...]
    loads: tuple[Load, ...]
    resources: tuple[Resource, ...]
    at_once: int | None
    """So many shards at the same time; a shard keeps its place until its replicas are there. None: no limit."""

    @classmethod
    def of(
        cls, shards: Sequence[tuple[Load, Forecast]], limits: Limits, workers: int | None, speed: Speed = "seconds"
    ) -> Case:
        """The case of these shards at that end of their spans."""
        loads = tuple(load for load, _ in shards)
        resources = tuple(_resources(loads, limits, workers))
        number = {(resource.kind, resource.name): n for n, resource in enumerate(resources)}
        stages = tuple(tuple(_stages(load, forecast, number, speed)) for load, forecast in shards)
        return cls(stages, loads, resources, limits.restores)

    def without(self, kind: Kind) -> Case:
        """The same with nothing of that kind to wait for."""
        return self.with_capacity(kind, None)

    def with_capacity(self, kind: Kind, capacity: int | None) -> Case:
        """The same with so many places of that kind each."""
        if kind == "restores":
            return replace(self, at_once=capacity)
        return replace(
            self, resources=tuple(replace(r, capacity=capacity) if r.kind == kind else r for r in self.resources)
        )

    @cached_property
    def played(self) -> Played:
        """How it goes."""
        return play(self.shards, self.resources, self.at_once)

    @property
    def last(self) -> float:
        """When the last shard takes writes again."""
        return max(self.played.opened)

    @cached_property
    def longest(self) -> int:
        """The shard that takes longest until it takes writes again, if nothing holds it up."""
        alone = [_alone(stages) for stages in self.shards]
        return max(range(len(alone)), key=alone.__getitem__)

    @property
    def shortest_possible(self) -> float:
        """What that one takes. No limit can be blamed for it."""
        return _alone(self.shards[self.longest])

    def held_up_by(self) -> list[Kind]:
        """Every kind of limit that something had to wait for."""
        waited = {r.kind for r, count in zip(self.resources, self.played.waited_for, strict=True) if count}
        if self.at_once is not None and self.at_once < len(self.shards):
            waited.add("restores")
        return [kind for kind in KINDS if kind in waited]


def _alone(stages: Sequence[Stage]) -> float:
    steps: dict[int, float] = {}
    for stage in stages:
        if stage.step <= LAST_BEFORE_OPEN:
            steps[stage.step] = max(steps.get(stage.step, 0.0), stage.seconds)
    return sum(steps.values())


def _resources(loads: Sequence[Load], limits: Limits, workers: int | None) -> Iterator[Resource]:
    shards = Counter(load.host for load in loads)
    for host in sorted(shards):
        if shards[host] > limits.host_tasks:  # a shard has one such task at a time; else nothing could ever wait for it
            yield Resource("hosts", host, limits.host_tasks)
    yield Resource("store", "", limits.store_tasks)
    yield from (Resource("networks", name, limits.network_tasks) for name in sorted({load.network for load in loads}))
    yield Resource("workers", "", workers)


def _stages(load: Load, forecast: Forecast, number: dict[tuple[Kind, str], int], speed: Speed) -> Iterator[Stage]:
    spans = {one.step: float(getattr(one.span, speed)) for one in forecast.steps}
    store, network, worker = number["store", ""], number["networks", load.network], number["workers", ""]
    host = (number["hosts", load.host],) if ("hosts", load.host) in number else ()
    # What takes no resource of its own is put together: it makes no difference when in the run it comes.
    # Each takes its turn where the pools of restore_fleet let its task wait.
    yield Stage(0, sum(spans.get(step, 0.0) for step in _PREPARING), (worker,))
    yield Stage(1, spans["restore"], (store, worker))
    yield Stage(2, spans["split"], (store, worker))
    yield Stage(2, spans["replay"], (*host, worker))
    proving = sum(spans.get(step, 0.0) for step in _PROVING)
    if spans[FIRST]:
        yield Stage(3, proving, (*host, worker))
        yield Stage(4, spans[FIRST], (network, worker))
        yield Stage(LAST_BEFORE_OPEN, spans["promote"], (worker,), opens=True)
    else:
        yield Stage(LAST_BEFORE_OPEN, proving + spans["promote"], (*host, worker), opens=True)
    if spans[AFTERWARDS]:
        yield Stage(LAST_BEFORE_OPEN + 1, spans[AFTERWARDS], (network, worker))
