"""The fleet file: one YAML document that names every shard, server and the store.

It holds no secrets. Passwords come from :mod:`relight.credentials`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from relight.announcing.settings import Announce
from relight.errors import FleetError
from relight.host import Host, HttpAddress, Port
from relight.keys import PublicKey

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]


Word = Annotated[str, StringConstraints(pattern=r"^[^\s,]+$")]
"""Not empty: an empty queue is Celery's default queue, an empty account is nobody's."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SystemdControl(_Value):
    """The server is a systemd unit."""

    kind: Literal["systemd"]
    unit: Word
    sudo: bool = False


class CommandControl(_Value):
    """The server is started and stopped by commands, given as argument lists. ``start`` returns
    once the server was started; it may still be coming up."""

    kind: Literal["command"]
    start: list[str] = Field(min_length=1)
    stop: list[str] = Field(min_length=1)


class ProcessControl(_Value):
    """Relight starts mysqld itself, as a process of its own that outlives the task."""

    kind: Literal["process"]


Control = Annotated[SystemdControl | CommandControl | ProcessControl, Field(discriminator="kind")]


class Server(_Value):
    """One mysqld: where it answers, where its data lie, how it is started."""

    name: Name
    host: Host
    """Its name or address, as the other machines see it."""
    port: Port
    datadir: Path
    """The data directory; ``workdir`` must lie on the same file system."""
    socket: Path
    """The Unix socket; used whenever a step runs on the server's own machine."""
    options_file: Path
    """The server's my.cnf, also used for scratch copies (with directory and port overridden)."""
    workdir: Path
    """Scratch space of Relight on that machine: incoming data directories, split logs."""
    mysqld: Path = Path("/usr/sbin/mysqld")
    mysqlbinlog: Path = Path("/usr/bin/mysqlbinlog")
    run_as: Word | None = None
    """The operating-system account that owns the data directory, where it is not the worker's own."""
    control: Control
    queue: Word = "default"
    """The Airflow queue of the worker on that machine."""
    hardware: Name = "default"
    """The class of machine. Forecasts learn how fast each class is."""
    network: Name = "default"
    """What machines share a network that copies between them fill."""

    @model_validator(mode="after")
    def _paths_are_plain(self) -> Server:
        paths = {field: getattr(self, field) for field in ("datadir", "socket", "options_file", "workdir")}
        mistakes = [f"{field} must be an absolute path" for field, path in paths.items() if not path.is_absolute()]
        mistakes += [f"{field} must not contain '..'" for field, path in paths.items() if ".." in path.parts]
        mistakes += [f"{field} must not be /" for field, path in paths.items() if path.is_absolute() and not path.name]
        programs = {"mysqld": self.mysqld, "mysqlbinlog": self.mysqlbinlog}
        mistakes += [f"{name} must name a program" for name, path in programs.items() if not path.name]
        if self.workdir == self.datadir or self.datadir in self.workdir.parents:
            mistakes.append("workdir must not lie inside datadir")
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self


class Shard(_Value):
    """One source and its replicas: the unit that fails and is restored."""

    name: Name
    tier: int = Field(default=1, ge=1, le=9)
    source: Server
    replicas: tuple[Server, ...] = ()
    scratch: Server | None = None
    """Where a rehearsal restores this shard; never promoted."""
    announce: tuple[Announce, ...] = ()
    """Who is told where the shard takes writes, in this order."""

    @property
    def servers(self) -> tuple[Server, ...]:
        """The source first, then its replicas."""
        return (self.source, *self.replicas)

    @property
    def with_scratch(self) -> tuple[Server, ...]:
        """These, and the scratch server where there is one."""
        return self.servers if self.scratch is None else (*self.servers, self.scratch)

    @property
    def backup_server(self) -> Server:
        """Where snapshots are taken: the first replica, so that the source is spared."""
        return self.replicas[0] if self.replicas else self.source


Approval = Literal["never", "on_inconclusive", "always"]


class Tier(_Value):
    """What is promised to shards of a tier."""

    tier: int = Field(ge=1, le=9)
    objective_minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The recovery time objective: how long a restore may take. None: nothing is promised."""
    approval: Approval = "on_inconclusive"
    """When a person is asked before a shard is opened. ``never``: what is inconclusive keeps it closed, unless the
    request names who approved it."""
    prove_every_days: float = Field(default=30, gt=0, allow_inf_nan=False)
    """A shard's proof must not be older."""


class StoreSettings(_Value):
    """An S3 bucket and prefix. ``endpoint`` is left out for AWS itself."""

    bucket: str = Field(min_length=3, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    prefix: str = ""
    endpoint: HttpAddress | None = None
    region: Word = "us-east-1"
    part_size_mib: int = Field(default=64, ge=5, le=1024)
    parallel: int = Field(default=4, ge=1, le=64)
    """How many objects are moved at the same time."""


class Limits(_Value):
    """Bounds that keep a run within what one machine and one Airflow can carry."""

    lane_groups: int = Field(default=200, ge=1, le=1000)
    """At most so many replay tasks in a run; small databases are put together."""
    transactions_per_batch: int = Field(default=10_000_000, ge=1)
    """A lane commits after so many transactions at the latest. The more, the fewer row versions are written;
    the fewer, the less work is lost when a task is killed."""
    batch_mib: int = Field(default=128, ge=1, le=256)
    """A lane commits when what it has collected needs so much memory."""
    connections: int = Field(default=0, ge=0, le=256)
    """How many connections all lanes together write with; large lanes get more of them. 0: twice the cores of
    the machine, at least 4."""
    clone_mib_per_s: int = Field(default=0, ge=0)
    """How fast one replica copies another server. That gives one copy at a time, so it is the most that the new source,
    which takes writes meanwhile, gives. 0: as fast as it can."""
    restores: int = Field(default=8, ge=1, le=1000)
    """So many shards of a fleet are restored at the same time."""
    rehearsals: int = Field(default=2, ge=1, le=100)
    """So many rehearsals go on at the same time."""
    store_tasks: int = Field(default=16, ge=1, le=1000)
    """When a fleet is restored: so many tasks read from the store at the same time."""
    network_tasks: int = Field(default=4, ge=1, le=1000)
    """When a fleet is restored: so many replicas are copied at the same time within one network."""
    host_tasks: int = Field(default=4, ge=1, le=1000)
    """When a fleet is restored: so many tasks work at the same time on one machine."""
    disk_reserve: float = Field(default=1.2, ge=1.0)
    """Free space a restore needs, as a multiple of the bytes it will write."""


class PromotionSettings(_Value):
    """What must be there before a rebuilt source is opened."""

    replicas_first: int = Field(default=0, ge=0, le=100)
    """So many replicas must follow the rebuilt source, and be equal to it, before it takes writes."""


class CertificateSettings(_Value):
    """Whose promotion certificates count, and for how long."""

    public_keys: tuple[PublicKey, ...] = ()
    """Trusted besides one's own signing key: base64, as ``relight certificate key`` prints them."""
    valid_hours: float = Field(default=24, gt=0, allow_inf_nan=False)


class Fleet(_Value):
    """All shards."""

    fleet: Name
    store: StoreSettings
    shards: tuple[Shard, ...]
    tiers: tuple[Tier, ...] = ()
    limits: Limits = Limits()
    promotion: PromotionSettings = PromotionSettings()
    certificates: CertificateSettings = CertificateSettings()

    # Not as a minimal length, which pydantic also finds missed where a shard has a mistake of its own.
    @field_validator("shards")
    @classmethod
    def _at_least_one(cls, value: tuple[Shard, ...]) -> tuple[Shard, ...]:
        if not value:
            raise ValueError("at least one shard is needed")
        return value

    @model_validator(mode="after")
    def _no_two_alike(self) -> Fleet:
        shard_names = [shard.name for shard in self.shards]
        servers = [s for shard in self.shards for s in shard.with_scratch]
        mistakes = [f"two shards are named {n}" for n in _twice(shard_names)]
        mistakes += [f"tier {n} is described twice" for n in _twice([str(one.tier) for one in self.tiers])]
        mistakes += [f"two servers are named {n}" for n in _twice([s.name for s in servers])]
        mistakes += [f"two servers share {n}" for n in _twice([f"{s.host}:{s.port}" for s in servers])]
        mistakes += [f"two servers share {n}" for n in _twice([f"{s.host}:{s.datadir}" for s in servers])]
        places = [one.place(shard.source.host) for shard in self.shards for one in shard.announce]
        mistakes += [f"two announcements share {n}" for n in _twice([p for p in places if p])]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def first_replicas(self, shard: Shard) -> tuple[Server, ...]:
        """Those that follow before the shard is opened, in the order of the file; all, where there are fewer."""
        return shard.replicas[: self.promotion.replicas_first]

    def later_replicas(self, shard: Shard) -> tuple[Server, ...]:
        """Those that are rebuilt once the shard is open."""
        return shard.replicas[self.promotion.replicas_first :]

    def shard(self, name: str) -> Shard:
        """The shard of that name; FleetError names those there are."""
        for shard in self.shards:
            if shard.name == name:
                return shard
        raise FleetError(
            "unknown shard", on=name, why=f"the fleet file has {', '.join(s.name for s in self.shards)}",
            hint="check the name, or the fleet file that RELIGHT_FLEET points to",
        )  # fmt: skip

    def tier_of(self, shard: Shard) -> Tier:
        """What is promised to the shard; the defaults where the fleet file does not describe its tier."""
        return next((one for one in self.tiers if one.tier == shard.tier), Tier(tier=shard.tier))


def _twice(names: list[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)
