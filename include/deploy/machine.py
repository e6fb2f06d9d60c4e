"""What runs in the container of one database machine: its mysqld, and the Airflow worker that
backs it up and restores it.

A restore has to stop mysqld, put another data directory in place and start it again. So the
worker runs where mysqld runs, starts it itself (control kind ``process``), and neither of them is
the container's main process, which is this program: it waits for the worker and passes signals on.

The first start makes an empty server; a replica is attached to its source. Never again after that:
a data directory that has gone missing is for a restore to bring back, not for a restart to replace.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from relight.credentials import EnvironmentCredentials, Login
from relight.errors import RelightError
from relight.fleet import Fleet, Server
from relight.fleet_file import load_fleet
from relight.guard.clearance import clear, set_aside
from relight.server import empty, mysqld
from relight.server.session import connect

COMMON_OPTIONS = Path(__file__).with_name("my.cnf")


def main() -> int:
    """Make what is missing, start mysqld if it has data, and run the worker until it ends."""
    fleet = load_fleet(Path(os.environ["RELIGHT_FLEET"]))
    server = _server(fleet, os.environ["RELIGHT_SERVER"])
    logins = EnvironmentCredentials()
    for number, each in enumerate(_servers(fleet), start=1):
        if each.host == server.host:
            write_options(each, number)
    mark = server.workdir / "first-start-is-done"
    if not mark.exists():
        initialise(server, logins.login("admin"), logins.login("replication"))
        if source := source_of(fleet, server):
            attach(server, source, logins)
        mark.touch()
    elif any(server.datadir.glob("*")):
        mysqld.start(server, logins.login("admin")).close()
    else:
        print(f"{server.name} has no data: waiting for a restore", flush=True)
    # The worker works with the passwords that this container was given: all of its environment is meant for it.
    worker = subprocess.Popen(["airflow", "celery", "worker", "--queues", server.queue], env=dict(os.environ))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: worker.send_signal(received))
    status = worker.wait()
    mysqld.stop(server, logins.login("admin"))
    return status


def _servers(fleet: Fleet) -> Iterator[Server]:
    for shard in fleet.shards:
        yield from shard.servers
        if shard.scratch is not None:
            yield shard.scratch


def _server(fleet: Fleet, name: str) -> Server:
    found = [server for server in _servers(fleet) if server.name == name]
    if not found:
        raise SystemExit(f"RELIGHT_SERVER={name}: the fleet file has no such server")
    return found[0]


def source_of(fleet: Fleet, server: Server) -> Server | None:
    """The source that ``server`` is a replica of, None where it is none."""
    return next((shard.source for shard in fleet.shards if server in shard.replicas), None)


def write_options(server: Server, number: int) -> None:
    """Write the server's options file; ``number`` is its server id."""
    own = {
        "server-id": number, "port": server.port, "datadir": server.datadir, "socket": server.socket,
        "pid-file": server.datadir.parent / "mysqld.pid", "log-error": server.datadir.parent / "error.log",
        "report-host": server.host, "report-port": server.port,
    }  # fmt: skip
    lines = [f"{name} = {value}" for name, value in own.items()]
    text = COMMON_OPTIONS.read_text(encoding="utf-8") + "\n" + "\n".join(lines) + "\n"
    server.options_file.parent.mkdir(parents=True, exist_ok=True)
    server.options_file.write_text(text, encoding="utf-8")


def initialise(server: Server, admin: Login, replication: Login) -> None:
    """Make an empty data directory with the two accounts in it. What an earlier, interrupted
    attempt left is made again: nothing else has ever used it."""
    server.workdir.mkdir(parents=True, exist_ok=True)
    if any(server.datadir.glob("*")):
        set_aside(clear(server, "be initialised"))
    statements = [
        f"CREATE USER {_text(admin.user)}@'%' IDENTIFIED BY {_text(admin.password)}",
        f"GRANT ALL ON *.* TO {_text(admin.user)}@'%' WITH GRANT OPTION",
        f"CREATE USER {_text(replication.user)}@'%' IDENTIFIED BY {_text(replication.password)} REQUIRE SSL",
        f"GRANT REPLICATION SLAVE, BACKUP_ADMIN ON *.* TO {_text(replication.user)}@'%'",
        "ALTER USER root@localhost ACCOUNT LOCK",
    ]
    empty.initialise(server, server.datadir, statements)
    with mysqld.start(server, admin) as session:
        # The accounts were logged as this server's own transactions, which its source does not have.
        session.run(mysqld.gtid_history_reset_statement(session))


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def attach(server: Server, source: Server, logins: EnvironmentCredentials) -> None:
    """Make the empty server a replica of the source, which may still be starting."""
    replication = logins.login("replication")
    with connect(server, logins.login("admin")) as session:
        session.run("SET PERSIST super_read_only = ON")
        session.run(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = %s, SOURCE_PORT = %s, SOURCE_USER = %s, SOURCE_PASSWORD = %s, "
            "SOURCE_AUTO_POSITION = 1, SOURCE_SSL = 1, SOURCE_CONNECT_RETRY = 5",
            source.host, source.port, replication.user, replication.password,
        )  # fmt: skip
        session.run("START REPLICA")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RelightError as error:
        sys.exit(error.with_hint())
