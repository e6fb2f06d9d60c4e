"""Cluster policy: each task instance goes to queue and pool of the machine that it touches. And Celery workers prepare.

Airflow imports this module by its name, since the plugins folder is on ``sys.path``. An installation that has an
``airflow_local_settings.py`` of its own imports the function there, and repeats the lines at the end of this file.
"""

from __future__ import annotations

import sys
from typing import Any


def task_instance_mutation_hook(task_instance: Any, dag_run: Any = None) -> None:
    """Set the queue, where the fleet file names one for the task's server, and the pool when many are restored."""
    # Imported here because every Airflow process loads this module and only the scheduler calls it.
    from relight_airflow.routing import pool_of, queue_of

    queue = queue_of(task_instance, dag_run)
    if queue is not None:
        task_instance.queue = queue
    pool = pool_of(task_instance, dag_run)
    if pool is not None:
        task_instance.pool = pool


def _before_tasks(**_: Any) -> None:
    from relight_airflow.preload import preload

    preload()


if sys.argv[1:3] == ["celery", "worker"]:
    from celery.signals import import_modules  # type: ignore[import-untyped]

    # In the worker's first process; those that run its tasks are forked from it.
    import_modules.connect(_before_tasks, weak=False)
