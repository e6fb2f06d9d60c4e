"""How the restores of an incident are getting on, for programs and for people who do not want to look at a page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal

from relight.airflow_api.client import AirflowApi
from relight.airflow_api.states import WAITING, RunState, TaskState
from relight.backups.manifest import Value
from relight.errors import AirflowError, AirflowRefused, AirflowUnavailable

State = Literal["queued", "running", "waiting", "done", "failed"]

EXIT_STATUS: dict[State, int] = {"done": 0, "failed": 1, "waiting": 3, "running": 4, "queued": 4}
"""What a command ends with that has seen this last."""
UNKNOWN = 5
"""What it ends with where Airflow does not answer."""

DAGS = ("restore", "restore_fleet", "rehearse")
_DETAILS = ("  on: ", "  why: ", "  hint: ")
_CHATTER = ("Retry policy decision", "Task exited", "Marking task")

PATIENCE = 300.0
"""So many seconds may Airflow be away while it is watched: it may be started anew in the middle of a restore."""


class FailedTask(Value):
    """A task that failed, and what it said at last: the error with its reason and what to do, on one line."""

    task: str
    said: str


class Status(Value):
    """One run at one moment."""

    at: datetime
    dag: str
    run: str
    shard: str
    """Empty for a run that is about several."""
    state: State
    """``waiting``: for a person, who has to decide before anything goes on."""
    running: tuple[str, ...] = ()
    """The tasks that are at work."""
    waiting: tuple[str, ...] = ()
    """The tasks that wait for a person."""
    done: int = 0
    """How many tasks have ended."""
    failed: tuple[FailedTask, ...] = ()
    page: str
    """The run's page in Airflow."""

    def same_as(self, other: Status | None) -> bool:
        """Whether nothing has happened in between."""
        return other is not None and self.model_copy(update={"at": other.at}) == other


def status_of(run: RunState, *, page: str, said: Callable[[TaskState], str], now: datetime) -> Status:
    """Pure but for ``said``, which gives the last line of a failed task's log."""
    waiting = tuple(task.name for task in run.tasks if task.state == WAITING)
    ended = {"success", "failed", "skipped", "upstream_failed", "removed"}
    return Status(
        at=now, dag=run.dag_id, run=run.run_id, shard=str(run.conf.get("shard") or ""),
        state=_state(run, waits=bool(waiting)), waiting=waiting,
        running=tuple(task.name for task in run.tasks if task.state == "running"),
        done=sum(task.state in ended for task in run.tasks),
        failed=tuple(FailedTask(task=task.name, said=said(task)) for task in run.failures), page=page,
    )  # fmt: skip


def _state(run: RunState, *, waits: bool) -> State:
    if run.over:
        return "done" if run.state == "success" else "failed"
    if waits:
        return "waiting"
    return "queued" if run.state == "queued" else "running"


def overall(states: Sequence[State]) -> State:
    """Pure: the state of several restores. Something that goes on comes before what needs somebody: they are still
    needed then, and told once."""
    order: tuple[State, ...] = ("running", "queued", "waiting", "failed", "done")
    return next(state for state in order if state in states)


def last_words(log: Sequence[str]) -> str:
    """Pure: the error that a log ends with. Relight writes the error, then on, why and hint as indented lines; what
    Airflow adds below them says nothing."""
    details = [number for number, line in enumerate(log) if line.startswith(_DETAILS)]
    if not details:
        return next((line for line in reversed(log) if not line.startswith(_CHATTER)), "")
    last = first = details[-1]
    while first > 0 and log[first].startswith(_DETAILS):
        first -= 1
    return "; ".join(line.strip() for line in log[first : last + 1])


def runs_of(api: AirflowApi, name: str) -> list[tuple[str, str]]:
    """DAG and id of the run of that name, or of all runs of the incident of that name.

    :raises AirflowRefused: there is none.
    """
    found: list[tuple[str, str]] = []
    refusals: list[AirflowRefused] = []
    for dag in DAGS:
        try:
            names = api.runs_named(dag, name)
        except AirflowRefused as refused:  # no such DAG here, or none of this account's business
            refusals.append(refused)
            continue
        found += [(dag, run) for run in names if run == name or run.startswith(f"{name}__")]
    if len(refusals) == len(DAGS):
        raise refusals[0]
    if not found:
        raise AirflowRefused(
            "no restore of that name", on=name, why="neither an incident nor a run is called so",
            hint="it may be an incident, or the id of a run as Airflow shows it",
        )  # fmt: skip
    return found


def look(api: AirflowApi, dag_id: str, run_id: str) -> Status:
    """One run, as it is now."""
    run = api.run(dag_id, run_id)
    page = api.run_page(dag_id, run_id)
    return status_of(run, page=page, said=lambda task: _last_line(api, run, task), now=datetime.now(UTC))


def follow(
    api: AirflowApi, find: Callable[[], list[tuple[str, str]]], *, past_waiting: bool = False, interval: float = 2.0
) -> Iterator[Status]:
    """Every change of every run, until nothing is at work any more.

    :param find: gives the runs; asked each time, as runs may begin others.
    :param past_waiting: go on while a person is waited for; else that ends it, so that they can be called.
    :raises AirflowUnavailable: Airflow was away for longer than ``PATIENCE``.
    """
    last: dict[str, Status] = {}
    while True:
        for status in _patiently(lambda: [look(api, *one) for one in find()]):
            if not status.same_as(last.get(status.run)):
                yield status
            last[status.run] = status
        now = overall([status.state for status in last.values()])
        if now in ("done", "failed") or (now == "waiting" and not past_waiting):
            return
        time.sleep(interval)


def _patiently(looking: Callable[[], list[Status]]) -> list[Status]:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return looking()
        except AirflowUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(5)


def _last_line(api: AirflowApi, run: RunState, task: TaskState) -> str:
    try:
        return last_words(api.log_tail(run.dag_id, run.run_id, task, lines=40))
    except AirflowError as error:  # the machine that keeps the log may be the one that is lost
        return f"its log cannot be read: {error}"
