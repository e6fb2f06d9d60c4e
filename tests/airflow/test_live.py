"""Progress that is kept in Airflow: now and then, small, and never in the way of the task."""

from __future__ import annotations

from typing import Any

import pytest


class Memory:
    """A task's state store, or one that is out of order."""

    def __init__(self, error: Exception | None = None) -> None:
        self.kept: list[Any] = []
        self.error = error

    def set(self, key: str, value: Any) -> None:
        self.kept.append((key, value))
        if self.error:
            raise self.error


class Log:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str, *values: object) -> None:
        self.warnings.append(text % values)


def test_bars_are_kept_now_and_then_and_when_they_are_complete() -> None:
    from relight_airflow.live import KEY, Live

    memory = Memory()
    live = Live(memory, Log(), interval=3600)
    live._kept = float("inf")  # as if it had just been done
    live.start("orders", 100)
    for _ in range(9):
        live.advance("orders", 10)
    assert memory.kept == []
    live.advance("orders", 10)
    live.advance("orders", 1)
    ((key, value),) = memory.kept
    assert key == KEY
    assert [(bar["label"], bar["done"], bar["total"]) for bar in value["bars"]] == [("orders", 100, 100)]


def test_what_begins_is_shown_at_once() -> None:
    from relight_airflow.live import Live

    memory = Memory()
    Live(memory, Log()).start("orders", 100)
    assert [(bar["label"], bar["done"]) for bar in memory.kept[0][1]["bars"]] == [("orders", 0)]


def test_with_time_every_report_is_kept_and_only_the_newest_bars() -> None:
    from relight_airflow.live import Live

    memory = Memory()
    live = Live(memory, Log(), interval=0)
    for number in range(60):
        live.start(f"lane-{number}", 10)
        live.advance(f"lane-{number}", 5)
    bars = memory.kept[-1][1]["bars"]
    assert [bar["label"] for bar in bars] == [f"lane-{number}" for number in range(20, 60)]


@pytest.mark.parametrize("error", [RuntimeError("no such task"), OSError("away"), ValueError("too large")])
def test_a_state_store_that_fails_is_told_once_and_fails_no_task(error: Exception) -> None:
    from relight_airflow.live import Live

    memory, log = Memory(error), Log()
    live = Live(memory, log, interval=0)
    live.start("orders", 100)
    for _ in range(5):
        live.advance("orders", 1)
    assert len(memory.kept) == len(log.warnings) == 1
    assert str(error) in log.warnings[0]


def test_outside_of_a_task_nothing_is_kept() -> None:
    from relight_airflow.live import Live, memory_of_this_task

    assert memory_of_this_task() is None
    live = Live(None, Log(), interval=0)
    live.start("orders", 100)
    live.advance("orders", 100)
