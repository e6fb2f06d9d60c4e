"""A restore that is asked of Airflow. Asked twice, it is the same restore: its run is named by incident and shard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from relight.airflow_api.client import AirflowApi
from relight.airflow_api.states import RunState
from relight.backups.manifest import GtidField, Value
from relight.errors import AirflowConflict
from relight.gtid import GtidSet
from relight.planning.target import Target

DAG = "restore"

_DEFAULTS: Mapping[str, Any] = {
    "target_kind": "latest", "target_value": "", "mode": "promote", "skip_gtids": "", "salvage": True,
    "approved_by": "", "approval_reason": "",
}  # fmt: skip
"""What the DAG takes where a request says nothing, as with curl; a test compares."""

Incident = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""A name from a pager or a ticket: what Airflow takes in the id of a run."""


class Order(Value):
    """What is asked for; the fields of the trigger form. ``incident`` makes it unmistakable."""

    incident: Incident
    shard: str
    target: Target
    mode: Literal["promote", "rehearse"] = "promote"
    skip: GtidField = GtidSet()
    salvage: bool = True
    approved_by: str = ""
    approval_reason: str = ""

    @property
    def run_id(self) -> str:
        """The run's id: ``<incident>__<shard>``."""
        return f"{self.incident}__{self.shard}"

    def conf(self) -> dict[str, Any]:
        """The parameters of DAG ``restore``."""
        kind, _, value = str(self.target).partition(":")
        return {
            "shard": self.shard, "target_kind": kind, "target_value": value, "mode": self.mode,
            "skip_gtids": str(self.skip), "salvage": self.salvage, "approved_by": self.approved_by,
            "approval_reason": self.approval_reason,
        }  # fmt: skip


class Placed(Value):
    """An order that Airflow has. ``joined``: it had it already. ``unpaused``: the DAG was paused until now."""

    dag_id: str
    run_id: str
    joined: bool
    unpaused: bool = False


def place(api: AirflowApi, order: Order) -> Placed:
    """Start the restore, or join the one that this incident has started for the shard.

    :raises AirflowConflict: that one is for something else, another target for example. AirflowRefused: Airflow does
        not take it: no such shard, or this account may not.
    """
    was_paused = api.is_paused(DAG)
    if was_paused:  # an account that may start runs need not be allowed to do this
        api.unpause(DAG)
    try:
        api.start(DAG, order.conf(), run_id=order.run_id)
    except AirflowConflict:
        _refuse_another(order, api.run(DAG, order.run_id))
        return Placed(dag_id=DAG, run_id=order.run_id, joined=True, unpaused=was_paused)
    return Placed(dag_id=DAG, run_id=order.run_id, joined=False, unpaused=was_paused)


def differences(order: Order, conf: Mapping[str, Any]) -> list[str]:
    """Pure: where the request of a run is another one, in words."""
    theirs, mine = {**_DEFAULTS, **conf}, order.conf()
    differing = [name for name in mine if theirs.get(name) != mine[name]]
    return [f"{name} is {theirs.get(name)!r} there, {mine[name]!r} here" for name in differing]


def _refuse_another(order: Order, run: RunState) -> None:
    differing = differences(order, run.conf)
    if differing:
        raise AirflowConflict(
            "the incident has another restore of this shard", on=order.run_id, why="; ".join(differing),
            hint="leave out what differs to join it, or name another incident to start a second one",
        )  # fmt: skip
