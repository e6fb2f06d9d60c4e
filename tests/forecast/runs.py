"""Loads, timings and records that are made up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from relight.forecast.timing import StepTime, Timing
from relight.forecast.values import Load
from relight.step_records import StepRecord

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MB = 1_000_000


def load(shard: str = "shard-1", *, data: float = 1000, log: float = 500, **more: Any) -> Load:
    """Sizes in MB."""
    return Load.model_validate({
        "shard": shard, "tier": 1, "host": f"host-of-{shard}", "hardware": "big", "network": "rack-1",
        "stored_bytes": int(data * MB / 4), "data_bytes": int(data * MB), "log_bytes": int(log * MB), "segments": 10,
        "databases": 3, "replicas": 0, **more,
    })  # fmt: skip


def timing(run: str, what: Load, seconds: Mapping[str, float], *, minutes: float = 0) -> Timing:
    steps = tuple(StepTime(step=step, seconds=value, tasks=1) for step, value in seconds.items())
    ended = NOON + timedelta(minutes=minutes)
    return Timing(run_id=run, mode="rehearse", ended=ended, load=what, tables=10, steps=steps)


def record(
    step: str, started: float, ended: float, key: str = "", *, outcome: str = "done", **summary: Any
) -> StepRecord:
    """Times in seconds after noon."""
    return StepRecord.model_validate({
        "step": step, "key": key, "started": NOON + timedelta(seconds=started),
        "ended": NOON + timedelta(seconds=ended), "outcome": outcome, "summary": summary,
    })  # fmt: skip
