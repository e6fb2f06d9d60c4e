"""How long a restore that goes on still takes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from relight.forecast.remaining import remaining
from relight.forecast.values import Forecast, Span, StepForecast
from relight.forecast.work import FORESEEN
from tests.forecast.runs import NOON, record

TAKES = {"restore": 100.0, "split": 40.0, "replay": 80.0, "validate": 50.0, "replica_first": 0.0, "between": 0.0}


def span(seconds: float) -> Span:
    return Span(seconds=seconds, low=0.5 * seconds, high=2 * seconds)


FORECAST = Forecast(
    shard="shard-1", total=span(238), learned_from=5,
    steps=tuple(StepForecast(step=step, span=span(TAKES.get(step, 1.0))) for step in FORESEEN),
)  # fmt: skip
PLANNED = record("plan", 0, 1, segments=2)
GUARDED = record("guard", 1, 2)
RESTORED = record("restore", 2, 102)
GROUPS: list[dict[str, Any]] = [{"number": 0, "bytes": 300}, {"number": 1, "bytes": 100}]
LANED = record("lanes", 102, 103, groups=GROUPS, databases=["a", "b"])
BEFORE = [PLANNED, GUARDED, RESTORED, LANED]


def after(seconds: float, *records: Any, **fractions: float) -> tuple[tuple[str, ...], float]:
    found = remaining(FORECAST, records, NOON + timedelta(seconds=seconds), fractions)
    assert found.span.low <= found.span.seconds <= found.span.high
    assert found.eta == NOON + timedelta(seconds=seconds + found.span.seconds)
    return found.running, found.span.seconds


def test_before_anything_has_happened_all_of_it_is_left() -> None:
    assert after(0) == (("salvage",), 1 + 1 + 1 + 100 + 1 + 80 + 50 + 1 + 1 + 1 + 1)


def test_the_time_that_a_step_goes_on_is_taken_off() -> None:
    assert after(32, PLANNED, GUARDED) == (("restore",), 70 + 1 + 80 + 50 + 4)


def test_a_step_that_takes_longer_than_foreseen_is_not_said_to_be_over() -> None:
    running, left = after(502, PLANNED, GUARDED)
    assert running == ("restore",)
    assert left == 50 + 1 + 80 + 50 + 4


def test_what_is_known_of_a_running_step_counts_more_the_further_it_is() -> None:
    slow = after(102, PLANNED, GUARDED, restore=0.5)[1] - (1 + 80 + 50 + 4)
    assert slow == pytest.approx(0.5 * (0.5 * 100 + 0.5 * 200))


def test_tasks_of_a_step_that_are_over_are_counted_and_those_beside_it_waited_for() -> None:
    replayed = [record("replay", 103, 133, "0"), record("split", 103, 123, "0"), record("split", 103, 123, "1")]
    running, left = after(133, *BEFORE, *replayed)
    assert running == ("split", "replay")
    done = 0.75
    assert left == pytest.approx((1 - done) * ((1 - done) * 80 + done * (30 / done)) + 50 + 4)


def test_at_the_end_nothing_is_left() -> None:
    ends = [record("validate", 190, 230, "a"), record("validate", 190, 240, "b"), record("judge", 240, 241),
            record("certify", 241, 242), record("prepare", 242, 243), record("promote", 243, 244)]  # fmt: skip
    assert after(250, *BEFORE, *ends) == ((), 0)


def test_a_failed_attempt_leaves_its_step_to_be_done() -> None:
    assert after(3, PLANNED, record("guard", 1, 2, outcome="failed"))[0] == ("guard",)


def test_a_shard_without_logs_goes_straight_on() -> None:
    nothing = [record("plan", 0, 1, segments=0), GUARDED, RESTORED,
               record("lanes", 102, 103, groups=[], databases=["a"])]  # fmt: skip
    assert after(103, *nothing) == (("validate",), 50 + 4)


def test_replicas_that_come_first_are_waited_for_until_the_shard_is_opened() -> None:
    spans = tuple(
        one.model_copy(update={"span": span(60)}) if one.step == "replica_first" else one for one in FORECAST.steps
    )
    ends = [record("validate", 190, 230, "a"), record("validate", 190, 240, "b"), record("judge", 240, 241),
            record("certify", 241, 242), record("prepare", 242, 243), record("replica", 243, 273, "one")]  # fmt: skip
    found = remaining(FORECAST.model_copy(update={"steps": spans}), [*BEFORE, *ends], NOON + timedelta(seconds=273))
    assert found.running == ("replica_first",)
    assert found.span.seconds == 30 + 1
