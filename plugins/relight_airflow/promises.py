"""Says once in a run that it is predicted to miss its objective, while there is still time to react."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from relight.errors import RelightError
from relight.site import Run, Site
from relight_airflow.metrics import emit
from relight_airflow.notify import notify

if TYPE_CHECKING:
    from relight.overview.promises import Miss


def _notify(miss: Miss, context: Any) -> None:
    notify("predicted_to_miss", context, shard=miss.shard, what=miss.what)


LISTENERS: list[Callable[[Miss, Any], None]] = [_notify]
"""Called once per run with the miss and the context of the task that has found it out. They must not raise."""


def after_step(step: Callable[..., Any], site: Site, run: Run, context: Any, log: Any) -> None:
    """Look whether the run will miss, now that ``step`` has ended. A restore goes on if that cannot be told."""
    began = context["dag_run"].start_date
    if began is None or site.fleet.tier_of(run.shard_of(site.fleet)).objective_minutes is None:
        return
    # Imported here, since every task imports this module and only restores that were promised something need it.
    from relight.overview.metrics import of_miss
    from relight.overview.promises import watch
    from relight.steps.stepping import STEP_NAME

    try:
        miss = watch(site, run, getattr(step, STEP_NAME, ""), began, datetime.now(UTC))
    except RelightError as error:
        log.warning("whether the restore keeps its promise cannot be told: %s", error.with_hint())
        return
    if miss is None:
        return
    log.warning("%s", miss)
    emit([of_miss(miss.shard, run.shard_of(site.fleet).tier)])
    for listener in LISTENERS:
        listener(miss, context)
