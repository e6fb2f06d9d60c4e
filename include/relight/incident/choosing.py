"""Which shards are meant."""

from __future__ import annotations

from fnmatch import fnmatchcase

from relight.backups.manifest import Value
from relight.errors import FleetError
from relight.fleet import Fleet, Shard


class Wanted(Value):
    """What is said of the shards that are meant. What is left empty says nothing; the rest must all hold."""

    names: tuple[str, ...] = ()
    pattern: str = ""
    """As of file names: ``shop-*``."""
    tier: int | None = None
    down: bool = False
    """Only those of which no server answers."""


def candidates(fleet: Fleet, wanted: Wanted) -> list[Shard]:
    """The shards that are meant, in the order of the fleet file, before any is asked whether it is down.

    :raises FleetError: nothing is said, a shard is unknown, or no shard is left.
    """
    if wanted == Wanted():
        raise FleetError(
            "no shards are chosen", why="neither names nor a pattern, a tier or 'all that are down' are given",
            hint="fill in at least one of them; what is filled in must all hold",
        )  # fmt: skip
    known = {shard.name for shard in fleet.shards}
    if unknown := [name for name in wanted.names if name not in known]:
        raise FleetError(
            "unknown shards", on=", ".join(unknown), why=f"the fleet file has {len(known)} others",
            hint="check the names, or the fleet file that RELIGHT_FLEET points to",
        )  # fmt: skip
    found = [shard for shard in fleet.shards if _fits(shard, wanted)]
    if not found:
        raise FleetError("no shard is meant", on=in_words(wanted), hint="what is filled in must all hold")
    return found


def in_words(wanted: Wanted) -> str:
    """``named a, b; like shop-*; of tier 1; down``."""
    parts = [f"named {', '.join(wanted.names)}"] if wanted.names else []
    parts += [f"like {wanted.pattern}"] if wanted.pattern else []
    parts += [f"of tier {wanted.tier}"] if wanted.tier is not None else []
    return "; ".join([*parts, *(["down"] if wanted.down else [])])


def _fits(shard: Shard, wanted: Wanted) -> bool:
    return (
        (not wanted.names or shard.name in wanted.names)
        and (not wanted.pattern or fnmatchcase(shard.name, wanted.pattern))
        and wanted.tier in (None, shard.tier)
    )
