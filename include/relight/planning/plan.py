"""The plan: what a restore will do, computed before anything is written."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Literal

from pydantic import ValidationError

from relight.backups.manifest import GtidField, LeftOut, SegmentManifest, SnapshotManifest, Surroundings, Value
from relight.errors import ObjectCorrupt
from relight.gtid import GtidSet
from relight.planning.target import Target
from relight.site import Run
from relight.store.base import Store


class PlannedSegment(Value):
    """A segment and what is taken from it."""

    number: int
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
    manifest_sha256: str
    server_uuid: str
    mysql_version: str
    taken_at: datetime
    gtids: GtidField
    data_bytes: int
    stored_bytes: int
    surroundings: Surroundings | None = None
    left_out: LeftOut | None = None
    behind: GtidField | None = None
    as_of: datetime | None = None
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
    made_at: datetime
    snapshot: SnapshotReference
    segments: tuple[PlannedSegment, ...]
    reaches: datetime
    """The point in time that the restored shard will show."""
    end_gtids: GtidField | None
    """What the restored shard will have executed, where that is known without reading the last log."""
    download_bytes: int
    disk_bytes: int
    """Free space the restore needs on the target's disk, the fleet's reserve included."""
    notes: tuple[str, ...] = ()
    """What an operator should know before carrying it out; empty when all is as it should be."""
    timeline: int = 0
    """The one that it follows."""


def load_plan(store: Store, run: Run) -> Plan:
    """The plan that was made for the run. :raises ObjectMissing: none was."""
    content = store.get(run.plan_key)
    try:
        return Plan.model_validate_json(content)
    except ValidationError as error:
        raise _unreadable("the plan", run.plan_key, error) from None


def load_snapshot_manifest(store: Store, reference: SnapshotReference) -> SnapshotManifest:
    """The manifest that the plan was made with.

    :raises ObjectCorrupt: what is there now is not it. ObjectMissing: it is gone.
    """
    content = store.get(reference.manifest_key)
    if hashlib.sha256(content).hexdigest() != reference.manifest_sha256:
        raise ObjectCorrupt(
            "a snapshot's manifest is not the one the plan was made with", on=reference.manifest_key,
            why="its SHA-256 differs", hint="make a new plan: start the restore as a new run",
        )  # fmt: skip
    try:
        return SnapshotManifest.model_validate_json(content)
    except ValidationError as error:
        raise _unreadable("a snapshot's manifest", reference.manifest_key, error) from None


def _unreadable(what: str, key: str, error: ValidationError) -> ObjectCorrupt:
    return ObjectCorrupt(f"{what} cannot be read", on=key, why=error.errors()[0]["msg"])
