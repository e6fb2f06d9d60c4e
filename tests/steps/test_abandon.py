"""What a cancelled run leaves is taken back by one command, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from relight.errors import ClaimRefused, GuardRefused, PromotionRefused
from relight.fencing.epochs import load_epochs
from relight.planning.target import Target
from relight.recover import recover
from relight.server import mysqld
from relight.server.rebuilt import read_mark, write_mark
from relight.server.table_checksums import checksums
from relight.site import Run, Site
from relight.steps.abandon import abandon
from relight.steps.plan import plan_run
from relight.steps.prepare import prepare
from relight.steps.promote import promote
from relight.steps.replicas import rebuild_replica
from relight.steps.restore import restore_snapshot
from tests.support.commands import shell_for
from tests.support.promoting import Proved, assert_history, lose, lose_and_prove
from tests.support.servers import Servers

Maker = Callable[..., Site]


def another(run_id: str = "run-2") -> Run:
    return Run(run_id=run_id, shard="shard-1", target=Target(kind="latest"))


def comes_back(lost: Proved) -> None:
    assert recover(lost.site, another()).outcome == "done"
    with lost.servers.connect(lost.source) as session:
        assert checksums(session) == lost.sums
        assert_history(session, lost.gtids)


def test_the_guard_names_the_command_that_clears_a_half_built_server_away_and_it_does(
    servers: Servers, site: Maker, tmp_path: Path
) -> None:
    lost = lose(servers, site)
    plan_run(lost.site, lost.run)
    restore_snapshot(lost.site, lost.run)
    with pytest.raises(GuardRefused) as refused:
        recover(lost.site, another())
    shell = shell_for(lost.site, tmp_path)
    done = shell.run(shell.printed_in(refused.value.hint))
    assert done.returncode == 0, done.stderr
    assert not mysqld.port_answers(lost.source)
    assert not lost.source.datadir.exists()
    marks = [read_mark(one) for one in lost.source.datadir.parent.glob("*.set-aside.*")]
    assert "run-1" in [mark.run_id for mark in marks if mark], "it is set aside, not gone"
    comes_back(lost)


def test_a_run_that_was_cancelled_behind_its_claim_and_its_first_replica_leaves_the_shard_free(
    servers: Servers, site: Maker, tmp_path: Path
) -> None:
    lost = lose_and_prove(servers, site, first=1)
    prepare(lost.site, lost.run)
    rebuild_replica(lost.site, lost.run, lost.replicas[0].name)
    done = shell_for(lost.site, tmp_path).run("relight abandon run-1 --why 'the wrong target'")
    assert done.returncode == 0, done.stderr
    (epoch,) = load_epochs(lost.site.store, "shard-1")
    assert epoch.outcome is not None
    assert (epoch.outcome.kind, epoch.outcome.why) == ("given up", "the wrong target")
    for server in (lost.source, lost.replicas[0]):
        assert not server.datadir.exists()
        assert not mysqld.port_answers(server)
    with pytest.raises(PromotionRefused):
        promote(lost.site, lost.run)
    assert abandon(lost.site, lost.run, "once more").set_aside == {}
    comes_back(lost)


def test_what_was_opened_is_not_abandoned(servers: Servers, site: Maker, tmp_path: Path) -> None:
    lost = lose_and_prove(servers, site)
    lost.promote()
    with pytest.raises(ClaimRefused, match="has opened the shard"):
        abandon(lost.site, lost.run, "a mistake")
    assert lost.is_open()
    done = shell_for(lost.site, tmp_path).run("relight abandon run-1")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert lost.is_open()


def test_nothing_is_given_up_where_a_server_says_that_it_was_promoted(servers: Servers, site: Maker) -> None:
    lost = lose_and_prove(servers, site, replicas=0)
    prepare(lost.site, lost.run)
    write_mark(lost.source.datadir, lost.run.run_id, "promoted", 1)
    with pytest.raises(ClaimRefused, match="has opened the shard"):
        abandon(lost.site, lost.run, "a mistake")
    (epoch,) = load_epochs(lost.site.store, "shard-1")
    assert epoch.is_open, "its claim is as it was"


def test_what_another_run_has_built_and_what_nobody_has_is_left_alone(
    servers: Servers, site: Maker, tmp_path: Path
) -> None:
    lost = lose(servers, site)
    plan_run(lost.site, lost.run)
    restore_snapshot(lost.site, lost.run)
    assert abandon(lost.site, another(), "never was").set_aside == {}
    assert mysqld.port_answers(lost.source)
    done = shell_for(lost.site, tmp_path).run("relight abandon run-2")
    assert done.returncode == 1
    assert "nothing on this machine was built by the run" in done.stderr
    assert mysqld.port_answers(lost.source)
