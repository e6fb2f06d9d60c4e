"""What a plan knows of the settings and the time zone that its logs were written under. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from relight.backups.manifest import Surroundings, SystemZone
from relight.planning.plan import Plan


def known_for(plan: Plan, number: int) -> Surroundings | None:
    """What the server of segment ``number`` computed with, as far as is known: told when it was shipped, else what was
    told of that server before, at last when the snapshot was taken."""
    return next(_told(plan, number), None)


def is_certain(plan: Plan, number: int) -> bool:
    """Whether it was told behind the segment, and nothing else before it: then it was the same all the time, unless it
    was changed and changed back."""
    own = plan.segments[number].segment.surroundings
    told = list(_told(plan, number))[:2]
    return own is not None and all(one == own for one in told)


def zone_of(plan: Plan) -> SystemZone | None:
    """The time zone of the shard's source, as it was told last."""
    told = next(_told(plan, len(plan.segments) - 1), None) if plan.segments else None
    known = told or plan.snapshot.surroundings
    return known.zone if known else None


def _told(plan: Plan, number: int) -> Iterator[Surroundings]:
    """Of the server of a segment, the newest first."""
    server = plan.segments[number].segment.server_uuid
    for planned in reversed(plan.segments[: number + 1]):
        if planned.segment.surroundings and planned.segment.server_uuid == server:
            yield planned.segment.surroundings
    if plan.snapshot.surroundings and plan.snapshot.surroundings.server_uuid == server:
        yield plan.snapshot.surroundings
