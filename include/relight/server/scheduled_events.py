"""Scheduled events change sides when a server does.

A replica holds its source's events switched off (``REPLICA_SIDE_DISABLED``). A copy of a replica
that becomes the source must switch them on, or nightly jobs silently never run again; a clone of
a source that becomes a replica must switch them off, or they run twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pymysql.charset import charset_by_name

from relight.backups.manifest import Event
from relight.server.session import Session, quoted

REPLICA_SIDE = ("REPLICA_SIDE_DISABLED", "SLAVESIDE_DISABLED")


def enable_for_source(session: Session, known: Iterable[Event]) -> list[str]:
    """Switch on what was on at the lost source. Events that the log changed since keep what it said.

    Gives the names of the events switched on.
    """
    was_enabled = {(event.database, event.name): event.enabled_on_source for event in known}
    changed = []
    for database, name in _with_status(session, REPLICA_SIDE):
        status: Literal["ENABLE", "DISABLE"] = "ENABLE" if was_enabled.get((database, name), True) else "DISABLE"
        _alter(session, database, name, status)
        if status == "ENABLE":
            changed.append(f"{database}.{name}")
    return changed


def disable_for_replica(session: Session) -> None:
    """Switch every event off the way replication itself does."""
    for database, name in _with_status(session, ("ENABLED",)):
        _alter(session, database, name, "DISABLE ON SLAVE")


def _with_status(session: Session, statuses: tuple[str, ...]) -> list[tuple[str, str]]:
    marks = ", ".join(["%s"] * len(statuses))
    rows = session.rows(
        f"SELECT event_schema, event_name FROM information_schema.events WHERE status IN ({marks})"
        " AND event_schema NOT IN ('mysql', 'sys')",
        *statuses,
    )
    return [(str(database), str(name)) for database, name in rows]


def _alter(session: Session, database: str, name: str, status: str) -> None:
    # ALTER EVENT takes over the session's account, SQL mode, time zone and character set as the event's own (manual,
    # "ALTER EVENT Statement"), so they are set to what the event has.
    definer, *context, charset = session.row(
        "SELECT definer, sql_mode, time_zone, collation_connection, character_set_client"
        " FROM information_schema.events WHERE event_schema = %s AND event_name = %s",
        database,
        name,
    )
    own = session.row("SELECT @@sql_mode, @@time_zone, @@collation_connection, @@character_set_client")
    user, _, host = str(definer).rpartition("@")
    statement = f"ALTER DEFINER = {quoted(user)}@{quoted(host)} EVENT {quoted(database, name)} {status}"
    _set_context(session, *context, charset)
    session.run(statement.encode(charset_by_name(str(charset)).encoding))
    _set_context(session, *own)


def _set_context(session: Session, *values: object) -> None:
    session.run(
        "SET SESSION sql_mode = %s, time_zone = %s, collation_connection = %s, character_set_client = %s", *values
    )
