"""From catalog and target to a plan. Pure: everything it needs is handed in, nothing is written.

The newest snapshot from which the target can be reached wins. A target that cannot be reached is
an error that says why and names the nearest point that can.

- *latest*: everything that the chain of segments holds. Transactions missing in front of further
  segments are an error, not an earlier end.
- *a time*: the log up to the first transaction that was committed later. The log must go on to that
  time or beyond it, else nobody knows what is missing; a snapshot's own time reaches the snapshot.
- *a GTID*: the log up to that transaction, or to just before it.
- *a position*: the log up to that place in one server's file.

All of them follow one timeline (:mod:`relight.backups.branches`): the present one, unless another is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from relight.backups.branches import (
    Branch,
    branch_of,
    is_of,
    only_adds_strangers,
    present_number,
    refuse_undecided,
    timeline_of,
)
from relight.backups.catalog import Catalog, CatalogSnapshot
from relight.backups.chain import history
from relight.backups.collisions import refuse_older_than_what_it_holds, refuse_overlaps
from relight.backups.manifest import SegmentManifest
from relight.errors import ObjectCorrupt, ObjectMissing, PlanError, RelightError, TargetError, command_line
from relight.gtid import Gtid, GtidSet
from relight.planning.disk import bytes_written
from relight.planning.log_file import segment_of
from relight.planning.plan import Plan, PlannedSegment, SnapshotReference
from relight.planning.routes import Route, route
from relight.planning.target import Target
from relight.planning.unreachable import before_first, damage, not_before_file, parts_missing, text_of
from relight.store import layout


def make_plan(
    catalog: Catalog, target: Target, now: datetime, *, reserve: float = 1.2, skip: GtidSet | None = None,
    timeline: int | None = None,
) -> Plan:  # fmt: skip
    """The plan that leads to ``target``, without the transactions in ``skip``. ``reserve`` is the fleet's
    ``disk_reserve``; ``timeline`` the one to follow, None: the present one.

    :raises TargetError: the target lies outside of what exists. GapError: transactions are missing on
        the way. ObjectMissing, ObjectCorrupt: what the plan needs is damaged. HistoryConflict: one number stands for
        two transactions on it. PlanError: anything else.
    """
    if target.kind == "time" and target.time > now:
        raise TargetError(
            "the target lies in the future", on=str(target), why=f"it is {text_of(now)} now", hint="use latest"
        )
    skip = skip or GtidSet()
    refuse_undecided(catalog)
    intact = _without(skip, _intact_snapshots(catalog))
    branch = _followed(catalog, target, timeline)
    logs = _on(catalog, branch)
    refuse_overlaps(logs, catalog.shard)
    candidates, strangers = _of_branch(catalog, _candidates(catalog, intact, target), branch)

    def attempt(snapshot: CatalogSnapshot) -> Route:
        refuse_older_than_what_it_holds(snapshot, logs, catalog.shard)
        return route(catalog, snapshot, target, branch)

    found = _first_success(candidates, attempt)
    notes = (*strangers.get(found.snapshot.reference.id, ()), *found.notes)
    return _leaving_out(catalog, skip, _plan(catalog, target, now, replace(found, notes=notes), reserve, branch))


def _followed(catalog: Catalog, target: Target, timeline: int | None) -> Branch:
    """The timeline to keep to, and in it the history of the server that has the wanted place.

    :raises TargetError: the place lies in another timeline only.
    """
    if target.kind == "position":
        segment = segment_of(catalog, target.position)
        number = timeline_of(history(segment), catalog.timelines)
        _refuse_other(catalog, target, timeline, {number})
        return Branch(number, history(segment), (segment,))
    if target.kind not in ("gtid", "before"):
        return branch_of(catalog, timeline)
    wanted = target.before if target.kind == "before" else target.gtid
    number = present_number(catalog) if timeline is None else timeline
    holders = [segment for segment in catalog.segments if wanted in segment.gtids]
    if catalog.timelines:
        branch = branch_of(catalog, timeline)
        if branch.within is not None and wanted in branch.within:
            return branch
        by_timeline = {timeline_of(history(segment), catalog.timelines) for segment in holders}
        _refuse_other(catalog, target, timeline, by_timeline)
        holders = [s for s in holders if timeline_of(history(s), catalog.timelines) == number]
    within = history(max(holders, key=lambda s: history(s).count())) if holders else None
    return Branch(number, within, tuple(holders))


def _refuse_other(catalog: Catalog, target: Target, timeline: int | None, there: set[int]) -> None:
    """:raises TargetError: the target lies in timelines that are not the one to follow."""
    wanted = present_number(catalog) if timeline is None else timeline
    if not there or wanted in there:
        return
    which = "the present one" if timeline is None else f"timeline {timeline}"
    where = " and ".join(str(one) for one in sorted(there))
    raise TargetError(
        "the target lies in another timeline", on=str(target),
        why=f"it was committed in timeline {where}, and {which} has given it up",
        hint=f"to follow that one: --timeline {max(there)}; they are drawn by: "
        f"{command_line('catalog', catalog.shard)}",
    )  # fmt: skip


def _on(catalog: Catalog, branch: Branch) -> list[SegmentManifest]:
    """The segments that a chain of this timeline may take something of."""
    within = branch.within
    if within is None or not catalog.timelines:
        return list(catalog.segments)
    return [segment for segment in catalog.segments if segment.gtids & within]


def _of_branch(
    catalog: Catalog, candidates: list[CatalogSnapshot], branch: Branch
) -> tuple[list[CatalogSnapshot], dict[str, tuple[str, ...]]]:
    """Without snapshots that hold what the timeline has not: left behind by a failover, or given up by a restore. With
    notes on those that hold something besides."""
    found: list[CatalogSnapshot] = []
    strangers: dict[str, tuple[str, ...]] = {}
    for snapshot in candidates:
        held = snapshot.reference.gtids
        if is_of(branch, held, catalog):
            found.append(snapshot)
        elif besides := only_adds_strangers(branch, held, catalog):
            found.append(snapshot)
            strangers[snapshot.reference.id] = (
                f"the snapshot holds transactions that its source never had: {besides}",
            )
    if found or not candidates:
        return found, strangers
    foreign = GtidSet.union(s.reference.gtids for s in candidates) - (branch.within or GtidSet())
    raise PlanError(
        f"no snapshot is part of the shard's {_called(catalog, branch)}", on=catalog.shard,
        why=f"they hold transactions that it does not have: {foreign}",
        hint=f"take a full backup now: {command_line('backup', 'full', catalog.shard)}; or follow another "
        f"timeline; they are drawn by: {command_line('catalog', catalog.shard)}",
    )  # fmt: skip


def _called(catalog: Catalog, branch: Branch) -> str:
    return "present history" if branch.number == present_number(catalog) else f"timeline {branch.number}"


def _intact_snapshots(catalog: Catalog) -> list[CatalogSnapshot]:
    """Newest first."""
    intact = [snapshot for snapshot in reversed(catalog.snapshots) if not snapshot.missing]
    if intact:
        return intact
    for snapshot in reversed(catalog.snapshots):
        raise parts_missing(catalog, snapshot)
    unreadable = [entry for entry in catalog.unreadable if layout.is_snapshot_manifest(entry.key)]
    raise PlanError(
        "there is no full backup", on=catalog.shard,
        why="; ".join(f"{entry.key} cannot be read: {entry.why}" for entry in unreadable),
        hint="check the shard's name and the store's prefix, or take one: "
        f"{command_line('backup', 'full', catalog.shard)}",
    )  # fmt: skip


def _candidates(catalog: Catalog, intact: list[CatalogSnapshot], target: Target) -> list[CatalogSnapshot]:
    """Snapshots that hold nothing behind the target, newest first."""
    if found := [snapshot for snapshot in intact if _lies_before(snapshot, target, catalog)]:
        return found
    for snapshot in catalog.snapshots:
        if snapshot.missing and _lies_before(snapshot, target, catalog):
            raise parts_missing(catalog, snapshot)
    if target.kind == "position":
        raise not_before_file(target, segment_of(catalog, target.position), intact[-1])
    raise before_first(target, intact[-1])


def _lies_before(snapshot: CatalogSnapshot, target: Target, catalog: Catalog) -> bool:
    """Whether the snapshot holds nothing that the target leaves out, for certain."""
    held = snapshot.reference.gtids
    if target.kind == "time":
        return snapshot.reference.taken_at <= target.time
    if target.kind == "gtid":
        return _holds_nothing_behind(held, target.gtid, catalog.segments)
    if target.kind == "before":
        return _holds_nothing_from(held, target.before, catalog.segments)
    if target.kind == "position":
        # The manifest does not tell which transaction lies there. What was executed before the file
        # began lies before every position in it.
        return held <= segment_of(catalog, target.position).previous_gtids
    return True


def _without(skip: GtidSet, intact: list[CatalogSnapshot]) -> list[CatalogSnapshot]:
    found = [snapshot for snapshot in intact if not snapshot.reference.gtids & skip]
    if found:
        return found
    raise TargetError(
        "a transaction cannot be left out", on=str(skip), why="every snapshot holds it already",
        hint="nothing in the store reaches back to before it",
    )  # fmt: skip


def _leaving_out(catalog: Catalog, skip: GtidSet, plan: Plan) -> Plan:
    if not skip:
        return plan
    taken = GtidSet.union(planned.take for planned in plan.segments)
    given_up = GtidSet.union(segment.gtids for segment in catalog.segments) - taken if catalog.timelines else GtidSet()
    if unknown := skip - taken - given_up:
        raise TargetError(
            "a transaction cannot be left out", on=str(unknown), why="no log on the way to the target holds it",
            hint=f"check the GTID; which log holds what is shown by: {command_line('catalog', plan.shard)}",
        )  # fmt: skip
    segments = tuple(
        planned.model_copy(update={"take": planned.take - skip, "skip": planned.take & skip})
        for planned in plan.segments
    )
    end = None if plan.end_gtids is None else plan.end_gtids - skip
    return plan.model_copy(update={"segments": segments, "skip": skip, "end_gtids": end})


def _first_success(candidates: list[CatalogSnapshot], attempt: Callable[[CatalogSnapshot], Route]) -> Route:
    failures: list[RelightError] = []
    notes: list[str] = []
    for snapshot in candidates:
        try:
            found = attempt(snapshot)
        except (PlanError, ObjectMissing, ObjectCorrupt) as error:
            failures.append(error)  # an older snapshot may have another way; else the newest one's reason is told
            notes.append(f"snapshot {snapshot.reference.id} was passed over: {error}")
        else:
            return replace(found, notes=(*notes, *found.notes))
    raise failures[0]


def _holds_nothing_behind(held: GtidSet, wanted: Gtid, segments: Sequence[SegmentManifest]) -> bool:
    """Whether ``wanted`` is not in the snapshot, or is for certain the last transaction in it."""
    if wanted not in held:
        return True
    if held.streams[wanted.stream][-1][1] != wanted.number:
        return False
    if len(held.streams) == 1:
        return True
    # Several servers have written. Only a log that holds the transaction tells what came before it.
    if any(wanted in s.previous_gtids and s.gtids & held for s in segments):
        return False
    return any(
        wanted in s.gtids and held <= history(s) and set((s.gtids & held).streams) == {wanted.stream} for s in segments
    )


def _holds_nothing_from(held: GtidSet, unwanted: Gtid, segments: Sequence[SegmentManifest]) -> bool:
    """Whether neither ``unwanted`` is in the snapshot nor anything that some log has behind it.

    A replica that applies side by side may have had later transactions, and not yet this one.
    """
    spans = held.streams.get(unwanted.stream)
    if spans and spans[-1][1] >= unwanted.number:
        return False
    return not any(unwanted in s.previous_gtids and s.gtids & held for s in segments)


def _plan(
    catalog: Catalog, target: Target, now: datetime, found: Route, reserve: float, branch: Branch
) -> Plan:  # fmt: skip
    snapshot, links = found.snapshot.reference, found.links
    segments = tuple(
        PlannedSegment(number=i, segment=link.segment, take=link.take, last=found.cut and i == len(links) - 1)
        for i, link in enumerate(links)
    )
    end = None if found.cut else GtidSet.union([snapshot.gtids, *(link.take for link in links)])
    damaged = (
        f"snapshot {other.reference.id} was passed over: {damage(other)}" for other in catalog.snapshots
        if other.missing and other.reference.taken_at > snapshot.taken_at
    )  # fmt: skip
    return Plan(
        shard=catalog.shard, target=target, made_at=now, snapshot=snapshot, segments=segments, reaches=found.reaches,
        end_gtids=end, download_bytes=snapshot.stored_bytes + sum(link.segment.stored_bytes for link in links),
        disk_bytes=int(reserve * bytes_written(snapshot, [link.segment for link in links])),
        notes=(*damaged, *found.notes, *_lacking(snapshot, end, target)), timeline=branch.number,
    )  # fmt: skip


def _lacking(snapshot: SnapshotReference, end: GtidSet | None, target: Target) -> tuple[str, ...]:
    """A copy of a replica that lagged needs the logs of that time too."""
    lacking = (snapshot.behind or GtidSet()) - (end or GtidSet())
    if target.kind != "latest" or not lacking:
        return ()
    note = (
        f"{lacking.count()} transactions are in no log of the store that the source had when the full backup was "
        f"taken, from a replica that was behind: {lacking}"
    )
    return (note,)
