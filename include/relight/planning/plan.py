"""The plan: what a restore will do, computed before anything is written."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime

from relight.backups.distrust import read_snapshot, refuse_displaced_segment
from relight.backups.manifest import (
    Count,
    GtidField,
    LeftOut,
    SegmentManifest,
    Sha256,
    Size,
    SnapshotManifest,
    Surroundings,
    Value,
)
from relight.errors import ObjectCorrupt
from relight.gtid import GtidSet
from relight.planning.target import Target
from relight.reading import read_json
from relight.site import Run
from relight.store import layout
from relight.store.base import MOST_MANIFEST, Store, again_if_damaged


class PlannedSegment(Value):
    """A segment and what is taken from it."""

    number: Count
    """0, 1, 2 ...: the order of replay."""
    segment: SegmentManifest
    take: GtidField
    """The transactions of the file that are not yet there when its turn comes; others are skipped."""
    skip: GtidField = GtidSet()
    """Transactions of the file that were asked to be left out."""
    last: bool
    """Whether the target lies in this segment: its transactions are taken up to the target only."""


class SnapshotReference(Value):
    """A snapshot, without the lists that only the step which unpacks it needs."""

    id: str
    manifest_key: str
    manifest_sha256: Sha256
    server_uuid: str
    mysql_version: str
    taken_at: AwareDatetime
    gtids: GtidField
    data_bytes: Size
    stored_bytes: Size
    surroundings: Surroundings | None = None
    left_out: LeftOut | None = None
    behind: GtidField | None = None
    as_of: AwareDatetime | None = None
    """These as in the manifest."""

    @property
    def shows(self) -> datetime | None:
        """The moment whose state it holds: when it was taken, unless it lacked something then. None: nobody knows."""
        return self.as_of if self.behind else self.taken_at


class Plan(Value):
    """Catalog and target, resolved. Shown by ``relight plan`` and carried out as it is."""

    version: Literal[1] = 1
    shard: str
    target: Target
    skip: GtidField = GtidSet()
    """Transactions that were asked to be left out."""
    made_at: AwareDatetime
    snapshot: SnapshotReference
    segments: tuple[PlannedSegment, ...]
    reaches: AwareDatetime
    """The point in time that the restored shard will show."""
    end_gtids: GtidField | None
    """What the restored shard will have executed, where that is known without reading the last log."""
    download_bytes: Count
    disk_bytes: Count
    """Free space the restore needs on the target's disk, the fleet's reserve included."""
    notes: tuple[str, ...] = ()
    """What an operator should know before carrying it out; empty when all is as it should be."""
    timeline: int = 0
    """The one that it follows."""


def load_plan(store: Store, run: Run) -> Plan:
    """The plan that was made for the run.

    :raises ObjectMissing: none was. ObjectCorrupt: it cannot be read, or speaks of something else than the shard.
    """
    plan = read_json(Plan, store.get(run.plan_key, most=MOST_MANIFEST), on=run.plan_key, what="the plan")
    _refuse_foreign(plan, run)
    return plan


def _refuse_foreign(plan: Plan, run: Run) -> None:
    why = ""
    if plan.shard != run.shard or plan.snapshot.manifest_key != layout.snapshot_manifest(run.shard, plan.snapshot.id):
        why = f"it is for shard {plan.shard}, with {plan.snapshot.manifest_key}"
    elif [planned.number for planned in plan.segments] != list(range(len(plan.segments))):
        why = "its segments are not numbered in order"
    if why:
        hint = "start the restore as a new run"
        raise ObjectCorrupt("the plan cannot be believed", on=run.plan_key, why=why, hint=hint)
    for planned in plan.segments:
        refuse_displaced_segment(planned.segment, layout.segment_manifest(planned.segment.key), run.shard)


def load_snapshot_manifest(store: Store, reference: SnapshotReference) -> SnapshotManifest:
    """The manifest that the plan was made with.

    :raises ObjectCorrupt: what is there now is not it. ObjectMissing: it is gone.
    """
    return read_snapshot(again_if_damaged(lambda: _manifest(store, reference)), reference.manifest_key)


def _manifest(store: Store, reference: SnapshotReference) -> bytes:
    content = store.get(reference.manifest_key, most=MOST_MANIFEST)
    if hashlib.sha256(content).hexdigest() != reference.manifest_sha256:
        raise ObjectCorrupt(
            "a snapshot's manifest is not the one the plan was made with", on=reference.manifest_key,
            why="its SHA-256 differs", hint="make a new plan: start the restore as a new run",
        )  # fmt: skip
    return content
