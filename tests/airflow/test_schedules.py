"""What a DAG's schedule does at any time of day, computed as Airflow's scheduler does, at made-up moments."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relight_airflow.work import PER_SHARD
from tests.airflow.conftest import PROJECT

NIGHTLY = {"backup_full": 1, "rehearse_in_turn": 3}
"""The hour of each, in UTC."""
OFTEN = {"backup_binlogs", "fence_check", "fleet_overview"}
ON_DEMAND = {"restore", "restore_fleet", "rehearse"}

DAYS = [
    datetime(2026, 11, 24, tzinfo=UTC),
    datetime(2026, 11, 30, tzinfo=UTC),
    datetime(2026, 12, 31, tzinfo=UTC),
    datetime(2028, 2, 28, tzinfo=UTC),  # of a leap year
    datetime(2027, 3, 14, tzinfo=UTC),  # summer time begins in America,
    datetime(2027, 3, 28, tzinfo=UTC),  # and in Europe,
    datetime(2027, 10, 31, tzinfo=UTC),  # and ends
]
MOMENTS = [day + timedelta(minutes=7 * step, seconds=13 * step % 60) for day in DAYS for step in range(1440 // 7)]

Next = Callable[..., datetime]


@pytest.fixture(scope="module")
def dags() -> dict[str, Any]:
    """As the scheduler reads them from the database."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    bag = DagBag()
    assert bag.import_errors == {}
    written = {name: json.loads(json.dumps(DagSerialization.to_dict(dag))) for name, dag in bag.dags.items()}
    return {name: DagSerialization.from_dict(one) for name, one in written.items()}


@pytest.fixture
def next_run(dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Next:
    """When the next run of a DAG is due, computed at a moment; ``last``: of which time the last one was."""
    import pendulum
    from airflow.timetables import trigger
    from airflow.timetables.base import DagRunInfo, DataInterval

    def compute(dag_id: str, now: datetime, last: datetime | None = None) -> datetime:
        monkeypatch.setattr(trigger, "utcnow", lambda: now)
        done = None
        if last:
            moment = pendulum.instance(last)
            done = DagRunInfo(
                run_after=moment, data_interval=DataInterval.exact(moment), partition_date=None, partition_key=None
            )
        info = dags[dag_id].next_dagrun_info(last_automated_run_info=done)
        return datetime.fromtimestamp(info.run_after.timestamp(), UTC)

    return compute


SCHEDULED = {"test_overview_end_to_end.py"}
"""The one whose subject is a run that Airflow begins by itself."""


def test_no_test_of_a_whole_airflow_depends_on_the_time_of_day() -> None:
    for path in sorted((PROJECT / "tests").rglob("test_*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if _makes_airflow(node)]
        assert {"UNSCHEDULED" in ast.unparse(call) for call in calls} <= {path.name not in SCHEDULED}, path


def _makes_airflow(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "LabAirflow"


def test_of_every_dag_it_is_decided_when_it_runs(dags: dict[str, Any]) -> None:
    scheduled = {name for name, dag in dags.items() if dag.timetable.can_be_scheduled}
    assert scheduled == {*NIGHTLY, *OFTEN}
    assert set(dags) == scheduled | ON_DEMAND


@pytest.mark.parametrize("dag_id", NIGHTLY)
def test_who_unpauses_a_new_nightly_dag_sets_nothing_going(next_run: Next, dag_id: str) -> None:
    for now in MOMENTS:
        begins = next_run(dag_id, now)
        its_time = now.replace(hour=NIGHTLY[dag_id], minute=0, second=0)
        if not timedelta(0) <= now - its_time <= timedelta(minutes=5):
            assert now < begins <= now + timedelta(days=1), now
        assert (begins.hour, begins.minute, begins.second) == (NIGHTLY[dag_id], 0, 0), now


@pytest.mark.parametrize("dag_id", NIGHTLY)
@pytest.mark.parametrize("late", [0, 0.3, 30, 120])
def test_the_first_night_is_not_lost_to_a_scheduler_that_comes_round_late(
    next_run: Next, dag_id: str, late: float
) -> None:
    its_time = DAYS[0].replace(hour=NIGHTLY[dag_id])
    # Airflow reads the DAG's file anew, and computes this anew, before the scheduler has made the run.
    assert next_run(dag_id, its_time + timedelta(seconds=late)) == its_time


@pytest.mark.parametrize("dag_id", NIGHTLY)
def test_after_a_pause_or_an_outage_the_last_night_is_made_up_and_no_other(next_run: Next, dag_id: str) -> None:
    its_time = DAYS[0].replace(hour=NIGHTLY[dag_id])
    now = its_time + timedelta(hours=13)
    assert next_run(dag_id, now, last=its_time - timedelta(days=9)) == its_time
    assert next_run(dag_id, now, last=its_time) == its_time + timedelta(days=1)


@pytest.mark.parametrize("dag_id", sorted(OFTEN))
def test_what_runs_every_five_minutes_begins_as_soon_as_it_is_unpaused(next_run: Next, dag_id: str) -> None:
    for now in MOMENTS:
        begins = next_run(dag_id, now)
        assert now - timedelta(minutes=5) <= begins <= now, now
        assert next_run(dag_id, now, last=begins) == begins + timedelta(minutes=5), now


@pytest.mark.parametrize("dag_id", sorted(PER_SHARD))
def test_runs_that_hang_keep_neither_the_next_one_nor_a_persons_waiting(dags: dict[str, Any], dag_id: str) -> None:
    dag = dags[dag_id]
    interval = timedelta(days=1) if dag_id in NIGHTLY else timedelta(minutes=5)
    assert dag.dagrun_timeout, "a run that waits for the worker of a lost machine would be there for ever"
    assert dag.max_active_runs >= dag.dagrun_timeout / interval + 2


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, Any]:
    """The DAGs' schedules, read on a machine in another zone, by an Airflow that somebody has set up otherwise."""
    program = """
import json, sys
sys.path.append(sys.argv[1])
from airflow.dag_processing.dagbag import DagBag
bag = DagBag()
print(json.dumps({"errors": bag.import_errors, **{
    name: [type(dag.timetable).__name__, str(getattr(dag.timetable, "timezone", None)), dag.catchup]
    for name, dag in bag.dags.items()
}}))
"""
    other = {
        "TZ": "America/St_Johns",
        "AIRFLOW__CORE__DEFAULT_TIMEZONE": "Asia/Kolkata",
        "AIRFLOW__SCHEDULER__CATCHUP_BY_DEFAULT": "True",
        "AIRFLOW__SCHEDULER__CREATE_CRON_DATA_INTERVALS": "True",
    }
    done = subprocess.run(
        [sys.executable, "-c", program, str(PROJECT / "plugins")], env={**os.environ, **other}, check=True,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("dag_id", sorted({*NIGHTLY, *OFTEN}))
def test_a_schedule_means_the_same_whatever_airflow_and_the_machine_take_for_granted(
    elsewhere: dict[str, Any], dag_id: str
) -> None:
    assert elsewhere["errors"] == {}
    assert elsewhere[dag_id] == ["CronTriggerTimetable", "UTC", False]
