"""Which shard comes first, from what lies in the store."""

from __future__ import annotations

from collections.abc import Callable

from relight.bench.fleet_made_up import keep_manifests, made_up
from relight.fleet import Shard
from relight.forecast.learning import learn, speeds_of
from relight.forecast.values import Load
from relight.incident.order import in_turn, loads
from relight.site import Site
from tests.airflow.fleets import server


def load(shard: str, tier: int, size: int) -> Load:
    return Load(
        shard=shard, tier=tier, host="h", hardware="default", network="default", stored_bytes=size, data_bytes=size,
        log_bytes=0, segments=0, databases=1, replicas=0,
    )  # fmt: skip


def test_tier_first_then_the_longest_and_equal_ones_by_name() -> None:
    made = [load(n, t, b * 10**9) for n, t, b in [("a", 2, 9), ("b", 1, 1), ("d", 1, 5), ("c", 1, 5)]]
    assert in_turn(made, speeds_of([])) == ["c", "d", "b", "a"]


def test_loads_are_read_from_the_store_and_what_has_no_backup_comes_last(site: Callable[..., Site]) -> None:
    store, shards = site(server("a", "a.example.net")).store, made_up(2, speedup=1)
    keep_manifests(store, shards, databases=3)
    logs = [f"{one.shard}/segments/3e11fa47-71ca-11e1-9e33-c80aa9429562/b.000001.1a2b3c4d.zst" for one in shards]
    for key, size in zip(logs, (70, 90), strict=True):
        store.put(key, b"x" * size)
    store.put("broken/snapshots/1/manifest.json", b"{}")
    asked = [
        Shard(name=name, source=server(name, f"{name}.example.net"))
        for name in ("bare", "broken", *(one.shard for one in shards))
    ]
    found = loads(store, asked, parallel=2)
    assert [(one.data_bytes, one.databases, one.segments, one.log_bytes) for one in found] == [
        (0, 0, 0, 0), (0, 0, 0, 0), (shards[0].bytes, 3, 1, 70), (shards[1].bytes, 3, 1, 90),
    ]  # fmt: skip
    longest = max(shards, key=lambda one: one.bytes).shard
    assert in_turn(found, learn(store))[0] == longest
    assert in_turn(found, learn(store))[-2:] == ["bare", "broken"]
