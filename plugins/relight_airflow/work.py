"""How the work of a step is divided among mapped tasks.

A list of portions, each ``{"keys": [...], "part": ...}``, becomes one mapped task per portion.
There are at most ``TASKS`` of them, since each costs Airflow a fraction of a second (and mapping
over more than 1024 fails); and there is always at least one, since Airflow skips a task that is
mapped over nothing, and with it everything that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from relight.fleet import Fleet, Server, Shard
from relight.site import Run, Site

TASKS = 200

MOST_MAPPED = 1000
"""So many tasks are mapped over one list; Airflow allows 1024."""

PER_SHARD: Mapping[str, Callable[[Shard], Server]] = {
    "backup_full": lambda shard: shard.backup_server,
    "backup_binlogs": lambda shard: shard.source,
    "fence_check": lambda shard: shard.source,
}
"""The DAGs that do something for each of many shards, and on which server."""

Portion = dict[str, Any]


def portions(items: Sequence[tuple[Any, str]], *, nothing: str) -> list[Portion]:
    """Divide keys with their labels evenly, in order. ``nothing`` labels the portion without keys."""
    if not items:
        return [{"keys": [], "part": nothing}]
    return _evenly(items, TASKS)


def _portion(items: Sequence[tuple[Any, str]]) -> Portion:
    first, more = items[0][1], len(items) - 1
    return {"keys": [key for key, _ in items], "part": f"{first} and {more} more" if more else first}


def segments(_site: Site, _run: Run, summary: dict[str, Any]) -> list[Portion]:
    """One portion per log file, from what ``plan`` gave."""
    files = summary["files"]
    return portions([(number, name) for number, name in enumerate(files)], nothing="no segments")


def lane_groups(_site: Site, _run: Run, summary: dict[str, Any]) -> list[Portion]:
    """One portion per lane group, from what ``plan_lanes`` gave: the fleet file limits their number,
    and they are balanced already."""
    groups = [{"keys": [group["number"]], "part": group["label"]} for group in summary["groups"]]
    return groups or portions([], nothing="nothing to replay")


def databases(run: Run, summary: dict[str, Any]) -> list[Portion]:
    """One portion per database, from what ``plan_lanes`` gave."""
    return portions([(name, f"{run.shard}/{name}") for name in summary["databases"]], nothing="no databases")


def first_replicas(site: Site, run: Run, _summary: dict[str, Any]) -> list[Portion]:
    """One portion per replica that must follow before the shard is opened, in the order of the fleet file."""
    return _each(site.fleet.first_replicas(run.shard_of(site.fleet)), nothing="none is needed first")


def replicas(site: Site, run: Run, _summary: dict[str, Any]) -> list[Portion]:
    """One portion per replica that is rebuilt once the shard is open, in the order of the fleet file."""
    return _each(site.fleet.later_replicas(run.shard_of(site.fleet)), nothing="no replicas")


def bands(fleet: Fleet, dag_id: str) -> int:
    """How many mapped tasks the DAG needs, one after the other list: a list may not be longer than ``MOST_MAPPED``."""
    whole = shard_portions(fleet, dag_id, tuple(shard.name for shard in fleet.shards))
    return -(-len(whole) // MOST_MAPPED)


def with_band(task_id: str, band: int) -> str:
    """The name of a task in a band, counted from 0: ``ship``, ``ship_2``."""
    return task_id if band == 0 else f"{task_id}_{band + 1}"


def without_band(task_id: str) -> str:
    """The name of the task in the first band."""
    name, _, number = task_id.rpartition("_")
    return name if number.isdecimal() and name else task_id


def portion_of(whole: Sequence[Portion], task_id: str, map_index: int) -> Portion | None:
    """What one mapped task does of all portions; None: there is no such task."""
    band = 0 if without_band(task_id) == task_id else int(task_id.rpartition("_")[2]) - 1
    number = band * MOST_MAPPED + map_index
    return whole[number] if 0 <= map_index < MOST_MAPPED and number < len(whole) else None


def shard_portions(fleet: Fleet, dag_id: str, shards: tuple[str, ...]) -> tuple[Portion, ...]:
    """Shards divided among tasks, each of which works on one queue: a task per shard where these are few, else
    about ``TASKS``, and at least one per queue."""
    if len(shards) <= TASKS:
        return tuple(_portion([(name, name)]) for name in shards)
    by_name = {shard.name: shard for shard in fleet.shards}
    queues: dict[str, list[tuple[Any, str]]] = {}
    for name in shards:
        queues.setdefault(PER_SHARD[dag_id](by_name[name]).queue, []).append((name, name))
    return tuple(one for items in queues.values() for one in _evenly(items, TASKS * len(items) // len(shards)))


def _evenly(items: Sequence[tuple[Any, str]], count: int) -> list[Portion]:
    count = min(max(count, 1), len(items))
    bounds = [len(items) * i // count for i in range(count + 1)]
    return [_portion(items[a:b]) for a, b in pairwise(bounds)]


def _each(servers: Sequence[Server], *, nothing: str) -> list[Portion]:
    return portions([(server.name, server.name) for server in servers], nothing=nothing)
