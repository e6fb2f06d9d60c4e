"""What rehearsals have shown over time, as plots and tables. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from relight.backups.manifest import Value
from relight.rehearsal.history import RehearsalRecord, ShardHistory
from relight.sabotage import SABOTAGES, Sabotage

DAYS: Final = 60
"""So far back plots go."""


class Dot(Value):
    """One rehearsal in a plot. ``x`` from 0 (the oldest day) to 100 (now), ``y`` from 0 (none) to 100 (the longest)."""

    x: float
    y: float
    failed: bool
    record: RehearsalRecord


class Trend(Value):
    """Recovery times of one shard, oldest first. ``most``: seconds at the top of the plot."""

    shard: str
    most: float
    dots: tuple[Dot, ...]
    line: str
    """The points of those that proved something, for an SVG polyline."""
    last: float | None
    change: float | None
    """The last against the median of those before it, as a factor; None with fewer than three."""


class SabotageRow(Value):
    """One kind: how often it was found, and when last."""

    kind: Sabotage
    found: int
    last: datetime | None
    by: tuple[str, ...]


class Trends(Value):
    """Everything that the page shows besides its table."""

    trends: tuple[Trend, ...]
    sabotages: tuple[SabotageRow, ...]
    coverage: tuple[tuple[float, float], ...]
    """Per day, x and the percentage of shards whose proof was no older than allowed."""
    missed: tuple[RehearsalRecord, ...]
    """Rehearsals that proved the shard and failed then: what was broken was not found, or not cleanly."""


def make_trends(histories: Sequence[ShardHistory], now: datetime, within_days: float) -> Trends:
    """``within_days``: how old a proof may be to count."""
    records = [record for history in histories for record in history.rehearsals]
    return Trends(
        trends=tuple(_trend(history, now) for history in histories if history.rehearsals),
        sabotages=tuple(_sabotage(kind, records) for kind in SABOTAGES),
        coverage=tuple(_coverage(histories, now, within_days)),
        missed=tuple(one for one in records if one.proved and one.outcome == "failed"),
    )  # fmt: skip


def _trend(history: ShardHistory, now: datetime) -> Trend:
    since = now - timedelta(days=DAYS)
    mine = [one for one in reversed(history.rehearsals) if one.ended >= since]
    most = max((one.restore_seconds for one in mine), default=0.0) or 1.0
    dots = [
        Dot(
            x=_x(one.ended, now), y=round(100 * one.restore_seconds / most, 2), failed=one.outcome == "failed",
            record=one,
        )
        for one in mine
    ]  # fmt: skip
    proved = [one.restore_seconds for one in mine if one.proved]
    before = sorted(proved[:-1])
    return Trend(
        shard=history.shard, most=most, dots=tuple(dots), last=proved[-1] if proved else None,
        line=" ".join(f"{dot.x},{100 - dot.y:.2f}" for dot in dots if dot.record.proved),
        change=proved[-1] / before[len(before) // 2] if len(before) > 1 and before[len(before) // 2] else None,
    )  # fmt: skip


def _x(time: datetime, now: datetime) -> float:
    return round(100 - 100 * (now - time).total_seconds() / (DAYS * 86400), 2)


def _sabotage(kind: Sabotage, records: Iterable[RehearsalRecord]) -> SabotageRow:
    found = sorted((one for one in records if one.sabotage == kind), key=lambda one: one.ended)
    by = dict.fromkeys(check for one in found for check in one.caught_by)
    return SabotageRow(kind=kind, found=len(found), last=found[-1].ended if found else None, by=tuple(by))


def _coverage(histories: Sequence[ShardHistory], now: datetime, within_days: float) -> Iterable[tuple[float, float]]:
    allowed = timedelta(days=within_days)
    for back in range(DAYS, -1, -1):
        day = now - timedelta(days=back)
        proved = sum(
            any(one.proved and day - allowed <= one.ended <= day for one in history.rehearsals) for history in histories
        )
        yield _x(day, now), round(100 * proved / len(histories), 2) if histories else 0.0
