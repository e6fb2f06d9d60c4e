"""From catalog and target to a plan. Pure: everything it needs is handed in, nothing is written.

The newest snapshot from which the target can be reached wins. A target that cannot be reached is
an error that says why and names the nearest point that can.

- *latest*: everything that the chain of segments holds. Transactions missing in front of further
  segments are an error, not an earlier end.
- *a time*: the log up to the first transaction that was committed later. The log must go on to that
  time or beyond it, else nobody knows what is missing; a snapshot's own time reaches the snapshot.
- *a GTID*: the log up to that transaction, or to just before it.
- *a position*: the log up to that place in one server's file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from relight.backups.catalog import Catalog, CatalogSnapshot
from relight.backups.chain import history, newest_history
from relight.backups.manifest import SegmentManifest
from relight.errors import ObjectCorrupt, ObjectMissing, PlanError, RelightError, TargetError
from relight.gtid import Gtid, GtidSet
from relight.planning.log_file import segment_of
from relight.planning.plan import Plan, PlannedSegment, SnapshotReference
from relight.planning.routes import Route, route
from relight.planning.target import Target
from relight.planning.unreachable import before_first, damage, not_before_file, parts_missing, text_of
from relight.store import layout


def make_plan(
    catalog: Catalog, target: Target, now: datetime, *, reserve: float = 1.2, skip: GtidSet | None = None
) -> Plan:  # fmt: skip
    """The plan that leads to ``target``, without the transactions in ``skip``. ``reserve`` is the fleet's
    ``disk_reserve``.

    :raises TargetError: the target lies outside of what exists. GapError: transactions are missing on
        the way. ObjectMissing, ObjectCorrupt: what the plan needs is damaged. PlanError: anything else.
    """
    if target.kind == "time" and target.time > now:
        raise TargetError(
            "the target lies in the future", on=str(target), why=f"it is {text_of(now)} now", hint="use latest"
        )
    skip = skip or GtidSet()
    intact = _without(skip, _intact_snapshots(catalog))
    within = _history(catalog, target)
    candidates = _of_history(catalog, _candidates(catalog, intact, target), within)
    found = _first_success(candidates, lambda snapshot: route(catalog, snapshot, target, within))
    return _leaving_out(skip, _plan(catalog, target, now, found, reserve))


def _history(catalog: Catalog, target: Target) -> GtidSet | None:
    """The history to keep to: the newest one, or that of the server which has the wanted place."""
    if target.kind == "position":
        return history(segment_of(catalog, target.position))
    if target.kind not in ("gtid", "before"):
        return newest_history(catalog.segments)
    wanted = target.before if target.kind == "before" else target.gtid
    holders = [segment for segment in catalog.segments if wanted in segment.gtids]
    return history(max(holders, key=lambda s: history(s).count())) if holders else None


def _of_history(catalog: Catalog, candidates: list[CatalogSnapshot], within: GtidSet | None) -> list[CatalogSnapshot]:
    """Without snapshots that hold what was left behind: by a failover, or by a restore to an earlier point."""
    if within is None or all(segment.gtids <= within for segment in catalog.segments):
        return candidates
    left_behind = GtidSet.union(segment.gtids for segment in catalog.segments) - within
    found = [snapshot for snapshot in candidates if not snapshot.reference.gtids & left_behind]
    if found:
        return found
    raise PlanError(
        "no snapshot is part of the shard's present history", on=catalog.shard,
        why=f"they hold transactions that the newest logs have left behind: {left_behind}",
        hint=f"take a full backup now: relight backup full {catalog.shard}",
    )  # fmt: skip


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
        hint=f"check the shard's name and the store's prefix, or take one: relight backup full {catalog.shard}",
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


def _leaving_out(skip: GtidSet, plan: Plan) -> Plan:
    if not skip:
        return plan
    taken = GtidSet.union(planned.take for planned in plan.segments)
    if unknown := skip - taken:
        raise TargetError(
            "a transaction cannot be left out", on=str(unknown), why="no log on the way to the target holds it",
            hint=f"check the GTID; relight catalog {plan.shard} shows which log holds what",
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


def _plan(catalog: Catalog, target: Target, now: datetime, found: Route, reserve: float) -> Plan:
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
        disk_bytes=int(reserve * (snapshot.data_bytes + sum(link.segment.log_bytes for link in links))),
        notes=(*damaged, *found.notes, *_lacking(snapshot, end, target)),
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
