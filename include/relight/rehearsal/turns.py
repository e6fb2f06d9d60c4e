"""How many rehearsals to begin tonight so that every shard's proof stays as young as its tier promises. Pure.

Each shard has a day on which its proof gets too old. They are taken in that order, and each night takes its even share
of what has to be done until the tightest of these days: no more, so that the work is spread, and no less, so that it
never piles up.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import fmean

from relight.backups.manifest import Value
from relight.errors import FleetError
from relight.fleet import Fleet
from relight.rehearsal.history import ShardHistory

NIGHT = timedelta(days=1)
"""From one turn to the next."""

_MARGIN = 0.1
"""This share of the time is kept in hand, and a night at least, for rehearsals that fail."""

_UNKNOWN_SECONDS = 3600.0
"""How long a rehearsal takes where none was ever done."""

_NEVER = datetime.min.replace(tzinfo=UTC)


class Due(Value):
    """A shard and when it has to be proved again."""

    shard: str
    by: datetime
    """The last moment that keeps the promise; long past where there is no proof."""
    failed: bool
    """Whether its last rehearsal failed, so that the others come first."""
    seconds: float | None
    """How long its last rehearsal took."""


class Turn(Value):
    """Tonight's rehearsals, and what is to be said of them."""

    shards: tuple[str, ...]
    overdue: tuple[str, ...]
    """Shards whose promise is broken now."""
    needed: int
    """So many would keep every promise that can be kept; more than ``shards`` where a night is too short."""

    @property
    def why(self) -> str:
        """In words."""
        said = f"{self.needed} are needed tonight to keep what the tiers promise, {len(self.shards)} are begun"
        if self.overdue:
            said += f"; no proof that is young enough have {len(self.overdue)}: {', '.join(self.overdue[:10])}"
        if len(self.shards) < self.needed:
            said += "; a night is too short for all: more rehearsals at a time (limits.rehearsals) would help"
        return said


def due(histories: Sequence[ShardHistory], fleet: Fleet) -> list[Due]:
    """When each shard that can be rehearsed has to be, the soonest first; failing ones last.

    :raises FleetError: none has a scratch server.
    """
    found = [_due(one, fleet) for one in histories if one.rehearsable]
    if not found:
        raise FleetError("no scratch server", why="no shard has one", hint="give a shard a 'scratch' server")
    return sorted(found, key=lambda one: (one.failed, one.by, one.shard))


def _due(history: ShardHistory, fleet: Fleet) -> Due:
    every = timedelta(days=fleet.tier_of(fleet.shard(history.shard)).prove_every_days)
    proof, last = history.proof, history.last
    return Due(
        shard=history.shard, by=proof.ended + every - max(_MARGIN * every, NIGHT) if proof else _NEVER,
        failed=last is not None and not last.proved,
        seconds=(last.ended - last.began).total_seconds() if last else None,
    )  # fmt: skip


def tonight(shards: Sequence[Due], now: datetime, *, at_once: int, hours: float) -> Turn:
    """What to begin now.

    A shard whose last rehearsal failed is tried every night, behind all others: that is an incident by itself, and
    must not keep the rest of the fleet from being rehearsed.

    :param shards: as :func:`due` gives them.
    :param at_once: how many rehearsals go on at the same time.
    :param hours: how long a night is; no more is begun than is expected to fit.
    """
    good = [one for one in shards if not one.failed]
    wanted = [*good[: share(good, now)], *(one for one in shards if one.failed)]
    fits = _fitting(wanted, at_once=at_once, seconds=hours * 3600)
    return Turn(
        shards=tuple(one.shard for one in wanted[:fits]), needed=len(wanted),
        overdue=tuple(one.shard for one in shards if one.by <= now),
    )  # fmt: skip


def share(shards: Sequence[Due], now: datetime) -> int:
    """An even share of what is due within the next nights, for the number of nights for which that is most."""
    nights = sorted(_nights_left(one, now) for one in shards)
    return max((count // left for count, left in enumerate(nights, start=1)), default=0)


def _nights_left(one: Due, now: datetime) -> int:
    """This night counts. Nothing is left of a day that is past."""
    return max(1, 1 + int((one.by - now) / NIGHT)) if one.by > now else 1


def _fitting(shards: Sequence[Due], *, at_once: int, seconds: float) -> int:
    """So many of the first shards are expected to be through in time; one always is begun."""
    known = [one.seconds for one in shards if one.seconds is not None]
    usual = fmean(known) if known else _UNKNOWN_SECONDS
    left = seconds * at_once
    for number, one in enumerate(shards):
        left -= one.seconds if one.seconds is not None else usual
        if left < 0 and number > 0:
            return number
    return len(shards)
