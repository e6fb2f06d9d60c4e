"""What must hold of any table, whatever its rows: it is whole, its counter is beyond its rows, its foreign keys lead
somewhere. Replay bypasses the server's own checks, so they are made up for here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from relight.errors import StatementFailed
from relight.server.schema import damage
from relight.server.session import Session, quoted

_MOST_SHOWN = 3


def damaged_tables(session: Session, database: str, unread: Collection[str] = ()) -> tuple[int, list[str]]:
    """``CHECK TABLE`` of every table: how many were checked, and what is wrong. ``unread``: tables that cannot be read,
    here and below; that was found before, and is said."""
    tables = [
        str(name)
        for (name,) in session.rows(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_type = 'BASE TABLE'"
            " ORDER BY table_name",
            database,
        )
        if str(name) not in unread
    ]
    damages = {table: damage(session, (database, table)) for table in tables}
    return len(tables), [f"{database}.{table}: CHECK TABLE says {text}" for table, text in damages.items() if text]


def low_counters(session: Session, database: str, unread: Collection[str] = ()) -> tuple[int, list[str]]:
    """Auto-increment counters that are below the highest value in their column: the next insert would fail.

    A column that begins no key has no counter of its table, but one for each group of rows (MyISAM).
    Gives how many counters there are, and those that are too low.
    """
    session.run("SET SESSION information_schema_stats_expiry = 0")  # else the counter may be a day old
    counters = session.rows(
        "SELECT table_name, column_name, auto_increment FROM information_schema.tables"
        " JOIN information_schema.columns USING (table_schema, table_name)"
        " WHERE table_schema = %s AND extra LIKE '%%auto_increment%%' AND table_type = 'BASE TABLE'"
        " AND (table_schema, table_name, column_name) IN (SELECT table_schema, table_name, column_name"
        " FROM information_schema.statistics WHERE seq_in_index = 1)",
        database,
    )
    counters = [one for one in counters if one[0] not in unread]
    found = []
    for table, column, following in counters:
        try:
            highest = session.value(f"SELECT MAX({quoted(column)}) FROM {quoted(database, table)}")
        except StatementFailed as error:
            found.append(f"{database}.{table}: {column} cannot be read: {error.why}")
            continue
        if highest is not None and int(following or 1) < int(highest):
            found.append(
                f"{database}.{table}: its counter stands at {following or 'its beginning'}, and {column} is {highest}"
                " already"
            )
    return len(counters), found


def orphans(session: Session, database: str, unread: Collection[str] = ()) -> tuple[int, list[str]]:
    """Rows whose foreign key leads to no row. Gives how many foreign keys there are, and what was found.

    The lost source may have had such rows too: it accepts them with ``foreign_key_checks`` off.
    """
    keys = list(_foreign_keys(session, database))
    found = []
    for name, table, parent_database, parent, pairs in keys:
        if table in unread or (parent in unread and parent_database == database):
            found.append(f"{database}.{table} and {parent_database}.{parent} cannot both be read ({name})")
            continue
        joined = " AND ".join(f"p.{quoted(theirs)} = c.{quoted(ours)}" for ours, theirs in pairs)
        given = " AND ".join(f"c.{quoted(ours)} IS NOT NULL" for ours, _ in pairs)
        shown = ", ".join(f"c.{quoted(ours)}" for ours, _ in pairs)
        try:
            rows = session.rows(
                f"SELECT {shown} FROM {quoted(database, table)} c WHERE {given} AND NOT EXISTS"
                f" (SELECT 1 FROM {quoted(parent_database, parent)} p WHERE {joined}) LIMIT {_MOST_SHOWN + 1}"
            )
        except StatementFailed as error:
            found.append(f"{database}.{table} and {parent_database}.{parent} cannot both be read ({name}): {error.why}")
            continue
        if rows:
            columns = ", ".join(ours for ours, _ in pairs)
            values = "; ".join(", ".join(str(value) for value in row) for row in rows[:_MOST_SHOWN])
            more = " and more" if len(rows) > _MOST_SHOWN else ""
            found.append(
                f"{database}.{table}: {columns} = {values}{more} is not in {parent_database}.{parent} ({name})"
            )
    return len(keys), found


def _foreign_keys(session: Session, database: str) -> Iterator[tuple[str, str, str, str, list[tuple[str, str]]]]:
    found: dict[tuple[str, str, str, str], list[tuple[str, str]]] = defaultdict(list)
    for name, table, column, parent_database, parent, theirs in session.rows(
        "SELECT constraint_name, table_name, column_name, referenced_table_schema, referenced_table_name,"
        " referenced_column_name FROM information_schema.key_column_usage"
        " WHERE table_schema = %s AND referenced_table_name IS NOT NULL"
        " ORDER BY table_name, constraint_name, ordinal_position",
        database,
    ):
        found[name, table, parent_database, parent].append((column, theirs))
    for (name, table, parent_database, parent), pairs in found.items():
        yield name, table, parent_database, parent, pairs
