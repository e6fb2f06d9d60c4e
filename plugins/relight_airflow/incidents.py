"""While shards are being restored, nothing is rehearsed."""

from __future__ import annotations

from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from relight_airflow.claim import ACTIVE

DAGS = ("restore", "restore_fleet")


def skip_during(ti: Any) -> None:
    """Rehearsals take from the store and from machines what a restore needs.

    :raises AirflowSkipException: a shard is being restored. A run of DAG ``restore`` that only rehearses counts too:
        what it does to the store is the same.
    """
    count = sum(ti.get_dr_count(dag_id=dag, states=list(ACTIVE)) for dag in DAGS)
    if count:
        raise AirflowSkipException(f"{count} restores are going on: nothing is rehearsed during an incident")
