"""
# Does each source still have its shard?

Every few minutes each server that Relight has promoted looks, on its own machine, whether the shard was given to
another one since. If so, it closes itself: no writes, no applications, also after its next start.

**When it is unpaused** all look at once. **A run that hangs,** as it waits for the worker of a machine that is lost,
keeps no other server from looking, and is given up after half an hour.

**If it fails:** the store does not answer, or the server refuses to be closed. Nothing was closed then; where a shard
has moved on, close the old server by hand. A timer on the machine that runs `relight fence check` does the same
without Airflow.
"""

from __future__ import annotations

from airflow.sdk import DAG

from relight_airflow.request import EVERY, shard_param
from relight_airflow.schedules import every_five_minutes
from relight_airflow.steps import DEFAULTS, shard_tasks

with DAG(
    "fence_check",
    description="Close promoted servers that have lost their shard since",
    doc_md=__doc__,
    **every_five_minutes(on_machines=True),
    default_args=DEFAULTS,
    params={"shard": shard_param(EVERY)},
    tags=["relight", "fencing"],
):
    shard_tasks("fence", "relight.steps.fence_check.check_fence")
