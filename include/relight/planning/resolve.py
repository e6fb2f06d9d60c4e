"""From catalog and target to a plan. Pure: everything it needs is handed in, nothing is written.

The newest snapshot from which the target can be reached wins. A target that cannot be reached is
an error that says why and names the nearest point that can.

- *latest*: everything that the chain of segments holds. Transactions missing in front of further
  segments are an error, not an earlier end.
- *a time*: the log up to the first transaction that was committed later. The log must go on to that
  time or beyond it, else nobody knows what is missing; a snapshot's own time reaches the snapshot.
- *a GTID*: the log up to that transaction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile

from relight.backups.catalog import Catalog, CatalogSnapshot
from relight.backups.chain import Chain, Link, follow, history, newest_history
from relight.backups.manifest import SegmentManifest
from relight.errors import ObjectCorrupt, ObjectMissing, PlanError, RelightError, TargetError
from relight.gtid import Gtid, GtidSet
from relight.planning.plan import Plan, PlannedSegment
from relight.planning.target import Target
from relight.planning.unreachable import at, before_first, damage, gap, parts_missing, reached, text_of, unknown
from relight.store import layout


@dataclass(frozen=True)
class _Route:
    """A snapshot and what follows it; ``cut`` where the target lies inside the last link."""

    snapshot: CatalogSnapshot
    links: tuple[Link, ...]
    reaches: datetime
    notes: tuple[str, ...] = ()
    cut: bool = False


_Attempt = Callable[[CatalogSnapshot], _Route]
"""Finds the way from one snapshot, or raises why there is none."""


def make_plan(catalog: Catalog, target: Target, now: datetime, *, reserve: float = 1.2) -> Plan:
    """The plan that leads to ``target``. ``reserve`` is the fleet's ``disk_reserve``.

    :raises TargetError: the target lies outside of what exists. GapError: transactions are missing on
        the way. ObjectMissing, ObjectCorrupt: what the plan needs is damaged. PlanError: anything else.
    """
    if target.kind == "time" and target.time > now:
        raise TargetError(
            "the target lies in the future", on=str(target), why=f"it is {text_of(now)} now", hint="use latest"
        )
    intact = _intact_snapshots(catalog)
    within = _history(catalog, target)
    candidates = _of_history(catalog, _candidates(catalog, intact, target), within)
    attempt = {"latest": _to_latest, "time": _to_time, "gtid": _to_gtid}[target.kind]
    route = _first_success(candidates, lambda s: attempt(catalog, s, target, within))
    return _plan(catalog, target, now, route, reserve)


def _history(catalog: Catalog, target: Target) -> GtidSet | None:
    """The history to keep to: the newest one, or that of the server which has the wanted transaction."""
    if target.kind != "gtid":
        return newest_history(catalog.segments)
    holders = [segment for segment in catalog.segments if target.gtid in segment.gtids]
    return history(max(holders, key=lambda s: history(s).count())) if holders else None


def _of_history(catalog: Catalog, candidates: list[CatalogSnapshot], within: GtidSet | None) -> list[CatalogSnapshot]:
    """Without snapshots that hold what was left behind: by a failover, or by a restore to an earlier point."""
    if within is None:
        return candidates
    left_behind = functools.reduce(GtidSet.__or__, (segment.gtids for segment in catalog.segments)) - within
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
    if target.kind == "latest":
        return intact
    if target.kind == "gtid":
        before = [snapshot for snapshot in intact if _holds_nothing_behind(snapshot, target.gtid, catalog.segments)]
        if not before:
            raise before_first(target, intact[-1])
        return before
    if found := [snapshot for snapshot in intact if snapshot.reference.taken_at <= target.time]:
        return found
    for snapshot in catalog.snapshots:
        if snapshot.missing and snapshot.reference.taken_at <= target.time:
            raise parts_missing(catalog, snapshot)
    raise before_first(target, intact[-1])


def _first_success(candidates: list[CatalogSnapshot], attempt: _Attempt) -> _Route:
    failures: list[RelightError] = []
    notes: list[str] = []
    for snapshot in candidates:
        try:
            route = attempt(snapshot)
        except (PlanError, ObjectMissing, ObjectCorrupt) as error:
            failures.append(error)  # an older snapshot may have another way; else the newest one's reason is told
            notes.append(f"snapshot {snapshot.reference.id} was passed over: {error}")
        else:
            return replace(route, notes=(*notes, *route.notes))
    raise failures[0]


def _to_latest(catalog: Catalog, snapshot: CatalogSnapshot, target: Target, within: GtidSet | None) -> _Route:
    chain = _chain(catalog, snapshot, within)
    _refuse_damage(catalog, snapshot, chain)
    if chain.beyond:
        raise gap(catalog, snapshot, chain, target)
    return _Route(snapshot, chain.links, reached(snapshot, chain), _notes(chain))


def _to_time(catalog: Catalog, snapshot: CatalogSnapshot, target: Target, within: GtidSet | None) -> _Route:
    chain = _chain(catalog, snapshot, within)
    links: list[Link] = []
    for link in takewhile(lambda one: _first(one.segment) <= target.time, chain.links):
        links.append(link)
        if _last(link.segment) > target.time:
            return _Route(snapshot, tuple(links), target.time, _notes(chain), cut=True)
    goes_on = len(links) < len(chain.links) or any(_last(link.segment) == target.time for link in links)
    if goes_on or snapshot.reference.taken_at == target.time:
        return _Route(snapshot, tuple(links), target.time, _notes(chain))
    _refuse_damage(catalog, snapshot, chain)
    if chain.beyond:
        raise gap(catalog, snapshot, chain, target)
    raise TargetError(
        "the logs in the store do not go as far as the target", on=str(target),
        why=f"the last transaction in them was committed at {text_of(reached(snapshot, chain))}",
        hint=f"the nearest reachable point is latest; newer logs are shipped by: relight backup logs {catalog.shard}",
    )  # fmt: skip


def _to_gtid(catalog: Catalog, snapshot: CatalogSnapshot, target: Target, within: GtidSet | None) -> _Route:
    wanted = target.gtid
    if wanted in snapshot.reference.gtids:
        return _Route(snapshot, (), snapshot.reference.taken_at)
    chain = _chain(catalog, snapshot, within)
    for number, link in enumerate(chain.links, start=1):
        if wanted in link.take:
            return _Route(snapshot, chain.links[:number], _last(link.segment), cut=True)
    if within is None and wanted not in chain.missing:
        _refuse_unreadable(catalog, chain)
        raise unknown(catalog, snapshot, chain, target)
    _refuse_damage(catalog, snapshot, chain)
    raise gap(catalog, snapshot, chain, target)


def _holds_nothing_behind(snapshot: CatalogSnapshot, wanted: Gtid, segments: Sequence[SegmentManifest]) -> bool:
    """Whether ``wanted`` is not in the snapshot, or is for certain the last transaction in it."""
    held = snapshot.reference.gtids
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


def _chain(catalog: Catalog, snapshot: CatalogSnapshot, within: GtidSet | None) -> Chain:
    return follow(snapshot.reference.gtids, catalog.segments, within, catalog.missing)


def _refuse_damage(catalog: Catalog, snapshot: CatalogSnapshot, chain: Chain) -> None:
    """Raise if the chain ends where it does because something of the store is gone or cannot be read."""
    for segment in chain.damaged:
        raise ObjectMissing(
            "a segment is gone", on=segment.key, why=f"its manifest says that it holds {segment.gtids}",
            hint=f"the last reachable point before it: {at(reached(snapshot, chain))}",
        )  # fmt: skip
    _refuse_unreadable(catalog, chain)


def _refuse_unreadable(catalog: Catalog, chain: Chain) -> None:
    for entry in catalog.unreadable:
        identity = layout.segment_identity(entry.key)
        if identity and not any(_comes_after(segment, *identity, chain.end) for segment in catalog.segments):
            raise ObjectCorrupt(
                "the manifest of a segment cannot be read", on=entry.key, why=entry.why,
                hint="restore the object from a copy; without it nobody knows which transactions it stands for",
            )  # fmt: skip


def _comes_after(segment: SegmentManifest, server_uuid: str, file: str, end: GtidSet) -> bool:
    """Whether everything that was in that file is in ``end``, since a later file of its server says so."""
    number, other = segment.file.rpartition(".")[2], file.rpartition(".")[2]
    later = (len(number), number) > (len(other), other)
    return segment.server_uuid == server_uuid and later and segment.previous_gtids <= end


def _plan(catalog: Catalog, target: Target, now: datetime, route: _Route, reserve: float) -> Plan:
    snapshot, links = route.snapshot.reference, route.links
    segments = tuple(
        PlannedSegment(number=i, segment=link.segment, take=link.take, last=route.cut and i == len(links) - 1)
        for i, link in enumerate(links)
    )
    end = None if route.cut else functools.reduce(GtidSet.__or__, (link.take for link in links), snapshot.gtids)
    damaged = (
        f"snapshot {other.reference.id} was passed over: {damage(other)}" for other in catalog.snapshots
        if other.missing and other.reference.taken_at > snapshot.taken_at
    )  # fmt: skip
    return Plan(
        shard=catalog.shard, target=target, made_at=now, snapshot=snapshot, segments=segments, reaches=route.reaches,
        end_gtids=end, download_bytes=snapshot.stored_bytes + sum(link.segment.stored_bytes for link in links),
        disk_bytes=int(reserve * (snapshot.data_bytes + sum(link.segment.log_bytes for link in links))),
        notes=(*damaged, *route.notes),
    )  # fmt: skip


def _notes(chain: Chain) -> tuple[str, ...]:
    if not chain.left_out:
        return ()
    return (f"{chain.left_out.count()} transactions that a failover left behind are not replayed: {chain.left_out}",)


def _first(segment: SegmentManifest) -> datetime:
    return segment.first_commit or datetime.max.replace(tzinfo=UTC)


def _last(segment: SegmentManifest) -> datetime:
    return segment.last_commit or datetime.min.replace(tzinfo=UTC)
