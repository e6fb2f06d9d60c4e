"""
# Bring a lost shard back

One run rebuilds one shard from its last snapshot and the binary logs that followed it, proves the
result, and opens it. Several shards may be restored at the same time; one shard only once.

**Before:** make sure the shard is really lost. The run does so too: task `guard` looks for signs of
life on the machine itself and refuses if it finds any. An existing data directory is set aside, never deleted.

**Start it** on the page **Relight**, **Restore**, which shows the plan and what is lost before anything is done; or
**trigger it** here with the shard, the point to restore to, and the mode: `promote` opens the shard at the
end; `rehearse` rebuilds it on the scratch server, and tears that down again.

The point is one of `latest`; `time`; `gtid` (up to that transaction, itself included); `before` (up to it, itself
not included: just before a `DROP TABLE`); `position` (of a binary log file, as `mysqlbinlog` shows it behind `# at`).

| task | if it fails |
| --- | --- |
| `check` | the request makes no sense, or another run is at work on this server: its log says which |
| `salvage` | the store does not answer; what lies on disk and cannot be used is said, and fails nothing |
| `plan` | the store lacks something: the message names the nearest point that can be reached |
| `guard` | the server shows signs of life: find out who is using it |
| `restore_snapshot`, `split`, `replay` | retried by themselves where that can help; clearing one is always safe |
| `validate`, `judge` | the data are not what the logs say: the server stays closed; the report has the table |
| `approve` | it waits for a person, as something is inconclusive: read its list, answer within two days |
| `certify` | there is no key to sign with: create the Connection `relight_certificate` |
| `prepare`, `promote` | the server stays closed: its log says what is in the way |
| `first_replicas` | the shard waits for this replica, closed: put it right and clear it |
| `announce` | the shard is open and takes writes; applications were not told everywhere. Its log says where. Clear it |
| `replicas` | the shard is open and takes writes; only this replica is missing. Clear it |
| `watcher` | it fails when any other task did; look there |

Clear a task *with downstream* once the cause is gone: the run goes on from there, nothing is done twice.
To give up, mark the run as failed: the server stays closed. Stop it before the next run, which sets its data aside.
"""

from __future__ import annotations

from airflow.sdk import DAG

from relight_airflow.deadline import restore_deadline
from relight_airflow.request import (
    FLEET_RUN,
    approval_params,
    fleet_run_param,
    mode_param,
    most_restores,
    salvage_param,
    shard_param,
    skip_param,
    target_params,
    timeline_param,
)
from relight_airflow.steps import DEFAULTS, TOLD, restore_tasks

with DAG(
    "restore",
    description="Rebuild a lost shard from snapshot and binary logs, prove it, open it",
    doc_md=__doc__,
    schedule=None,
    default_args=DEFAULTS,
    params={
        "shard": shard_param(),
        **target_params(),
        "mode": mode_param(),
        "skip_gtids": skip_param(),
        "timeline": timeline_param(),
        "salvage": salvage_param(),
        **approval_params(),
        FLEET_RUN: fleet_run_param(),
    },
    deadline=restore_deadline(),
    tags=["relight", "restore"],
    max_active_runs=most_restores(),
    max_active_tasks=64,
    **TOLD,
):
    restore_tasks()
