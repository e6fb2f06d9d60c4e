"""The way from one snapshot to a target: the segments that follow it, or why they do not lead there.

Pure, and about one snapshot at a time; which snapshot is tried is decided in ``resolve``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile

from relight.backups.branches import Branch
from relight.backups.catalog import Catalog, CatalogSnapshot
from relight.backups.chain import Chain, Link, follow
from relight.backups.manifest import SegmentManifest
from relight.errors import ObjectCorrupt, TargetError, command_line
from relight.gtid import Gtid, GtidSet
from relight.planning.log_file import segment_of
from relight.planning.target import Target
from relight.planning.unreachable import gap, reached, segment_gone, text_of, unknown, whole_until
from relight.store import layout


@dataclass(frozen=True)
class Route:
    """A snapshot and what follows it; ``cut`` where the target lies inside the last link."""

    snapshot: CatalogSnapshot
    links: tuple[Link, ...]
    reaches: datetime
    notes: tuple[str, ...] = ()
    cut: bool = False


_Way = Callable[[Catalog, CatalogSnapshot, Target, Branch], Route]
"""Finds the way from one snapshot within a history, or raises why there is none."""


def route(catalog: Catalog, snapshot: CatalogSnapshot, target: Target, branch: Branch) -> Route:
    """The way from ``snapshot``, taking only transactions of the timeline that the target lies in.

    :raises PlanError: the segments do not lead to the target. ObjectMissing, ObjectCorrupt: they would,
        and one of them is damaged.
    """
    ways: dict[str, _Way] = {
        "latest": _to_latest, "time": _to_time, "gtid": _to_gtid, "before": _to_before, "position": _to_position,
    }  # fmt: skip
    return ways[target.kind](catalog, snapshot, target, branch)


def _to_latest(catalog: Catalog, snapshot: CatalogSnapshot, target: Target, branch: Branch) -> Route:
    chain = _chain(catalog, snapshot, branch.within)
    _refuse_damage(catalog, snapshot, chain)
    if chain.beyond:
        raise gap(catalog, snapshot, chain, target)
    return Route(snapshot, chain.links, whole_until(branch, snapshot, chain), _notes(chain))


def _to_time(catalog: Catalog, snapshot: CatalogSnapshot, target: Target, branch: Branch) -> Route:
    chain = _chain(catalog, snapshot, branch.within)
    links: list[Link] = []
    for link in takewhile(lambda one: _first(one.segment) <= target.time, chain.links):
        links.append(link)
        if _last(link.segment) > target.time:
            return Route(snapshot, tuple(links), target.time, _notes(chain), cut=True)
    goes_on = len(links) < len(chain.links) or any(_last(link.segment) == target.time for link in links)
    if goes_on or snapshot.reference.shows == target.time or _began_later(branch, chain, target):
        return Route(snapshot, tuple(links), target.time, _notes(chain))
    _refuse_damage(catalog, snapshot, chain)
    if chain.beyond:
        raise gap(catalog, snapshot, chain, target)
    raise TargetError(
        "the logs in the store do not go as far as the target", on=str(target),
        why=f"the last transaction in them was committed at {text_of(reached(snapshot, chain))}",
        hint="the nearest reachable point is latest; newer logs are shipped by: "
        f"{command_line('backup', 'logs', catalog.shard)}",
    )  # fmt: skip


def _to_gtid(catalog: Catalog, snapshot: CatalogSnapshot, target: Target, branch: Branch) -> Route:
    if target.gtid in snapshot.reference.gtids:
        return Route(snapshot, (), snapshot.reference.shows or snapshot.reference.taken_at)
    return _to_file_with(target.gtid, catalog, snapshot, target, branch)


def _to_before(catalog: Catalog, snapshot: CatalogSnapshot, target: Target, branch: Branch) -> Route:
    return _to_file_with(target.before, catalog, snapshot, target, branch)


def _to_file_with(wanted: Gtid, catalog: Catalog, snapshot: CatalogSnapshot, target: Target, branch: Branch) -> Route:
    chain = _chain(catalog, snapshot, branch.within)
    for number, link in enumerate(chain.links, start=1):
        if wanted in link.take:
            return Route(snapshot, chain.links[:number], _last(link.segment), cut=True)
    if branch.within is None and wanted not in chain.missing:
        _refuse_unreadable(catalog, chain)
        raise unknown(catalog, snapshot, chain, target)
    _refuse_damage(catalog, snapshot, chain)
    raise gap(catalog, snapshot, chain, target)


def _to_position(catalog: Catalog, snapshot: CatalogSnapshot, target: Target, _: Branch) -> Route:
    """Everything that the server had executed before the file, from whichever logs; then the file itself.

    What counts behind a position is the order of this very file. The same transactions may lie in
    another server's log as well, in other places, so the file is never left to the chain to choose.
    """
    segment = segment_of(catalog, target.position)
    chain = _chain(catalog, snapshot, segment.previous_gtids)
    if not segment.previous_gtids <= chain.end:
        _refuse_damage(catalog, snapshot, chain)
        missing = chain.missing if chain.beyond else segment.previous_gtids - chain.end
        raise gap(catalog, snapshot, replace(chain, beyond=(*chain.beyond, segment), missing=missing), target)
    if segment.key in catalog.missing:
        raise segment_gone(segment, reached(snapshot, chain))
    links = (*chain.links, Link(segment, segment.gtids - chain.end))
    return Route(snapshot, links, _last(segment), cut=True)


def _began_later(branch: Branch, chain: Chain, target: Target) -> bool:
    """Whether the timeline began behind the wanted time: until then nothing was committed but what it began with."""
    return branch.began_at is not None and target.time <= branch.began_at and branch.began_with <= chain.end


def _chain(catalog: Catalog, snapshot: CatalogSnapshot, within: GtidSet | None) -> Chain:
    return follow(snapshot.reference.gtids, catalog.segments, within, catalog.missing)


def _refuse_damage(catalog: Catalog, snapshot: CatalogSnapshot, chain: Chain) -> None:
    """Raise if the chain ends where it does because something of the store is gone or cannot be read."""
    for segment in chain.damaged:
        raise segment_gone(segment, reached(snapshot, chain))
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


def _notes(chain: Chain) -> tuple[str, ...]:
    if not chain.left_out:
        return ()
    left = chain.left_out
    return (f"{left.count()} transactions that a failover left behind, or a restore gave up, are not replayed: {left}",)


def _first(segment: SegmentManifest) -> datetime:
    return segment.first_commit or datetime.max.replace(tzinfo=UTC)


def _last(segment: SegmentManifest) -> datetime:
    return segment.last_commit or datetime.min.replace(tzinfo=UTC)
