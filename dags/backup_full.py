"""
# Full backups

Every night each shard's backup server (its first replica) is cloned, the copy is booted once to
prove that it can be, and then uploaded. A snapshot whose manifest is not there does not exist, so a
run that fails or is killed leaves nothing that a restore could fall for.

**If it fails:** restores still work from the snapshot before, with more logs to replay. Clear the task
once the cause is gone.
"""

from __future__ import annotations

from airflow.sdk import DAG

from relight_airflow.request import EVERY, shard_param
from relight_airflow.steps import DEFAULTS, shard_tasks

with DAG(
    "backup_full",
    description="A snapshot of every shard, booted before it counts",
    doc_md=__doc__,
    schedule="0 1 * * *",
    default_args=DEFAULTS,
    params={"shard": shard_param(EVERY)},
    tags=["relight", "backup"],
    max_active_runs=1,
):
    shard_tasks("snapshot", "relight.steps.snapshot.take_snapshot")
