"""A restore that touches nothing: the DAG file that ``relight bench fleet`` puts beside ``restore_fleet``."""

from __future__ import annotations

from airflow.sdk import DAG

from relight_airflow.request import (
    FLEET_RUN,
    approval_params,
    fleet_run_param,
    mode_param,
    most_restores,
    salvage_param,
    shard_param,
    target_params,
)
from relight_airflow.simulated import simulated_tasks

with DAG(
    "restore",
    schedule=None,
    max_active_runs=most_restores(),
    max_active_tasks=64,
    params={
        "shard": shard_param(),
        **target_params(),
        "mode": mode_param(),
        "salvage": salvage_param(),
        **approval_params(),
        FLEET_RUN: fleet_run_param(),
    },
):
    simulated_tasks()
