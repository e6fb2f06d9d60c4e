"""Scheduled events change sides when a server does.

A replica holds its source's events switched off (``REPLICA_SIDE_DISABLED``). A copy of a replica
that becomes the source must switch them on, or nightly jobs silently never run again; a clone of
a source that becomes a replica must switch them off, or they run twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

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
    # ALTER EVENT takes over the session's account, SQL mode and time zone as the event's own (manual,
    # "ALTER EVENT Statement"), so they are set to what the event has.
    definer, sql_mode, time_zone = session.row(
        "SELECT definer, sql_mode, time_zone FROM information_schema.events"
        " WHERE event_schema = %s AND event_name = %s",
        database,
        name,
    )
    user, _, host = str(definer).rpartition("@")
    session.run("SET SESSION sql_mode = %s", sql_mode)
    session.run("SET SESSION time_zone = %s", time_zone)
    session.run(f"ALTER DEFINER = {quoted(user)}@{quoted(host)} EVENT {quoted(database, name)} {status}")
    session.run("SET SESSION sql_mode = DEFAULT, time_zone = DEFAULT")
