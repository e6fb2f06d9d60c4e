"""
# How is the fleet?

Every five minutes all shards are looked at: how far each is backed up, what is proved of it, how long a restore would
take, whether that is within its tier's objective, and whether any of its servers answers. What was seen is kept in the
store, for the fleet's page and `relight fleet`, and sent as metrics. Of servers only their ports are asked.

**When it is unpaused** it looks at once. A run that is triggered meanwhile is `queued` until that one has ended.

**What needs attention** stands in the log of task `look`, shard by shard, with the command that helps.

**If it fails:** the store does not answer, or refuses the credentials. A shard that cannot be looked at fails nothing:
it is "not seen", and its warning says why.
"""

from __future__ import annotations

from airflow.sdk import DAG

from relight_airflow.schedules import every_five_minutes
from relight_airflow.steps import DEFAULTS, overview_tasks

with DAG(
    "fleet_overview",
    description="Look at every shard, keep what was seen, send it as metrics",
    doc_md=__doc__,
    **every_five_minutes(on_machines=False),
    default_args=DEFAULTS,
    tags=["relight", "overview"],
):
    overview_tasks()
