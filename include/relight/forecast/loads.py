"""What a restore of a shard has to move, and so how long it takes: the one place where that is put together. Pure."""

from __future__ import annotations

from relight.backups.catalog import Catalog
from relight.fleet import Fleet, Server, Shard
from relight.forecast.estimate import estimate
from relight.forecast.learning import Speeds
from relight.forecast.values import Forecast, Load
from relight.planning.plan import Plan


def load_of_plan(
    plan: Plan, databases: int, shard: Shard, *, onto: Server | None = None, replicas_first: int = 0
) -> Load:
    """The load of a plan whose snapshot has so many databases.

    :param onto: the server that is rebuilt, if it is not the shard's source.
    :param replicas_first: the fleet's ``promotion.replicas_first``.
    """
    return load_of(
        shard, onto=onto, stored_bytes=plan.snapshot.stored_bytes, data_bytes=plan.snapshot.data_bytes,
        log_bytes=sum(planned.segment.log_bytes for planned in plan.segments), segments=len(plan.segments),
        databases=databases, replicas_first=replicas_first,
    )  # fmt: skip


def load_of(
    shard: Shard, *, stored_bytes: int, data_bytes: int, log_bytes: int, segments: int, databases: int,
    onto: Server | None = None, replicas_first: int = 0,
) -> Load:  # fmt: skip
    """What is known of a shard's backups, wherever that comes from, as every forecast takes it."""
    server = onto or shard.source
    return Load(
        shard=shard.name, tier=shard.tier, host=server.host, hardware=server.hardware, network=server.network,
        stored_bytes=stored_bytes, data_bytes=data_bytes, log_bytes=log_bytes, segments=segments, databases=databases,
        replicas=len(shard.replicas), replicas_first=min(replicas_first, len(shard.replicas)),
    )  # fmt: skip


def forecast_of_plan(
    plan: Plan, databases: int, fleet: Fleet, speeds: Speeds, *, onto: Server | None = None
) -> Forecast:
    """How long the restore takes that a plan describes."""
    first = fleet.promotion.replicas_first
    return estimate(load_of_plan(plan, databases, fleet.shard(plan.shard), onto=onto, replicas_first=first), speeds)


def databases_of(catalog: Catalog, plan: Plan) -> int:
    """How many databases the plan's snapshot has."""
    return next(one.databases for one in catalog.snapshots if one.reference.id == plan.snapshot.id)
