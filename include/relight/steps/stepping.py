"""What makes a function a step: an attempt leaves a record in the store, whether it succeeds or fails.

One that was killed leaves none, nor does a mistake in the code.
Records are what reports, timings and forecasts are made of. They lie under
``<shard>/runs/<run id>/steps/``, one object per attempt.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from pydantic import Field

from relight.backups.manifest import Value
from relight.errors import ObjectExists, RelightError, StoreError
from relight.site import Run, Site
from relight.store.base import Store

P = ParamSpec("P")
R = TypeVar("R", bound=Value)


class StepRecord(Value):
    """One attempt at one step. ``key`` tells mapped steps apart: a segment, a group, a database, a server."""

    step: str
    key: str
    started: datetime
    ended: datetime
    outcome: Literal["done", "failed"]
    error: str = ""
    summary: dict[str, Any] = Field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended - self.started).total_seconds()


def step(
    name: str,
) -> Callable[[Callable[Concatenate[Site, Run, P], R]], Callable[Concatenate[Site, Run, P], R]]:  # fmt: skip
    """Mark a function as the step ``name``."""

    def mark(function: Callable[Concatenate[Site, Run, P], R]) -> Callable[Concatenate[Site, Run, P], R]:
        @functools.wraps(function)
        def recorded(site: Site, run: Run, /, *args: P.args, **kwargs: P.kwargs) -> R:
            key = "-".join(str(value) for value in (*args, *kwargs.values()))
            started = datetime.now(UTC)
            try:
                result = function(site, run, *args, **kwargs)
            except RelightError as error:
                failure = StepRecord(
                    step=name, key=key, started=started, ended=datetime.now(UTC), outcome="failed", error=str(error)
                )
                try:
                    _keep(site.store, run, failure)
                except StoreError as unkept:
                    site.progress.say(f"the failure could not be recorded: {unkept}")
                raise
            _keep(site.store, run, StepRecord(
                step=name, key=key, started=started, ended=datetime.now(UTC), outcome="done",
                summary=result.model_dump(mode="json"),
            ))  # fmt: skip
            return result

        return recorded

    return mark


def load_records(store: Store, run: Run) -> list[StepRecord]:
    """Every attempt of the run so far, in the order they began."""
    found = [StepRecord.model_validate_json(store.get(o.key)) for o in store.list(f"{run.folder_key}/steps/")]
    return sorted(found, key=lambda record: record.started)


def _keep(store: Store, run: Run, record: StepRecord) -> None:
    readable = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in record.key)[:100]
    name = f"{record.step}.{readable}" if readable else record.step
    key = f"{run.folder_key}/steps/{name}.{record.started:%Y%m%dT%H%M%S%f}.json"
    try:
        store.put(key, record.model_dump_json().encode("utf-8"))
    except ObjectExists:
        pass  # a retry inside the store client: the first one went through after all
