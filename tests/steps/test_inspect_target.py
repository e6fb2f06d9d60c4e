"""A machine that cannot take a restore is refused before anything is fetched or moved."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from relight.errors import GuardRefused
from relight.fleet import Limits
from relight.planning.plan import load_plan
from relight.planning.target import Target
from relight.recover import recover
from relight.server import mysqld
from relight.site import Run, Site
from relight.step_records import load_records
from relight.steps.inspect_target import inspect_target
from relight.steps.plan import plan_run
from relight.steps.snapshot import take_snapshot
from tests.support.servers import Servers

RUN = Run(run_id="run-1", shard="shard-1", target=Target(kind="latest"))


@pytest.fixture
def stopped(servers: Servers, site: Callable[..., Site]) -> Site:
    """A shard with a backup, whose only server is down."""
    source = servers.make("source")
    with servers.connect(source) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY)")
    place = site(source)
    take_snapshot(place, "shard-1")
    mysqld.stop(source, servers.admin)
    return place


def with_reserve(site: Site, reserve: float) -> Site:
    """The same, but so much more space is asked for."""
    return dataclasses.replace(site, fleet=site.fleet.model_copy(update={"limits": Limits(disk_reserve=reserve)}))


def test_a_disk_too_small_is_refused_before_the_restore_starts(servers: Servers, stopped: Site) -> None:
    source = stopped.fleet.shards[0].source
    before = sorted(source.datadir.iterdir()), sorted(source.datadir.parent.iterdir())
    crowded = with_reserve(stopped, 1e9)
    with pytest.raises(GuardRefused, match=r"the disk is too small .*GB needed, .*GB free") as refused:
        recover(crowded, RUN)
    assert "free space" in refused.value.hint
    assert [(record.step, record.outcome) for record in load_records(stopped.store, RUN)][:3] == [
        ("salvage", "done"), ("plan", "done"), ("guard", "failed"),
    ]  # fmt: skip
    assert (sorted(source.datadir.iterdir()), sorted(source.datadir.parent.iterdir())) == before
    assert not (source.workdir / "incoming").exists()
    mysqld.start(source, servers.admin).close()


def test_a_machine_that_can_take_it_is_told_what_it_has_and_what_it_needs(stopped: Site) -> None:
    plan_run(stopped, RUN)
    found = inspect_target(stopped, RUN)
    plan = load_plan(stopped.store, RUN)
    assert found.needed_bytes == plan.disk_bytes >= plan.snapshot.data_bytes
    assert found.free_bytes > found.needed_bytes
    assert (found.server, found.resumed) == ("source", False)
