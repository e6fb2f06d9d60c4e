"""The runs of DAG ``restore`` that a run of ``restore_fleet`` has started: started and watched by the Task SDK.

So no account is needed, and each run bears the name of the person who has triggered ``restore_fleet``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from relight.airflow_api.orders import refuse_other_restore
from relight.errors import AirflowError, FleetError
from relight.incident.conducting import Count, State
from relight.incident.naming import run_id

DAG = "restore"

_IN_AIRFLOW: Mapping[State, list[str]] = {"active": ["queued", "running"], "done": ["success"], "failed": ["failed"]}


def counter(ti: Any, incident: str) -> Count:
    """Asks Airflow how many of some shards have a run in a state: one call for all of them."""

    def count(shards: Sequence[str], state: State) -> int:
        names = [run_id(incident, shard) for shard in shards]
        return int(ti.get_dr_count(DAG, run_ids=names, states=_IN_AIRFLOW[state]))

    return count


def refuse_if_paused(ti: Any) -> None:
    """:raises FleetError: the runs that would be started would wait without a word."""
    if ti.get_dag(DAG).is_paused:
        raise FleetError(
            "DAG restore is paused", on=DAG, why="its runs would wait until somebody unpauses it",
            hint="unpause it, then clear this task",
        )  # fmt: skip


def start(incident: str, shard: str, conf: Mapping[str, Any]) -> bool:
    """Start the run of a shard; False where it is there already, which is joined.

    :raises AirflowError: Airflow refuses it. AirflowConflict: what is there is for something else.
    """
    # TriggerDagRunOperator sends this message too, but ends its task with it: one run for each task.
    from airflow.sdk.execution_time.comms import TriggerDagRun

    name = run_id(incident, shard)
    error = _send(TriggerDagRun(dag_id=DAG, run_id=name, conf=dict(conf)))
    if not isinstance(error, ErrorResponse):
        return True
    if error.error == ErrorType.DAGRUN_ALREADY_EXISTS:
        refuse_another(incident, shard, conf)
        return False
    raise AirflowError(
        "Airflow does not start a restore", on=name, why=_words(error),
        hint="look whether DAG restore has import errors, then clear this task",
    )  # fmt: skip


def refuse_another(incident: str, shard: str, conf: Mapping[str, Any]) -> None:
    """:raises AirflowConflict: the shard's run of this incident, which is there, is for something else than ``conf``:
    another point in time, for example."""
    from airflow.sdk.execution_time.comms import GetDagRun

    name = run_id(incident, shard)
    found = _send(GetDagRun(dag_id=DAG, run_id=name))
    if isinstance(found, ErrorResponse):
        raise AirflowError("a restore cannot be looked at", on=name, why=_words(found), hint="clear this task")
    # Who has approved, and by which run it was started, makes it no other restore.
    refuse_other_restore(name, {part: conf[part] for part in _WHAT}, found.conf or {})


_WHAT = ("shard", "target_kind", "target_value", "mode", "salvage", "skip_gtids", "timeline")


def _send(message: Any) -> Any:
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    try:
        return SUPERVISOR_COMMS.send(message)
    except AirflowRuntimeError as error:
        return error.error


def _words(error: ErrorResponse) -> str:
    return f"{error.error.value} {error.detail or ''}".strip()
