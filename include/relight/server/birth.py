"""The first transaction of a timeline, by which everything that follows it is known."""

from __future__ import annotations

from relight.server.session import Session


def begin_timeline(session: Session, gtid: str) -> None:
    """Commit an empty transaction of that number, and log it: it reaches every replica, copy and log that follows."""
    logs = session.value("SELECT @@SESSION.sql_log_bin")
    session.run("SET SESSION sql_log_bin = 1")
    session.run("SET SESSION gtid_next = %s", gtid)
    try:
        session.run("BEGIN")
        session.run("COMMIT")
    finally:
        session.run("SET SESSION gtid_next = 'AUTOMATIC'")
        session.run(f"SET SESSION sql_log_bin = {int(logs)}")
