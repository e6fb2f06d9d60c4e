"""Checksums of every table of a server, for comparing two servers that stand at the same GTID set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from relight.errors import StatementFailed
from relight.server.schema import why_unreadable
from relight.server.session import Session, quoted

SYSTEM_DATABASES = ("mysql", "sys", "information_schema", "performance_schema")

UNREADABLE = -1
"""Instead of the sum of a table that the server cannot read."""

_AS_BYTES: Mapping[str, str] = {
    "float": "CAST({} AS DOUBLE)", "bit": "CAST({} AS UNSIGNED)", "enum": "CAST({} AS UNSIGNED)",
    "set": "CAST({} AS UNSIGNED)", "timestamp": "UNIX_TIMESTAMP({})", "json": "CAST({} AS CHAR)",
    "char": "CAST(TRIM(TRAILING ' ' FROM {}) AS BINARY)",
}  # fmt: skip
"""How values of these types are read so that nothing is lost, whatever the session. Others are taken as they are."""


def checksums(session: Session) -> dict[str, int]:
    """``database.table`` to a sum over all rows, for every base table of applications.

    Inside a transaction with a consistent snapshot, InnoDB reads the rows of that snapshot.
    """
    marks = ", ".join(["%s"] * len(SYSTEM_DATABASES))
    tables = session.rows(
        "SELECT table_schema, table_name FROM information_schema.tables"
        f" WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ({marks})",
        *SYSTEM_DATABASES,
    )
    # CHECKSUM TABLE adds up what a hidden column happens to hold in memory: another number at every call.
    multi_valued = set(
        session.rows(
            "SELECT DISTINCT table_schema, table_name FROM information_schema.statistics"
            " WHERE expression LIKE '% array)%'"
        )
    )
    return {
        f"{database}.{table}": (_sum_of_rows if (database, table) in multi_valued else _checksum)(
            session, str(database), str(table)
        )
        for database, table in tables
    }


def _checksum(session: Session, database: str, table: str) -> int:
    found = session.row(f"CHECKSUM TABLE {quoted(database, table)}")[1]
    return UNREADABLE if found is None else int(found)


def _sum_of_rows(session: Session, database: str, table: str) -> int:
    """The same of a table's columns that can be seen, in whatever order its rows lie."""
    columns = session.rows(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
        " ORDER BY ordinal_position",
        database, table,
    )  # fmt: skip
    values = (_AS_BYTES.get(str(kind), "{}").format(quoted(str(name))) for name, kind in columns)
    row = ", ".join(f"IFNULL(SHA2({value}, 256), '-')" for value in values)
    try:
        count, total = session.row(
            f"SELECT COUNT(*), SUM(CAST(CONV(LEFT(SHA2(CONCAT({row}), 256), 15), 16, 10) AS UNSIGNED))"
            f" FROM {quoted(database, table)}"
        )
    except StatementFailed:
        if why_unreadable(session, (database, table)):
            return UNREADABLE
        raise
    return int(hashlib.sha256(f"{count} {total}".encode()).hexdigest()[:15], 16)
