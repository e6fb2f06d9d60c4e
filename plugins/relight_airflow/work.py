"""How the work of a step is divided among mapped tasks.

A list of portions, each ``{"keys": [...], "part": ...}``, becomes one mapped task per portion.
There are at most ``TASKS`` of them, since each costs Airflow a fraction of a second (and mapping
over more than 1024 fails); and there is always at least one, since Airflow skips a task that is
mapped over nothing, and with it everything that follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from relight.fleet import Server
from relight.site import Run, Site

TASKS = 200

Portion = dict[str, Any]


def portions(items: Sequence[tuple[Any, str]], *, nothing: str) -> list[Portion]:
    """Divide keys with their labels evenly, in order. ``nothing`` labels the portion without keys."""
    if not items:
        return [{"keys": [], "part": nothing}]
    count = min(len(items), TASKS)
    bounds = [len(items) * i // count for i in range(count + 1)]
    return [_portion(items[a:b]) for a, b in pairwise(bounds)]


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


def _each(servers: Sequence[Server], *, nothing: str) -> list[Portion]:
    return portions([(server.name, server.name) for server in servers], nothing=nothing)
