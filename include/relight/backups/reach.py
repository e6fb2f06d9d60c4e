"""How far each snapshot of a catalog leads, and where and why it ends there."""

from __future__ import annotations

from datetime import datetime

from relight.backups.branches import Branch, branch_of, is_of, present_number, timeline_of
from relight.backups.catalog import Catalog
from relight.backups.chain import follow
from relight.backups.manifest import GtidField, Value
from relight.errors import PlanError
from relight.gtid import GtidSet
from relight.planning.unreachable import whole_until


class Reach(Value):
    """From one snapshot on."""

    snapshot: str
    usable: bool
    """Whether all of its parts are there."""
    present: bool
    """Whether it is of the shard's present timeline."""
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
        branch = _branch(catalog, snapshot.reference.gtids)
        chain = follow(snapshot.reference.gtids, catalog.segments, branch.within, catalog.missing)
        found.append(
            Reach(
                snapshot=snapshot.reference.id, usable=not snapshot.missing, segments=len(chain.links),
                present=branch.number == present_number(catalog),
                reaches=whole_until(branch, snapshot, chain), end_gtids=chain.end, missing=chain.missing,
                beyond=tuple(segment.key for segment in chain.beyond),
                damaged=tuple(segment.key for segment in chain.damaged), left_out=chain.left_out,
            )
        )  # fmt: skip
    return tuple(found)


def _branch(catalog: Catalog, held: GtidSet) -> Branch:
    """The timeline that a restore from a snapshot follows: the present one where the snapshot is part of that."""
    number = timeline_of(held, catalog.timelines)
    try:
        present = branch_of(catalog)
        return present if is_of(present, held, catalog) else branch_of(catalog, number)
    except PlanError:
        return Branch(number, None, ())  # two histories: a plan asks which one; here every segment counts
