"""The pools in which the tasks of many restores take turns: at the store, within a network, on a machine.

A task in a pool that does not exist is never scheduled, and nobody is told. So tasks get a pool only in runs that
``restore_fleet`` has started, which makes sure of the pools first.
"""

from __future__ import annotations

from collections.abc import Iterable

from relight.fleet import Fleet, Server, Shard

STORE = "relight_store"

ABOUT = "Restores of a fleet take turns here. restore_fleet sets the size, from the fleet file's limits."
"""What the pools say of themselves."""

_AT_STORE = ("restore_snapshot", "split")
_ON_NETWORK = ("first_replicas", "replicas")
_ON_HOST = ("replay", "validate")


def pool_for(task_id: str, server: Server) -> str | None:
    """The pool of a task of DAG ``restore`` that works on that server; None: none of these."""
    if task_id in _AT_STORE:
        return STORE
    if task_id in _ON_NETWORK:
        return _network(server)
    return _host(server) if task_id in _ON_HOST else None


def pools_for(fleet: Fleet, shards: Iterable[Shard]) -> dict[str, int]:
    """Every pool that restores of these shards need, with its size."""
    limits = fleet.limits
    sizes = {STORE: limits.store_tasks}
    for shard in shards:
        for server in shard.with_scratch:
            sizes[_network(server)] = limits.network_tasks
            sizes[_host(server)] = limits.host_tasks
    return sizes


def _network(server: Server) -> str:
    return f"relight_network_{server.network}"


def _host(server: Server) -> str:
    return f"relight_host_{server.host}"[:256]
