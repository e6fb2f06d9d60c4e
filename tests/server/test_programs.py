"""A program, account or options file that is not there is told before anything begins, not behind a whole copy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relight.errors import FleetError
from relight.fleet import Server
from relight.server.programs import refuse_unusable
from relight.site import Site
from relight.steps.inspect_target import inspect_target
from relight.steps.plan import plan_run
from relight.steps.replicas import rebuild_replica
from relight.steps.snapshot import take_snapshot
from tests.support.commands import shell_for
from tests.support.promoting import lose
from tests.support.servers import Servers

WRONG = [
    ({"mysqld": Path("/usr/sbin/mysql-d")}, "there is no such program"),
    ({"mysqld": Path("/etc/passwd")}, "not an executable file"),
    ({"mysqld": Path("/usr/bin")}, "not an executable file"),
    ({"options_file": Path("/nowhere/my.cnf")}, "options cannot be read"),
    ({"options_file": Path("/etc")}, "options cannot be read"),
    ({"run_as": "mysqll"}, "there is no such account"),
]


@pytest.fixture(scope="module")
def server(module_servers: Servers) -> Server:
    return module_servers.make("programs", start=False)


@pytest.mark.parametrize(("changed", "said"), WRONG)
def test_what_the_machine_does_not_have_is_named(server: Server, changed: dict[str, Any], said: str) -> None:
    refuse_unusable(server)
    with pytest.raises(FleetError, match=said) as refused:
        refuse_unusable(server.model_copy(update=changed))
    assert str(next(iter(changed.values()))) in str(refused.value)
    assert refused.value.hint


def test_an_account_that_was_misspelt_is_guessed(server: Server) -> None:
    with pytest.raises(FleetError) as refused:
        refuse_unusable(server.model_copy(update={"run_as": "nobodi"}))
    assert refused.value.hint == "did you mean nobody?"


def changed(site: Site, **values: object) -> Site:
    """Every server of the fleet with other values."""
    (shard,) = site.fleet.shards
    shard = shard.model_copy(update={
        "source": shard.source.model_copy(update=values),
        "replicas": tuple(one.model_copy(update=values) for one in shard.replicas),
    })  # fmt: skip
    return dataclasses.replace(site, fleet=site.fleet.model_copy(update={"shards": (shard,)}))


@pytest.mark.parametrize(("values", "said"), [WRONG[0], WRONG[-1]])
def test_a_backup_a_restore_and_a_replica_say_it_before_they_touch_anything(
    servers: Servers, site: Callable[..., Site], tmp_path: Path, values: dict[str, Any], said: str
) -> None:
    lost = lose(servers, site)
    plan_run(lost.site, lost.run)
    wrong = changed(lost.site, **values)
    before = sorted(lost.source.workdir.iterdir()) if lost.source.workdir.exists() else []
    with pytest.raises(FleetError, match=said):
        take_snapshot(wrong, "shard-1")
    with pytest.raises(FleetError, match=said):
        inspect_target(wrong, lost.run)
    with pytest.raises(FleetError, match=said):
        rebuild_replica(wrong, lost.run, lost.replicas[0].name)
    assert (sorted(lost.source.workdir.iterdir()) if lost.source.workdir.exists() else []) == before
    for line in ("relight backup full shard-1", "relight restore shard-1"):
        done = shell_for(wrong, tmp_path).run(line)
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
