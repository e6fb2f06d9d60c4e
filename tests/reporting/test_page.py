"""The parts of a run's page that are reckoned from what its steps have left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relight.reporting.page import lane_speeds
from relight.step_records import StepRecord

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size", "seconds", "said"),
    [(40_000, 2.0, "19.5 KiB/s"), (900, 3.0, "300 B/s"), (3 * 2**30, 1.5, "2.0 GiB/s"), (0, 0.0, "0 B/s")],
)
def test_the_throughput_of_a_lane_is_never_rounded_away(size: int, seconds: float, said: str) -> None:
    record = StepRecord(
        step="replay", key="0", started=NOW, ended=NOW + timedelta(seconds=5), outcome="done",
        summary={"label": "shop", "bytes": size, "seconds": seconds},
    )  # fmt: skip
    (lane,) = lane_speeds([record])
    assert lane.speed == said
