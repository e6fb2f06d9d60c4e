"""Which queue a task instance belongs on: that of the machine it touches.

Airflow cannot map ``queue``, and which machine it is depends on the run's parameters. So a
cluster policy (``airflow_local_settings.py``) asks here, when the scheduler or the API makes a
task instance. It must not fail: that would stop the scheduler. Where the answer is not known, the
task stays on the default queue, and says there what is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from relight.errors import RelightError
from relight.fleet import Fleet, Server, load_fleet
from relight_airflow.request import EVERY

ANYWHERE = ("check", "databases", "approve", "shards", "watcher", "look")
"""Tasks that touch no machine."""


def queue_of(task_instance: Any, dag_run: Any) -> str | None:
    """The queue for a task instance, None to leave it as it is."""
    path = os.environ.get("RELIGHT_FLEET")
    if dag_run is None or not path or task_instance.task_id in ANYWHERE:
        return None
    try:
        file = Path(path)
        fleet = _fleet(file, file.stat().st_mtime_ns)
        server = server_of(
            fleet, dag_id=dag_run.dag_id, task_id=task_instance.task_id, map_index=task_instance.map_index,
            conf=dag_run.conf or {},
        )  # fmt: skip
    except (RelightError, OSError):
        return None  # the DAG's first task reports it, with words
    return server.queue if server is not None else None


@lru_cache(maxsize=1)
def _fleet(path: Path, _changed: int) -> Fleet:
    return load_fleet(path)


def server_of(fleet: Fleet, *, dag_id: str, task_id: str, map_index: int, conf: Mapping[str, Any]) -> Server | None:
    """The server whose machine a task works on; None for tasks and DAGs that are not about one.

    A mapped task that is not expanded yet has map index -1, for which the answer is None or
    preliminary; Airflow asks again for each instance.
    """
    if dag_id in ("restore", "rehearse"):
        return _restored_on(fleet, dag_id, task_id, map_index, conf)
    if dag_id in ("backup_full", "backup_binlogs", "fence_check") and map_index >= 0:
        return _backed_up_on(fleet, dag_id, map_index, conf)
    return None


def _restored_on(fleet: Fleet, dag_id: str, task_id: str, map_index: int, conf: Mapping[str, Any]) -> Server | None:
    shard = fleet.shard(str(conf.get("shard")))
    if dag_id == "rehearse" or conf.get("mode") == "rehearse":
        return shard.scratch
    if task_id == "replicas" and 0 <= map_index < len(shard.replicas):
        return shard.replicas[map_index]
    return shard.source


def _backed_up_on(fleet: Fleet, dag_id: str, map_index: int, conf: Mapping[str, Any]) -> Server | None:
    wanted = conf.get("shard")
    shards = fleet.shards if wanted in (None, EVERY) else (fleet.shard(str(wanted)),)
    if map_index >= len(shards):
        return None
    return shards[map_index].backup_server if dag_id == "backup_full" else shards[map_index].source
