"""Which of a shard's timelines a restore follows, and what belongs to it. Pure.

``latest``, a time, forecasts and rehearsals follow the timeline that was begun last; an older one is followed only by
those who ask for it by its number. As in PostgreSQL, a timeline is a number and the point where it branched off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from relight.backups.catalog import Catalog
from relight.backups.chain import history, newest_history
from relight.backups.manifest import GtidField, SegmentManifest, Value
from relight.errors import PlanError, TargetError, command_line
from relight.fencing.timelines import ORIGIN, Timeline
from relight.gtid import GtidSet

_NOTHING = GtidSet()


@dataclass(frozen=True)
class Branch:
    """A timeline, as far as the store knows it."""

    number: int
    within: GtidSet | None
    """Every transaction of it. None: nothing limits it, since there is one timeline and no log."""
    segments: tuple[SegmentManifest, ...]
    """What was shipped of it, without what it shares with its parents."""
    began_with: GtidSet = _NOTHING
    began_at: datetime | None = None
    """Until then nothing but ``began_with`` was committed in it."""


class BranchSummary(Value):
    """One timeline for people and programs."""

    number: int
    parent: int | None
    present: bool
    began_at: datetime | None
    began_with: GtidField | None
    server_uuid: str
    run_id: str
    why: str
    segments: int
    snapshots: tuple[str, ...]
    last_commit: datetime | None
    given_up: GtidField
    """Transactions of its parent in the store that it does not have."""


def timeline_of(known: GtidSet, timelines: Sequence[Timeline]) -> int:
    """The newest timeline that has this history in it."""
    return next((one.number for one in reversed(timelines) if one.has(known)), ORIGIN)


def present_number(catalog: Catalog) -> int:
    """The timeline that was begun last."""
    return catalog.timelines[-1].number if catalog.timelines else ORIGIN


def branch_of(catalog: Catalog, number: int | None = None) -> Branch:
    """A timeline; the present one where none is asked for.

    :raises TargetError: the shard has no such timeline. PlanError: two servers wrote histories in it that exclude
        each other; or nobody knows where it began.
    """
    refuse_undecided(catalog)
    wanted = present_number(catalog) if number is None else number
    if not catalog.timelines and wanted == ORIGIN:
        return Branch(ORIGIN, newest_history(catalog.segments), catalog.segments)
    mine = tuple(s for s in catalog.segments if timeline_of(history(s), catalog.timelines) == wanted)
    newest = newest_history(mine)
    if wanted == ORIGIN:
        return Branch(ORIGIN, newest or GtidSet(), mine)
    timeline = next((one for one in catalog.timelines if one.number == wanted), None)
    if timeline is None:
        numbers = ", ".join(str(one) for one in (ORIGIN, *(one.number for one in catalog.timelines)))
        raise TargetError(
            "the shard has no such timeline", on=f"{catalog.shard}, timeline {wanted}", why=f"it has {numbers}",
            hint=f"they are drawn by: {command_line('catalog', catalog.shard)}",
        )  # fmt: skip
    began_with = timeline.began_with
    if began_with is None and newest is None:
        raise PlanError(
            "nobody knows where the present timeline began", on=f"{catalog.shard}, timeline {wanted}",
            why="an older version opened it without a record, its certificate is gone, and no log of it was shipped",
            hint="follow an older one (--timeline); or, if the server lives: "
            f"{command_line('backup', 'logs', catalog.shard)}",
        )  # fmt: skip
    start = began_with if began_with is not None else GtidSet()
    return Branch(wanted, start | (newest or GtidSet()), mine, start, timeline.began_at)


def refuse_undecided(catalog: Catalog) -> None:
    """:raises PlanError: it cannot be told which timelines the shard has."""
    if catalog.undecided:
        raise PlanError(
            "it is not known which timeline the shard follows", on=catalog.shard, why=catalog.undecided,
            hint="restore that object from a copy: without it a restore might bring back what was given up",
        )  # fmt: skip


def is_of(branch: Branch, held: GtidSet, catalog: Catalog) -> bool:
    """Whether a copy that holds these transactions is of that timeline: it holds nothing else; or it is newer than all
    logs that were shipped of it."""
    within = branch.within
    if within is None or held <= within:
        return True
    return within <= held and timeline_of(held, catalog.timelines) == branch.number


def only_adds_strangers(branch: Branch, held: GtidSet, catalog: Catalog) -> GtidSet:
    """What a copy of a replica holds besides: transactions of servers that no log is of, which its source never had.
    Empty: it holds none, or they are of the shard's own servers, so it is of another history."""
    within = branch.within or GtidSet()
    besides, shared = held - within, held & within
    ours = {
        stream for segment in catalog.segments for stream in (*segment.gtids.streams, *segment.previous_gtids.streams)
    }
    ours |= set(within.streams) | {segment.server_uuid for segment in catalog.segments}
    return GtidSet() if not shared or ours & set(besides.streams) else besides


def summaries(catalog: Catalog) -> tuple[BranchSummary, ...]:
    """Every timeline of the shard, oldest first, with what each gave up."""
    return tuple(_summary(catalog, number) for number in (ORIGIN, *(one.number for one in catalog.timelines)))


def _summary(catalog: Catalog, number: int) -> BranchSummary:
    timeline = next((one for one in catalog.timelines if one.number == number), None)
    mine = [s for s in catalog.segments if timeline_of(history(s), catalog.timelines) == number]
    return BranchSummary(
        number=number, parent=timeline.parent if timeline else None, present=number == present_number(catalog),
        began_at=timeline.began_at if timeline else None, began_with=timeline.began_with if timeline else None,
        server_uuid=timeline.server_uuid if timeline else "", run_id=timeline.run_id if timeline else "",
        why=timeline.why if timeline else "", segments=len(mine),
        snapshots=tuple(
            one.reference.id for one in catalog.snapshots
            if timeline_of(one.reference.gtids, catalog.timelines) == number
        ),
        last_commit=max((s.last_commit for s in mine if s.last_commit), default=None),
        given_up=_given_up(catalog, timeline) if timeline else GtidSet(),
    )  # fmt: skip


def _given_up(catalog: Catalog, timeline: Timeline) -> GtidSet:
    if timeline.began_with is None:
        return GtidSet()
    known = [history(s) for s in catalog.segments] + [s.reference.gtids for s in catalog.snapshots]
    of_parent = (one for one in known if timeline_of(one, catalog.timelines) == timeline.parent)
    return GtidSet.union(of_parent) - timeline.began_with
