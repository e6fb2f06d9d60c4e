"""A fleet that nothing runs on: its fleet file, its snapshots' manifests, and how long its restores would take."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime

from relight.backups.manifest import Extent, Part, SnapshotManifest, Value
from relight.fleet import Fleet, Limits, Server, Shard, StoreSettings
from relight.gtid import GtidSet
from relight.store import layout
from relight.store.base import Store
from relight.store.parallel import in_parallel

_MEDIAN_BYTES = 20 * 10**9
_SIGMA = 1.2
_LARGEST = 2 * 10**12
_NETWORKS = 8
_BYTES_PER_S = {"restore_snapshot": 200e6, "replay": 400e6, "validate": 800e6}
"""How fast each step gets through the bytes of the snapshot, on a machine as one would buy. Only a measure."""


class MadeUp(Value):
    """One shard: its size, and the seconds of each step, scaled down."""

    shard: str
    tier: int
    bytes: int
    seconds: dict[str, float]

    @property
    def total(self) -> float:
        """Seconds of all steps."""
        return math.fsum(self.seconds.values())


def made_up(count: int, *, speedup: float, seed: int = 1) -> list[MadeUp]:
    """Shards of very different sizes, as they are: the largest are a hundred times the middle one."""
    chance = random.Random(seed)  # noqa: S311 -- no secret
    sizes = [min(int(chance.lognormvariate(math.log(_MEDIAN_BYTES), _SIGMA)), _LARGEST) for _ in range(count)]
    return [
        MadeUp(
            shard=f"shard-{number:05d}", tier=1 + chance.randrange(3), bytes=size,
            seconds={step: round(size / speed / speedup, 3) for step, speed in _BYTES_PER_S.items()},
        )
        for number, size in enumerate(sizes)
    ]  # fmt: skip


def made_up_fleet(shards: Sequence[MadeUp], store: StoreSettings, *, at_once: int) -> Fleet:
    """A source and a replica each, a machine each, on a few networks."""
    made = [
        Shard(name=one.shard, tier=one.tier, source=_server(number, "a"), replicas=(_server(number, "b"),))
        for number, one in enumerate(shards)
    ]
    limits = Limits(restores=at_once, store_tasks=max(at_once // 2, 1))
    return Fleet(fleet="made-up", store=store, shards=tuple(made), limits=limits)


def keep_manifests(store: Store, shards: Sequence[MadeUp], *, databases: int) -> None:
    """Leave a manifest for each shard: what decides their order is read from it."""
    in_parallel(lambda one: _keep_manifest(store, one, databases), shards, 16)


def _keep_manifest(store: Store, one: MadeUp, databases: int) -> None:
    taken, uuid = datetime(2026, 11, 22, tzinfo=UTC), "3e11fa47-71ca-11e1-9e33-c80aa9429562"
    name = layout.snapshot_id(taken, uuid)
    part = Part(
        key=layout.part(one.shard, name, 1), sha256="0" * 64, size=max(one.bytes // 3, 1),
        extents=(Extent(path="ibdata1", offset=0, length=one.bytes),),
    )  # fmt: skip
    manifest = SnapshotManifest(
        id=name, shard=one.shard, server_uuid=uuid, server_name=f"{one.shard}-a", mysql_version="9.7.4", taken_at=taken,
        gtids=GtidSet(), databases=tuple(f"db{n}" for n in range(databases)), tables=(), directories=(),
        files=(("ibdata1", one.bytes),), parts=(part,), data_bytes=one.bytes, stored_bytes=part.size,
    )  # fmt: skip
    store.put(layout.snapshot_manifest(one.shard, name), manifest.model_dump_json().encode("utf-8"))


def _server(number: int, letter: str) -> Server:
    name = f"host-{number:05d}{letter}"
    home = f"/srv/{name}"
    return Server.model_validate({
        "name": name, "host": f"{name}.invalid", "port": 3306, "datadir": f"{home}/data", "socket": f"{home}/s",
        "workdir": f"{home}/work", "options_file": f"{home}/my.cnf", "control": {"kind": "process"},
        "network": f"hall-{number % _NETWORKS}",
    })  # fmt: skip
