"""What a restore of a shard has to move, taken from its plan. Pure."""

from __future__ import annotations

from relight.backups.catalog import Catalog
from relight.fleet import Server, Shard
from relight.forecast.values import Load
from relight.planning.plan import Plan


def load_of_plan(
    plan: Plan, databases: int, shard: Shard, *, onto: Server | None = None, replicas_first: int = 0
) -> Load:
    """The load of a plan whose snapshot has so many databases.

    :param onto: the server that is rebuilt, if it is not the shard's source.
    :param replicas_first: the fleet's ``promotion.replicas_first``.
    """
    server = onto or shard.source
    return Load(
        shard=shard.name, tier=shard.tier, host=server.host, hardware=server.hardware, network=server.network,
        stored_bytes=plan.snapshot.stored_bytes, data_bytes=plan.snapshot.data_bytes,
        log_bytes=sum(planned.segment.log_bytes for planned in plan.segments), segments=len(plan.segments),
        databases=databases, replicas=len(shard.replicas),
        replicas_first=min(replicas_first, len(shard.replicas)),
    )  # fmt: skip


def databases_of(catalog: Catalog, plan: Plan) -> int:
    """How many databases the plan's snapshot has."""
    return next(one.databases for one in catalog.snapshots if one.reference.id == plan.snapshot.id)
