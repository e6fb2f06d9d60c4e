"""
# Bring many lost shards back

One run restores many shards: it starts a run of DAG `restore` for each, called `<incident>__<shard>`, and watches
them. Look at one shard there: its run can be watched, retried and cleared by itself.

**Before:** everything that DAG `restore` says, for each shard. Task `guard` of each run refuses what is alive.

**Start it** on the page **Relight**, **Restore**, by choosing several shards; or **trigger it** here with a name for
the incident and the shards: by name, by pattern, by tier, or all that are down. What is filled in must all hold. Asked
again with the same incident, it joins what runs, and starts nothing twice.

**Order:** tier first, then what is thought to take longest. So many at once as `limits.restores` of the fleet file
says. A shard that fails keeps no other waiting.

| task | if it fails |
| --- | --- |
| `check` | the request makes no sense, or DAG `restore` is paused: its log says which |
| `choose` | no shard is down, or the store does not answer |
| `conduct` | Airflow refuses to start a run. Clear it: it goes on with what is there |
| `report` | at least one shard was not restored. Its log names each, and why |

When a shard has failed: open its run, remove the cause, clear what failed there *with downstream*. Then clear `conduct`
of this run with downstream: it waits for that shard, and the report is written again.

**To stop:** mark this run as failed. No more shards are started; those that are being restored go on.
"""

from __future__ import annotations

from airflow.sdk import DAG

from relight_airflow.fleet_request import fleet_params
from relight_airflow.fleet_tasks import fleet_tasks
from relight_airflow.steps import DEFAULTS, TOLD

with DAG(
    "restore_fleet",
    description="Rebuild many lost shards, the most important and the longest first",
    doc_md=__doc__,
    schedule=None,
    default_args=DEFAULTS,
    params=fleet_params(),
    tags=["relight", "restore"],
    max_active_runs=4,
    **TOLD,
):
    fleet_tasks()
