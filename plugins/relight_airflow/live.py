"""How far a task is, kept in Airflow while it works, so that a page can show bars.

It goes into the task's state store: one small value, overwritten every few seconds, that a retry takes over.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from airflow.sdk import get_current_context

from relight.errors import RelightError

KEY = "relight_progress"
"""What it is called in the state store. ``{"at": time, "bars": [{"label", "done", "total", "speed"}]}``, in bytes and
bytes per second unless the label says otherwise."""

ERROR = "relight_error"
"""What is kept there of a failure: ``{"error": text, "hint": text}``, for the page that shows the run."""

_LONGEST = 4000
"""So much of an error's text is kept; the log has all of it."""

_MOST_BARS = 40
"""The newest; a state store is for small values."""


@dataclass
class _Bar:
    label: str
    total: int
    began: float
    done: int = 0

    def as_json(self, now: float) -> dict[str, Any]:
        seconds = max(now - self.began, 0.001)
        return {"label": self.label, "done": self.done, "total": self.total, "speed": round(self.done / seconds)}


class Live:
    """The bars of one task. Lanes and uploads report from several threads.

    :param memory: the task's state store. :param log: where it is said, once, that they cannot be kept.
    """

    def __init__(self, memory: Any, log: Any, interval: float = 3.0) -> None:
        self._memory: Any = memory
        self._log = log
        self._interval = interval
        self._bars: dict[str, _Bar] = {}
        self._kept = 0.0
        self._lock = Lock()

    def start(self, label: str, total: int) -> None:
        """A piece of work begins, or begins anew."""
        with self._lock:
            self._bars.pop(label, None)
            self._bars[label] = _Bar(label, total, time.monotonic())
            self._keep(complete=False)

    def advance(self, label: str, amount: int) -> None:
        """More of it is done; kept when the last time is long enough ago, or when it is complete."""
        with self._lock:
            bar = self._bars.setdefault(label, _Bar(label, 0, time.monotonic()))
            bar.done += amount
            self._keep(complete=bool(bar.total) and bar.done >= bar.total > bar.done - amount)

    def _keep(self, *, complete: bool) -> None:
        now = time.monotonic()
        if self._memory is None or not (complete or now - self._kept >= self._interval):
            return
        self._kept = now
        bars = [bar.as_json(now) for bar in list(self._bars.values())[-_MOST_BARS:]]
        try:
            self._memory.set(KEY, {"at": datetime.now(UTC).isoformat(), "bars": bars})
        except Exception as error:  # noqa: BLE001 -- no restore fails because nobody can watch it
            self._memory = None
            self._log.warning("the page will show no progress of this task: %s: %s", type(error).__name__, error)


def keep_error(error: RelightError, log: Any) -> None:
    """Leave why this task fails, and what to do, for the page that shows the run. Outside of a task: nothing."""
    memory = memory_of_this_task()
    if memory is None:
        return
    try:
        memory.set(ERROR, {"error": str(error)[:_LONGEST], "hint": error.hint[:_LONGEST]})
    except Exception as failure:  # noqa: BLE001 -- what is said is the error, not that it cannot be shown twice
        log.warning("the page will not show why: %s: %s", type(failure).__name__, failure)


def memory_of_this_task() -> Any:
    """The state store of the task that this process runs; None outside of a task."""
    try:
        return get_current_context().get("task_state_store")
    except RuntimeError:
        return None  # not a task: the API server reads fleets and stores too
