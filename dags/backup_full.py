"""
# Full backups

Every night each shard's backup server (its first replica) is cloned, the copy is booted once to
prove that it can be, and then uploaded. A snapshot whose manifest is not there does not exist, so a
run that fails or is killed leaves nothing that a restore could fall for.

**When it is unpaused** nothing begins: the first run is at the next 01:00 (UTC). Who wants a backup now triggers one.
But if it was paused when its time came, or Airflow was away, then the last night that was missed is made up at once.

**A run that is triggered** does not wait for the night's: three may go on beside it, and a fourth is `queued` until one
of them has ended. A server is copied once at a time: the second task of the same shard says so, and tries again for
some minutes. A run that waits for two days, as for the worker of a machine that is lost, is given up.

**If it fails:** restores still work from the snapshot before, with more logs to replay. Clear the task
once the cause is gone.
"""

from __future__ import annotations

from airflow.sdk import DAG

from relight_airflow.request import EVERY, shard_param
from relight_airflow.schedules import nightly
from relight_airflow.steps import DEFAULTS, shard_tasks

with DAG(
    "backup_full",
    description="A snapshot of every shard, booted before it counts",
    doc_md=__doc__,
    **nightly("0 1 * * *", on_machines=True),
    default_args=DEFAULTS,
    params={"shard": shard_param(EVERY)},
    tags=["relight", "backup"],
):
    shard_tasks("snapshot", "relight.steps.snapshot.take_snapshot")
