"""The hostgroup has the new server and no other; with ProxySQL's part played by SQLite behind MySQL's protocol."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from relight.announcing.proxysql import ProxySQLAnnouncer
from relight.announcing.settings import ProxySQLAnnounce
from relight.credentials import Login
from relight.errors import AnnounceFailed, AnnounceUnavailable, CredentialsMissing
from tests.announcing.endpoints import endpoint, logins
from tests.support.proxysql_admin import ProxySQL, proxysql

GROUP = 10
NEW = (GROUP, "shop-1a.example.net", 3306, "ONLINE")
OTHERS = [(11, "replica.example.net", 3306, "ONLINE"), (20, "other-shard.example.net", 3306, "ONLINE")]


@pytest.fixture
def proxy() -> Iterator[ProxySQL]:
    """With the lost source in its hostgroup, and others that are none of our business."""
    with proxysql(Login("relight", "s3cret")) as made:
        for group, host, port, status in [(GROUP, "lost.example.net", 3306, "ONLINE"), *OTHERS]:
            made.tables.execute(
                "INSERT INTO mysql_servers (hostgroup_id, hostname, port, status, max_connections, use_ssl, comment)"
                " VALUES (?, ?, ?, ?, 321, 1, 'by hand')", (group, host, port, status),
            )  # fmt: skip
        made.run("LOAD MYSQL SERVERS TO RUNTIME")
        made.asked.clear()
        yield made


def announcer(proxy: ProxySQL | int, password: str = "s3cret") -> ProxySQLAnnouncer:
    port = proxy.port if isinstance(proxy, ProxySQL) else proxy
    return ProxySQLAnnouncer(
        ProxySQLAnnounce(kind="proxysql", port=port, hostgroup=GROUP), logins(proxysql=password)
    )  # fmt: skip


def test_the_new_server_is_the_only_one_of_its_hostgroup_in_force_and_on_disk(proxy: ProxySQL) -> None:
    for _ in range(2):
        announcer(proxy).announce(endpoint())
        for table in ("mysql_servers", "runtime_mysql_servers", "disk_mysql_servers"):
            assert proxy.rows(table) == [NEW, *OTHERS]


def test_what_was_set_for_the_lost_server_is_kept_for_the_new_one(proxy: ProxySQL) -> None:
    announcer(proxy).announce(endpoint())
    columns = "hostgroup_id, max_connections, use_ssl, weight, comment"
    assert proxy.rows("runtime_mysql_servers", columns)[0] == (GROUP, 321, 1, 1, "relight shard=shard-1 epoch=3")


def test_what_the_new_server_had_itself_goes_first(proxy: ProxySQL) -> None:
    proxy.tables.execute(
        "INSERT INTO mysql_servers (hostgroup_id, hostname, port, status, max_connections)"
        " VALUES (10, 'shop-1a.example.net', 3306, 'OFFLINE_SOFT', 77)"
    )
    announcer(proxy).announce(endpoint())
    assert proxy.rows("runtime_mysql_servers", "hostgroup_id, max_connections, status")[0] == (GROUP, 77, "ONLINE")


def test_an_empty_hostgroup_gets_its_server(proxy: ProxySQL) -> None:
    proxy.tables.execute("DELETE FROM mysql_servers")
    announcer(proxy).announce(endpoint())
    assert proxy.rows("runtime_mysql_servers") == [NEW]


def test_withdrawn_nobody_is_in_service_and_the_epoch_is_still_known(proxy: ProxySQL) -> None:
    one = announcer(proxy)
    one.announce(endpoint(4))
    for _ in range(2):
        one.withdraw(endpoint(4))
        assert proxy.rows("runtime_mysql_servers") == OTHERS
        assert proxy.rows("disk_mysql_servers") == [(*NEW[:3], "OFFLINE_HARD"), *OTHERS]
    with pytest.raises(AnnounceFailed, match="epoch 4 of shard-1 is published, this is epoch 3"):
        one.announce(endpoint(3))
    one.announce(endpoint(4))
    assert proxy.rows("runtime_mysql_servers") == [NEW, *OTHERS]


def test_before_anything_was_announced_the_lost_server_can_be_withdrawn(proxy: ProxySQL) -> None:
    announcer(proxy).withdraw(endpoint(host="lost.example.net"))
    assert proxy.rows("runtime_mysql_servers") == OTHERS


@pytest.mark.parametrize("again", ["announce", "withdraw"])
@pytest.mark.parametrize(
    ("there", "why"),
    [
        (endpoint(5, host="newer.example.net"), "epoch 5 of shard-1 is published"),
        (endpoint(shard="shard-2"), "it holds shard-2"),
    ],
    ids=["newer", "another shard"],
)
def test_what_is_newer_or_another_shard_is_left_alone(proxy: ProxySQL, again: str, there: object, why: str) -> None:
    announcer(proxy).announce(there)  # type: ignore[arg-type]  # an Endpoint, as the parameters say
    before = proxy.rows("runtime_mysql_servers", "*")
    proxy.asked.clear()
    with pytest.raises(AnnounceFailed, match=why) as refused:
        getattr(announcer(proxy), again)(endpoint(3))
    assert "hostgroup 10" in refused.value.on
    assert proxy.rows("runtime_mysql_servers", "*") == before
    assert not [statement for statement in proxy.asked if not statement.startswith(("SET NAMES", "SELECT"))]


def test_no_transaction_and_no_autocommit_is_asked_for_and_saving_comes_last(proxy: ProxySQL) -> None:
    announcer(proxy).announce(endpoint())
    assert [statement.split()[0] for statement in proxy.asked] == [
        "SET", "SELECT", "REPLACE", "DELETE", "LOAD", "SELECT", "SAVE",
    ]  # fmt: skip


@pytest.mark.parametrize("host", ["it's", "back\\slash", "per%cent", "q'); DROP TABLE mysql_servers; --"])
def test_every_host_is_quoted_as_sqlite_wants_it(proxy: ProxySQL, host: str) -> None:
    announcer(proxy).announce(endpoint(host=host))
    assert proxy.rows("runtime_mysql_servers", "hostgroup_id, hostname")[0] == (GROUP, host)


def test_a_load_that_did_nothing_is_noticed_and_not_saved(proxy: ProxySQL) -> None:
    proxy.loads = False
    with pytest.raises(AnnounceFailed, match=r"in force: lost\.example\.net:3306; meant: shop-1a\.example\.net:3306"):
        announcer(proxy).announce(endpoint())
    with pytest.raises(AnnounceFailed, match=r"in force: lost\.example\.net:3306; meant: nobody"):
        announcer(proxy).withdraw(endpoint())
    assert proxy.rows("disk_mysql_servers") == []


@pytest.mark.parametrize("at", ["SELECT *", "REPLACE", "DELETE", "LOAD", "SELECT hostname", "SAVE"])
def test_cut_off_anywhere_another_try_ends_the_same(proxy: ProxySQL, at: str) -> None:
    proxy.breaks_at = at
    with pytest.raises(AnnounceUnavailable, match="does not answer"):
        announcer(proxy).announce(endpoint())
    proxy.breaks_at = ""
    announcer(proxy).announce(endpoint())
    assert proxy.rows("runtime_mysql_servers") == proxy.rows("disk_mysql_servers") == [NEW, *OTHERS]


def test_a_wrong_password_is_refused_and_not_repeated(proxy: ProxySQL) -> None:
    with pytest.raises(AnnounceFailed, match="Access denied") as refused:
        announcer(proxy, "wr0ng").announce(endpoint())
    assert not refused.value.retryable
    assert "wr0ng" not in repr(refused.value.args)


def test_what_sqlite_refuses_is_said(proxy: ProxySQL) -> None:
    proxy.tables.execute("UPDATE mysql_servers SET gtid_port = 4000 WHERE hostgroup_id = 10")
    with pytest.raises(AnnounceFailed, match="ProxySQL Admin Error: CHECK constraint failed"):
        announcer(proxy).announce(endpoint(port=4000))


def test_where_nobody_listens_or_speaks_it_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relight.announcing.proxysql.TIMEOUT", 0.5)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        port = mute.getsockname()[1]
        with pytest.raises(AnnounceUnavailable, match="refused"):
            announcer(port).announce(endpoint())
        mute.listen()
        with pytest.raises(AnnounceUnavailable, match="timed out"):
            announcer(port).announce(endpoint())


def test_without_a_login_nothing_is_tried() -> None:
    settings = ProxySQLAnnounce(kind="proxysql", hostgroup=GROUP)
    with pytest.raises(CredentialsMissing, match="RELIGHT_PROXYSQL_USER, RELIGHT_PROXYSQL_PASSWORD"):
        ProxySQLAnnouncer(settings, logins()).announce(endpoint())
