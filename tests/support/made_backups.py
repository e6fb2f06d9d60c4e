"""Backups and rehearsals that nobody made, in a real store: as many objects as planning and pages look at, no data."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from relight.backups.manifest import Extent, Part, SegmentManifest, SnapshotManifest
from relight.gtid import GtidSet
from relight.rehearsal.history import RehearsalRecord, keep
from relight.sabotage import SABOTAGES
from relight.store import layout
from relight.store.base import Store

SERVER = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
_HOURLY = 100
"""Transactions in each log file; there is one file an hour."""


def backed_up(store: Store, shard: str, now: datetime, *, gap_at: int | None = None) -> None:
    """A full backup 30 hours ago, another 6 hours ago, a log file for each hour; that of hour ``gap_at`` is missing."""
    for hours in (30, 6):
        _snapshot(store, shard, now - timedelta(hours=hours), (30 - hours) * _HOURLY + 1)
    for hour in range(30):
        if hour != gap_at:
            _segment(store, shard, hour, now - timedelta(hours=30 - hour))


def _snapshot(store: Store, shard: str, taken: datetime, transactions: int) -> None:
    snapshot = layout.snapshot_id(taken, SERVER)
    part = Part(
        key=layout.part(shard, snapshot, 1), sha256="0" * 64, size=91,
        extents=(Extent(path="ibdata1", offset=0, length=280 * 10**9),),
    )  # fmt: skip
    store.put(part.key, bytes(part.size))
    manifest = SnapshotManifest(
        id=snapshot, shard=shard, server_uuid=SERVER, server_name=f"{shard}-b", mysql_version="9.7.4", taken_at=taken,
        gtids=GtidSet.parse(f"{SERVER}:1-{transactions}"), databases=("orders",), tables=(), directories=(),
        files=(("ibdata1", 280 * 10**9),), parts=(part,), data_bytes=280 * 10**9, stored_bytes=part.size,
    )  # fmt: skip
    store.put(layout.snapshot_manifest(shard, snapshot), manifest.model_dump_json().encode())


def _segment(store: Store, shard: str, hour: int, begins: datetime) -> None:
    file, first = f"binlog.{hour + 1:06d}", hour * _HOURLY + 1
    digest = hashlib.sha256(f"{shard} {file}".encode()).hexdigest()
    key = layout.segment(shard, SERVER, file, digest)
    manifest = SegmentManifest(
        key=key, shard=shard, server_uuid=SERVER, file=file,
        previous_gtids=GtidSet.parse(f"{SERVER}:1-{first - 1}" if hour else ""),
        gtids=GtidSet.parse(f"{SERVER}:{first}-{first + _HOURLY - 1}"), first_commit=begins + timedelta(seconds=20),
        last_commit=begins + timedelta(minutes=59), transactions=_HOURLY, log_bytes=10**8, stored_bytes=1, sha256=digest,
        log_sha256=digest, shipped_at=begins + timedelta(hours=1),
    )  # fmt: skip
    store.put(key, b"x")
    store.put(layout.segment_manifest(key), manifest.model_dump_json().encode())


def rehearsed(store: Store, shard: str, now: datetime, *, times: int = 9, slower: bool = False) -> None:
    """A rehearsal every six days; the fourth has failed. ``slower``: the last took twice as long."""
    for number in range(times):
        ended = now - timedelta(days=6 * (times - 1 - number), hours=3)
        failed = number == 3
        seconds = 400.0 + 11 * (number * 7 % 5) + (430 if slower and number == times - 1 else 0)
        keep(store, RehearsalRecord(
            shard=shard, run_id=f"rehearse__{shard}-{number}", target="latest", began=ended - timedelta(seconds=seconds + 90),
            ended=ended, outcome="failed" if failed else "done",
            problem="guard: the disk is too small (shop-x): 12 GB free, 40 GB needed" if failed else "",
            certificate="" if failed else f"{shard}/runs/rehearse__{number}/certificates/1.json",
            verdict=None if failed else "match", reaches=ended - timedelta(minutes=4), tables=42, rows=48_112_903,
            data_bytes=280 * 10**9, log_bytes=10**9, restore_seconds=60 if failed else seconds,
            verification_seconds=0 if failed else 88, sabotage=None if failed else SABOTAGES[number % len(SABOTAGES)],
            caught_by=() if failed else ("row counts",),
        ))  # fmt: skip
