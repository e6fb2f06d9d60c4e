"""What a server holds, read from the server itself: databases, tables with their keys, events.

Application databases are all but the server's own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from relight.backups.manifest import Event, ForeignKey, Table
from relight.errors import StatementFailed, ValidationFailed
from relight.server.session import Row, Session, quoted

SYSTEM_DATABASES = frozenset({"mysql", "sys", "information_schema", "performance_schema"})

TableName = tuple[str, str]
"""Database and table."""

_CANNOT_BE_OPENED = ("1814 ", "1168 ", "1472 ", "1429 ", "1430 ")
"""Its tablespace was discarded, what a MERGE table is made of does not fit, what a FEDERATED one leads to does not
answer: a copy is like that too."""
_NO_FILE = "1017 "
"""A clone has none of a MERGE table, which holds no rows of its own."""
_APPLICATION = "NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')"
_SWITCHED_OFF_BY_REPLICATION = {"SLAVESIDE_DISABLED", "REPLICA_SIDE_DISABLED"}


def databases(session: Session) -> tuple[str, ...]:
    """Application databases, sorted, with or without tables. ``SYS`` is one where the server tells case apart."""
    rows = session.rows("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")
    return tuple(sorted(name for (name,) in rows if name not in SYSTEM_DATABASES))


def engines(session: Session) -> dict[TableName, str]:
    """Every base table of the application databases, in order, and its storage engine."""
    rows = session.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE FROM information_schema.TABLES "
        f"WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA {_APPLICATION}"
    )
    return dict(sorted(((database, name), str(engine)) for database, name, engine in rows))


def read_tables(session: Session, checked: Callable[[TableName], None]) -> tuple[Table, ...]:
    """Every base table with its exact row count. ``checked`` is told of each one done.

    Each table is checked by the server (``CHECK TABLE``) and counted row by row, so nothing may
    write to it meanwhile.

    :raises ValidationFailed: the server finds a table damaged.
    """
    # What SHOW CREATE TABLE prints must not depend on how this server happens to be set up.
    session.run("SET SESSION sql_mode = '', sql_quote_show_create = 1, time_zone = '+00:00'")
    primary, unique, foreign = (_primary_keys(session), _unique_keys(session), foreign_keys(session))
    tables = []
    for table, engine in engines(session).items():
        reason = _check(session, table)
        tables.append(
            Table(
                database=table[0], name=table[1], engine=engine, unreadable=reason,
                rows=0 if reason else int(session.value(f"SELECT COUNT(*) FROM {quoted(*table)}")),
                primary_key=primary.get(table, ()), unique_keys=tuple(unique.get(table, ())),
                foreign_keys=tuple(foreign.get(table, ())),
                create=shown_create(session, "TABLE", quoted(*table), 1),
            )
        )  # fmt: skip
        checked(table)
    return tuple(tables)


def event_status(session: Session) -> dict[TableName, str]:
    """Every scheduled event of the application databases and its status, such as ``ENABLED``."""
    rows = session.rows(
        f"SELECT EVENT_SCHEMA, EVENT_NAME, STATUS FROM information_schema.EVENTS WHERE EVENT_SCHEMA {_APPLICATION}"
    )
    return {(database, name): str(status) for database, name, status in sorted(rows)}


def merge_events(copy: dict[TableName, str], source: dict[TableName, str]) -> tuple[Event, ...]:
    """The events of a copy, and whether each is on at the source.

    A replica has its events switched off whatever they are on the source. An event that the source
    does not tell of counts as on when replication is what switched it off: nearly all events are on,
    and the ones that are not were put so by a statement that the operator can repeat.
    """
    return tuple(
        Event(
            database=event[0], name=event[1],
            enabled_on_source=source.get(event, status) in {"ENABLED", *_SWITCHED_OFF_BY_REPLICATION},
        )
        for event, status in copy.items()
    )  # fmt: skip


def damage(session: Session, table: TableName) -> str:
    """What ``CHECK TABLE`` finds wrong with a table; empty when it is whole."""
    answers = session.rows(f"CHECK TABLE {quoted(*table)}")
    kind, text = answers[-1][2], str(answers[-1][3])
    if kind == "status" and text == "OK":
        return ""
    if kind == "note" and "doesn't support check" in text:
        return ""  # an engine such as BLACKHOLE: there is nothing that could be damaged
    return "; ".join(str(row[3]) for row in answers)


def why_unreadable(session: Session, table: TableName) -> str:
    """Why a table that is whole cannot be opened: for what it is, or was made. Empty where it can, and where something
    else is wrong with it."""
    try:
        session.rows(f"SELECT 1 FROM {quoted(*table)} LIMIT 1")
    except StatementFailed as error:
        known = error.why.startswith(_CANNOT_BE_OPENED)
        left_out = error.why.startswith(_NO_FILE) and _merges(session, table)
        return f"it cannot be read: {error.why}" if known or left_out else ""
    return ""


def _merges(session: Session, table: TableName) -> bool:
    return bool(
        session.rows(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
            " AND engine = 'MRG_MYISAM'",
            *table,
        )
    )


def shown_create(session: Session, kind: str, name: str, column: int) -> str:
    """The column of ``SHOW CREATE`` that holds the statement; empty where the server cannot show it."""
    try:
        return str(session.row(f"SHOW CREATE {kind} {name}")[column])
    except StatementFailed:
        return ""


def _check(session: Session, table: TableName) -> str:
    """Why it cannot be read, see :func:`why_unreadable`. :raises ValidationFailed: it is damaged."""
    wrong = damage(session, table)
    reason = why_unreadable(session, table) if wrong else ""
    if wrong and not reason:
        raise ValidationFailed(
            "CHECK TABLE finds a table damaged", on=".".join(table), why=wrong,
            hint="see the server's error log; back up from another server of the shard",
        )  # fmt: skip
    return reason


def _primary_keys(session: Session) -> dict[TableName, tuple[str, ...]]:
    keys = _index_columns(session, "INDEX_NAME = 'PRIMARY'")
    return {(database, table): columns for (database, table, _), columns in keys.items()}


def _unique_keys(session: Session) -> dict[TableName, list[tuple[str, ...]]]:
    found: dict[TableName, list[tuple[str, ...]]] = defaultdict(list)
    for (database, table, _), columns in _index_columns(session, "INDEX_NAME <> 'PRIMARY' AND NON_UNIQUE = 0").items():
        found[database, table].append(columns)
    return found


def _index_columns(session: Session, which: str) -> dict[tuple[str, str, str], tuple[str, ...]]:
    # A key part may be an expression instead of a column; it is then shown in parentheses.
    rows = session.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, "
        "COALESCE(COLUMN_NAME, CONCAT('(', EXPRESSION, ')')) "
        f"FROM information_schema.STATISTICS WHERE TABLE_SCHEMA {_APPLICATION} AND {which}"
    )
    return _grouped((database, table, index, number, column) for database, table, index, number, column in rows)


def foreign_keys(session: Session) -> dict[TableName, list[ForeignKey]]:
    """The foreign keys of every table that has some."""
    columns = _grouped(
        session.rows(
            "SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION, COLUMN_NAME "
            "FROM information_schema.KEY_COLUMN_USAGE "
            f"WHERE REFERENCED_TABLE_NAME IS NOT NULL AND TABLE_SCHEMA {_APPLICATION}"
        )
    )
    rows = session.rows(
        "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME, "
        "DELETE_RULE, UPDATE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS "
        f"WHERE CONSTRAINT_SCHEMA {_APPLICATION}"
    )
    found: dict[TableName, list[ForeignKey]] = defaultdict(list)
    for database, table, name, parent_database, parent, on_delete, on_update in sorted(rows):
        key = ForeignKey(
            name=name, columns=columns[database, table, name], parent_database=parent_database, parent_table=parent,
            on_delete=on_delete, on_update=on_update,
        )  # fmt: skip
        found[database, table].append(key)
    return found


def _grouped(rows: Iterable[Row]) -> dict[tuple[str, str, str], tuple[str, ...]]:
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for database, table, name, _, column in sorted(rows, key=lambda row: row[:4]):
        found[database, table, name].append(str(column))
    return {key: tuple(columns) for key, columns in found.items()}
