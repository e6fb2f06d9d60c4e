"""
# Rehearse a restore

Every week a shard is restored onto its scratch server, validated, timed and torn down; each week
the next shard that has a scratch server. The shard itself is not touched, and this DAG has no task
that could promote.

A run that fails is a backup that could not have been restored. Read the log of the task that failed,
and treat it as an incident: the runbook of DAG `restore` says what each task's failure means.
The times of all steps are in the report that task `report` names.
"""

from __future__ import annotations

from airflow.sdk import DAG

from relight_airflow.request import IN_TURN, shard_param, target_params
from relight_airflow.steps import DEFAULTS, restore_tasks

with DAG(
    "rehearse",
    description="Restore a shard onto its scratch server, prove it, time it, tear it down",
    doc_md=__doc__,
    schedule="0 3 * * 0",
    default_args=DEFAULTS,
    params={"shard": shard_param(IN_TURN), **target_params()},
    tags=["relight", "rehearsal"],
    max_active_runs=1,
    max_active_tasks=64,
):
    restore_tasks(only_rehearse=True)
