"""Restores that are asked of Airflow. Asked twice, it is the same restore: its run is named by incident and shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from relight.airflow_api.client import AirflowApi
from relight.backups.manifest import GtidField, Value
from relight.errors import AirflowConflict, FleetError
from relight.gtid import GtidSet
from relight.incident.naming import run_id
from relight.planning.target import Target

ONE, MANY = "restore", "restore_fleet"
"""The DAGs: of one shard, and of many, which starts one run of the other for each."""

_DEFAULTS: Mapping[str, Any] = {
    "target_kind": "latest", "target_value": "", "mode": "promote", "skip_gtids": "", "salvage": True,
    "approved_by": "", "approval_reason": "", "timeline": None,
}  # fmt: skip
"""What the DAGs take where a request says nothing, as with curl; a test compares."""


_ENDED = ("success", "failed")


class Order(Value):
    """What is asked for; the fields of the trigger form. ``incident``, as :func:`relight.incident.naming.incident_id`
    gives it, makes it unmistakable."""

    incident: str
    shard: str
    target: Target
    mode: Literal["promote", "rehearse"] = "promote"
    skip: GtidField = GtidSet()
    timeline: int | None = None
    salvage: bool = True
    approved_by: str = ""
    approval_reason: str = ""

    @property
    def run_id(self) -> str:
        """The run's id: ``<incident>__<shard>``."""
        return run_id(self.incident, self.shard)

    def conf(self) -> dict[str, Any]:
        """The parameters of DAG ``restore``."""
        return {"shard": self.shard, **self._how(), "skip_gtids": str(self.skip), "timeline": self.timeline}

    def conf_with(self, shards: Sequence[str]) -> dict[str, Any]:
        """The parameters of DAG ``restore_fleet``, for this and other shards. :raises FleetError: it cannot do that."""
        if self.skip:
            raise FleetError(
                "transactions belong to one shard", on=str(self.skip), why=f"{len(shards)} shards are named",
                hint="leave transactions out of one shard at a time",
            )  # fmt: skip
        if self.timeline is not None:
            raise FleetError(
                "a timeline belongs to one shard", on=str(self.timeline), why=f"{len(shards)} shards are named",
                hint="restore those that follow an older timeline one at a time",
            )  # fmt: skip
        return {"incident": self.incident, "shards": list(shards), **self._how()}

    def _how(self) -> dict[str, Any]:
        kind, _, value = str(self.target).partition(":")
        return {
            "target_kind": kind, "target_value": value, "mode": self.mode, "salvage": self.salvage,
            "approved_by": self.approved_by, "approval_reason": self.approval_reason,
        }  # fmt: skip


class Placed(Value):
    """An order that Airflow has. ``joined``: it had it already. ``over``: and that run has ended, as Airflow calls it.
    ``unpaused``: the DAGs that were paused until now."""

    dag_id: str
    run_id: str
    joined: bool
    over: str = ""
    unpaused: tuple[str, ...] = ()


def place(api: AirflowApi, order: Order) -> Placed:
    """Start the restore, or join the one that this incident has started for the shard.

    :raises AirflowConflict: that one is for something else, another target for example. AirflowRefused: Airflow does
        not take it: no such shard, or this account may not.
    """
    unpaused = _unpause(api, ONE)
    there = _start_or_join(api, ONE, order.run_id, order.conf())
    return _placed(ONE, order.run_id, there, unpaused)


def place_many(api: AirflowApi, order: Order, shards: Sequence[str]) -> Placed:
    """The same for several shards, in the order that ends the incident soonest: see DAG ``restore_fleet``. Its run is
    called like the incident. :raises FleetError: what is asked makes sense for one shard only."""
    conf = order.conf_with(shards)
    unpaused = _unpause(api, MANY, ONE)
    there = _start_or_join(api, MANY, order.incident, conf)
    return _placed(MANY, order.incident, there, unpaused)


def _placed(dag: str, name: str, there: str | None, unpaused: tuple[str, ...]) -> Placed:
    return Placed(
        dag_id=dag, run_id=name, joined=there is not None, over=there if there in _ENDED else "", unpaused=unpaused
    )


def _unpause(api: AirflowApi, *dags: str) -> tuple[str, ...]:
    """Those that were paused; an account that may start runs need not be allowed to do this for others."""
    paused = tuple(dag for dag in dags if api.is_paused(dag))
    for dag in paused:
        api.unpause(dag)
    return paused


def _start_or_join(api: AirflowApi, dag: str, name: str, conf: Mapping[str, Any]) -> str | None:
    """The state of the run that was there already, if there was one."""
    try:
        api.start(dag, conf, run_id=name)
    except AirflowConflict:
        there = api.run(dag, name)
        refuse_other_restore(name, conf, there.conf)
        return there.state
    return None


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Pure: where the request of a run is another one, in words."""
    whole = {**_DEFAULTS, **theirs}
    differing = [name for name in mine if _said(whole.get(name)) != _said(mine[name])]
    return [f"{name} is {whole.get(name)!r} there, {mine[name]!r} here" for name in differing]


def _said(value: Any) -> Any:
    """None, nothing and blanks all say nothing: which of them it is depends on the form that was filled in."""
    return (value.strip() or None) if isinstance(value, str) else value


def refuse_other_restore(run: str, asked: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    """Pure. :raises AirflowConflict: what the run that is there was asked is something else than ``asked``."""
    if differing := differences(asked, there):
        raise AirflowConflict(
            "the incident has another restore of this shard", on=run, why="; ".join(differing),
            hint="leave out what differs to join it, or name another incident to start a second one",
        )  # fmt: skip
