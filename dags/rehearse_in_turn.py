"""
# Rehearsals in turn

Every night the shards with the oldest proof are rehearsed: each gets a run of DAG `rehearse`, which also breaks
something on purpose, another thing each time. A shard whose last rehearsal failed waits until the others had their
turn: it is an incident by itself, and must not keep the rest of the fleet from being rehearsed.

**How many:** as parameter `shards` says. A fleet of 300 shards is proved once a month with 10 a night, if the scratch
servers are fast enough: `relight rehearsals` shows the coverage and how long each took.

**If it fails:** no shard has a scratch server, or the store does not answer. Rehearsals that were begun go on.
"""

from __future__ import annotations

from airflow.sdk import DAG

from relight_airflow.request import turn_params
from relight_airflow.steps import DEFAULTS, turn_tasks

with DAG(
    "rehearse_in_turn",
    description="Begin rehearsals of the shards with the oldest proof",
    doc_md=__doc__,
    schedule="0 3 * * *",
    default_args=DEFAULTS,
    params=turn_params(),
    tags=["relight", "rehearsal"],
    max_active_runs=1,
):
    turn_tasks()
