"""What an overview is made of."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from relight.backups.manifest import GtidField, Value
from relight.forecast.values import Span
from relight.overview.health import Health, State


class ToReplay(Value):
    """The logs that a restore would replay on top of a full backup, as far as their manifests were read."""

    log_bytes: int = 0
    segments: int = 0
    """Logs that bring something: what another server has shipped too counts once."""
    held: GtidField
    """What the full backup and these logs hold together."""
    read: int = 0
    """So many manifests were read, the oldest first: the last one was stored then, under that key."""
    until: AwareDatetime | None = None
    key: str = ""


class Card(Value):
    """One shard on an ordinary day. Times in UTC, sizes in bytes, durations in seconds."""

    shard: str
    tier: int
    health: Health
    """``bad``: it could not be brought back as promised. ``warning``: something needs attention before it gets so.
    ``unknown``: it could not be looked at."""
    down: bool | None = None
    """Whether no server of it answers. None: nobody has asked."""
    snapshot: str = ""
    """The newest full backup; empty where there is none."""
    snapshot_at: AwareDatetime | None = None
    stored_bytes: int = 0
    data_bytes: int = 0
    databases: int = 0
    notes: tuple[str, ...] = ()
    """What was said of that backup: what it may lack, and how old its data are."""
    log_bytes: int = 0
    """What is to be replayed on top of the newest full backup, see :mod:`relight.overview.holdings`."""
    segments: int = 0
    to_replay: ToReplay | None = None
    """What is known of it, log by log: the next look goes on from there."""
    last_commit: AwareDatetime | None = None
    """The newest commit that the store holds: what came after it would be lost."""
    shipped_at: AwareDatetime | None = None
    """When the newest log was shipped."""
    proved_at: AwareDatetime | None = None
    """When it was last proved by a rehearsal."""
    proof_seconds: float | None = None
    """How long that restore took."""
    last_rehearsal: Literal["done", "failed", ""] = ""
    rehearsal_problem: str = ""
    """Why it failed."""
    rehearsable: bool = False
    """Whether it has a scratch server."""
    forecast: Span | None = None
    """How long a restore to the newest point would take now, until the shard takes writes again."""
    forecast_fresh: Span | None = None
    """The same right after a new full backup: with no log to replay."""
    forecast_learned_from: int = 0
    """From how many runs. 0: nothing was measured, it is a cautious guess."""
    objective_seconds: float | None = None
    epoch: int | None = None
    """Of the last promotion."""
    warnings: tuple[str, ...] = ()
    """What needs attention, in words, the worst first; the command that helps stands in it."""

    @property
    def state(self) -> State:
        """Its health, unless it is down: that is more urgent."""
        return "down" if self.down else self.health

    def data_loss_seconds(self, now: AwareDatetime) -> float | None:
        """What would be lost at most: the age of the newest commit in the store. None if there is nothing. A shard
        that takes no writes has nothing newer, and loses nothing."""
        return None if self.last_commit is None else max(0.0, (now - self.last_commit).total_seconds())


class Overview(Value):
    """The fleet at one moment."""

    version: Literal[1] = 1
    fleet: str
    at: AwareDatetime
    seconds: float
    """How long it took to look."""
    cards: tuple[Card, ...]
    """In the order of the fleet file."""
