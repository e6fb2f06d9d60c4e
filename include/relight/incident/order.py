"""Which shard comes first: tier first, then the one whose restore is thought to take longest."""

from __future__ import annotations

from collections.abc import Sequence

from relight.backups.distrust import read_snapshot
from relight.backups.manifest import SnapshotManifest
from relight.errors import ObjectCorrupt, ObjectMissing
from relight.fleet import Shard
from relight.forecast.estimate import estimate_all
from relight.forecast.learning import Speeds
from relight.forecast.loads import load_of
from relight.forecast.order import soonest_end
from relight.forecast.values import Load
from relight.store import layout
from relight.store.base import MOST_MANIFEST, Store, StoredObject
from relight.store.parallel import in_parallel

_MOST_TRIED = 5
"""So many full backups are looked at, newest first, until one can be read."""


def loads(store: Store, shards: Sequence[Shard], *, parallel: int) -> list[Load]:
    """What each shard's restore has to move, as far as one listing and its newest manifest tell.

    A plan would tell it exactly, and reads the manifest of each log: with thousands of shards that takes minutes. A
    shard without a readable snapshot has nothing to move: its own run says what is wrong with it.
    """
    return in_parallel(lambda shard: _load(store, shard), shards, parallel)


def in_turn(shards: Sequence[Load], speeds: Speeds) -> list[str]:
    """Pure: the names in the order that ends an incident soonest."""
    return soonest_end(zip(shards, estimate_all(shards, speeds), strict=True))


def _load(store: Store, shard: Shard) -> Load:
    manifests = [o for o in store.list(layout.snapshots(shard.name)) if layout.is_snapshot_manifest(o.key)]
    found = ((entry, _read(store, entry.key)) for entry in manifests[: -_MOST_TRIED - 1 : -1])
    entry, newest = next((one for one in found if one[1] is not None), (None, None))
    logs = _logs_after(store, shard.name, entry) if entry else []
    return load_of(
        shard, stored_bytes=newest.stored_bytes if newest else 0, data_bytes=newest.data_bytes if newest else 0,
        # As they lie in the store, so less than they are; of every shard alike.
        log_bytes=sum(log.size for log in logs), segments=len(logs), databases=len(newest.databases) if newest else 0,
    )  # fmt: skip


def _logs_after(store: Store, shard: str, manifest: StoredObject) -> list[StoredObject]:
    listed = store.list(layout.segments(shard))
    return [o for o in listed if o.key.endswith(".zst") and o.modified >= manifest.modified]


def _read(store: Store, key: str) -> SnapshotManifest | None:
    try:
        return read_snapshot(store.get(key, most=MOST_MANIFEST), key)
    except (ObjectMissing, ObjectCorrupt):
        return None
