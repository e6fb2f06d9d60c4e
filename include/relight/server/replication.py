"""A replica that follows its source: attached, waited for, compared."""

from __future__ import annotations

import time

from relight.credentials import Login
from relight.errors import ReplicaBehind, ReplicaDiffers
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.server.scheduled_events import disable_for_replica
from relight.server.session import Session, connect_elsewhere
from relight.server.table_checksums import checksums

_PATIENCE = 600
"""Seconds that a replica may make no progress: one transaction may be that large."""


def attach(session: Session, source: Server, login: Login) -> None:
    """Follow the source, by GTID. A replica that already does is left alone."""
    session.run("SET SESSION sql_log_bin = 0")
    session.run("SET GLOBAL super_read_only = OFF")
    disable_for_replica(session)
    session.run("STOP REPLICA")
    session.run("RESET REPLICA ALL")
    session.run(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = %s, SOURCE_PORT = %s, SOURCE_USER = %s, SOURCE_PASSWORD = %s,"
        " SOURCE_AUTO_POSITION = 1, SOURCE_SSL = 1",
        source.host, source.port, login.user, login.password,
    )  # fmt: skip
    session.run("SET GLOBAL super_read_only = ON")
    session.run("START REPLICA")


def compare_with_source(session: Session, source: Server, admin: Login, uuid: str) -> tuple[GtidSet, int]:
    """Compare every table's checksum at one GTID set, while applications write to the source, whose UUID is known.

    The source is frozen for the moment that a consistent snapshot takes to open; the replica
    applies exactly up to the same transactions and stops there.

    :raises ReplicaBehind: it does not get that far. ReplicaDiffers: it does, and is not the same.
    """
    session.run("STOP REPLICA SQL_THREAD")
    with connect_elsewhere(source, admin, uuid) as frozen:
        at = _open_consistent_view(frozen)
        session.run("START REPLICA SQL_THREAD UNTIL SQL_AFTER_GTIDS = %s", str(at))
        _wait_until_executed(session, at)
        session.run("STOP REPLICA SQL_THREAD")
        here, there = checksums(session), checksums(frozen)
    session.run("START REPLICA SQL_THREAD")
    _refuse_another_source(session, uuid)
    different = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
    if different:
        raise ReplicaDiffers(
            "the replica differs from its source", on=session.server.name, why=", ".join(different[:10]),
            hint="clear this task to clone it again; the source is not affected",
        )  # fmt: skip
    return at, len(here)


def _refuse_another_source(session: Session, uuid: str) -> None:
    """:raises ReplicaDiffers: what it receives comes from somebody else, whatever it holds."""
    others = [str(one) for (one,) in session.rows(
        "SELECT source_uuid FROM performance_schema.replication_connection_status WHERE source_uuid NOT IN ('', %s)",
        uuid,
    )]  # fmt: skip
    if others:
        raise ReplicaDiffers(
            "the replica follows another source", on=session.server.name, why=f"{', '.join(others)} instead of {uuid}",
            hint="compare host and port of the source in the fleet file with what runs there",
        )  # fmt: skip


def _open_consistent_view(session: Session) -> GtidSet:
    session.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    session.run("SET SESSION lock_wait_timeout = 60")
    session.run("FLUSH TABLES WITH READ LOCK")
    try:
        session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        return GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    finally:
        session.run("UNLOCK TABLES")


def _wait_until_executed(session: Session, gtids: GtidSet) -> None:
    """:raises ReplicaBehind: replication has stopped, or made no progress for ten minutes."""
    last, since = "", time.monotonic()
    while session.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 2)", str(gtids)) != 0:
        now = str(session.value("SELECT @@GLOBAL.gtid_executed"))
        why = _replication_error(session)
        if now != last:
            last, since = now, time.monotonic()
        elif not why and not _receives(session):
            why = "it does not receive from its source"
        elif time.monotonic() - since > _PATIENCE:
            why = why or "it makes no progress"
        if why:
            missing = gtids - GtidSet.parse(now)
            raise ReplicaBehind("the replica does not follow its source", on=session.server.name,
                                why=f"{why}; it misses {missing}")  # fmt: skip


def _receives(session: Session) -> bool:
    return bool(session.rows(
        "SELECT 1 FROM performance_schema.replication_connection_status WHERE service_state <> 'OFF'"
    ))  # fmt: skip


def _replication_error(session: Session) -> str:
    for table in ("replication_connection_status", "replication_applier_status_by_worker"):
        for code, message in session.rows(
            f"SELECT last_error_number, last_error_message FROM performance_schema.{table} WHERE last_error_number <> 0"
        ):
            return f"{code} {message}"
    return ""
