"""Runs and tasks that go on, as Airflow knows them."""

from __future__ import annotations

from datetime import datetime

from relight.backups.manifest import Value
from relight.incident.naming import BETWEEN


class LiveBar(Value):
    """One piece of work of a task. ``done``, ``total`` in bytes, ``speed`` in bytes per second."""

    label: str
    done: int
    total: int
    speed: float
    at: datetime

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return min(self.done / self.total, 1.0) if self.total > 0 else 0.0


class TaskNow(Value):
    """A task instance as Airflow knows it; ``part`` names one of a mapped task."""

    task: str
    index: int = -1
    part: str = ""
    state: str
    started: datetime | None = None
    ended: datetime | None = None
    tries: int = 0
    waits: bool = False
    """For a person's answer."""
    bars: tuple[LiveBar, ...] = ()
    error: str = ""
    """Why it has failed, and what to do; empty where it has not, or nobody knows."""
    hint: str = ""


class RunNow(Value):
    """A run as Airflow knows it."""

    dag: str
    run: str
    shard: str
    mode: str = "promote"
    target: str = "latest"
    state: str
    queued: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    tasks: tuple[TaskNow, ...] = ()

    @property
    def incident(self) -> str:
        """What it is a part of; empty where somebody has started it by itself."""
        name, between, shard = self.run.rpartition(BETWEEN)
        return name if between and shard == self.shard else ""
