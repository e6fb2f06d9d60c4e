"""
# Binary logs to the store

Every few minutes each shard's finished binary logs are uploaded. What has not been uploaded when
a shard is lost is lost with it, so the interval is the data loss to expect.

**When it is unpaused** logs are shipped at once. **A run that hangs,** as it waits for the worker of a machine that is
lost, keeps neither the next ones from their time nor one that is triggered, and is given up after half an hour. What it
has shipped by then stays shipped.

**If it fails:** the interval grows until it works again. Servers must keep their binary logs longer
than that (`binlog_expire_logs_seconds`), or there will be a gap that no restore can cross.
"""

from __future__ import annotations

from airflow.sdk import DAG

from relight_airflow.request import EVERY, shard_param
from relight_airflow.schedules import every_five_minutes
from relight_airflow.steps import DEFAULTS, shard_tasks

with DAG(
    "backup_binlogs",
    description="Upload every shard's binary logs",
    doc_md=__doc__,
    **every_five_minutes(on_machines=True),
    default_args=DEFAULTS,
    params={"shard": shard_param(EVERY)},
    tags=["relight", "backup"],
):
    shard_tasks("ship", "relight.steps.segments.ship_segments")
