"""What a person sees before a restore is started: where a shard can go back to, and what a plan would do and lose."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

from relight.backups.catalog import Catalog
from relight.backups.manifest import Value
from relight.backups.reach import reaches
from relight.errors import RelightError
from relight.forecast.values import Span
from relight.planning.plan import Plan


class Stretch(Value):
    """Times that can be reached without a break. ``left``, ``width``: percent of the line that is drawn."""

    begins: datetime
    ends: datetime
    left: float
    width: float


class Reachable(Value):
    """A shard's line of time, from its oldest full backup to now."""

    shard: str
    begins: datetime | None
    """None: there is no full backup that could be used."""
    newest: datetime | None
    now: datetime
    stretches: tuple[Stretch, ...] = ()
    gaps: tuple[Stretch, ...] = ()
    """Between stretches: transactions are missing there."""
    backups: tuple[tuple[float, datetime], ...] = ()
    """Full backups: where on the line, and when."""
    lost: Stretch | None = None
    """From the newest point to now."""


class PlanView(Value):
    """A plan for people, or why there is none. Sizes in bytes, durations in seconds."""

    shard: str
    error: str = ""
    hint: str = ""
    reaches: datetime | None = None
    inside: bool = False
    """Whether the point lies inside a log file, so that ``reaches`` is the latest it can be."""
    lost_seconds: float | None = None
    """From the point that is reached to now: what was written in between is lost."""
    snapshot_at: datetime | None = None
    segments: int = 0
    transactions: int = 0
    download_bytes: int = 0
    disk_bytes: int = 0
    server: str = ""
    forecast: Span | None = None
    notes: tuple[str, ...] = ()


def reachable(catalog: Catalog, now: datetime) -> Reachable:
    """Pure: what each full backup leads to, put together."""
    usable = [
        (s.reference.taken_at, r.reaches)
        for s, r in zip(catalog.snapshots, reaches(catalog), strict=True)
        if r.usable and r.present
    ]
    merged = _merged(usable)
    if not merged:
        return Reachable(shard=catalog.shard, begins=None, newest=None, now=now)
    begins, newest = merged[0][0], merged[-1][1]
    whole = max((now - begins).total_seconds(), 1.0)

    def stretch(a: datetime, b: datetime) -> Stretch:
        return Stretch(
            begins=a, ends=b, left=round(100 * (a - begins).total_seconds() / whole, 3),
            width=round(max(100 * (b - a).total_seconds() / whole, 0.3), 3),
        )  # fmt: skip

    return Reachable(
        shard=catalog.shard, begins=begins, newest=newest, now=now, lost=stretch(newest, now),
        stretches=tuple(stretch(a, b) for a, b in merged),
        gaps=tuple(stretch(one[1], other[0]) for one, other in pairwise(merged)),
        backups=tuple((stretch(taken, taken).left, taken) for taken, _ in usable),
    )  # fmt: skip


def _merged(ranges: list[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    found: list[tuple[datetime, datetime]] = []
    for begins, ends in sorted(ranges):
        if found and begins <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ends))
        else:
            found.append((begins, max(begins, ends)))
    return found


def plan_view(plan: Plan, server: str, forecast: Span | None, now: datetime) -> PlanView:
    """Pure: a plan in the few facts that decide whether it is the right one."""
    return PlanView(
        shard=plan.shard, reaches=plan.reaches, lost_seconds=max((now - plan.reaches).total_seconds(), 0.0),
        inside=plan.target.kind != "time" and any(planned.last for planned in plan.segments),
        snapshot_at=plan.snapshot.taken_at, segments=len(plan.segments),
        transactions=sum(planned.take.count() for planned in plan.segments), download_bytes=plan.download_bytes,
        disk_bytes=plan.disk_bytes, server=server, forecast=forecast, notes=plan.notes,
    )  # fmt: skip


def no_plan(shard: str, error: RelightError) -> PlanView:
    """Why it cannot be, and what can."""
    return PlanView(shard=shard, error=str(error), hint=error.hint)
