"""Checksums of every table of a server, for comparing two servers that stand at the same GTID set."""

from __future__ import annotations

from relight.server.session import Session, quoted

SYSTEM_DATABASES = ("mysql", "sys", "information_schema", "performance_schema")


def checksums(session: Session) -> dict[str, int]:
    """``database.table`` to the value of ``CHECKSUM TABLE``, for every base table of applications.

    Inside a transaction with a consistent snapshot, InnoDB reads the rows of that snapshot.
    """
    marks = ", ".join(["%s"] * len(SYSTEM_DATABASES))
    tables = session.rows(
        "SELECT table_schema, table_name FROM information_schema.tables"
        f" WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ({marks})",
        *SYSTEM_DATABASES,
    )
    return {
        f"{database}.{table}": int(session.row(f"CHECKSUM TABLE {quoted(str(database), str(table))}")[1] or 0)
        for database, table in tables
    }
