"""How long a run still takes, from its forecast and from what Airflow knows of its tasks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from relight.forecast.remaining import remaining
from relight.forecast.values import Forecast, Span
from relight.reporting.running import RunNow, TaskNow
from relight.step_records import StepRecord


def time_left(
    run: RunNow, forecast: Span | None, own: Forecast | None, elapsed: float, now: datetime
) -> tuple[Span | None, float]:
    """What is still to come, and how much later than foreseen that is already."""
    if own is not None and run.started:
        return remaining(own, records_of(run), now, _fractions(run)).span, max(elapsed - own.total.high, 0.0)
    if forecast is None:
        return None, 0.0
    low, likely, high = (max(value - elapsed, 0.0) for value in (forecast.low, forecast.seconds, forecast.high))
    return Span(seconds=likely, low=low, high=high), max(elapsed - forecast.high, 0.0)


_STEPS_OF: Final = {"restore_snapshot": "restore", "plan_lanes": "lanes", "replicas": "replica"}
"""Tasks that are not called like the step they run."""


def records_of(run: RunNow) -> list[StepRecord]:
    """What the steps that are over would have left, as far as Airflow knows it."""
    count = {name: sum(task.task == name for task in run.tasks) for name in ("split", "replay", "validate")}
    told: Mapping[str, dict[str, Any]] = {
        "plan": {"segments": count["split"]},
        "plan_lanes": {
            "groups": [{"number": number, "bytes": 1} for number in range(count["replay"])],
            "databases": [str(number) for number in range(count["validate"])],
        },
    }
    return [
        StepRecord(
            step=_STEPS_OF.get(task.task, task.task), key=str(task.index) if task.index >= 0 else "",
            started=task.started, ended=task.ended, outcome="done", summary=told.get(task.task, {}),
        )
        for task in sorted(run.tasks, key=lambda task: str(task.started))
        if task.state == "success" and task.started and task.ended
    ]  # fmt: skip


def _fractions(run: RunNow) -> dict[str, float]:
    """How much of the steps that are worked at is done, by the bars of their tasks."""
    found: dict[str, float] = {}
    for name in ("restore_snapshot", "replay"):
        mine = [task for task in run.tasks if task.task == name]
        if mine and any(task.bars for task in mine):
            found[_STEPS_OF.get(name, name)] = sum(map(_share, mine)) / len(mine)
    return found


def _share(task: TaskNow) -> float:
    if task.state == "success":
        return 1.0
    whole = sum(bar.total for bar in task.bars)
    return min(sum(bar.done for bar in task.bars) / whole, 0.99) if whole else 0.0
