"""Which queue and which pool a task instance belongs in: those of the machine it touches.

Airflow cannot map ``queue`` and ``pool``, and which machine it is depends on the run's parameters. So a
cluster policy (``airflow_local_settings.py``) asks here, when the scheduler or the API makes a
task instance. It must not fail: that would stop the scheduler. Where the answer is not known, the
task stays on the default queue, and says there what is wrong.

A pool is given only to tasks of runs that ``restore_fleet`` has started: see :mod:`relight_airflow.pools`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from relight.errors import RelightError
from relight.fleet import Fleet, Server
from relight_airflow import pools, work
from relight_airflow.place import fleet_in
from relight_airflow.request import EVERY, FLEET_RUN, chosen_shards, said

ANYWHERE = ("check", "databases", "approve", "shards", "watcher", "look")
"""Tasks that touch no machine; also as ``shards_2`` and so on."""


def queue_of(task_instance: Any, dag_run: Any) -> str | None:
    """The queue for a task instance, None to leave it as it is."""
    server = _server(task_instance, dag_run)
    return server.queue if server is not None else None


def pool_of(task_instance: Any, dag_run: Any) -> str | None:
    """The pool for a task instance, None to leave it as it is."""
    if dag_run is None or dag_run.dag_id != "restore" or not said(dag_run.conf or {}, FLEET_RUN):
        return None
    server = _server(task_instance, dag_run)
    return pools.pool_for(task_instance.task_id, server) if server is not None else None


def _server(task_instance: Any, dag_run: Any) -> Server | None:
    path = os.environ.get("RELIGHT_FLEET")
    if dag_run is None or not path or work.without_band(task_instance.task_id) in ANYWHERE:
        return None
    conf = dag_run.conf or {}
    try:
        file = Path(path)
        changed = file.stat().st_mtime_ns
        if dag_run.dag_id in work.PER_SHARD:
            whole = _portions(file, changed, dag_run.dag_id, str(conf.get("shard") or EVERY))
            portion = work.portion_of(whole, task_instance.task_id, task_instance.map_index)
            # All shards of a portion are served by the same queue, so any of them will do.
            return _server_of_portion(fleet_in(file), dag_run.dag_id, portion)
        if dag_run.dag_id in ("restore", "rehearse"):
            return _restored_on(fleet_in(file), dag_run.dag_id, task_instance.task_id, task_instance.map_index, conf)
    except (RelightError, OSError):
        return None  # the DAG's first task reports it, with words
    return None


# The scheduler asks for every instance of a mapped task: it should not divide thousands of shards each time.
@lru_cache(maxsize=16)
def _portions(path: Path, _changed: int, dag_id: str, wanted: str) -> tuple[work.Portion, ...]:
    here = fleet_in(path)
    return work.shard_portions(here, dag_id, tuple(chosen_shards(here, {"shard": wanted})))


def _server_of_portion(fleet: Fleet, dag_id: str, portion: work.Portion | None) -> Server | None:
    return work.PER_SHARD[dag_id](fleet.shard(portion["keys"][0])) if portion else None


def _restored_on(fleet: Fleet, dag_id: str, task_id: str, map_index: int, conf: Mapping[str, Any]) -> Server | None:
    shard = fleet.shard(said(conf, "shard"))
    if dag_id == "rehearse" or conf.get("mode") == "rehearse":
        return shard.scratch
    rebuilt = {"first_replicas": fleet.first_replicas, "replicas": fleet.later_replicas}
    if task_id in rebuilt and 0 <= map_index < len(rebuilt[task_id](shard)):
        return rebuilt[task_id](shard)[map_index]
    return shard.source
