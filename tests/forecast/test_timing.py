"""What a run's records tell about speeds."""

from __future__ import annotations

from relight.forecast.timing import timing_of
from relight.planning.target import Target
from relight.site import Run
from relight.step_records import StepRecord
from tests.forecast.runs import NOON, load, record

RUN = Run(run_id="run-1", shard="shard-1", target=Target(kind="latest"), mode="rehearse")

SMOOTH = [
    record("plan", 0, 1), record("guard", 2, 3), record("restore", 5, 25), record("lanes", 26, 27),
    record("split", 28, 30, "0"), record("replay", 28, 36, "0"), record("split", 29, 33, "1"),
    record("validate", 37, 40, "a"), record("validate", 38, 47, "b"), record("judge", 48, 49),
    record("certify", 900, 901), record("drill", 902, 950), record("teardown", 951, 960),
]  # fmt: skip


def seconds(records: list[StepRecord]) -> dict[str, float]:
    return {one.step: one.seconds for one in timing_of(RUN, load(), 3, records, NOON).steps}


def test_a_step_takes_from_its_first_beginning_to_its_last_end_and_a_drill_is_no_part_of_a_restore() -> None:
    assert seconds(SMOOTH) == {
        "plan": 1, "guard": 1, "restore": 20, "lanes": 1, "split": 5, "replay": 8, "validate": 10, "judge": 1,
        "certify": 1, "between": 1 + 2 + 1 + 1 + 1 + 1,  # but not what a person took to decide, before it was signed
    }  # fmt: skip


def test_a_step_that_failed_in_between_says_nothing_about_speed() -> None:
    failed = [record("replay", 28, 29, "0", outcome="failed"), *SMOOTH]
    assert seconds(failed).keys() == seconds(SMOOTH).keys() - {"replay", "between"}


def test_work_that_was_found_done_does_not_count_again() -> None:
    assert seconds([*SMOOTH, record("restore", 5000, 5001)]) == seconds(SMOOTH)


def test_replicas_before_the_opening_and_behind_it_are_told_apart() -> None:
    promoted = [record("prepare", 902, 910), record("replica", 911, 941, "one"), record("promote", 942, 943),
                record("replica", 944, 984, "two")]  # fmt: skip
    found = seconds([one for one in SMOOTH if one.step not in {"drill", "teardown"}] + promoted)
    assert (found["replica_first"], found["replica"]) == (30, 40)
    assert found["between"] == seconds(SMOOTH)["between"] + 3
