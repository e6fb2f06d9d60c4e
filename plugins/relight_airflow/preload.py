"""What every task needs, loaded once by the process that tasks are forked from.

A task is a process of its own. By itself it would import Relight and read the fleet file anew, which takes longer than
all the rest of a short step; what its parent has loaded it inherits. So the scheduler does that as it starts (tasks of
the LocalExecutor are its children), the DAG processor (it forks for each DAG file), and each Celery worker.

A new version of Relight is used once these have been started again. A new fleet file is read by whoever needs it.
"""

from __future__ import annotations

import os
import pkgutil
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from airflow.listeners import hookimpl

PARENTS = (["scheduler"], ["dag-processor"])
"""The commands whose processes tasks and DAG files are forked from."""


@hookimpl
def on_starting(component: Any) -> None:  # noqa: ARG001 -- as Airflow's listeners have it
    """Airflow calls this when a component starts, and in every task."""
    if sys.argv[1:2] in PARENTS:
        preload()


@cache
def preload() -> None:
    """Import what the DAGs and their steps are made of, read the fleet file, and what describes S3."""
    import relight.steps
    from relight.credentials import Login
    from relight.errors import RelightError
    from relight.store.s3 import open_store
    from relight_airflow.place import fleet_in

    for name in ("deadline", "fleet_tasks", "request", "schedules", "steps"):
        import_module(f"relight_airflow.{name}")
    for module in pkgutil.iter_modules(relight.steps.__path__, "relight.steps."):
        import_module(module.name)
    import_module("relight.binlog.kernels")  # nobody imports them before they are called
    if path := os.environ.get("RELIGHT_FLEET"):
        with suppress(RelightError):  # each run's first task says what is wrong with it
            open_store(fleet_in(Path(path)).store, Login("nobody", "nothing"))  # connects to nothing yet
