"""When rehearsals are begun: not during an incident, and as many as keep the promises, or as one is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.airflow.fleets import fleet


class Task:
    """Stands for the task instance: knows how many runs of a DAG are not over."""

    def __init__(self, **active: int) -> None:
        self._active = active

    def get_dr_count(self, *, dag_id: str, states: list[str]) -> int:
        assert states == ["queued", "running"]
        return self._active.get(dag_id, 0)


def begin(monkeypatch: pytest.MonkeyPatch, task: Task, shards: int | None = None) -> list[str]:
    from relight_airflow import turn

    site = SimpleNamespace(store=None, fleet=fleet("a", "b", "c"))
    monkeypatch.setattr(turn, "open_site", lambda _log: site)
    for module in ("relight.rehearsal.history", "relight_airflow.turn"):
        monkeypatch.setattr(f"{module}.load_history", lambda *_: histories(site.fleet))
    context: dict[str, Any] = {
        "dag_run": SimpleNamespace(conf={}), "dag": SimpleNamespace(params={}), "ti": task,
        "params": {"shards": shards, "hours": 2.0},
    }  # fmt: skip
    begun = turn.TurnOperator(task_id="turn").execute(context)
    return [one["shard"] for one in begun]


def histories(made: Any) -> list[Any]:
    from relight.rehearsal.history import ShardHistory

    return [ShardHistory(shard=shard.name, rehearsable=True) for shard in made.shards]


def test_as_many_as_the_promises_need_or_as_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert begin(monkeypatch, Task()) == ["a", "b", "c"], "none was ever proved, and all fit"
    assert begin(monkeypatch, Task(), shards=1) == ["a"]


@pytest.mark.parametrize("dag", ["restore", "restore_fleet"])
def test_nothing_is_rehearsed_during_an_incident(monkeypatch: pytest.MonkeyPatch, dag: str) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException, match="during an incident"):
        begin(monkeypatch, Task(**{dag: 1}), shards=1)


def test_a_rehearsal_that_was_queued_since_the_night_is_skipped_and_one_that_a_person_wants_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    from relight_airflow.failures import FailedForGood
    from relight_airflow.operators import CheckOperator

    def check(run_type: str) -> None:
        run = SimpleNamespace(conf={}, run_type=run_type, dag_id="rehearse", run_id="r")
        context = {"dag_run": run, "dag": SimpleNamespace(params={}), "ti": Task(restore=1), "params": {"shard": "x"}}
        CheckOperator(task_id="check", mode="rehearse").execute(context)

    with pytest.raises(AirflowSkipException):
        check("operator_triggered")
    monkeypatch.setenv("RELIGHT_FLEET", "/nowhere/fleet.yaml")
    with pytest.raises(FailedForGood, match="no fleet file"):
        check("manual")
