"""Starting, stopping and closing real servers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relight.errors import ServerError, ServerStartFailed, ServerUnreachable
from relight.fleet import CommandControl, Server
from relight.lab.template import Logins
from relight.server import mysqld
from relight.server.session import connect
from tests.support.servers import Servers, kill

CLOSED = "SELECT @@GLOBAL.offline_mode, @@GLOBAL.read_only, @@GLOBAL.event_scheduler, @@GLOBAL.skip_replica_start"
LOADING = (
    "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.sync_binlog, @@GLOBAL.max_allowed_packet"
)  # fmt: skip
DURABLE_OPTIONS = {"innodb-flush-log-at-trx-commit": "1", "sync-binlog": "1", "max-allowed-packet": "16M"}


@pytest.fixture
def closed(servers: Servers) -> Server:
    """A server whose own options say open and durable, and whose data directory says closed and loading."""
    server = servers.make("closed", options={**DURABLE_OPTIONS, "event-scheduler": "ON"}, start=False)
    mysqld.write_closed_settings(server.datadir, loading=True)
    mysqld.start(server, servers.admin).close()
    return server


def assert_closed(servers: Servers, logins: Logins, server: Server) -> None:
    for place in (server, server.model_copy(update={"socket": Path("/nowhere/s")})):  # by the socket, by TCP
        with pytest.raises(ServerUnreachable, match="offline mode"):
            connect(place, logins.application)
    with servers.connect(server) as session:
        assert session.row(CLOSED) == (1, 1, "OFF", 1)
        assert session.row(LOADING) == (0, 0, 2**30)


def test_a_closed_server_lets_no_application_in_however_often_it_is_started(
    servers: Servers, logins: Logins, closed: Server
) -> None:
    assert_closed(servers, logins, closed)
    mysqld.stop(closed, servers.admin)
    mysqld.start(closed, servers.admin).close()
    assert_closed(servers, logins, closed)
    kill(closed)
    mysqld.start(closed, servers.admin).close()
    assert_closed(servers, logins, closed)


def test_the_application_is_let_in_once_the_server_is_open(servers: Servers, logins: Logins, closed: Server) -> None:
    with servers.connect(closed) as session:
        session.run("SET GLOBAL offline_mode = OFF")
    connect(closed, logins.application).close()


def test_only_what_relight_left_is_named_for_removal(servers: Servers, closed: Server) -> None:
    with servers.connect(closed) as session:
        session.run("SET PERSIST max_connections = 77")
        names = mysqld.persisted_by_relight(session)
    assert set(names) == {*mysqld.CLOSED, *mysqld.LOADING, "skip_replica_start"}


def test_closed_without_loading_keeps_the_server_s_own_durable_settings(servers: Servers) -> None:
    server = servers.make("safe", options=DURABLE_OPTIONS, start=False)
    mysqld.write_closed_settings(server.datadir, loading=False)
    with mysqld.start(server, servers.admin) as session:
        assert session.row(CLOSED) == (1, 1, "OFF", 1)
        assert session.row(LOADING) == (1, 1, 16 * 2**20)


def test_what_is_configured_is_told_from_what_is_persisted(servers: Servers, closed: Server) -> None:
    assert int(mysqld.configured(closed, "max-allowed-packet")) == 16 * 2**20
    assert mysqld.configured(closed, "sync-binlog") == "1"
    assert mysqld.configured(closed, "event-scheduler") == "ON"
    assert mysqld.configured(closed, "innodb-page-size") == "16384", "a built-in default"
    with pytest.raises(ServerError, match=r"does not know an option \(no-such-option\)"):
        mysqld.configured(closed, "no-such-option")


def test_a_running_server_is_not_started_twice_and_a_stopped_one_not_stopped_twice(
    servers: Servers, closed: Server
) -> None:
    pid = mysqld.running_pid(closed)
    assert pid is not None
    mysqld.start(closed, servers.admin).close()
    assert mysqld.running_pid(closed) == pid
    mysqld.stop(closed, servers.admin)
    assert mysqld.running_pid(closed) is None
    assert not mysqld.port_answers(closed)
    mysqld.stop(closed, servers.admin)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda server: server.options_file.open("a").write("\nno-such-option = 1\n"), "no-such-option"),
        (lambda server: (server.datadir / "ibdata1").write_bytes(b"no data file"), "ended with status"),
        (lambda server: shutil.rmtree(server.datadir / "mysql"), "ended with status"),
    ],
)
def test_a_server_that_does_not_come_up_is_told_from_its_own_log_within_seconds(
    servers: Servers, break_it: object, said: str
) -> None:
    server = servers.make("broken", start=False)
    break_it(server)  # type: ignore[operator]
    with pytest.raises(ServerStartFailed, match=said) as failed:
        mysqld.start(server, servers.admin)
    assert "[ERROR]" in failed.value.why


def test_a_mysqld_that_is_not_there_is_named(servers: Servers) -> None:
    server = servers.make("none", start=False).model_copy(update={"mysqld": Path("/no/such/mysqld")})
    with pytest.raises(ServerStartFailed, match="/no/such/mysqld"):
        mysqld.start(server, servers.admin)


def test_a_lock_left_by_a_dead_server_is_removed_and_a_living_one_s_is_not(servers: Servers) -> None:
    server = servers.make("locked", start=False)
    lock = server.socket.with_name(server.socket.name + ".lock")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lock.write_text(f"{ended.pid}\n")
    mysqld._remove_lock_of_dead_server(server.socket)
    assert not lock.exists()
    with subprocess.Popen(["sleep", "60"]) as other:
        lock.write_text(f"{other.pid}\n")
        mysqld._remove_lock_of_dead_server(server.socket)
        assert lock.exists()
        other.kill()
    lock.write_text("not a number\n")
    mysqld._remove_lock_of_dead_server(server.socket)
    assert lock.exists()


def test_a_server_that_is_run_by_commands_is_started_and_stopped_by_them(servers: Servers) -> None:
    plain = servers.make("commanded", start=False)
    program = (
        "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True, stdin=subprocess.DEVNULL,"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)"
    )
    start = [str(plain.mysqld), f"--defaults-file={plain.options_file}", f"--datadir={plain.datadir}"]
    stop = "import os, signal, sys; os.kill(int(open(sys.argv[1]).read()), signal.SIGTERM)"
    control = CommandControl(
        kind="command",
        start=[sys.executable, "-c", program, *start, *mysqld.run_as_options(plain),
               f"--pid-file={plain.datadir.parent}/pid"],
        stop=[sys.executable, "-c", stop, f"{plain.datadir.parent}/pid"],
    )  # fmt: skip
    server = plain.model_copy(update={"control": control})
    with mysqld.start(server, servers.admin) as session:
        assert session.value("SELECT @@port") == server.port
    assert mysqld.running_pid(server) is not None
    mysqld.stop(server, servers.admin)
    assert mysqld.running_pid(server) is None


def test_a_server_below_a_symbolic_link_is_found_and_waited_for(servers: Servers, tmp_path: Path) -> None:
    server = servers.make()
    (tmp_path / "link").symlink_to(server.datadir.parent)
    linked = server.model_copy(update={"datadir": tmp_path / "link" / "data"})
    pid = mysqld.running_pid(linked)
    assert pid == mysqld.running_pid(server) is not None
    mysqld.stop(linked, servers.admin)
    assert not Path(f"/proc/{pid}").exists()
