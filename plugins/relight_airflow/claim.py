"""One run at a time per server.

A run writes its name into an Airflow Variable before it does anything, and each of its steps
looks whether the name is still there. A claim needs no clean-up: that of a run which is over
does not count. This keeps two runs from getting in each other's way; what keeps them from
doing harm is the guard, on the machine itself.

Two ``check`` tasks at the same moment would both see no claim, so that task is limited to one at
a time (``max_active_tis_per_dag``).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from airflow.sdk import Variable
from airflow.sdk.exceptions import AirflowRuntimeError

from relight.errors import GuardRefused

ACTIVE = ("queued", "running")


def _name(server: str) -> str:
    return f"relight_claim_{server}"


def take(ti: Any, server: str) -> None:
    """Claim the server for the run of ``ti``. :raises GuardRefused: another run that is not over has it."""
    mine = f"{ti.dag_id}/{ti.run_id}"
    holder = Variable.get(_name(server), default=None)
    if holder is not None and holder != mine and _active(ti, holder):
        raise GuardRefused(
            "another run is rebuilding this server", on=server, why=f"{holder} is not over",
            hint="wait for it, or mark that run as failed first",
        )  # fmt: skip
    Variable.set(_name(server), mine, description="The run that rebuilds this server; meaningless once it is over.")


def check(ti: Any, server: str) -> None:
    """Make sure the run of ``ti`` still has the server. :raises GuardRefused: it has not."""
    mine = f"{ti.dag_id}/{ti.run_id}"
    holder = Variable.get(_name(server), default=None)
    if holder != mine:
        raise GuardRefused(
            "this run has lost its claim on the server", on=server, why=f"held by {holder or 'nobody'}",
            hint="a later run took it over; to go on with this one, clear its task 'check' with all that follow",
        )  # fmt: skip


def _active(ti: Any, holder: str) -> bool:
    dag_id, _, run_id = holder.partition("/")
    try:
        state = ti.get_dagrun_state(dag_id, run_id)
    except AirflowRuntimeError as error:
        if (error.error.detail or {}).get("status_code") == HTTPStatus.NOT_FOUND:
            return False  # the run was deleted: it is over
        raise
    return getattr(state, "value", state) in ACTIVE
