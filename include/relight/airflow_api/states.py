"""Runs and tasks of Airflow, as they stood when they were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

WAITING = "awaiting_input"
"""The state of a task that waits for a person."""


@dataclass(frozen=True)
class TaskState:
    """A task instance of a run. ``state`` is None before it is scheduled; ``part`` names a mapped
    task (``shard-1/orders``) once it has started. ``host`` is empty until then."""

    task_id: str
    map_index: int
    part: str
    state: str | None
    try_number: int
    start: datetime | None
    end: datetime | None
    queue: str = ""
    host: str = ""

    @property
    def name(self) -> str:
        """``replay shard-1/orders``, or the task's id alone."""
        return f"{self.task_id} {self.part or self.map_index}" if self.map_index >= 0 else self.task_id


@dataclass(frozen=True)
class RunState:
    """A run and its tasks, as they stand now. ``dag_id`` and ``conf`` are what it was started with."""

    run_id: str
    state: str
    tasks: tuple[TaskState, ...]
    dag_id: str = ""
    conf: Mapping[str, Any] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("success", "failed")

    @property
    def failures(self) -> tuple[TaskState, ...]:
        """The tasks that failed by themselves, in the order in which they did."""
        failed = [t for t in self.tasks if t.state == "failed" and t.task_id != "watcher"]
        return tuple(sorted(failed, key=lambda task: str(task.end)))


def task_of(item: Mapping[str, Any]) -> TaskState:
    """A task instance as the API gives it."""
    return TaskState(
        task_id=item["task_id"], map_index=item["map_index"], part=item.get("rendered_map_index") or "",
        state=item["state"], try_number=item["try_number"],
        start=_time(item["start_date"]), end=_time(item["end_date"]),
        queue=item["queue"] or "", host=item["hostname"] or "",
    )  # fmt: skip


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
