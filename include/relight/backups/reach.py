"""How far each snapshot of a catalog leads, and where and why it ends there."""

from __future__ import annotations

from datetime import datetime

from relight.backups.branches import branch_of, is_of, timeline_of
from relight.backups.catalog import Catalog
from relight.backups.chain import follow
from relight.backups.manifest import GtidField, Value
from relight.errors import PlanError
from relight.gtid import GtidSet
from relight.planning.unreachable import reached


class Reach(Value):
    """From one snapshot on."""

    snapshot: str
    usable: bool
    """Whether all of its parts are there."""
    segments: int
    """How many segments follow it."""
    reaches: datetime
    """Commit time of the last transaction that can be reached, or when the snapshot was taken."""
    end_gtids: GtidField
    missing: GtidField
    """The gap: transactions in front of further segments that are in no log. Empty without a gap."""
    beyond: tuple[str, ...]
    """Keys of the segments behind the gap."""
    damaged: tuple[str, ...]
    """Keys of segments that are gone and would lead further."""
    left_out: GtidField
    """Transactions of segments that belong to another history."""


def reaches(catalog: Catalog) -> tuple[Reach, ...]:
    """One entry per snapshot, oldest first."""
    found = []
    for snapshot in catalog.snapshots:
        within = _within(catalog, snapshot.reference.gtids)
        chain = follow(snapshot.reference.gtids, catalog.segments, within, catalog.missing)
        found.append(
            Reach(
                snapshot=snapshot.reference.id, usable=not snapshot.missing, segments=len(chain.links),
                reaches=reached(snapshot, chain), end_gtids=chain.end, missing=chain.missing,
                beyond=tuple(segment.key for segment in chain.beyond),
                damaged=tuple(segment.key for segment in chain.damaged), left_out=chain.left_out,
            )
        )  # fmt: skip
    return tuple(found)


def _within(catalog: Catalog, snapshot: GtidSet) -> GtidSet | None:
    """The history that a restore from the snapshot follows: the present one where the snapshot is part of that."""
    try:
        present = branch_of(catalog)
        if is_of(present, snapshot, catalog):
            return present.within
        return branch_of(catalog, timeline_of(snapshot, catalog.timelines)).within
    except PlanError:
        return None  # two histories: a plan asks which one; here every segment counts
