"""How long restores take: as the newest overview says, and as each run foresees itself once it has a plan."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from relight.errors import ObjectCorrupt, ObjectMissing
from relight.forecast.learning import Speeds, learn
from relight.forecast.values import Forecast, Span
from relight.overview.keeping import newest
from relight.planning.target import Target
from relight.reading import read_json
from relight.reporting.running import RunNow
from relight.site import Run
from relight.store.parallel import in_parallel
from relight_airflow.pages.site import site

_MINUTE = 60
_AGAIN = 30.0
"""Seconds after which a forecast that was not there is looked for again."""
_MOST_KEPT = 5000

_known: dict[str, Forecast] = {}
_missed: dict[str, float] = {}


def run_of(run: RunNow) -> Run:
    """Where a run keeps its objects in the store."""
    return Run(run_id=f"{run.dag}__{run.run}", shard=run.shard, target=Target(kind="latest"))


def speeds() -> Speeds:
    """What past runs have taught: looked up once a minute."""
    return _speeds(int(datetime.now(UTC).timestamp() // _MINUTE))


@lru_cache(maxsize=1)
def _speeds(_minute: int) -> Speeds:
    return learn(site().store)


def forecasts() -> Mapping[str, Span]:
    """Per shard, as the newest overview foresees it: looked up once a minute."""
    return _forecasts(int(datetime.now(UTC).timestamp() // _MINUTE))


@lru_cache(maxsize=1)
def _forecasts(_minute: int) -> Mapping[str, Span]:
    overview = newest(site().store, datetime.now(UTC))
    return {card.shard: card.forecast for card in overview.cards if card.forecast} if overview else {}


def foreseen(runs: Iterable[RunNow]) -> Mapping[str, Forecast]:
    """Per run (``dag/run``) that goes on, its own forecast. It is written once, so it is read once."""
    now = time.monotonic()
    mine = {f"{run.dag}/{run.run}": run for run in runs if run.state == "running"}
    wanted = [key for key in mine if key not in _known and now - _missed.get(key, -_AGAIN) >= _AGAIN]
    if len(_known) > _MOST_KEPT:
        _known.clear()
        _missed.clear()
    for key, found in zip(wanted, in_parallel(lambda key: _read(mine[key]), wanted, 16), strict=True):
        if found is None:
            _missed[key] = now
        else:
            _known[key] = found
    return {key: _known[key] for key in mine if key in _known}


def _read(run: RunNow) -> Forecast | None:
    try:
        key = run_of(run).forecast_key
        return read_json(Forecast, site().store.get(key), on=key, what="a forecast")
    except (ObjectMissing, ObjectCorrupt):
        return None  # none yet, or of another version: the overview's counts
