"""Which shard comes first: tier first, then the one that takes longest."""

from __future__ import annotations

from collections.abc import Sequence

from relight.backups.manifest import SnapshotManifest, Value
from relight.errors import StoreError
from relight.fleet import Shard
from relight.store import layout
from relight.store.base import Store
from relight.store.parallel import in_parallel


class Weighed(Value):
    """A shard and what decides its turn."""

    shard: str
    tier: int
    bytes: int
    """Of its newest snapshot, unpacked. 0: there is none that can be read."""


def weigh(store: Store, shards: Sequence[Shard], *, parallel: int) -> list[Weighed]:
    """How large each shard's newest snapshot is.

    One without a readable snapshot counts as empty: its own run says what is wrong with it.
    """
    return in_parallel(lambda shard: _weigh(store, shard), shards, parallel)


def soonest_end(weighed: Sequence[Weighed]) -> list[str]:
    """Pure: the order that ends an incident soonest. Equal ones by name, so that two calls agree."""
    return [one.shard for one in sorted(weighed, key=lambda one: (one.tier, -one.bytes, one.shard))]


def _weigh(store: Store, shard: Shard) -> Weighed:
    keys = [o.key for o in store.list(layout.snapshots(shard.name)) if layout.is_snapshot_manifest(o.key)]
    size = _size(store, keys[-1]) if keys else 0
    return Weighed(shard=shard.name, tier=shard.tier, bytes=size)


def _size(store: Store, key: str) -> int:
    try:
        return SnapshotManifest.model_validate_json(store.get(key)).data_bytes
    except (StoreError, ValueError) as error:
        if isinstance(error, StoreError) and error.retryable:
            raise
        return 0
