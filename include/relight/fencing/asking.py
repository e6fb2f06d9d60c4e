"""Asking the servers of a shard whether somebody takes writes: the old source directly, and through replicas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from relight.credentials import Login
from relight.errors import RelightError, ServerUnreachable, StatementFailed
from relight.fleet import Server
from relight.server.session import Session, connect_elsewhere
from relight.server.session import ask as session_of

_SECONDS = 5.0


@dataclass(frozen=True)
class Answer:
    """What one server said. ``problem``: why the shard must not be opened now; ``said``: for the record."""

    server: str
    said: str
    problem: str = ""
    closed: bool = False
    """It is alive, takes no writes, and is no replica of the rebuilt server."""
    uuid: str = ""
    """Who answered."""


def ask(
    servers: Iterable[Server], login: Login, *, rebuilt_uuid: str, known: Mapping[str, str] | None = None
) -> list[Answer]:
    """Ask every server that is not the rebuilt one. One that does not answer says nothing, and is no problem.

    :param known: by the server's name, the UUID of the one that is meant. Where another one answers, the address has
        been given to somebody else since.
    """
    return [
        answer for server in servers for answer in _ask(server, login, rebuilt_uuid, (known or {}).get(server.name))
    ]


def _ask(server: Server, login: Login, rebuilt_uuid: str, meant: str | None) -> Iterator[Answer]:
    try:
        with session_of(server, login, timeout=_SECONDS) as session:
            there = str(session.value("SELECT @@server_uuid"))
            if meant is not None and there != meant:
                yield Answer(server.name, f"is gone: {there} has its address now")
                return
            yield from _answers(server, session, rebuilt_uuid)
    except ServerUnreachable as silent:
        yield Answer(server.name, f"does not answer: {silent.why}")
    except StatementFailed as refused:
        yield Answer(server.name, str(refused), f"{server.name} is alive, and does not say what it is: {refused.why}")


def _answers(server: Server, session: Session, rebuilt_uuid: str) -> Iterator[Answer]:
    uuid, read_only, offline = session.row("SELECT @@server_uuid, @@GLOBAL.read_only, @@GLOBAL.offline_mode")
    if uuid == rebuilt_uuid:
        return
    if not read_only and not offline:
        yield Answer(server.name, f"{uuid} takes writes", f"{server.name} is alive and takes writes")
        return
    sources = session.rows(
        "SELECT status.source_uuid, configuration.host, configuration.port"
        " FROM performance_schema.replication_connection_status status"
        " JOIN performance_schema.replication_connection_configuration configuration USING (channel_name)"
        " WHERE status.service_state = 'ON'"
    )
    # What was a source once may be a replica of the rebuilt server now: that one is wanted.
    follows = any(source == rebuilt_uuid for source, _, _ in sources)
    yield Answer(server.name, f"{uuid} is alive and closed to writes", closed=not follows, uuid=str(uuid))
    for source, host, port in sources:
        if source != rebuilt_uuid:
            yield Answer(
                server.name, f"receives from {source} at {host}:{port}",
                f"{server.name} receives from a living source {source} at {host}:{port}",
            )  # fmt: skip


def keep_closed(server: Server, login: Login, uuid: str) -> None:
    """Make a server that is alive and closed stay so, also after its next start. ``uuid``: who said that it is.

    :raises RelightError: it cannot be made sure of. WrongServer: another one answers by now.
    """
    with connect_elsewhere(server, login, uuid, timeout=_SECONDS) as session:
        close_to_writes(session)
        if session.row("SELECT @@GLOBAL.super_read_only, @@GLOBAL.offline_mode") != (1, 1):
            raise RelightError("a server did not close", on=server.name, why="it says so itself")


def close_to_writes(session: Session) -> None:
    """No writes, no applications, nothing by itself; also after the next start."""
    session.run("SET SESSION sql_log_bin = 0")
    session.run("SET PERSIST super_read_only = ON")
    session.run("SET PERSIST offline_mode = ON")
    # Persisted, a server that has it disabled would drop all persisted settings with it at its next start.
    if session.value("SELECT @@GLOBAL.event_scheduler") == "DISABLED":
        session.run("RESET PERSIST IF EXISTS event_scheduler")
    else:
        session.run("SET PERSIST event_scheduler = OFF")
