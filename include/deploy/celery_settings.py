"""Airflow's own settings of Celery, and a worker whose heartbeat can be seen from outside.

Named in ``AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS``. Celery's own question to a worker, ``inspect ping``, starts
Python, Celery and Airflow each time; the time of change of a file is there for nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG as CONFIG
from celery.signals import heartbeat_sent  # type: ignore[import-untyped]
from healthy import worker_heartbeat

__all__ = ["CONFIG"]


@heartbeat_sent.connect  # type: ignore[untyped-decorator]
def _seen(**_: Any) -> None:
    """Sent by the worker's own loop, every two seconds while it has its broker; never by other processes."""
    Path(worker_heartbeat()).touch()
