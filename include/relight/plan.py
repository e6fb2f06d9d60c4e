"""The plan: what a restore will do, computed before anything is written."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from relight.manifest import GtidField, SegmentManifest, Value
from relight.target import Target


class PlannedSegment(Value):
    """A segment and what is taken from it."""

    number: int
    """0, 1, 2 ...: the order of replay."""
    segment: SegmentManifest
    take: GtidField
    """The transactions of the file that are not yet there when its turn comes; others are skipped."""
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


class Plan(Value):
    """Catalog and target, resolved. Shown by ``relight plan`` and carried out as it is."""

    version: Literal[1] = 1
    shard: str
    target: Target
    made_at: datetime
    snapshot: SnapshotReference
    segments: tuple[PlannedSegment, ...]
    reaches: datetime
    """The point in time that the restored shard will show."""
    end_gtids: GtidField | None
    """What the restored shard will have executed, where that is known without reading the last log."""
    download_bytes: int
    disk_bytes: int
    """Free space the restore needs on the target's disk."""
