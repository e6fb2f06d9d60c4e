"""What is said of a restore that goes on in Airflow, and when watching it ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from relight.airflow_api import following
from relight.airflow_api.following import EXIT_STATUS, Status, follow, last_words, overall, runs_of, status_of
from relight.airflow_api.states import RunState, TaskState
from relight.errors import AirflowRefused, AirflowUnavailable

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)


def task(name: str, state: str | None, *, part: str = "", map_index: int = -1) -> TaskState:
    return TaskState(name, map_index, part, state, 1, NOW, NOW)


def run(state: str, *tasks: TaskState, shard: str = "shard-1") -> RunState:
    return RunState(f"inc__{shard}", state, tasks, "restore", {"shard": shard})


def said(one: RunState) -> Status:
    return status_of(one, page="p", said=lambda _: "the disk is full", now=NOW)


def test_what_is_at_work_is_named_with_the_lane_or_database() -> None:
    one = said(run("running", task("plan", "success"), task("replay", "running", part="shard-1/shop", map_index=0)))
    assert (one.state, one.running, one.done, one.shard) == ("running", ("replay shard-1/shop",), 1, "shard-1")


@pytest.mark.parametrize(
    ("one", "state", "status"),
    [
        (run("queued"), "queued", 4),
        (run("running", task("split", "running")), "running", 4),
        (run("running", task("approve", "awaiting_input")), "waiting", 3),
        (run("success", task("report", "success")), "done", 0),
        (run("failed", task("guard", "failed"), task("watcher", "failed")), "failed", 1),
    ],
)
def test_each_state_has_its_exit_status(one: RunState, state: str, status: int) -> None:
    assert said(one).state == state
    assert EXIT_STATUS[said(one).state] == status


def test_a_failed_task_is_told_with_its_last_words_and_the_watcher_is_not() -> None:
    one = said(run("failed", task("guard", "failed"), task("watcher", "failed")))
    assert [(failed.task, failed.said) for failed in one.failed] == [("guard", "the disk is full")]


def test_the_last_words_are_the_error_with_its_details_and_not_what_airflow_adds() -> None:
    log = [
        "looking", "an old error", "  on: x", "going on", "the machine refuses", "  on: db-1", "  why: pid 7",
        "  hint: stop it", "Retry policy decision", "Task exited: 1",
    ]  # fmt: skip
    assert last_words(log) == "the machine refuses; on: db-1; why: pid 7; hint: stop it"
    assert last_words(["a", "KeyError: 'x'", "Retry policy decision"]) == "KeyError: 'x'"
    assert last_words([]) == ""


def test_several_restores_are_over_when_none_is_at_work() -> None:
    assert overall(["done", "running", "failed"]) == "running"
    assert overall(["done", "waiting", "failed"]) == "waiting"
    assert overall(["done", "failed"]) == "failed"
    assert overall(["done", "done"]) == "done"


class Story:
    """Stands for Airflow: gives the states of a run one after the other, or does not answer."""

    def __init__(self, *states: RunState | Exception) -> None:
        self._states = list(states)

    def run(self, _dag: str, _run: str) -> RunState:
        now = self._states.pop(0)
        if isinstance(now, Exception):
            raise now
        return now

    def run_page(self, _dag: str, _run: str) -> str:
        return "p"


def watched(*states: RunState | Exception, **how: Any) -> list[str]:
    story: Any = Story(*states)
    return [one.state for one in follow(story, lambda: [("restore", "inc__shard-1")], interval=0, **how)]


WORKING, ASKING, OVER = run("running"), run("running", task("approve", "awaiting_input")), run("success")


def test_only_changes_are_told_and_a_person_who_is_needed_ends_it() -> None:
    assert watched(WORKING, WORKING, ASKING, OVER) == ["running", "waiting"]
    assert watched(WORKING, ASKING, ASKING, OVER, past_waiting=True) == ["running", "waiting", "done"]


def test_an_airflow_that_is_started_anew_does_not_end_the_watch_and_one_that_is_gone_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following.time, "sleep", lambda _: None)
    assert watched(WORKING, AirflowUnavailable("away"), AirflowUnavailable("away"), OVER) == ["running", "done"]
    monkeypatch.setattr(following, "PATIENCE", -1.0)
    with pytest.raises(AirflowUnavailable):
        watched(WORKING, AirflowUnavailable("away"), OVER)


class Lists:
    """Stands for Airflow: knows runs of some DAGs, and forbids the others."""

    def __init__(self, **runs: list[str]) -> None:
        self._runs = runs

    def runs_named(self, dag: str, begin: str) -> list[str]:
        if dag not in self._runs:
            raise AirflowRefused("forbidden")
        return [one for one in self._runs[dag] if one.startswith(begin)]


def test_an_incident_is_all_of_its_runs_and_no_other_that_is_called_alike() -> None:
    api: Any = Lists(restore=["inc__a", "inc__b", "inc-2__a"], restore_fleet=["inc"])
    assert runs_of(api, "inc") == [("restore", "inc__a"), ("restore", "inc__b"), ("restore_fleet", "inc")]
    assert runs_of(api, "inc-2__a") == [("restore", "inc-2__a")]
    with pytest.raises(AirflowRefused, match="no restore of that name"):
        runs_of(api, "in")
    nothing: Any = Lists()
    with pytest.raises(AirflowRefused, match="forbidden"):
        runs_of(nothing, "inc")
