"""The deadline of a restore: when it was asked for, plus the objective of its shard's tier.

Airflow records a run that is not over by then, and shows it on the pages of the DAG and the run. That a run is going to
miss is said earlier (:mod:`relight_airflow.promises`).
"""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert, DeadlineReference, deadline_reference


@deadline_reference(DeadlineReference.TYPES.DAGRUN_QUEUED)
class RestoreObjective(BaseDeadlineReference):
    """One DAG has one deadline, and tiers have different objectives: so this looks into each run.

    Airflow asks when it makes the run, in the scheduler or the API server. That must not fail, so where there is no
    objective, or no fleet file to be read, the run has no deadline.
    """

    required_kwargs = frozenset({"dag_id", "run_id"})

    def _evaluate_with(self, *, session: Any, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        asked = select(DagRun.queued_at, DagRun.conf).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        found = session.execute(asked).one_or_none()
        if found is None or found.queued_at is None:
            return None
        allowed = objective_of((found.conf or {}).get("shard"), (found.conf or {}).get("mode"))
        return None if allowed is None else found.queued_at + allowed

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> RestoreObjective:  # noqa: ARG003 -- Airflow's
        """It has no settings."""
        return cls()


def objective_of(shard: object, mode: object) -> timedelta | None:
    """How long a restore of the shard may take; None where nothing is promised, or it cannot be known."""
    from relight.errors import RelightError
    from relight_airflow.place import fleet_in

    path = os.environ.get("RELIGHT_FLEET")
    if not path or mode == "rehearse":
        return None
    try:
        fleet = fleet_in(Path(path))
        minutes = fleet.tier_of(fleet.shard(str(shard))).objective_minutes
    except RelightError:
        return None  # the run's first task says what is wrong, in words
    return None if minutes is None else timedelta(minutes=minutes)


def restore_deadline() -> DeadlineAlert:
    """The deadline of DAG ``restore``."""
    return DeadlineAlert(
        reference=RestoreObjective(), interval=timedelta(0), callback=AsyncCallback("relight_airflow.deadline.missed")
    )


async def missed(**_: Any) -> None:
    """Said in the triggerer's log; what counts is that Airflow shows it."""
    logging.getLogger(__name__).error("a restore is not over, and its objective has passed")
