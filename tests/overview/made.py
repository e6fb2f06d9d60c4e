"""Backups that nobody took: small objects, as the store would hold them of real ones."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime, timedelta

from relight.backups.manifest import Extent, Part, SegmentManifest, SnapshotManifest
from relight.fencing.epochs import Claim, claim, win
from relight.forecast.timing import StepTime, Timing, keep_timing
from relight.forecast.values import Load
from relight.forecast.work import IN_ORDER
from relight.gtid import GtidSet
from relight.planning.plan import Plan, PlannedSegment, SnapshotReference
from relight.rehearsal.history import RehearsalRecord, keep
from relight.site import Run
from relight.store import layout
from relight.store.base import Store

SERVER = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
HOUR, DAY = 3600, 86400


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def snapshot(store: Store, shard: str, *, age: float, parts: int = 1, lost_parts: int = 0) -> SnapshotManifest:
    """A full backup of 1,000 times the bytes that it really has; the last ``lost_parts`` of its parts are not there."""
    taken_at = ago(age)
    name = layout.snapshot_id(taken_at, SERVER)
    made = []
    for number in range(1, parts + 1):
        key, content = layout.part(shard, name, number), b"part" * number
        if number <= parts - lost_parts:
            store.put(key, content)
        extents = (Extent(path=f"ibdata{number}", offset=0, length=1000 * len(content)),)
        made.append(Part(key=key, sha256="0" * 64, size=len(content), extents=extents))
    stored = sum(part.size for part in made)
    manifest = SnapshotManifest(
        id=name, shard=shard, server_uuid=SERVER, server_name=f"{shard}-b", mysql_version="9.7.4", taken_at=taken_at,
        gtids=GtidSet.parse(f"{SERVER}:1-10"), databases=("a", "b", "c"), tables=(), directories=(),
        files=tuple((extent.path, extent.length) for part in made for extent in part.extents),
        parts=tuple(made), data_bytes=1000 * stored, stored_bytes=stored,
    )  # fmt: skip
    store.put(layout.snapshot_manifest(shard, name), manifest.model_dump_json().encode())
    return manifest


def segment(
    store: Store, shard: str, number: int, *, commit_age: float, server: str = SERVER, stored: int = 100,
    expansion: int = 50, lost: bool = False,
) -> SegmentManifest:  # fmt: skip
    """A log of ``stored`` bytes, ``expansion`` times as large unpacked. Shipped when this is called."""
    file = f"binlog.{number:06d}"
    digest = hashlib.sha256(f"{shard} {file}".encode()).hexdigest()
    key = layout.segment(shard, server, file, digest)
    commit = ago(commit_age)
    manifest = SegmentManifest(
        key=key, shard=shard, server_uuid=server, file=file, previous_gtids=GtidSet.parse(f"{server}:1-{10 * number}" if number else ""),
        gtids=GtidSet.parse(f"{server}:{10 * number + 1}-{10 * number + 10}"), first_commit=commit, last_commit=commit,
        transactions=10, log_bytes=expansion * stored, stored_bytes=stored, sha256="0" * 64, log_sha256=digest,
        shipped_at=datetime.now(UTC),
    )  # fmt: skip
    if not lost:
        store.put(key, b"l" * stored)
    store.put(layout.segment_manifest(key), manifest.model_dump_json().encode())
    return manifest


def rehearsal(store: Store, shard: str, *, age: float, proved: bool = True, problem: str = "") -> RehearsalRecord:
    """A rehearsal that ended so long ago, and proved something or failed."""
    ended = ago(age)
    record = RehearsalRecord(
        shard=shard, run_id=f"r-{age:.0f}", target="latest", began=ended - timedelta(minutes=3), ended=ended,
        outcome="failed" if problem or not proved else "done", problem=problem, certificate="a-key" if proved else "",
        restore_seconds=170.0,
    )  # fmt: skip
    keep(store, record)
    return record


def promotion(store: Store, shard: str, *, opened: bool = True) -> None:
    """A run has claimed the shard, and opened its server."""
    claimed = claim(store, Claim(
        shard=shard, epoch=0, run_id=uuid.uuid4().hex, server="s", host="h", port=1, machine="m", who="w", why="t",
        at=datetime.now(UTC),
    ))  # fmt: skip
    if opened:
        win(store, claimed, server_uuid=SERVER, who="w", why="t")


def measured(store: Store, *, replay_bytes_per_s: float, other_seconds: float = 1.0) -> None:
    """Runs that replayed so fast, and whose other steps took a second each."""
    for number in range(1, 6):
        load = Load(
            shard="m", tier=1, host="h", hardware="default", network="default", stored_bytes=1, data_bytes=1000,
            log_bytes=10**6 * 4**number, segments=1, databases=1, replicas=0,
        )  # fmt: skip
        steps = tuple(
            StepTime(
                step=step, tasks=1, seconds=load.log_bytes / replay_bytes_per_s if step == "replay" else other_seconds
            )
            for step in IN_ORDER
        )
        keep_timing(store, Timing(
            run_id=f"m-{number}", mode="rehearse", ended=ago(DAY * number), load=load, tables=1, steps=steps
        ))  # fmt: skip


def plan(store: Store, run: Run, log_bytes: int) -> None:
    """The plan of a run, which replays so much log."""
    taken = snapshot(store, run.shard, age=HOUR)
    key = layout.snapshot_manifest(run.shard, taken.id)
    reference = SnapshotReference(
        id=taken.id, manifest_key=key, manifest_sha256=hashlib.sha256(store.get(key)).hexdigest(),
        server_uuid=taken.server_uuid, mysql_version=taken.mysql_version, taken_at=taken.taken_at,
        gtids=taken.gtids, data_bytes=taken.data_bytes, stored_bytes=taken.stored_bytes,
    )  # fmt: skip
    last = segment(store, run.shard, 1, commit_age=1).model_copy(update={"log_bytes": log_bytes})
    planned = PlannedSegment(number=0, segment=last, take=last.gtids, last=True)
    made = Plan(
        shard=run.shard, target=run.target, made_at=ago(0), snapshot=reference, segments=(planned,), reaches=ago(0),
        end_gtids=None, download_bytes=1, disk_bytes=1,
    )  # fmt: skip
    store.put(run.plan_key, made.model_dump_json().encode())


def in_order(store: Store, shard: str) -> None:
    """A shard of which nothing needs attention."""
    snapshot(store, shard, age=6 * HOUR, parts=2)
    segment(store, shard, 1, commit_age=120)
    segment(store, shard, 2, commit_age=60)
    rehearsal(store, shard, age=3 * DAY)
