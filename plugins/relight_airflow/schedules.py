"""When DAGs run by themselves, and how many of their runs go on at the same time.

Every time is UTC, whatever the zone of the machine or of Airflow is: no night has two of one hour, or none of it.

What a person gets who unpauses a DAG:

- *Nightly*, and new: nothing now. The first run is at the schedule's next time; who wants one now triggers it. It is a
  day's work for servers and network, and whoever sets it going at noon has not asked for it at noon.
- *Nightly*, and it was paused when its time came: the last one that was missed is made up now, one however many they
  were, as after Airflow was away. Airflow cannot tell these apart, and a backup at a bad hour is better than none.
- *Every five minutes*: one now. It is cheap, and wanted as soon as it can be had.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable

IN_TIME = timedelta(minutes=5)
"""So long after its time a new nightly DAG still has its run. Airflow reads a DAG file every half minute and computes
the next run anew then: with no time at all, a scheduler that has not come round yet would find the run taken away.
(``run_immediately=False`` is not "never", in spite of Airflow's documentation, but a tenth of the interval.)"""

_FIVE_MINUTES = timedelta(minutes=5)
_NIGHT = timedelta(days=1)


def nightly(cron: str, *, on_machines: bool) -> dict[str, Any]:
    """Arguments of a DAG that runs once a night. ``on_machines``: it waits for the workers of the fleet's machines."""
    return _scheduled(cron, IN_TIME, _NIGHT, hanging=2 if on_machines else 0)


def every_five_minutes(*, on_machines: bool) -> dict[str, Any]:
    """Arguments of a DAG that runs all the time. ``on_machines``: it waits for the workers of the fleet's machines."""
    return _scheduled("*/5 * * * *", _FIVE_MINUTES, _FIVE_MINUTES, hanging=6 if on_machines else 0)


def _scheduled(cron: str, in_time: timedelta, interval: timedelta, *, hanging: int) -> dict[str, Any]:
    """A run waits for the worker of a machine that is lost, as in an incident. That must neither keep the other shards'
    next runs from their time nor those that people trigger: so many may hang, and are then given up, and beside them
    there is room for the schedule's next one and for one that a person wants.

    What waits for no machine is soon over, and has one run at a time.
    """
    timetable = CronTriggerTimetable(cron, timezone="UTC", run_immediately=in_time)
    scheduled: dict[str, Any] = {"schedule": timetable, "catchup": False, "max_active_runs": 1}
    if hanging:
        scheduled |= {"dagrun_timeout": hanging * interval, "max_active_runs": hanging + 2}
    return scheduled
