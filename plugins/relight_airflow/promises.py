"""Says once in a run that it is predicted to miss its objective, while there is still time to react."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from relight.errors import RelightError
from relight.overview.metrics import of_miss
from relight.overview.promises import Miss, watch
from relight.site import Run, Site
from relight.steps.stepping import STEP_NAME
from relight_airflow.metrics import emit

Listener = Callable[[Miss, Any], None]

LISTENERS: list[Listener] = []
"""Called once per run with the miss and the context of the task that has found it out. They must not raise."""


def after_step(step: Callable[..., Any], site: Site, run: Run, context: Any, log: Any) -> None:
    """Look whether the run will miss, now that ``step`` has ended. A restore goes on if that cannot be told."""
    name, began = getattr(step, STEP_NAME, ""), context["dag_run"].start_date
    if began is None:
        return
    try:
        miss = watch(site, run, name, began, datetime.now(UTC))
    except RelightError as error:
        log.warning("whether the restore keeps its promise cannot be told: %s", error.with_hint())
        return
    if miss is None:
        return
    log.warning("%s", miss)
    emit([of_miss(miss.shard, run.shard_of(site.fleet).tier)])
    for listener in LISTENERS:
        listener(miss, context)
