"""Where things lie in the store: every key is made here.

    <shard>/snapshots/<id>/parts/0001.zst ...        compressed data files
    <shard>/snapshots/<id>/manifest.json             uploaded last: makes the snapshot exist
    <shard>/segments/<server-uuid>/<file>.<sha8>.zst   one compressed binary log
    <shard>/segments/<server-uuid>/<file>.<sha8>.json  its manifest, uploaded last
    <shard>/runs/<run-id>/plan.json                  see relight.site.Run
    <shard>/rehearsals/<ended>-<run-id>.json         one rehearsal, in short
    _fleet/timings/<ended>-<run-id>.json             how long the steps of one run took
    _fleet/incidents/<incident>/<ended>.json         what came of restoring many shards
    _fleet/overview/<day>/<time>.json.zst            every shard at one moment, in short

Keys are relative to the configured prefix.
"""

from __future__ import annotations

import re
from datetime import datetime

_SNAPSHOT_MANIFEST = re.compile(r"^[^/]+/snapshots/[^/]+/manifest\.json\Z")
_SEGMENT_MANIFEST = re.compile(r"^[^/]+/segments/(?P<uuid>[0-9a-f-]{36})/(?P<file>[^/]+)\.[0-9a-f]{8}\.json\Z")


def snapshot_id(taken_at: datetime, server_uuid: str) -> str:
    """``20261122T190211Z-1a2b3c4d``: when it was taken (UTC) and by which server."""
    return f"{taken_at:%Y%m%dT%H%M%SZ}-{server_uuid[:8]}"


def snapshots(shard: str) -> str:
    """What the keys of all snapshots of a shard begin with."""
    return f"{shard}/snapshots/"


def parts(shard: str, snapshot: str) -> str:
    """What the keys of the parts of a snapshot begin with."""
    return f"{snapshots(shard)}{snapshot}/parts/"


def part(shard: str, snapshot: str, number: int) -> str:
    """One part of a snapshot; ``number`` counts from 1."""
    return f"{parts(shard, snapshot)}{number:04d}.zst"


def snapshot_manifest(shard: str, snapshot: str) -> str:
    """The manifest of a snapshot."""
    return f"{snapshots(shard)}{snapshot}/manifest.json"


def is_snapshot_manifest(key: str) -> bool:
    """Whether a key names a snapshot's manifest."""
    return bool(_SNAPSHOT_MANIFEST.match(key))


def segments(shard: str, server_uuid: str = "") -> str:
    """What the keys of all segments of a shard, or of one of its servers, begin with."""
    return f"{shard}/segments/{server_uuid}/" if server_uuid else f"{shard}/segments/"


def segment(shard: str, server_uuid: str, file: str, log_sha256: str) -> str:
    """A compressed binary log. Its own digest is part of the name, since file names repeat."""
    return f"{segments(shard, server_uuid)}{stored_name(file, log_sha256)}.zst"


def stored_name(file: str, log_sha256: str) -> str:
    """``binlog.000003.1a2b3c4d``: tells logs of one server apart that had the same file name."""
    return f"{file}.{log_sha256[:8]}"


def segment_manifest(segment_key: str) -> str:
    """The manifest of a segment."""
    return segment_key.removesuffix(".zst") + ".json"


def segment_identity(manifest_key: str) -> tuple[str, str] | None:
    """Server UUID and file name out of the key of a segment's manifest; None for any other key."""
    found = _SEGMENT_MANIFEST.match(manifest_key)
    return (found["uuid"], found["file"]) if found else None


def rehearsals(shard: str) -> str:
    """What the keys of the records of all rehearsals of a shard begin with."""
    return f"{shard}/rehearsals/"


def rehearsal(shard: str, ended: datetime, run_id: str) -> str:
    """The record of a rehearsal; in the order of their keys they are in the order of time."""
    return f"{rehearsals(shard)}{ended:%Y%m%dT%H%M%S%fZ}-{run_id}.json"


TIMINGS = "_fleet/timings/"
"""What the keys of all timings begin with. No shard can be called ``_fleet``."""


def timing(ended: datetime, run_id: str) -> str:
    """How long the steps of a run took; in the order of their keys they are in the order of time."""
    return f"{TIMINGS}{ended:%Y%m%dT%H%M%S%fZ}-{run_id}.json"


def overviews(day: datetime) -> str:
    """What the keys of the overviews of a day (UTC) begin with."""
    return f"_fleet/overview/{day:%Y%m%d}/"


def overview(at: datetime) -> str:
    """The fleet at one moment (UTC)."""
    return f"{overviews(at)}{at:%H%M%S%f}.json.zst"


def incidents(incident: str) -> str:
    """What the keys of the reports of an incident begin with."""
    return f"_fleet/incidents/{incident}/"


def incident(incident: str, ended: datetime) -> str:
    """What came of restoring the shards of an incident; in the order of their keys they are in the order of time."""
    return f"{incidents(incident)}{ended:%Y%m%dT%H%M%S%fZ}.json"
