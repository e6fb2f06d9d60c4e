"""Whether a restore that is going on will keep its tier's promise, said while there is still time to react.

The forecast of a run is made once its plan is known, and kept beside the plan. After each step it is compared with
what has passed since the run began. That a run will miss is an object in the store, written once, so it is said once,
however many tasks find out at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from relight.backups.manifest import Value
from relight.errors import ObjectCorrupt, ObjectExists, ObjectMissing
from relight.forecast.estimate import total
from relight.forecast.learning import learn
from relight.forecast.loads import forecast_of_plan
from relight.forecast.values import Forecast, Span
from relight.forecast.words import duration
from relight.forecast.work import BESIDE, BETWEEN, IN_ORDER
from relight.planning.plan import load_plan, load_snapshot_manifest
from relight.reading import read_json
from relight.site import Run, Site
from relight.store.base import Store

_BEFORE_THE_PLAN: Final = ("salvage",)
"""Steps that end before there is anything to make a forecast from."""
_MUCH: Final = 0.1
"""A delay is worth a word if it makes up so much of the time."""


class Miss(Value):
    """A restore that is predicted to take longer than was promised. Times in seconds since the run began."""

    shard: str
    run_id: str
    predicted: Span
    """When the shard takes writes again."""
    objective: float
    why: str
    """What makes it late, in words."""

    @property
    def what(self) -> str:
        """In words, without the shard."""
        late, early, latest = (duration(getattr(self.predicted, end)) for end in ("seconds", "low", "high"))
        return (
            f"predicted to miss its promise: back after {late} ({early} to {latest}), promised is "
            f"{duration(self.objective)}: {self.why}"
        )

    def __str__(self) -> str:
        return f"{self.shard}: {self.what}"


def watch(site: Site, run: Run, step: str, began: datetime, now: datetime) -> Miss | None:
    """After ``step`` (one of several tasks of it, perhaps): the miss, if it is predicted now and was not before.

    :param began: when the run began; the promise counts from there.
    :raises StoreError: the store does not answer, or has no plan.
    """
    objective = site.fleet.tier_of(run.shard_of(site.fleet)).objective_minutes
    if objective is None or run.mode != "promote" or step not in IN_ORDER or step in _BEFORE_THE_PLAN:
        return None
    found = missed(run, foresee(site, run), step, (now - began).total_seconds(), 60 * objective)
    return found if found is not None and _first_to_say(site.store, run, found) else None


def foresee(site: Site, run: Run) -> Forecast:
    """The forecast of a run, made from its plan when it is asked for first.

    One that cannot be read is made again each time: the plan is there, and says the same.

    :raises ObjectMissing: the run has no plan yet.
    """
    key = run.forecast_key
    try:
        return read_json(Forecast, site.store.get(key), on=key, what="a forecast")
    except (ObjectMissing, ObjectCorrupt):
        made = _forecast(site, run)
    try:
        site.store.put(key, made.model_dump_json().encode("utf-8"))
    except ObjectExists:
        pass  # another task of the run was faster; both were made from the same plan
    return made


def _forecast(site: Site, run: Run) -> Forecast:
    plan = load_plan(site.store, run)
    databases = len(load_snapshot_manifest(site.store, plan.snapshot).databases)
    return forecast_of_plan(plan, databases, site.fleet, learn(site.store))


def missed(run: Run, forecast: Forecast, step: str, elapsed: float, objective: float) -> Miss | None:
    """Pure: whether the run will miss, as far as can be told when one task of ``step`` has ended.

    Other tasks of the step may go on, so nothing of it is counted as still to come: a miss that this predicts is
    certain as far as the forecast of the later steps is.
    """
    left = still_to_come(forecast, step)
    predicted = Span(seconds=elapsed + left.seconds, low=elapsed + left.low, high=elapsed + left.high)
    if predicted.seconds <= objective:
        return None
    return Miss(
        shard=run.shard, run_id=run.run_id, predicted=predicted, objective=objective, why=_why(forecast, step, elapsed)
    )


def still_to_come(forecast: Forecast, step: str) -> Span:
    """Pure: how long the steps after this one take, until the shard takes writes again."""
    return _total(forecast, _after(step))


def _total(forecast: Forecast, steps: Sequence[str]) -> Span:
    """These steps, with their share of the time that passes between steps."""
    spans = {one.step: one.span for one in forecast.steps if one.step in (*steps, BETWEEN)}
    if between := spans.get(BETWEEN):
        share = len(steps) / len(IN_ORDER)
        spans[BETWEEN] = Span(seconds=share * between.seconds, low=share * between.low, high=share * between.high)
    return total(spans)


def _after(step: str) -> tuple[str, ...]:
    # Of those that run side by side neither comes after the other.
    place = max(IN_ORDER.index(one) for one in BESIDE) if step in BESIDE else IN_ORDER.index(step)
    return IN_ORDER[place + 1 :]


def _why(forecast: Forecast, step: str, elapsed: float) -> str:
    later = _after(step)
    late = elapsed - _total(forecast, [name for name in IN_ORDER if name not in later]).seconds
    parts = [f"{duration(elapsed)} have passed up to step {step}"]
    if late > _MUCH * elapsed:
        parts.append(f"{duration(late)} more than foreseen")
    spans = {one.step: one.span.seconds for one in forecast.steps if one.step in later}
    if spans:
        longest = max(spans, key=spans.__getitem__)
        parts.append(f"step {longest} alone is foreseen to take {duration(spans[longest])}")
    return ", ".join(parts)


def _first_to_say(store: Store, run: Run, miss: Miss) -> bool:
    try:
        store.put(f"{run.folder_key}/predicted-miss.json", miss.model_dump_json(indent=1).encode("utf-8"))
    except ObjectExists:
        return False
    return True
