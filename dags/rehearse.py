"""
# Rehearse a restore

A shard is restored onto its scratch server, proved, timed, sabotaged and torn down. The shard itself is not
touched, and this DAG has no task that could promote. DAG `rehearse_in_turn` begins a run every night.

After the proof, task `drill` breaks something on purpose: a row is lost, two values are swapped, a bit of the backup
is flipped. The run passes only if the check that is meant to find it does; the report says which one did.

A run that fails before `drill` is a backup that could not have been restored. Read the log of the task that failed,
and treat it as an incident: the runbook of DAG `restore` says what each task's failure means. A run that fails in
`drill` means that a check does not find what it claims to find: its verdicts cannot be relied on until that is mended.
`relight rehearsals` shows what is proved of the fleet; so does the report that task `report` names.
"""

from __future__ import annotations

from airflow.sdk import DAG

from relight_airflow.request import rehearsals_at_once, sabotage_param, shard_param, target_params
from relight_airflow.steps import DEFAULTS, TOLD, restore_tasks

with DAG(
    "rehearse",
    description="Restore a shard onto its scratch server, prove it, break it, tear it down",
    doc_md=__doc__,
    schedule=None,
    default_args=DEFAULTS,
    params={"shard": shard_param(), **target_params(), "sabotage": sabotage_param()},
    tags=["relight", "rehearsal"],
    max_active_runs=rehearsals_at_once(),
    max_active_tasks=64,
    **TOLD,
):
    restore_tasks(only_rehearse=True)
