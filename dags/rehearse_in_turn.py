"""
# Rehearsals in turn

Every night the shards whose proof gets too old first are rehearsed: each gets a run of DAG `rehearse`, which also
breaks something on purpose, another thing each time. A shard whose last rehearsal failed comes after the others: it is
an incident by itself, and must not keep the rest of the fleet from being rehearsed.

**How many:** as many as keep every shard's proof as young as its tier promises (`tiers[].prove_every_days` in the
fleet file), an even share each night. The log of task `turn` says how many that is, which promises are broken, and
whether a night is too short. Parameter `shards` overrides it. At most `limits.rehearsals` go on at the same time.

**When it is unpaused** nothing begins: the first turn is at the next 03:00 (UTC). Who wants one now triggers it. But if
it was paused when its time came, or Airflow was away, then the last turn that was missed is made up at once.

**During an incident nothing is rehearsed:** while a run of DAG `restore` or `restore_fleet` goes on, task `turn` is
skipped, and so is the first task of rehearsals that were queued. They have their turn the next night.

**If it fails:** no shard has a scratch server, or the store does not answer. Rehearsals that were begun go on.
"""

from __future__ import annotations

from airflow.sdk import DAG

from relight_airflow.request import turn_params
from relight_airflow.schedules import nightly
from relight_airflow.steps import DEFAULTS, turn_tasks

with DAG(
    "rehearse_in_turn",
    description="Begin rehearsals of the shards with the oldest proof",
    doc_md=__doc__,
    **nightly("0 3 * * *", on_machines=False),
    default_args=DEFAULTS,
    params=turn_params(),
    tags=["relight", "rehearsal"],
):
    turn_tasks()
