"""Two servers of one shard, rebuilt by two runs that know nothing of each other: both proved, both closed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relight.errors import RelightError
from relight.fencing.epochs import load_epochs
from relight.fleet import Server
from relight.planning.target import Target
from relight.server.rebuilt import State, read_mark, write_mark
from relight.site import Run, Site
from relight.steps.prepare import prepare
from relight.steps.promote import promote
from tests.support.promoting import back_up, is_open, prove
from tests.support.servers import Servers, kill

SHARD = "shard-1"


@dataclass
class Rival:
    """One of them, and the run that has rebuilt it."""

    site: Site
    run: Run
    server: Server
    servers: Servers

    def promote(self, site: Site | None = None) -> str:
        """Try to become the shard's source. Gives why not, in words; empty text when it is."""
        place = site or self.site
        try:
            prepare(place, self.run)
            promote(place, self.run)
        except RelightError as refused:
            return str(refused)
        return ""

    def is_open(self) -> bool:
        """Whether it takes writes."""
        return is_open(self.server, self.servers)

    def close(self, state: State) -> None:
        """As it was before it was promoted: closed, and marked as in that state."""
        with self.servers.connect(self.server) as session:
            session.run("SET GLOBAL offline_mode = ON")
            session.run("SET GLOBAL read_only = ON")
        mark = read_mark(self.server.datadir)
        assert mark is not None
        assert state == "restored" or mark.state != "restored", "it was never prepared"
        write_mark(self.server.datadir, self.run.run_id, state)


@dataclass
class Rivals:
    """Both, and the store that decides between them, which is looked into as the second sees it."""

    one: Rival
    other: Rival

    def reset(self, *, one: State = "restored", other: State = "restored") -> None:
        """Close both, and forget all epochs, behind the store's back."""
        self.one.close(one)
        self.other.close(other)
        forget(self.other.site, f"{SHARD}/fence/")
        assert load_epochs(self.other.site.store, SHARD) == []

    def opened(self) -> list[str]:
        """The runs whose servers take writes at this moment."""
        return [rival.run.run_id for rival in (self.one, self.other) if rival.is_open()]

    def decided(self) -> list[str]:
        """The runs that may open one, by the store."""
        epochs = load_epochs(self.other.site.store, SHARD)
        return [one.outcome.run_id for one in epochs if one.outcome and one.outcome.kind == "opened"]


def make_rivals(servers: Servers, site: Callable[..., Site]) -> Rivals:
    """Lose a shard, and rebuild it twice."""
    lost = servers.make("source")
    here = site(lost)
    back_up(servers, here, lost, [])
    kill(lost)
    second = servers.make("other", empty=True)
    there = site(second)
    made = []
    for name, place, server in (("run-1", here, lost), ("run-2", there, second)):
        run = Run(run_id=name, shard=SHARD, target=Target(kind="latest"))
        prove(place, run)
        made.append(Rival(place, run, server, servers))
    return Rivals(*made)


def forget(site: Site, prefix: str) -> None:
    """Remove objects from the store, which nothing in Relight can."""
    import boto3

    settings, login = site.fleet.store, site.credentials.login("store")
    client = boto3.client(
        "s3", endpoint_url=settings.endpoint, region_name=settings.region, aws_access_key_id=login.user,
        aws_secret_access_key=login.password,
    )  # fmt: skip
    for entry in list(site.store.list(prefix)):
        client.delete_object(Bucket=settings.bucket, Key=f"{settings.prefix}/{entry.key}")
