"""Sets the stage for a logged statement in a session, and clears it away."""

from __future__ import annotations

import re

from relight.errors import StatementFailed
from relight.lane.rendering import Rendered
from relight.server.session import Session, quoted

_UNKNOWN_DATABASE = "1049 "
_OF_A_DATABASE = re.compile(rb"\s*(CREATE|DROP)\s+(DATABASE|SCHEMA)\b", re.IGNORECASE)
"""Their event names the database that they make or drop as their own."""


def set_stage(session: Session, statement: Rendered, zone: str | None, own_zone: str) -> StatementFailed | None:
    """Let the session be as the one on the source was. ``zone``: the statement's, by the name it has here;
    ``own_zone``: the session's, for a statement that has used none.

    Gives the error where the default database cannot be chosen: it may be another lane's, which has not made it yet or
    has dropped it. A statement that needs it cannot do without, and says so.
    """
    absent = None
    clear_stage(session, own_zone)
    if statement.database and not _OF_A_DATABASE.match(statement.text):
        try:
            session.run(f"USE {quoted(statement.database)}")
        except StatementFailed as refused:
            # In another one it must not run.
            if not refused.why.startswith(_UNKNOWN_DATABASE) or session.value("SELECT DATABASE()") is not None:
                raise
            absent = refused
    if zone not in (None, own_zone):
        session.run("SET SESSION time_zone = %s", zone)
    for setting in statement.context:
        session.run(setting)
    return absent


def clear_stage(session: Session, zone: str) -> None:
    """What is sent next is in UTF-8, whatever came before."""
    session.run("SET NAMES utf8mb4, SESSION sql_mode = DEFAULT, SESSION time_zone = %s", zone)
