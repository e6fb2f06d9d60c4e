"""Every session that may change something proves whom it talks to: an address is no proof."""

from __future__ import annotations

import ast
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pymysql
import pytest

from relight.errors import ServerError, ServerUnreachable, WrongServer
from relight.fleet import Server, SystemdControl
from relight.server import mysqld
from relight.server import session as sessions
from relight.server.scratch import scratch_boot
from relight.server.session import SocketServer, ask, connect, connect_elsewhere
from tests.support.servers import Servers

LIBRARY = Path(__file__).resolve().parents[2] / "include" / "relight"


@pytest.fixture(scope="module")
def living(module_servers: Servers) -> Server:
    """A server that must not notice anything of what is done to another one."""
    return module_servers.make("living")


def logins_of(servers: Servers, server: Server) -> tuple[int, str]:
    with servers.connect(server) as session:
        count = session.row("SHOW GLOBAL STATUS LIKE 'Connections'")[1]
        return int(str(count)), str(session.value("SELECT @@server_uuid"))


def another_at_its_address(living: Server, servers: Servers, name: str) -> Server:
    """A server of its own, whose entry names the address of the living one, as a mistake or a default makes it."""
    home = servers.folder / name
    servers.template.copy_to(home / "data")
    return living.model_copy(update={
        "name": name, "datadir": home / "data", "socket": home / "none.sock", "workdir": home / "work",
    })  # fmt: skip


def test_a_throw_away_server_is_never_looked_for_where_the_real_one_listens(
    module_servers: Servers, living: Server
) -> None:
    before, _ = logins_of(module_servers, living)
    nowhere = SocketServer.model_construct(**{**dict(living), "socket": module_servers.folder / "gone.sock"})
    for attempt in (connect, ask):
        with pytest.raises(ServerUnreachable):
            attempt(nowhere, module_servers.admin)
    assert logins_of(module_servers, living)[0] == before + 1, "nobody but this test has connected"


def test_while_a_throw_away_server_comes_up_goes_down_or_fails_nobody_logs_in_to_the_real_one(
    module_servers: Servers, living: Server
) -> None:
    before, uuid = logins_of(module_servers, living)
    copy = module_servers.folder / "copy" / "data"
    module_servers.template.copy_to(copy)
    with scratch_boot(living, module_servers.admin, copy) as scratch:
        assert scratch.value("SELECT @@server_uuid") != uuid
        assert Path(str(scratch.value("SELECT @@datadir"))) == copy
    broken = module_servers.folder / "broken" / "data"
    broken.mkdir(parents=True)
    with pytest.raises(ServerError), scratch_boot(living, module_servers.admin, broken):
        pass
    assert logins_of(module_servers, living) == (before + 1, uuid)


def start(server: Server, servers: Servers) -> None:
    mysqld.start(server, servers.admin).close()


def stop(server: Server, servers: Servers) -> None:
    mysqld.stop(server, servers.admin)


def wait(server: Server, servers: Servers) -> None:
    mysqld.wait_until_up(server, servers.admin).close()


def log_in(server: Server, servers: Servers) -> None:
    connect(server, servers.admin).close()


@pytest.mark.parametrize("act", [start, stop, wait, log_in])
def test_a_living_server_is_not_taken_for_another_that_has_its_address(
    module_servers: Servers, living: Server, act: Callable[[Server, Servers], None]
) -> None:
    other = another_at_its_address(living, module_servers, f"other-{act.__name__}")
    with pytest.raises(WrongServer, match=f"another server answers.*{other.datadir}"):
        act(other, module_servers)
    assert mysqld.running_pid(living) is not None
    assert mysqld.running_pid(other) is None


def test_a_server_on_a_directory_that_was_renamed_is_not_the_one_of_the_directory_that_has_its_name_now(
    servers: Servers,
) -> None:
    server = servers.make("renamed")
    server.datadir.rename(server.datadir.with_name("aside"))
    servers.template.copy_to(server.datadir)
    (server.datadir / "auto.cnf").write_text("[auto]\nserver-uuid=11111111-1111-1111-1111-111111111111\n")
    for act in (log_in, stop):
        with pytest.raises(WrongServer, match="is the data directory of 11111111"):
            act(server, servers)
    shutil.rmtree(server.datadir)
    server.datadir.with_name("aside").rename(server.datadir)
    connect(server, servers.admin).close()


def test_whose_directory_it_is_must_be_readable(servers: Servers) -> None:
    server = servers.make("unknown")
    (server.datadir / "auto.cnf").write_text("[auto]\n")
    with pytest.raises(ServerError, match="cannot be told whose data directory"):
        connect(server, servers.admin)


def test_a_data_directory_may_be_named_through_a_link(servers: Servers) -> None:
    server = servers.make("linked")
    link = server.datadir.parent / "link"
    link.symlink_to(server.datadir)
    connect(server.model_copy(update={"datadir": link}), servers.admin).close()


def test_a_server_elsewhere_is_known_by_its_uuid(module_servers: Servers, living: Server) -> None:
    _, uuid = logins_of(module_servers, living)
    connect_elsewhere(living, module_servers.admin, uuid).close()
    for wrong in ("11111111-1111-1111-1111-111111111111", ""):
        with pytest.raises(WrongServer, match=f"its UUID is {uuid}"):
            connect_elsewhere(living, module_servers.admin, wrong)


def test_steps_do_not_act_on_a_server_of_another_machine(module_servers: Servers, living: Server) -> None:
    with pytest.raises(ServerError, match="on another machine"):
        connect(living.model_copy(update={"host": "192.0.2.1"}), module_servers.admin)


@pytest.mark.parametrize(("host", "port"), [("", 3306), ("127.0.0.1", 0)])
def test_no_address_is_not_the_client_library_s_default(
    module_servers: Servers, living: Server, host: str, port: int
) -> None:
    nowhere = living.model_copy(update={"host": host, "port": port, "socket": Path("/nowhere/s")})
    with pytest.raises(ServerUnreachable, match="no address"):
        ask(nowhere, module_servers.admin)


ASKS_ONLY = {
    "fencing/asking.py": "asks who takes writes; closes by UUID",
    "server/copied.py": "asks the source what it has executed and how it is set up",
    "server/following.py": "asks who follows whom",
    "server/session.py": "kills threads that carry this process's token",
    "steps/snapshot.py": "asks the source which events are on",
}
OPENS_CONNECTIONS = {
    "server/session.py": "the only way to a fleet's server",
    "announcing/proxysql.py": "an admin interface of its own, which proves itself by the tables it has",
}


def test_only_what_asks_and_changes_nothing_takes_whoever_answers() -> None:
    found = {name for name, tree in sources() if any(called_from(tree, "relight.server.session", "ask"))}
    assert found <= set(ASKS_ONLY), "prove whom you talk to: connect, or connect_elsewhere with a UUID"


def test_only_known_places_open_connections_of_the_client_library() -> None:
    found = {
        name for name, tree in sources() for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("connect", "Connection")
        and isinstance(node.value, ast.Name) and node.value.id == "pymysql"
    }  # fmt: skip
    assert found <= set(OPENS_CONNECTIONS)


def sources() -> list[tuple[str, ast.Module]]:
    files = [path for path in LIBRARY.rglob("*.py") if "lab" not in path.relative_to(LIBRARY).parts]
    return [(str(path.relative_to(LIBRARY)), ast.parse(path.read_text())) for path in files]


def called_from(tree: ast.Module, module: str, name: str) -> list[str]:
    return [
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == module
        for alias in node.names if alias.name == name
    ]  # fmt: skip


def test_what_a_task_leaves_running_is_ended_on_its_own_server_only(
    servers: Servers, module_servers: Servers, living: Server
) -> None:
    login = module_servers.admin
    stranger = pymysql.connect(unix_socket=str(living.socket), user=login.user, password=login.password)
    mine = servers.connect(servers.make("mine"))
    # What this process knows as its session has ended, and its number is somebody else's on another server.
    mine.server, mine.thread_id = living, stranger.thread_id()
    sessions.kill_open_sessions()
    with stranger.cursor() as cursor:
        assert cursor.execute("SELECT 1") == 1
    stranger.close()
    mine.close()


def test_what_a_task_leaves_running_is_ended(servers: Servers) -> None:
    server = servers.make("busy")
    mine = servers.connect(server)
    sessions.kill_open_sessions()
    with pytest.raises(ServerUnreachable):
        mine.value("SELECT 1")
    mine.close()


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """A stand-in for systemctl, since no systemd runs here: it says which process the unit has, and writes down what
    it is asked. Gives a function that sets the process, and what was asked."""
    asked = tmp_path / "asked"
    asked.touch()
    program = tmp_path / "systemctl"
    program.write_text(
        f'#!/bin/sh\necho "$1" >> {asked}\n'
        f'case "$1" in show) cat {tmp_path}/pid;; stop) pid=$(cat {tmp_path}/pid); [ "$pid" = 0 ] || kill -TERM "$pid";; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def of(pid: int) -> list[str]:
        (tmp_path / "pid").write_text(f"{pid}\n")
        return asked.read_text().split()

    return of


def under_systemd(server: Server) -> Server:
    return server.model_copy(update={"control": SystemdControl(kind="systemd", unit="mysql@1")})


def test_a_unit_that_runs_another_server_is_not_stopped(
    servers: Servers, module_servers: Servers, living: Server, unit: Callable[[int], list[str]]
) -> None:
    pid = mysqld.running_pid(living)
    assert pid is not None
    down = under_systemd(servers.make("down", start=False))
    unit(pid)
    with pytest.raises(WrongServer, match=f"the unit runs something else.*its process is {pid}"):
        mysqld.stop(down, module_servers.admin)
    assert "stop" not in unit(pid)
    assert mysqld.running_pid(living) == pid


def test_a_unit_that_runs_the_server_or_a_parent_of_it_or_nothing_is_stopped(
    servers: Servers, unit: Callable[[int], list[str]]
) -> None:
    server = servers.make("its-own")
    pid = mysqld.running_pid(server)
    assert pid is not None
    unit(psutil.Process(pid).ppid() or pid)  # as with mysqld_safe, which is what the unit knows
    mysqld._refuse_unit_of_another(server, SystemdControl(kind="systemd", unit="mysql"), pid)
    unit(pid)
    mysqld.stop(under_systemd(server), servers.admin)
    assert mysqld.running_pid(server) is None
    unit(0)
    mysqld.stop(under_systemd(server), servers.admin)
    assert unit(0).count("stop") == 2
