"""Which replicas follow a source, and have all that they need to: asked over the network, decided here.

A server that has what its source cannot give any more from its logs (``gtid_purged``), nothing that its source has
not, receives and applies, is read-only and open for reading, is a whole replica: it was compared before it was opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relight.credentials import Login
from relight.errors import ServerUnreachable, StatementFailed
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.server.session import Session, ask

_SECONDS = 5.0


@dataclass(frozen=True)
class Source:
    """What a source is, and what it has."""

    uuid: str
    purged: GtidSet
    executed: GtidSet


@dataclass(frozen=True)
class Replica:
    """What a server says about itself."""

    read_only: bool
    """``super_read_only``."""
    offline: bool
    sources: tuple[tuple[str, bool], ...]
    """Whom it receives from at this moment, by server UUID, and whether it applies that."""
    executed: GtidSet


def what_it_lacks(replica: Replica, source: Source) -> str:
    """Why this is no finished replica of that source; empty when it is one."""
    if replica.offline:
        return "it is closed"
    if not replica.read_only:
        return "it is not read-only"
    if replica.sources != ((source.uuid, True),):
        others = " and ".join(uuid for uuid, _ in replica.sources if uuid != source.uuid)
        return f"it receives from {others}" if others else "it does not receive and apply what its source writes"
    if missing := source.purged - replica.executed:
        return f"it lacks {missing}"
    if own := replica.executed - source.executed:
        return f"it has transactions of its own: {own}"
    return ""


def follows(servers: Iterable[Server], source: Session, login: Login) -> dict[str, str]:
    """What each server, by its name, lacks to be a finished replica of the session's; empty text when it is one."""
    return {server.name: _lacks(server, source, login) for server in servers}


def in_turn(finished: Sequence[Server], source: Server, number: int) -> list[Server]:
    """Whom to ask for a copy, in this order: finished replicas, each asker (by its number) beginning with another; the
    source last, so that it is spared."""
    start = number % len(finished) if finished else 0
    return [*finished[start:], *finished[:start], source]


def _lacks(server: Server, source: Session, login: Login) -> str:
    try:
        with ask(server, login, timeout=_SECONDS) as session:
            replica = _replica(session)
    except (ServerUnreachable, StatementFailed) as silent:
        return f"it does not say what it is: {silent.why}"
    # Asked after the replica, which is never ahead then.
    return what_it_lacks(replica, _source(source))


def _source(session: Session) -> Source:
    uuid, purged, executed = session.row("SELECT @@server_uuid, @@GLOBAL.gtid_purged, @@GLOBAL.gtid_executed")
    return Source(str(uuid), GtidSet.parse(str(purged)), GtidSet.parse(str(executed)))


def _replica(session: Session) -> Replica:
    read_only, offline, executed = session.row(
        "SELECT @@GLOBAL.super_read_only, @@GLOBAL.offline_mode, @@GLOBAL.gtid_executed"
    )
    sources = session.rows(
        "SELECT status.source_uuid, applier.service_state = 'ON'"
        " FROM performance_schema.replication_connection_status status"
        " JOIN performance_schema.replication_applier_status applier USING (channel_name)"
        " WHERE status.service_state = 'ON'"
    )
    return Replica(
        bool(read_only), bool(offline), tuple((str(uuid), bool(applies)) for uuid, applies in sources),
        GtidSet.parse(str(executed)),
    )  # fmt: skip
