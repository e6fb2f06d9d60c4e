"""Replicas of a rebuilt source: whose copies they are, what one that fails undoes, and shards that wait for them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from relight.errors import GuardRefused, PromotionRefused, ReplicaDiffers, ServerUnreachable, StatementFailed
from relight.fencing.epochs import newest
from relight.fleet import Server
from relight.server import mysqld
from relight.server.following import follows
from relight.server.session import Session, connect
from relight.server.table_checksums import checksums
from relight.site import Site
from relight.steps import promote as promoting
from relight.steps import replicas as rebuilding
from relight.steps.prepare import prepare
from relight.steps.promote import promote
from relight.steps.replicas import rebuild_replica
from tests.steps.test_promotion import dying_behind
from tests.support.promoting import Proved, assert_history, lose_and_prove
from tests.support.servers import Servers, kill

Maker = Callable[..., Site]


def lets_in(server: Server, proved: Proved) -> list[Any]:
    """What was given to the replicas' account for the time before the source is open."""
    with proved.servers.connect(server) as session:
        return [
            *session.rows("SELECT host FROM mysql.global_grants WHERE user = 'replication' AND priv = 'CONNECTION_ADMIN'"),
            *session.rows(
                "SELECT host FROM information_schema.user_attributes WHERE user = 'replication'"
                " AND attribute LIKE '%relight%'"
            ),
        ]  # fmt: skip


def assert_follows(replica: Server, proved: Proved) -> None:
    """It is a whole replica of the source, and holds the same."""
    with proved.servers.connect(proved.source) as source, proved.servers.connect(replica) as session:
        executed = source.value("SELECT @@GLOBAL.gtid_executed")
        assert session.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 30)", executed) == 0
        assert follows([replica], source, proved.servers.admin) == {replica.name: ""}
        assert checksums(session) == checksums(source)


def test_finished_replicas_give_copies_too_and_the_source_is_spared(servers: Servers, site: Maker) -> None:
    proved = lose_and_prove(servers, site, replicas=3)
    proved.promote()
    first, second, third = proved.replicas
    assert rebuild_replica(proved.site, proved.run, first.name).donor == "source"
    assert rebuild_replica(proved.site, proved.run, second.name).donor == first.name
    with servers.connect(first) as session:
        session.run("STOP REPLICA IO_THREAD")
    assert rebuild_replica(proved.site, proved.run, third.name).donor == second.name, "one that is cut off gives none"
    with servers.connect(first) as session:
        session.run("START REPLICA IO_THREAD")
    with servers.connect(proved.source) as session:
        session.run("INSERT INTO shop.t VALUES (100)")
    for replica in proved.replicas:
        assert_follows(replica, proved)


def test_two_that_ask_at_the_same_time_get_copies_of_two_donors_or_wait(servers: Servers, site: Maker) -> None:
    proved = lose_and_prove(servers, site, replicas=3)
    proved.promote()
    rebuild_replica(proved.site, proved.run, proved.replicas[0].name)
    with ThreadPoolExecutor(2) as pool:
        rest = [one.name for one in proved.replicas[1:]]
        done = list(pool.map(lambda name: rebuild_replica(proved.site, proved.run, name), rest))
    assert {one.donor for one in done} <= {"source", *(one.name for one in proved.replicas)}
    for replica in proved.replicas:
        assert_follows(replica, proved)


def test_who_is_busy_or_gives_no_copy_is_passed_over_and_where_nobody_is_free_it_waits(
    servers: Servers, site: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    proved = lose_and_prove(servers, site, replicas=2)
    proved.promote()
    first, second = proved.replicas
    rebuild_replica(proved.site, proved.run, first.name)
    asked: list[str] = []
    real = rebuilding._copy

    def busy(session: Session, donor: Server, place: Site) -> None:
        asked.append(donor.name)
        if len(asked) <= 2:
            raise StatementFailed(
                "no", on="x", why="3862 Clone Donor Error: 3634 : Too many concurrent clone operations."
            )
        if donor.name == first.name:
            raise StatementFailed("no", on="x", why="3862 Clone Donor Error: 1045 : Access denied")
        real(session, donor, place)

    monkeypatch.setattr(rebuilding, "_copy", busy)
    assert rebuild_replica(proved.site, proved.run, second.name).donor == "source"
    assert asked == [first.name, "source", first.name, "source"]
    assert_follows(second, proved)


def test_one_replica_that_fails_undoes_nothing_and_is_rebuilt_alone(servers: Servers, site: Maker) -> None:
    proved = lose_and_prove(servers, site, replicas=2)
    alive, other = proved.replicas
    wake(alive, servers)
    with pytest.raises(GuardRefused, match="be replaced by a clone"):
        recover_from_promotion(proved)
    assert proved.is_open()
    assert_follows(other, proved)
    with servers.connect(proved.source) as session:
        session.run("INSERT INTO shop.t VALUES (100)")
    kill(alive)
    assert rebuild_replica(proved.site, proved.run, alive.name).donor == other.name
    assert_follows(alive, proved)


def wake(replica: Server, servers: Servers) -> None:
    """Somebody has started a replica: it takes no writes, and its machine says that it is in use."""
    with mysqld.start(replica, servers.admin) as session:
        session.run("STOP REPLICA")
        session.run("SET GLOBAL super_read_only = ON")


def recover_from_promotion(proved: Proved) -> None:
    from relight import recover as story

    story._back_into_service(proved.site, proved.run, 4)


def test_a_shard_that_wants_a_replica_first_refuses_writes_until_one_is_equal(
    servers: Servers, site: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    proved = lose_and_prove(servers, site, replicas=2, first=1)
    first, second = proved.replicas
    assert prepare(proved.site, proved.run).replicas_first == (first.name,)
    with pytest.raises(PromotionRefused, match=rf"0 of 1; {first.name}: it does not say what it is"):
        promote(proved.site, proved.run)
    with monkeypatch.context() as patch:  # the replica is there, and not compared
        patch.setattr(rebuilding, "compare_with_source", different)
        with pytest.raises(ReplicaDiffers):
            rebuild_replica(proved.site, proved.run, first.name)
    with pytest.raises(PromotionRefused, match=rf"0 of 1; {first.name}: it is closed"):
        promote(proved.site, proved.run)
    assert not proved.is_open()
    assert lets_in(proved.source, proved)
    assert rebuild_replica(proved.site, proved.run, first.name).donor == ""
    assert not proved.is_open()
    assert lets_in(first, proved) == []
    done = promote(proved.site, proved.run)
    assert (done.epoch, done.replicas_first) == (1, (first.name,))
    assert proved.is_open()
    assert lets_in(proved.source, proved) == []
    assert rebuild_replica(proved.site, proved.run, second.name).donor == first.name
    with servers.connect(proved.source) as session:
        assert_history(session, proved.gtids)  # nothing of all that is in its log
        session.run("INSERT INTO shop.t VALUES (100)")
    for replica in proved.replicas:
        assert_follows(replica, proved)
        assert lets_in(replica, proved) == []


def different(*_: object) -> None:
    raise ReplicaDiffers("the replica differs from its source", on="x", why="a test")


def test_where_the_first_replica_s_machine_refuses_the_source_stays_closed_until_that_is_settled(
    servers: Servers, site: Maker
) -> None:
    proved = lose_and_prove(servers, site, replicas=1, first=1)
    (replica,) = proved.replicas
    wake(replica, servers)
    with pytest.raises(GuardRefused, match="be replaced by a clone"):
        recover_from_promotion(proved)
    assert not proved.is_open()
    with pytest.raises(PromotionRefused, match="too few replicas follow the new source"):
        promote(proved.site, proved.run)
    last = newest(proved.site.store, "shard-1")
    assert last is not None
    assert last.is_open, "the shard is still this run's"
    kill(replica)
    recover_from_promotion(proved)
    assert proved.is_open()
    assert_follows(replica, proved)


def test_a_replica_that_dies_before_the_source_is_opened_does_not_count(servers: Servers, site: Maker) -> None:
    proved = lose_and_prove(servers, site, replicas=1, first=1)
    (replica,) = proved.replicas
    prepare(proved.site, proved.run)
    rebuild_replica(proved.site, proved.run, replica.name)
    kill(replica)
    with pytest.raises(PromotionRefused, match="0 of 1"):
        promote(proved.site, proved.run)
    assert not proved.is_open()
    rebuild_replica(proved.site, proved.run, replica.name)
    promote(proved.site, proved.run)
    assert proved.is_open()


@pytest.mark.parametrize("step", ["_replicas_first", "win", "write_mark", "_open", "shut_out"])
def test_killed_while_it_is_opened_behind_its_replicas_it_ends_right(
    servers: Servers, site: Maker, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    proved = lose_and_prove(servers, site, replicas=1, first=1)
    prepare(proved.site, proved.run)
    rebuild_replica(proved.site, proved.run, proved.replicas[0].name)
    with dying_behind(promoting, step, monkeypatch):
        promote(proved.site, proved.run)
    assert promote(proved.site, proved.run).epoch == 1
    assert proved.is_open()
    assert lets_in(proved.source, proved) == []
    assert_follows(proved.replicas[0], proved)


def test_the_account_that_may_come_in_anyway_keeps_that(servers: Servers, site: Maker) -> None:
    from relight.server.letting_in import let_in, shut_out

    server = servers.make("source")
    login = servers.template.logins.replication
    with servers.connect(server) as session:
        session.run("GRANT CONNECTION_ADMIN ON *.* TO replication@'%'")
        let_in(session, login)
        shut_out(session, login)
        session.run("SET GLOBAL offline_mode = ON")
        connect(server, login).close()
        session.run("REVOKE CONNECTION_ADMIN ON *.* FROM replication@'%'")
        with pytest.raises(ServerUnreachable):
            connect(server, login)
        for _ in range(2):
            let_in(session, login)
        connect(server, login).close()
        for _ in range(2):
            shut_out(session, login)
        with pytest.raises(ServerUnreachable):
            connect(server, login)
