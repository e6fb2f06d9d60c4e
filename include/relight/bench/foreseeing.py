"""How fast plans and forecasts of a whole fleet are made. The fleet is made up, in memory, so it needs no store."""

from __future__ import annotations

import gc
import random
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from relight.backups.catalog import Catalog, CatalogSnapshot
from relight.backups.manifest import SegmentManifest, Value
from relight.fleet import Limits, ProcessControl, Server, Shard
from relight.forecast.estimate import estimate_all
from relight.forecast.learning import Speeds
from relight.forecast.loads import databases_of, load_of_plan
from relight.forecast.simulate import simulate_forecasts
from relight.forecast.values import Load
from relight.gtid import GtidSet
from relight.planning.plan import SnapshotReference
from relight.planning.resolve import make_plan
from relight.planning.target import Target
from relight.store import layout

_BATCH = 200
"""So many catalogs are in memory at the same time."""
_WORKERS = 64
_BEGIN = datetime(2026, 11, 22, tzinfo=UTC)
_FAILED_OVER = 10
"""One of so many shards had a failover in the middle of its log, so that two servers' logs overlap."""


class Foreseeing(Value):
    """Seconds that it took to plan and forecast the recovery of a fleet, in one process."""

    shards: int
    segments: int
    """Of each shard."""
    plan_s: float
    """From catalogs to loads."""
    estimate_s: float
    simulate_s: float
    total_s: float
    processor_s: float
    """Of one core, in sum; more of ``total_s`` than that was spent waiting for other programs."""
    planned_segments: int


def run_foreseeing(*, shards: int, segments: int) -> Foreseeing:
    """Plan every shard, forecast it, and simulate the fleet's recovery. Making up the catalogs is not counted."""
    draw = random.Random(1)  # noqa: S311 -- sizes of a fleet that does not exist
    loads: list[Load] = []
    planned, plan_s, busy = 0, 0.0, 0.0
    for first in range(0, shards, _BATCH):
        batch = [
            (_shard(number), _catalog(number, segments, draw)) for number in range(first, min(first + _BATCH, shards))
        ]
        gc.collect()
        started, used = time.perf_counter(), time.process_time()
        for shard, catalog in batch:
            made = make_plan(catalog, Target(kind="latest"), _BEGIN + timedelta(days=30))
            loads.append(load_of_plan(made, databases_of(catalog, made), shard))
            planned += len(made.segments)
        plan_s, busy = plan_s + time.perf_counter() - started, busy + time.process_time() - used
    started, used = time.perf_counter(), time.process_time()
    forecasts = estimate_all(loads, Speeds(runs=0, rates=()))
    estimated = time.perf_counter()
    simulate_forecasts(loads, forecasts, Limits(restores=_WORKERS), _WORKERS)
    ended, busy = time.perf_counter(), busy + time.process_time() - used
    return Foreseeing(
        shards=shards, segments=segments, plan_s=round(plan_s, 3), estimate_s=round(estimated - started, 3),
        simulate_s=round(ended - estimated, 3), total_s=round(plan_s + ended - started, 3),
        processor_s=round(busy, 3), planned_segments=planned,
    )  # fmt: skip


def _shard(number: int) -> Shard:
    path = Path("/srv/mysql")
    source = Server(
        name=f"source-{number}", host=f"host-{number}", port=3306, datadir=path / "data", socket=path / "mysql.sock",
        options_file=path / "my.cnf", workdir=path / "work", control=ProcessControl(kind="process"),
        network=f"rack-{number % 40}",
    )  # fmt: skip
    return Shard(name=f"shard-{number}", tier=1 + number % 3, source=source)


def _catalog(number: int, segments: int, draw: random.Random) -> Catalog:
    shard = f"shard-{number}"
    size = int(draw.lognormvariate(24, 1.2))
    found = tuple(_segments(shard, segments, size, draw, failed_over=number % _FAILED_OVER == 0))
    reference = SnapshotReference(
        id="20261122T000000Z-00000001", manifest_key=layout.snapshot_manifest(shard, "20261122T000000Z-00000001"),
        manifest_sha256="0" * 64, server_uuid=found[0].server_uuid, mysql_version="9.7.4", taken_at=_BEGIN,
        gtids=found[0].previous_gtids, data_bytes=size, stored_bytes=size // 4,
    )  # fmt: skip
    snapshot = CatalogSnapshot(reference=reference, server_name="source", databases=3, tables=30, rows=size // 200)
    return Catalog(shard=shard, snapshots=(snapshot,), segments=found)


def _segments(
    shard: str, count: int, size: int, draw: random.Random, *, failed_over: bool
) -> Iterator[SegmentManifest]:
    """The logs of one server; after a failover those of another one, which has the last one's transactions too."""
    servers = [str(uuid.UUID(int=draw.getrandbits(128))) for _ in range(2)]
    server, first = servers[0], 100_000
    before = GtidSet.parse(f"{server}:1-{first - 1}")
    for number in range(count):
        held = GtidSet.parse(f"{server}:{first}-{first + 9_999}")
        began = _BEGIN + timedelta(minutes=5 * number)
        if failed_over and number == count // 2:
            server, first = servers[1], -9_999
        yield SegmentManifest(
            key=layout.segment(shard, server, f"binlog.{number:06d}", "0" * 64), shard=shard, server_uuid=server,
            file=f"binlog.{number:06d}", previous_gtids=before, gtids=held, first_commit=began,
            last_commit=began + timedelta(minutes=5), transactions=10_000, log_bytes=size // 400,
            stored_bytes=size // 2000, sha256="0" * 64, log_sha256="0" * 64, shipped_at=began + timedelta(minutes=6),
        )  # fmt: skip
        before = before | held
        first += 10_000
