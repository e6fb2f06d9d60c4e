"""Numbers for a monitoring system, taken from overviews and from what steps give. Who sends them is not known here.

Names are relative to the prefix of the monitoring system (``airflow``). Seconds, bytes, counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal

from relight.backups.manifest import Value
from relight.overview.card import Card, Overview

METRICS: Final[Mapping[str, str]] = {
    "relight.shard.data_loss_window_seconds": "Age of the newest commit in the store: what came after it would be lost",
    "relight.shard.unshipped_seconds": "The same as the source sees it: 0 if everything was shipped",
    "relight.shard.proof_age_seconds": "Since the last rehearsal that proved the shard",
    "relight.shard.full_backup_age_seconds": "Since the newest full backup was taken",
    "relight.shard.forecast_seconds": "How long a restore would take",
    "relight.shard.objective_seconds": "How long it may take",
    "relight.fleet.shards": "Shards by health",
    "relight.lane.bytes_per_second": "Log that a lane group has replayed, per second",
    "relight.run.seconds": "How long the last restore or rehearsal took, from its first step to its last",
    "relight.run.data_loss_window_seconds": "What it could not bring back: from its newest commit to its plan",
    "relight.verdicts": "Tables that were judged, by verdict (counted up)",
    "relight.promises.predicted_to_miss": "Restores that were predicted to miss their objective (counted up)",
}
"""Every metric there is, and what it says."""


class Metric(Value):
    """One number. ``count``: it is added to what was counted before."""

    name: str
    value: float
    tags: dict[str, str]
    kind: Literal["gauge", "count"] = "gauge"


def of_overview(overview: Overview, now: datetime) -> Iterator[Metric]:
    """What the fleet looks like."""
    for card in overview.cards:
        yield from _of_card(card, now)
    for health in ("good", "warning", "bad", "unknown"):
        count = sum(card.health == health for card in overview.cards)
        yield Metric(name="relight.fleet.shards", value=count, tags={"health": health})


def _of_card(card: Card, now: datetime) -> Iterator[Metric]:
    known = {
        "data_loss_window_seconds": card.data_loss_seconds(now), "proof_age_seconds": _age(card.proved_at, now),
        "full_backup_age_seconds": _age(card.snapshot_at, now),
        "forecast_seconds": card.forecast.seconds if card.forecast else None,
        "objective_seconds": card.objective_seconds,
    }  # fmt: skip
    tags = {"shard": card.shard, "tier": str(card.tier)}
    for name, value in known.items():
        if value is not None:
            yield Metric(name=f"relight.shard.{name}", value=round(value, 3), tags=tags)


def _age(time: datetime | None, now: datetime) -> float | None:
    return None if time is None else (now - time).total_seconds()


def of_result(step: str, result: Mapping[str, Any], *, shard: str, tier: int, mode: str = "") -> Iterator[Metric]:
    """What one call of a step tells, from the summary that it gives as JSON.

    :param step: the step function's name, without its module.
    """
    tags = {"shard": shard, "tier": str(tier)}
    if step == "ship_segments" and result["loss_window_seconds"] is not None:
        yield Metric(name="relight.shard.unshipped_seconds", value=result["loss_window_seconds"], tags=tags)
    elif step == "replay_group" and result.get("seconds") and result.get("bytes"):
        yield Metric(
            name="relight.lane.bytes_per_second", value=round(result["bytes"] / result["seconds"], 1),
            tags={**tags, "mode": mode, "group": str(result["number"])},
        )  # fmt: skip
    elif step == "validate_database":
        counts = {
            "match": result["matches"], "mismatch": len(result["mismatches"]),
            "inconclusive": len(result["inconclusive"]),
        }  # fmt: skip
        for verdict, count in counts.items():
            if count:
                yield Metric(
                    name="relight.verdicts", value=count, tags={**tags, "mode": mode, "verdict": verdict}, kind="count"
                )
    elif step == "write_report":
        yield from _of_report(result, {**tags, "mode": mode})


def _of_report(result: Mapping[str, Any], tags: dict[str, str]) -> Iterator[Metric]:
    yield Metric(name="relight.run.seconds", value=result["seconds"], tags={**tags, "outcome": result["outcome"]})
    if result["data_loss_window_s"] is not None:
        yield Metric(name="relight.run.data_loss_window_seconds", value=result["data_loss_window_s"], tags=tags)


def of_miss(shard: str, tier: int) -> Metric:
    """A restore is predicted to miss its objective."""
    tags = {"shard": shard, "tier": str(tier)}
    return Metric(name="relight.promises.predicted_to_miss", value=1, tags=tags, kind="count")
