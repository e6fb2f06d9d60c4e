"""Sends numbers through Airflow's own metrics, wherever those are configured to go (StatsD, Datadog, OpenTelemetry).

Nothing is sent where Airflow sends none. Sending fails no task: Airflow's clients drop what they cannot deliver.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.configuration import conf
from airflow.sdk.observability import stats

from relight.fleet import Fleet
from relight.site import Run

if TYPE_CHECKING:
    from relight.overview.metrics import Metric

_BURST, _PAUSE = 50, 0.01
"""A datagram that finds the receiver's buffer full is lost, and a large fleet has thousands of numbers."""


def emit(metrics: Iterable[Metric]) -> None:
    """Send all of them.

    Plain StatsD has no tags and would mix all shards up, so there the tags' values become part of the name:
    ``relight.shard.proof_age_seconds.shard-1.2``.
    """
    tagged = _tags_are_sent()
    for number, one in enumerate(metrics, start=1):
        name = one.name if tagged else ".".join([one.name, *(_plain(value) for value in one.tags.values())])
        if one.kind == "count":
            stats.incr(name, int(one.value), tags=one.tags)
        else:
            stats.gauge(name, one.value, tags=one.tags)
        if number % _BURST == 0:
            time.sleep(_PAUSE)


def after_step(step: Callable[..., Any], fleet: Fleet, run: Run, result: Any) -> None:
    """What a step of a run gave: one summary, or a list of them."""
    from relight.overview.metrics import of_result  # only once there is a result: every task imports this module

    for one in result if isinstance(result, list) else [result]:
        emit(of_result(step.__name__, one, shard=run.shard, tier=run.shard_of(fleet).tier, mode=run.mode))


def after_shard(step: Callable[..., Any], fleet: Fleet, shard: str, result: Mapping[str, Any]) -> None:
    """What was done for one shard on its own: logs that were shipped."""
    from relight.overview.metrics import of_result

    emit(of_result(step.__name__, result, shard=shard, tier=fleet.shard(shard).tier))


def _tags_are_sent() -> bool:
    """As Airflow chooses: Datadog before StatsD before OpenTelemetry."""
    if conf.getboolean("metrics", "statsd_datadog_enabled", fallback=False):
        return True
    if conf.getboolean("metrics", "statsd_on", fallback=False):
        return bool(conf.getboolean("metrics", "statsd_influxdb_enabled", fallback=False))
    return True


def _plain(value: str) -> str:
    return stats.normalize_name_for_stats(value, log_warning=False).replace(".", "__")
