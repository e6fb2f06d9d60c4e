"""A shard that was lost, rebuilt, proved and certified: what a promotion begins with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from relight.errors import ServerUnreachable
from relight.fencing.timelines import birth_of
from relight.fleet import PromotionSettings, Server
from relight.gtid import GtidSet
from relight.planning.target import Target
from relight.server.session import Session, connect
from relight.server.table_checksums import checksums
from relight.site import Run, Site
from relight.steps.certify import certify
from relight.steps.judge import judge
from relight.steps.lanes import plan_lanes
from relight.steps.plan import plan_run
from relight.steps.prepare import prepare
from relight.steps.promote import Promotion, promote
from relight.steps.replay import replay_group
from relight.steps.restore import restore_snapshot
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from relight.steps.validate import validate_database
from tests.support.servers import Servers, kill


@dataclass
class Proved:
    """A shard that was lost. Its source may have been rebuilt and certified, and is closed then."""

    site: Site
    source: Server
    replicas: list[Server]
    servers: Servers
    sums: dict[str, int]
    gtids: str
    run: Run

    def is_open(self) -> bool:
        """Whether the rebuilt source takes writes."""
        return is_open(self.source, self.servers)

    def promote(self) -> Promotion:
        """Both steps of a promotion."""
        prepare(self.site, self.run)
        return promote(self.site, self.run)


def assert_history(session: Session, gtids: str) -> None:
    """A promoted server has the lost one's history, and the one transaction with which its timeline began."""
    birth = birth_of(str(session.value("SELECT @@server_uuid")))
    executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    assert executed == GtidSet.parse(gtids) | GtidSet.parse(birth), f"{executed}"


def is_open(server: Server, servers: Servers) -> bool:
    """Whether a server takes writes."""
    try:
        with connect(server, servers.admin) as session:
            return session.row("SELECT @@GLOBAL.offline_mode, @@GLOBAL.read_only") == (0, 0)
    except ServerUnreachable:
        return False


def lose(servers: Servers, site: Callable[..., Site], *, replicas: int = 1, first: int = 0) -> Proved:
    """Make a shard and lose all of it. ``first``: how many replicas the fleet file wants before it is opened."""
    source = servers.make("source")
    others = servers.make_replicas(source, replicas)
    place = site(source, others)
    fleet = place.fleet.model_copy(update={"promotion": PromotionSettings(replicas_first=first)})
    place = dataclasses.replace(place, fleet=fleet)
    sums, gtids = back_up(servers, place, source, others)
    for server in (source, *others):
        kill(server)
    run = Run(run_id="run-1", shard="shard-1", target=Target(kind="latest"))
    return Proved(place, source, others, servers, sums, gtids, run)


def lose_and_prove(servers: Servers, site: Callable[..., Site], *, replicas: int = 1, first: int = 0) -> Proved:
    """The same, and bring its source back to where it is certified."""
    lost = lose(servers, site, replicas=replicas, first=first)
    prove(lost.site, lost.run)
    return lost


def back_up(servers: Servers, place: Site, source: Server, replicas: list[Server]) -> tuple[dict[str, int], str]:
    """Write, take a full backup, write more, ship the logs. Gives the checksums and the GTID set at the end."""
    with servers.connect(source) as session:
        session.run("CREATE DATABASE shop")
        session.run("CREATE TABLE shop.t (n INT PRIMARY KEY)")
        executed = session.value("SELECT @@GLOBAL.gtid_executed")
        for replica in replicas[:1]:
            with servers.connect(replica) as other:
                assert other.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 30)", executed) == 0
        take_snapshot(place, "shard-1")
        session.run("INSERT INTO shop.t VALUES (1), (2)")
        ship_segments(place, "shard-1")
        return checksums(session), str(session.value("SELECT @@GLOBAL.gtid_executed"))


def prove(place: Site, run: Run) -> None:
    """All steps of a restore up to the certificate."""
    plan_run(place, run)
    restore_snapshot(place, run)
    for group in plan_lanes(place, run).groups:
        replay_group(place, run, group.number)
    validate_database(place, run, "shop")
    judge(place, run)
    certify(place, run)
