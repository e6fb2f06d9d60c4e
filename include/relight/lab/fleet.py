"""Bringing the lab's fleet up and down, and losing a shard of it on purpose."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from relight.credentials import Login
from relight.errors import LabError, command_line
from relight.fleet import Fleet, Server, Shard
from relight.fleet_file import load_fleet
from relight.lab import s3, schema, secrets
from relight.lab.layout import BUCKET, ensure_fleet_file, write_all_options
from relight.lab.mysql import find_mysql
from relight.lab.place import Place
from relight.lab.ports import is_free
from relight.lab.s3 import S3Server
from relight.lab.state import State, end_processes, mark
from relight.lab.template import Template, ensure_template
from relight.server import mysqld
from relight.server.session import connect

Say = Callable[[str], None]

S3 = "s3"
"""The name of the S3 server among the lab's processes."""


def up(place: Place, say: Say, *, fresh: bool = False) -> Fleet:
    """Start the S3 server and every server of the fleet that has data; make the fleet if it is new.

    What runs is left alone. A shard that was destroyed stays so: it is there to be restored.
    With ``fresh`` an earlier fleet, with its backups, is ended and removed first.

    :raises LabError: something cannot be started.
    """
    mysql = find_mysql(place)
    if fresh:
        down(place, say)
        for path in (place.servers, place.s3, place.fleet_file.parent / "ledger"):
            shutil.rmtree(path, ignore_errors=True)
        place.fleet_file.unlink(missing_ok=True)
    place.root.mkdir(parents=True, exist_ok=True)
    template = ensure_template(place.template, mysql)
    store = start_store(place)
    say(f"object store at {store.endpoint}")
    fleet = ensure_fleet_file(place, mysql, store.endpoint)
    secrets.write(place, template.logins, store.login)
    write_all_options(fleet, mysql)
    for shard in fleet.shards:
        _raise_shard(place, shard, template, say)
    return fleet


def start_store(place: Place) -> S3Server:
    """Start the lab's S3 server, on the ports and with the access it had before."""
    place.s3.mkdir(parents=True, exist_ok=True, mode=0o700)
    described = place.s3 / "server.json"
    if not described.exists():
        login = s3.make_login()
        described.touch(mode=0o600)
        known = {"user": login.user, "password": login.password, "ports": s3.choose_ports()}
        described.write_text(json.dumps(known), encoding="utf-8")
    known = json.loads(described.read_text(encoding="utf-8"))
    login = Login(known["user"], known["password"])
    return s3.start(State(place.state_file), S3, place.s3, login, BUCKET, known["ports"])


def down(place: Place, say: Say) -> None:
    """Stop everything that the lab started, and every mysqld on the lab's files, whoever started it."""
    for name in State(place.state_file).end_all():
        say(f"stopped {name}")
    described = place.s3 / "server.json"
    if described.exists():
        s3.remove_sockets(json.loads(described.read_text(encoding="utf-8"))["ports"])
    servers = mysqlds_below(place.servers)
    end_processes({pid: mark(pid) for pid in servers}, grace=60)
    if servers:
        say(f"stopped {len(servers)} mysqld")


def destroy(shard: Shard) -> int:
    """Lose the shard as a reinstall script would: its servers are killed, their data directories emptied.

    Gives how many mysqld were killed. The scratch server is not touched.
    """
    pids = {pid for server in shard.servers for pid in mysqlds_below(server.datadir.parent)}
    end_processes({pid: mark(pid) for pid in pids}, grace=10, ask=signal.SIGKILL)
    for server in shard.servers:
        _empty(server.datadir)
        # A lock that names a reused process id would keep the next mysqld from starting.
        for path in (server.socket, server.socket.with_name(server.socket.name + ".lock")):
            path.unlink(missing_ok=True)
    return len(pids)


def lab_fleet(place: Place) -> Fleet:
    """The lab's fleet. :raises FleetError: it was never up."""
    return load_fleet(place.fleet_file)


def mysqlds_below(folder: Path) -> set[int]:
    """The processes that hold a system tablespace below the folder open."""
    return {pid for pid, path in mysqld.open_files(folder) if path.name.removesuffix(" (deleted)") == "ibdata1"}


def _raise_shard(place: Place, shard: Shard, template: Template, say: Say) -> None:
    made = place.servers / f"{shard.name}.made"
    if not made.exists():
        say(f"{shard.name}: making a source, {len(shard.replicas)} replicas and {len(schema.DATABASES)} databases")
        destroy(shard)
        _make_shard(shard, template)
        made.touch()
        return
    with_data = [server for server in shard.servers if has_data(server)]
    _start_all(with_data, template.logins.admin)
    say(f"{shard.name}: {len(with_data)} of {len(shard.servers)} servers run")
    for server in shard.servers:
        if server not in with_data:
            say(f"{server.name} has no data: restore the shard, or begin anew: {command_line('lab', 'up', '--fresh')}")


def _make_shard(shard: Shard, template: Template) -> None:
    logins = template.logins
    for server in shard.servers:
        if server.datadir.exists():
            server.datadir.rmdir()
        template.copy_to(server.datadir)
    _start_all(shard.servers, logins.admin)
    for replica in shard.replicas:
        follow(replica, shard.source, logins.admin, logins.replication)
    with connect(shard.source, logins.admin) as session:
        schema.create(session)
        executed = session.value("SELECT @@GLOBAL.gtid_executed")
    for replica in shard.replicas:
        with connect(replica, logins.admin) as session:
            if session.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 120)", executed) != 0:
                raise LabError("a new replica does not catch up", on=replica.name, hint="see its error.log")


def follow(replica: Server, source: Server, admin: Login, replication: Login) -> None:
    """Make one server replicate from another, by GTID and TLS."""
    with connect(replica, admin) as session:
        session.run(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST=%s, SOURCE_PORT=%s, SOURCE_USER=%s, SOURCE_PASSWORD=%s, "
            "SOURCE_AUTO_POSITION=1, SOURCE_SSL=1, SOURCE_CONNECT_RETRY=2",
            source.host, source.port, replication.user, replication.password,
        )  # fmt: skip
        session.run("START REPLICA")


def has_data(server: Server) -> bool:
    """Whether anything lies in the server's data directory."""
    return server.datadir.is_dir() and any(server.datadir.iterdir())


def _start_all(servers: Iterable[Server], admin: Login) -> None:
    def start(server: Server) -> None:
        if mysqld.running_pid(server) is None and not is_free(server.port, server.host):
            raise LabError(
                "an address of the lab is taken", on=f"{server.name}, {server.host}:{server.port}",
                why="another program listens there",
                hint=f"end that program, or begin anew on other addresses: {command_line('lab', 'up', '--fresh')}",
            )  # fmt: skip
        mysqld.start(server, admin).close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(start, servers))


def _empty(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
