"""What a server's objects are defined as, in a form that can be compared: tables, views, routines, triggers, events,
databases, accounts with their grants.

What a server shows of an account holds its password's hash: it is kept in manifests, beside the data that hold it too,
and shown nowhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

from relight.backups.manifest import Definition
from relight.server.schema import shown_create
from relight.server.session import Session, quoted

_COUNTER = re.compile(r"(?<=\) ENGINE=)(\w+)(.*?) AUTO_INCREMENT=\d+", re.DOTALL)
_SWITCHED = re.compile(r" (ENABLE|DISABLE ON SLAVE|DISABLE ON REPLICA|DISABLE)(?= (COMMENT|DO) )")
"""Whether an event is on: replicas have theirs off, so this is looked after apart."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_RESERVED = ("mysql.infoschema", "mysql.session", "mysql.sys")
_COMPARABLE = (
    "SET SESSION sql_mode = '', sql_quote_show_create = 1, print_identified_with_as_hex = 1, time_zone = '+00:00'"
)
"""What SHOW CREATE prints must not depend on how a server happens to be set up: defaults of TIMESTAMP columns are
printed in the session's time zone."""


def of_database(session: Session, database: str) -> tuple[Definition, ...]:
    """The database itself and everything in it, sorted. What the server cannot show has an empty text."""
    session.run(_COMPARABLE)
    return tuple(sorted(_of_database(session, database), key=_order))


def of_accounts(session: Session) -> tuple[Definition, ...]:
    """Every account and role with its grants, but the server's own."""
    session.run(_COMPARABLE)
    return tuple(sorted(_accounts(session), key=_order))


def digested(accounts: Iterable[Definition]) -> list[Definition]:
    """Accounts as older snapshots have them, which kept a digest only."""
    return [one.model_copy(update={"text": hashlib.sha256(one.text.encode()).hexdigest()}) for one in accounts]


def is_digest(account: Definition) -> bool:
    """Whether an account comes from such a snapshot."""
    return _DIGEST.fullmatch(account.text) is not None


def without_counter(create: str) -> str:
    """``SHOW CREATE TABLE`` without the value that the next row will have."""
    return _COUNTER.sub(r"\1\2", create)


def _order(definition: Definition) -> tuple[str, str, str]:
    return definition.database, definition.kind, definition.name


def _of_database(session: Session, database: str) -> Iterator[Definition]:
    created = str(session.row(f"SHOW CREATE DATABASE {quoted(database)}")[1])
    yield Definition(kind="database", database=database, name=database, text=created)
    for name, kind in session.rows(
        "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = %s", database
    ):
        if kind != "VIEW":
            text = without_counter(shown_create(session, "TABLE", quoted(database, name), 1))
            yield Definition(kind="table", database=database, name=name, text=text)
    # SHOW CREATE refuses a view of a table that is gone.
    for name, *parts in session.rows(
        "SELECT table_name, view_definition, check_option, definer, security_type, character_set_client,"
        " collation_connection FROM information_schema.views WHERE table_schema = %s",
        database,
    ):
        yield Definition(kind="view", database=database, name=name, text="\n".join(str(part) for part in parts))
    for name, kind in session.rows(
        "SELECT routine_name, routine_type FROM information_schema.routines WHERE routine_schema = %s", database
    ):
        text = shown_create(session, kind, quoted(database, name), 2)
        yield Definition(kind=kind.lower(), database=database, name=name, text=text)
    for (name,) in session.rows(
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = %s", database
    ):
        text = shown_create(session, "TRIGGER", quoted(database, name), 2)
        yield Definition(kind="trigger", database=database, name=name, text=text)
    for (name,) in session.rows("SELECT event_name FROM information_schema.events WHERE event_schema = %s", database):
        text = _SWITCHED.sub("", shown_create(session, "EVENT", quoted(database, name), 3))
        yield Definition(kind="event", database=database, name=name, text=text)


def _accounts(session: Session) -> Iterator[Definition]:
    marks = ", ".join(["%s"] * len(_RESERVED))
    for user, host in session.rows(f"SELECT user, host FROM mysql.user WHERE user NOT IN ({marks})", *_RESERVED):
        lines = [str(session.row("SHOW CREATE USER %s@%s", user, host)[0])]
        lines += sorted(str(row[0]) for row in session.rows("SHOW GRANTS FOR %s@%s", user, host))
        yield Definition(kind="account", database="", name=f"{user}@{host}", text="\n".join(lines))
