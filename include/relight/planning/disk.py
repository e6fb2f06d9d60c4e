"""How much a restore writes on the machine of the server that it rebuilds. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from relight.backups.manifest import SegmentManifest
from relight.planning.plan import SnapshotReference

BESIDE_BYTES = 1_000_000_000
"""Empty servers, on which the proof makes definitions and accounts anew: some 200 MB each, with their redo logs, a few
at the same time."""


def bytes_written(snapshot: SnapshotReference, segments: Sequence[SegmentManifest]) -> int:
    """Bytes of what a run writes: the data, the log's rows in them, and beside them the log once more, split by
    database. A log that is being split lies there whole besides, and in its compressed form."""
    log = sum(segment.log_bytes for segment in segments)
    largest = max((segment.log_bytes + segment.stored_bytes for segment in segments), default=0)
    return snapshot.data_bytes + 2 * log + largest + BESIDE_BYTES
