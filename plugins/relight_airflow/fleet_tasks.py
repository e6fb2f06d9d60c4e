"""The tasks of a restore of many shards, in their order."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import chain

from relight_airflow.fleet_operators import (
    CHOOSE,
    CONDUCT,
    CheckFleetOperator,
    ChooseOperator,
    ConductOperator,
    FleetReportOperator,
)
from relight_airflow.operators import CHECK

_OFTEN = 100
"""An incident is long, and Airflow may be away for a moment more often than in a single restore."""


def fleet_tasks() -> None:
    """Add the tasks of a restore of many shards to the current DAG."""
    chain(
        CheckFleetOperator(task_id=CHECK),
        ChooseOperator(task_id=CHOOSE),
        ConductOperator(
            task_id=CONDUCT, retries=_OFTEN, retry_delay=timedelta(seconds=10), retry_exponential_backoff=False
        ),
        FleetReportOperator(task_id="report"),
    )
