"""What runs in the lab, and in which state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from relight.credentials import Login
from relight.errors import ServerUnreachable
from relight.fleet import Fleet, Server
from relight.gtid import GtidSet
from relight.lab import secrets
from relight.lab.fleet import has_data, lab_fleet
from relight.lab.layout import all_servers
from relight.lab.place import Place
from relight.lab.state import State
from relight.server import mysqld
from relight.server.session import Session, connect

Condition = Literal["writable", "read-only", "closed", "starting", "down", "no data"]


@dataclass(frozen=True)
class ServerStatus:
    """One server. ``behind`` counts the source's transactions that it does not have."""

    name: str
    role: Literal["source", "replica", "scratch"]
    address: str
    """Host and port."""
    condition: Condition
    pid: int | None = None
    transactions: int | None = None
    behind: int | None = None
    replication: str = ""


@dataclass(frozen=True)
class LabStatus:
    """The lab's processes by name, and its servers."""

    processes: dict[str, int]
    servers: tuple[ServerStatus, ...]
    endpoint: str | None = None


def lab_status(place: Place) -> LabStatus:
    """What runs. A lab that was never up has no servers."""
    processes = State(place.state_file).running()
    if not place.fleet_file.exists():
        return LabStatus(processes, ())
    fleet = lab_fleet(place)
    return LabStatus(processes, tuple(_servers(fleet, secrets.login(place, "admin"))), fleet.store.endpoint)


def _servers(fleet: Fleet, admin: Login) -> list[ServerStatus]:
    found = []
    for shard in fleet.shards:
        history: GtidSet | None = None
        for server in all_servers(shard):
            status, executed = _server(server, _role(server, shard.source, shard.scratch), admin, history)
            found.append(status)
            if server == shard.source:
                history = executed
    return found


def _role(server: Server, source: Server, scratch: Server | None) -> Literal["source", "replica", "scratch"]:
    return "source" if server == source else "scratch" if server == scratch else "replica"


def _server(
    server: Server, role: Literal["source", "replica", "scratch"], admin: Login, history: GtidSet | None
) -> tuple[ServerStatus, GtidSet | None]:
    pid, address = mysqld.running_pid(server), f"{server.host}:{server.port}"
    if pid is None:
        return ServerStatus(server.name, role, address, "down" if has_data(server) else "no data"), None
    try:
        with connect(server, admin, timeout=3) as session:
            executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
            status = ServerStatus(
                server.name, role, address, _condition(session), pid, executed.count(),
                (history - executed).count() if role == "replica" and history is not None else None,
                _replication(session),
            )  # fmt: skip
            return status, executed
    except ServerUnreachable:
        return ServerStatus(server.name, role, address, "starting", pid), None


def _condition(session: Session) -> Condition:
    offline, read_only = session.row("SELECT @@GLOBAL.offline_mode, @@GLOBAL.read_only")
    return "closed" if offline else "read-only" if read_only else "writable"


def _replication(session: Session) -> str:
    rows = session.rows(
        "SELECT c.service_state, a.service_state, COALESCE(NULLIF(c.last_error_message, ''), w.message, '') "
        "FROM performance_schema.replication_connection_status c "
        "JOIN performance_schema.replication_applier_status a USING (channel_name) LEFT JOIN "
        "(SELECT channel_name, MAX(last_error_message) AS message "
        "FROM performance_schema.replication_applier_status_by_worker GROUP BY 1) w USING (channel_name)"
    )
    return "; ".join(
        "running" if (receiver, applier) == ("ON", "ON") else f"receiver {receiver}, applier {applier}: {error}"
        for receiver, applier, error in rows
    )
